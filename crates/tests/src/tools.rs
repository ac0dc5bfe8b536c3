//! Other people's clients.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::process::Process;

/// How long a client may run.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// The directory that `cargo xtask setup` installs into.
fn tools() -> PathBuf {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools");
    std::env::var_os("DOVETAIL_TOOLS").map_or_else(default, PathBuf::from)
}

/// A script of `crates/tests/clients`, ready to run with its arguments.
pub fn script(name: &str) -> Command {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(name);
    let mut command = if name.ends_with("py") {
        let mut python = Command::new(present(&tools().join("venv/bin/python")));
        // No byte code beside the sources.
        python.arg("-B");
        python
    } else {
        let mut node = Command::new("node");
        let modules = tools().join("node/node_modules");
        // Scripts find their packages through this path, since modules do not look at NODE_PATH.
        node.env("DOVETAIL_NODE_MODULES", present(&modules).canonicalize().unwrap());
        node
    };
    command.arg(path);
    command
}

fn present(path: &Path) -> &Path {
    assert!(path.exists(), "{} is not there: run `cargo xtask setup`", path.display());
    path
}

/// Runs a client to its end, and fails the test if it fails or takes too long. Gives what it said.
pub fn run(command: &mut Command) -> String {
    finish(Process::start(command), &format!("{command:?}"))
}

/// Waits for a client that was started before to end well. Gives what it said.
pub fn finish(mut client: Process, name: &str) -> String {
    match client.wait(PATIENCE) {
        Some(status) if status.success() => client.complete_output(),
        Some(status) => panic!("{name} ended with {status}:\n{}", client.complete_output()),
        None => panic!("{name} does not end:\n{}", client.output()),
    }
}
