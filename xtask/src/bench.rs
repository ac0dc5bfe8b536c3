//! `cargo xtask bench`: builds what is shipped and runs `dovetail-bench`.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::stages::{Show, Stages, target_dir};

/// What is passed on.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Arguments of `dovetail-bench`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Builds the server and the bench as they are shipped, then runs the bench on the terminal of the caller.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    let mut stages = Stages::new(root)?;
    let built = stages.run(
        "build as shipped",
        "cargo",
        &["build", "--profile", "dist", "--locked", "-p", "dovetail-server", "-p", "dovetail-bench"],
        Show::OnFailure,
    )?;
    if !built.passed {
        return stages.close();
    }
    let shipped = target_dir(root).join("dist");
    let status = Command::new(shipped.join("dovetail-bench"))
        .args(&options.arguments)
        .env("DOVETAIL_BIN", shipped.join("dovetail"))
        .current_dir(root)
        .status()
        .context("could not start dovetail-bench")?;
    if !status.success() {
        bail!("dovetail-bench ended with {status}");
    }
    Ok(())
}
