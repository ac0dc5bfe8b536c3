//! Rule `adr`: decisions are numbered without a gap, have the parts of the template, and are listed.

use super::Finding;
use super::tree::Tree;

const DIRECTORY: &str = "docs/adr/";
const LIST: &str = "docs/adr/README.md";
/// What a reader looks for in a decision.
const PARTS: [&str; 4] = ["## Status", "## Context", "## Decision", "## Consequences"];

/// Finds decisions that are not numbered, not complete or not listed.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let list = tree.text(LIST).unwrap_or_default();
    let mut findings = Vec::new();
    let mut expected = 1;
    for (path, text) in tree.ending(".md") {
        let Some(name) = path.strip_prefix(DIRECTORY) else {
            continue;
        };
        if matches!(name, "README.md" | "template.md") {
            continue;
        }
        let mut note = |message: String| findings.push(Finding::new(path, 0, "adr", message));
        let number = name.split('-').next().filter(|number| number.len() == 4);
        let number: Option<u32> = number.and_then(|number| number.parse().ok());
        match number {
            Some(number) if number == expected => expected += 1,
            Some(number) => {
                note(format!("number {number:04} where {expected:04} comes next"));
                expected = number + 1;
            }
            None => note("is not named NNNN-title.md".to_owned()),
        }
        if !list.contains(&format!("({name})")) {
            note(format!("is not listed in {LIST}"));
        }
        for part in PARTS.iter().filter(|part| !text.lines().any(|line| line == **part)) {
            note(format!("has no \"{part}\""));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPLETE: &str = "# T\n## Status\n## Context\n## Decision\n## Consequences\n";

    fn messages(names: &[&str], list: &str, text: &str) -> Vec<String> {
        let paths: Vec<String> = names.iter().map(|name| format!("{DIRECTORY}{name}")).collect();
        let mut files: Vec<(&str, &str)> = paths.iter().map(|path| (path.as_str(), text)).collect();
        files.push((LIST, list));
        check(&Tree::example(&files)).into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn numbered_listed_and_complete_is_fine() {
        let list = "[1](0001-a.md) [2](0002-b.md)";
        assert_eq!(messages(&["0001-a.md", "0002-b.md", "template.md"], list, COMPLETE), [""; 0]);
    }

    #[test]
    fn gaps_copies_bad_names_missing_parts_and_missing_links_are_found() {
        let list = "(0001-a.md) (0001-b.md) (0003-c.md) (other.md)";
        assert_eq!(
            messages(&["0001-a.md", "0003-c.md"], list, COMPLETE),
            ["number 0003 where 0002 comes next"]
        );
        assert_eq!(
            messages(&["0001-a.md", "0001-b.md"], list, COMPLETE),
            ["number 0001 where 0002 comes next"]
        );
        assert_eq!(messages(&["other.md"], list, COMPLETE), ["is not named NNNN-title.md"]);
        assert_eq!(messages(&["0001-a.md"], "", COMPLETE), ["is not listed in docs/adr/README.md"]);
        let bare = COMPLETE.replace("## Decision\n", "");
        assert_eq!(messages(&["0001-a.md"], list, &bare), ["has no \"## Decision\""]);
    }
}
