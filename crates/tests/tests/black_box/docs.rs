//! The commands of the documentation do what the pages say. `dovetail_tests::pages` explains the marks on the pages.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use dovetail_tests::pages::{self, Block, Kind, Page};
use dovetail_tests::process::Process;
use dovetail_tests::server::{Server, Setup, program};
use dovetail_tests::tools::PATIENCE;

#[test]
fn the_commands_of_every_page_work() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut pages = vec![root.join("README.md")];
    pages.extend(markdown(&root.join("docs")));
    let mut ran = 0;
    let mut failed = String::new();
    for path in pages.iter().filter(|path| path.is_file()) {
        let name = path.strip_prefix(&root).unwrap().display().to_string();
        let text = std::fs::read_to_string(path).unwrap();
        match pages::read(&text).map_err(|error| error.to_string()).and_then(|page| run(&page)) {
            Ok(count) => ran += count,
            Err(reason) => writeln!(failed, "{name}: {reason}").unwrap(),
        }
    }
    assert!(failed.is_empty(), "{failed}");
    assert!(ran > 0, "no page has a command");
}

/// The pages below a directory, by name.
fn markdown(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(markdown(&path));
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Runs the blocks of a page in a directory of their own; gives how many it ran.
fn run(page: &Page) -> Result<usize, String> {
    if page.blocks.iter().all(|block| block.kind == Kind::Skip) {
        return Ok(0);
    }
    let place = tempfile::tempdir().unwrap();
    let server = page.server.as_ref().map(|arguments| {
        let setup = Setup::new();
        arguments.iter().fold(setup, Setup::argument).start()
    });
    let mut background = Vec::new();
    let mut ran = 0;
    for block in page.blocks.iter().filter(|block| block.kind != Kind::Skip) {
        let mut process = start(block, place.path(), server.as_ref());
        ran += 1;
        if block.kind == Kind::Background {
            background.push((block, process));
            continue;
        }
        let status = process.wait(PATIENCE).ok_or_else(|| fault(block, "does not end", &process.output()))?;
        let output = process.complete_output();
        match &block.kind {
            Kind::Fails if status.success() => return Err(fault(block, "was to fail", &output)),
            Kind::Fails => {}
            _ if !status.success() => return Err(fault(block, &format!("ended with {status}"), &output)),
            Kind::Prints(text) if !output.contains(text.as_str()) => {
                return Err(fault(block, &format!("did not print \"{text}\""), &output));
            }
            _ => {}
        }
    }
    for (block, mut process) in background {
        let status = process.wait(std::time::Duration::ZERO);
        if status.is_some_and(|status| !status.success()) {
            return Err(fault(block, "ended badly in the background", &process.complete_output()));
        }
    }
    Ok(ran)
}

/// Starts the commands of a block.
pub(crate) fn start(block: &Block, place: &Path, server: Option<&Server>) -> Process {
    let path = std::env::var("PATH").unwrap_or_default();
    let own = program();
    let mut command = Command::new("bash");
    command
        .args(["-e", "-u", "-o", "pipefail", "-c", &addressed(&block.script, server)])
        .current_dir(place)
        .env("PATH", format!("{}:{path}", own.parent().unwrap().display()));
    if let Some(server) = server {
        command.env("DOVETAIL_SERVER", server.url()).env("DOVETAIL_MQTT", server.address().to_string());
    }
    Process::start(&mut command)
}

/// The commands, for the server where it really is.
fn addressed(script: &str, server: Option<&Server>) -> String {
    let Some(server) = server else {
        return script.to_owned();
    };
    let address = server.address().to_string();
    let port = format!("-p {}", server.address().port());
    let line = |line: &str| {
        let line = ["localhost:8080", "127.0.0.1:8080", "localhost:1883", "127.0.0.1:1883"]
            .iter()
            .fold(line.replace("-p 1883", &port), |line, place| line.replace(place, &address));
        // Mosquitto's commands find the default port by themselves.
        let bare = line.contains("mosquitto_") && !line.contains(&port);
        if bare {
            line.replace("_sub ", &format!("_sub {port} ")).replace("_pub ", &format!("_pub {port} "))
        } else {
            line
        }
    };
    script.lines().map(line).collect::<Vec<_>>().join("\n")
}

fn fault(block: &Block, what: &str, output: &str) -> String {
    format!("the block at line {} {what}:\n{}\n--- printed:\n{output}", block.line, block.script)
}
