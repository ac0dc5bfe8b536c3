//! `cargo xtask bench`: builds what is shipped and runs `dovetail bench serve-path`.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::stages::{Show, Stages, target_dir};

/// What is passed on.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Arguments of `dovetail bench serve-path`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Builds the program as it is shipped, then measures it on the terminal of the caller.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    let mut stages = Stages::new(root)?;
    let built = stages.run(
        "build as shipped",
        "cargo",
        &["build", "--profile", "dist", "--locked", "-p", "dovetail-server"],
        Show::OnFailure,
    )?;
    if !built.passed {
        return stages.close();
    }
    let shipped = target_dir(root).join("dist");
    let mut command = Command::new(shipped.join("dovetail"));
    command.args(["bench", "serve-path"]);
    if !options.arguments.iter().any(|argument| argument.starts_with("--dir")) {
        command.arg("--dir").arg(target_dir(root).join("bench-data"));
    }
    let status =
        command.args(&options.arguments).current_dir(root).status().context("could not start the program")?;
    if !status.success() {
        bail!("dovetail bench ended with {status}");
    }
    Ok(())
}
