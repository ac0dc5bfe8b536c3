//! The rules of the house that no other tool checks. Each rule is a pure function from the tracked files to findings,
//! and has its good and bad examples beside it.
//!
//! A line that has to break a rule says so, with its reason, on itself or on the line above:
//! `// tidy: allow(sleep) the peer gives no other sign of having waited`. Limits of whole files and functions are lifted
//! in `xtask/allow.toml`, also with a reason; an entry that is no longer needed is itself a finding.

mod adr;
mod allow;
mod architecture;
mod conformance;
mod cycles;
mod layers;
mod links;
mod places;
mod rust;
mod size;
mod tree;
mod words;

use std::path::Path;

use anyhow::{Result, bail};

use allow::Allowed;
use rust::Source;
use tree::Tree;

/// One broken rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    path: String,
    /// From 1; 0 when the whole file is meant.
    line: usize,
    /// The name of the rule, as `allow(…)` takes it.
    rule: &'static str,
    message: String,
}

impl Finding {
    fn new(path: &str, line: usize, rule: &'static str, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, rule, message: message.into() }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.line == 0 {
            write!(f, "{}: {} [{}]", self.path, self.message, self.rule)
        } else {
            write!(f, "{}:{}: {} [{}]", self.path, self.line, self.message, self.rule)
        }
    }
}

/// Checks every file that git knows or would add.
///
/// # Errors
/// Lists what was found.
pub(crate) fn run(root: &Path) -> Result<()> {
    let tree = Tree::of_git(root)?;
    let findings = findings(&tree);
    if findings.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    bail!("{}\n{} findings", lines.join("\n"), findings.len())
}

/// Everything found in `tree` that is not allowed with a reason.
fn findings(tree: &Tree) -> Vec<Finding> {
    let sources = Source::all(tree);
    let mut found = Vec::new();
    found.extend(layers::check(tree));
    found.extend(cycles::check(tree, &sources));
    found.extend(size::check(&sources));
    found.extend(words::check(tree, &sources));
    found.extend(links::check(tree));
    found.extend(architecture::check(tree));
    found.extend(places::check(tree));
    found.extend(adr::check(tree));
    found.extend(conformance::check(tree));
    found.retain(|finding| !allow::by_comment(tree, finding));
    let mut left = match Allowed::of(tree) {
        Ok(allowed) => allowed.filter(found),
        Err(finding) => {
            found.push(finding);
            found
        }
    };
    left.sort();
    left
}
