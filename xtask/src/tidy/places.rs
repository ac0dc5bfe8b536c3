//! Rule `places`: no path of somebody's machine, and no registry but the public ones, in what we publish.

use super::Finding;
use super::tree::Tree;

/// First levels of paths that exist on the machine of whoever wrote the line, and not on yours. In halves, so that this
/// file passes its own rule.
const MACHINE: [&str; 3] = [concat!("/wo", "rk"), concat!("/ro", "ot"), concat!("/ho", "me")];
/// Settings that send a package client to another registry.
const REGISTRY: [&str; 6] = [
    concat!("--index", "-url"),
    concat!("--extra-index", "-url"),
    concat!("--find", "-links"),
    concat!("replace", "-with"),
    concat!("\"resolved\"", ":"),
    concat!("registry", "="),
];
const CARGO_SOURCE: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Finds the paths and the hosts.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.files() {
        for (index, line) in text.lines().enumerate() {
            let mut note = |message: String| findings.push(Finding::new(path, index + 1, "places", message));
            if let Some(place) = MACHINE.iter().find(|place| has_path(line, place)) {
                note(format!("{place} is a place on somebody's machine"));
            }
            if let Some(setting) = REGISTRY.iter().find(|setting| line.contains(*setting)) {
                note(format!("{setting} names a registry; everybody uses their own"));
            }
            if path.ends_with("Cargo.lock") && line.starts_with("source = ") && !line.contains(CARGO_SOURCE) {
                note("a package that is not from crates.io".to_owned());
            }
        }
    }
    findings
}

/// Whether `line` has an absolute path that starts with `place`: not `a/work`, not `/works`.
fn has_path(line: &str, place: &str) -> bool {
    line.match_indices(place).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        let after = line[start + place.len()..].chars().next();
        let inside =
            before.is_some_and(|character| character.is_alphanumeric() || "./_-+}$#>%*".contains(character));
        !inside && after == Some('/')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(path: &str, text: &str) -> usize {
        check(&Tree::example(&[(path, text)])).len()
    }

    #[test]
    fn machine_paths_and_registries_are_found() {
        for place in MACHINE {
            assert_eq!(count("a.md", &format!("see {place}/main/x")), 1, "{place}");
            assert_eq!(count("a.rs", &format!("\"{place}/x\"")), 1, "{place}");
        }
        for setting in REGISTRY {
            assert_eq!(count("requirements.txt", &format!("{setting} somewhere")), 1, "{setting}");
        }
        assert_eq!(count("Cargo.lock", "source = \"git+https://example.org/x\""), 1);
    }

    #[test]
    fn names_that_only_look_like_it_are_fine() {
        let fine = format!("plant{0}/7 {0}s/x a{0}/x ./target{0}/x {0}", MACHINE[0]);
        assert_eq!(count("a.md", &fine), 0);
        assert_eq!(count("Cargo.lock", &format!("source = \"{CARGO_SOURCE}\"")), 0);
    }
}
