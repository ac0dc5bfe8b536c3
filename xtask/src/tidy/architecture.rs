//! Rule `architecture`: every crate says what it is in its first line of documentation, and `ARCHITECTURE.md` names it.

use super::Finding;
use super::tree::Tree;

const MAP: &str = "ARCHITECTURE.md";

/// Finds crates that are not described.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let map = tree.text(MAP).unwrap_or_default();
    let mut findings = Vec::new();
    for directory in tree.crates() {
        for root in ["lib.rs", "main.rs"] {
            let path = format!("{directory}/src/{root}");
            if tree.text(&path).is_some_and(|text| !text.starts_with("//!")) {
                let message = "starts with no //! that says what the crate is for";
                findings.push(Finding::new(&path, 1, "architecture", message));
            }
        }
        let name = directory.rsplit('/').next().unwrap_or(directory);
        if !map.contains(&format!("`{name}`")) {
            let message = format!("has no paragraph about `{name}`");
            findings.push(Finding::new(MAP, 0, "architecture", message));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(map: &str, lib: &str) -> Vec<String> {
        let files = [(MAP, map), ("crates/net/Cargo.toml", "[package]\n"), ("crates/net/src/lib.rs", lib)];
        check(&Tree::example(&files)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_described_crate_is_fine() {
        assert_eq!(messages("* `net`: sockets.", "//! Sockets.\n"), [""; 0]);
    }

    #[test]
    fn a_crate_without_words_is_named() {
        let found = messages("* `nets`: other.", "mod a;\n");
        assert!(found[0].starts_with("crates/net/src/lib.rs:1: starts with no //!"), "{found:?}");
        assert!(found[1].starts_with("ARCHITECTURE.md: has no paragraph about `net`"), "{found:?}");
    }
}
