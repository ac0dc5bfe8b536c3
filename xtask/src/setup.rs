//! `cargo xtask setup`: what the tests need on a fresh Debian machine that has Rust.
//!
//! Quiet and quick when everything is there: programs are looked up on the path, and a stamp holds what the Python and
//! npm clients were installed from.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::stages::available;

/// A program the tests call, and the Debian package that has it.
struct Tool {
    program: &'static str,
    package: &'static str,
}

const TOOLS: [Tool; 9] = [
    Tool { program: "mosquitto", package: "mosquitto" },
    Tool { program: "mosquitto_pub", package: "mosquitto-clients" },
    Tool { program: "curl", package: "curl" },
    Tool { program: "nginx", package: "nginx-light" },
    Tool { program: "strace", package: "strace" },
    Tool { program: "node", package: "nodejs" },
    Tool { program: "npm", package: "npm" },
    Tool { program: "python3", package: "python3" },
    Tool { program: "chromium", package: "chromium" },
];

/// Python clients, pinned, one a line.
const PYTHON: &str = "crates/tests/requirements.txt";
/// npm clients, pinned by their lock.
const NODE: &str = "crates/tests/node";
/// Lines of a failed command that are shown.
const TAIL_LINES: usize = 30;

/// Installs whatever is missing.
pub(crate) fn run(root: &Path) -> Result<()> {
    debian_packages()?;
    if !available("cargo-nextest") {
        println!("installing cargo-nextest (some minutes)");
        quiet(Command::new("cargo").args(["install", "--locked", "cargo-nextest"]))?;
    }
    let tools = root.join(".tools");
    fs::create_dir_all(&tools).context("could not create .tools")?;
    stamped(&tools.join("python.stamp"), &[&root.join(PYTHON)], || python(root, &tools))?;
    let node = root.join(NODE);
    let inputs = [&node.join("package.json"), &node.join("package-lock.json")];
    stamped(&tools.join("node.stamp"), &inputs, || node_clients(&node, &tools))
}

fn debian_packages() -> Result<()> {
    let mut missing: Vec<&str> =
        TOOLS.iter().filter(|tool| !available(tool.program)).map(|tool| tool.package).collect();
    if !venv_works() {
        missing.extend(["python3", "python3-venv"]);
    }
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    if !available("apt-get") {
        bail!("please install {}: this machine has no apt-get to do it with", missing.join(", "));
    }
    println!("installing {}", missing.join(", "));
    quiet(apt().arg("update"))?;
    quiet(apt().args(["install", "--no-install-recommends"]).args(&missing))
}

/// `apt-get` as root: through sudo where the caller is not root.
fn apt() -> Command {
    let root =
        fs::metadata("/proc/self").is_ok_and(|process| std::os::unix::fs::MetadataExt::uid(&process) == 0);
    let mut command = if root {
        Command::new("apt-get")
    } else {
        let mut command = Command::new("sudo");
        command.args(["--non-interactive", "apt-get"]);
        command
    };
    command.arg("--yes").env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// Debian's Python comes without the module that makes complete environments.
fn venv_works() -> bool {
    Command::new("python3")
        .args(["-c", "import venv, ensurepip"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn python(root: &Path, tools: &Path) -> Result<()> {
    println!("installing the Python clients");
    let environment = tools.join("venv");
    quiet(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment))?;
    quiet(
        Command::new(environment.join("bin/pip"))
            .args(["install", "--quiet", "--requirement"])
            .arg(root.join(PYTHON)),
    )
}

fn node_clients(node: &Path, tools: &Path) -> Result<()> {
    println!("installing the npm clients");
    let place = tools.join("node");
    fs::create_dir_all(&place).context("could not create .tools/node")?;
    for name in ["package.json", "package-lock.json"] {
        fs::copy(node.join(name), place.join(name)).with_context(|| format!("could not copy {name}"))?;
    }
    quiet(Command::new("npm").args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]).current_dir(&place))
}

/// Runs `install` unless `stamp` says that it was done with the same inputs.
fn stamped(stamp: &Path, inputs: &[impl AsRef<Path>], install: impl FnOnce() -> Result<()>) -> Result<()> {
    let mut hasher = DefaultHasher::new();
    for input in inputs {
        let input = input.as_ref();
        fs::read(input).with_context(|| format!("could not read {}", input.display()))?.hash(&mut hasher);
    }
    let wanted = format!("{:016x}\n", hasher.finish());
    if fs::read_to_string(stamp).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    install()?;
    fs::write(stamp, wanted).with_context(|| format!("could not write {}", stamp.display()))
}

/// Runs `command`; its output is only part of the error.
fn quiet(command: &mut Command) -> Result<()> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("could not start {}", command.get_program().display()))?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let tail = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n");
    bail!("{command:?} ended with {}:\n{tail}", output.status)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_stamp_saves_work_until_an_input_changes_and_is_not_left_by_a_failure() {
        let place = std::env::temp_dir().join(format!("xtask-stamp-{}", std::process::id()));
        fs::create_dir_all(&place).unwrap();
        let (input, stamp) = (place.join("input"), place.join("stamp"));
        let runs = Cell::new(0);
        let install = || {
            runs.set(runs.get() + 1);
            Ok(())
        };
        fs::write(&input, "one").unwrap();
        assert!(stamped(&stamp, &[&input], || bail!("no network")).is_err());
        stamped(&stamp, &[&input], install).unwrap();
        stamped(&stamp, &[&input], install).unwrap();
        assert_eq!(runs.get(), 1);
        fs::write(&input, "two").unwrap();
        stamped(&stamp, &[&input], install).unwrap();
        assert_eq!(runs.get(), 2);
        fs::remove_dir_all(place).unwrap();
    }
}
