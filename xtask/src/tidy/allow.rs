//! Exceptions, each with its reason.

use serde::Deserialize;

use super::Finding;
use super::tree::Tree;

const PATH: &str = "xtask/allow.toml";

/// The list of `xtask/allow.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Allowed {
    #[serde(default)]
    allow: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    rule: String,
    path: String,
    /// Part of the message, when one finding of a file is meant and not all.
    #[serde(default)]
    about: String,
    reason: String,
}

impl Allowed {
    /// Reads the list; a missing one is empty.
    pub(super) fn of(tree: &Tree) -> Result<Self, Finding> {
        let Some(text) = tree.text(PATH) else {
            return Ok(Self::default());
        };
        let list: Self =
            toml::from_str(text).map_err(|error| Finding::new(PATH, 0, "allow", error.to_string()))?;
        match list.allow.iter().find(|entry| entry.reason.trim().is_empty()) {
            Some(entry) => Err(Finding::new(PATH, 0, "allow", format!("{} has no reason", entry.path))),
            None => Ok(list),
        }
    }

    /// Takes out what is allowed, and adds a finding for each entry that nothing needs.
    pub(super) fn filter(&self, found: Vec<Finding>) -> Vec<Finding> {
        let stale = self
            .allow
            .iter()
            .filter(|entry| !found.iter().any(|finding| entry.covers(finding)))
            .map(|entry| {
                let message = format!("{} of {} is not needed: please take it out", entry.rule, entry.path);
                Finding::new(PATH, 0, "allow", message)
            })
            .collect::<Vec<_>>();
        let mut left = found;
        left.retain(|finding| !self.allow.iter().any(|entry| entry.covers(finding)));
        left.extend(stale);
        left
    }
}

impl Entry {
    fn covers(&self, finding: &Finding) -> bool {
        self.rule == finding.rule && self.path == finding.path && finding.message.contains(&self.about)
    }
}

/// Whether the line of `finding`, or the comment above it, allows the rule and gives a reason.
pub(super) fn by_comment(tree: &Tree, finding: &Finding) -> bool {
    let Some(text) = tree.text(&finding.path) else {
        return false;
    };
    if finding.line == 0 {
        return false;
    }
    let lines: Vec<&str> = text.lines().take(finding.line).collect();
    let Some((own, above)) = lines.split_last() else {
        return false;
    };
    let comments = above.iter().rev().take_while(|line| is_comment(line));
    std::iter::once(own).chain(comments).any(|line| allows(line, finding.rule))
}

fn is_comment(line: &str) -> bool {
    let line = line.trim_start();
    ["//", "#", "<!--"].iter().any(|start| line.starts_with(start))
}

fn allows(line: &str, rule: &str) -> bool {
    let marker = format!("tidy: allow({rule})");
    line.split_once(&marker).is_some_and(|(_, reason)| reason.trim_end_matches("-->").trim().len() > 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(line: usize) -> Finding {
        Finding::new("a.rs", line, "sleep", "waits 3 s")
    }

    #[test]
    fn a_comment_allows_the_line_below_it_when_it_gives_a_reason() {
        let tree = |text: &str| Tree::example(&[("a.rs", text)]);
        let good = "// tidy: allow(sleep) the peer is a wall clock\n// and more about it\nsleep();\n";
        assert!(by_comment(&tree(good), &finding(3)));
        assert!(by_comment(&tree("sleep(); // tidy: allow(sleep) as above\n"), &finding(1)));
        for bad in [
            "// tidy: allow(sleep)\nsleep();\n",
            "// tidy: allow(size) another rule\nsleep();\n",
            "// tidy: allow(sleep) too far away\n\nsleep();\n",
        ] {
            let line = bad.lines().count();
            assert!(!by_comment(&tree(bad), &finding(line)), "{bad}");
        }
    }

    #[test]
    fn the_list_takes_out_what_it_names_and_must_be_needed() {
        let list = "[[allow]]\nrule = \"sleep\"\npath = \"a.rs\"\nabout = \"3 s\"\nreason = \"because\"\n";
        let allowed = Allowed::of(&Tree::example(&[(PATH, list)])).unwrap();
        assert_eq!(allowed.filter(vec![finding(1)]), []);
        let other = Finding::new("b.rs", 1, "sleep", "waits 3 s");
        let left = allowed.filter(vec![other.clone()]);
        assert_eq!(left.len(), 2);
        assert_eq!(left[0], other);
        assert!(left[1].message.contains("not needed"));
        let bare = list.replace("because", " ");
        assert!(Allowed::of(&Tree::example(&[(PATH, &bare)])).is_err());
        assert!(Allowed::of(&Tree::example(&[(PATH, "[[allow]]\nrules = 1\n")])).is_err());
    }
}
