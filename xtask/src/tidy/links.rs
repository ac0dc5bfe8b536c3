//! Rule `links`: every link of a Markdown page to a file of ours, and to a heading in it, leads somewhere.

use std::collections::BTreeSet;

use super::Finding;
use super::tree::Tree;

/// Finds links that lead nowhere.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.ending(".md") {
        for (line, target) in links(text) {
            if let Some(message) = broken(tree, path, target) {
                findings.push(Finding::new(path, line, "links", message));
            }
        }
    }
    findings
}

/// The targets of `[text](target)` outside code, with their lines.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (line, text) in prose(text) {
        let mut rest = text;
        while let Some(start) = rest.find("](") {
            rest = &rest[start + 2..];
            if let Some(end) = rest.find(')') {
                let target = rest[..end].split(' ').next().unwrap_or_default();
                found.push((line, target));
            }
        }
    }
    found
}

/// The lines outside fenced code, from 1.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let fence = line.trim_start().starts_with("```");
        let outside = !fenced && !fence;
        fenced ^= fence;
        outside.then_some((index + 1, line))
    })
}

fn broken(tree: &Tree, page: &str, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (file, heading) = target.split_once('#').unwrap_or((target, ""));
    let file = if file.is_empty() { Some(page.to_owned()) } else { resolve(page, file) };
    let Some(file) = file.filter(|file| tree.has(file)) else {
        return Some(format!("{target} is not there"));
    };
    let page = file.strip_suffix(".md").and_then(|_| tree.text(&file));
    let known = heading.is_empty() || page.is_none_or(|text| anchors(text).contains(heading));
    (!known).then(|| format!("{file} has no heading #{heading}"))
}

/// The path that `target` means on `page`; `None` when it leads out of the repository.
fn resolve(page: &str, target: &str) -> Option<String> {
    let mut names: Vec<&str> = match target.strip_prefix('/') {
        Some(_) => Vec::new(),
        None => page.rsplit_once('/').map_or(Vec::new(), |(directory, _)| directory.split('/').collect()),
    };
    for name in target.split('/').filter(|name| !name.is_empty() && *name != ".") {
        if name == ".." {
            names.pop()?;
        } else {
            names.push(name);
        }
    }
    Some(names.join("/"))
}

/// The anchors that a forge gives to the headings of a page.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (_, line) in prose(text) {
        let title = line.trim_start_matches('#');
        if title.len() == line.len() || !title.starts_with(' ') {
            continue;
        }
        let plain: String = title
            .trim()
            .to_lowercase()
            .chars()
            .filter(|character| character.is_alphanumeric() || matches!(character, ' ' | '-' | '_'))
            .map(|character| if character == ' ' { '-' } else { character })
            .collect();
        let mut anchor = plain.clone();
        let mut copy = 0;
        while !found.insert(anchor.clone()) {
            copy += 1;
            anchor = format!("{plain}-{copy}");
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(page: &str) -> Vec<String> {
        let tree = Tree::example(&[
            ("README.md", "# Top\n"),
            ("docs/a.md", page),
            ("docs/adr/b.md", "# The `b` page, new\n## Same\n## Same\n```sh\n# no heading\n```\n"),
        ]);
        check(&tree).into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn links_that_lead_somewhere_are_fine() {
        let page = "# Own\n[a](adr/b.md) [b](../README.md#top) [c](adr/) [d](#own) [e](https://example.org/x)\n\
                    [f](adr/b.md#the-b-page-new) [g](adr/b.md#same-1) [h](/README.md \"title\")\n```\n[x](nowhere)\n```\n";
        assert_eq!(messages(page), [""; 0]);
    }

    #[test]
    fn links_that_lead_nowhere_are_named() {
        assert_eq!(messages("[a](b.md)"), ["b.md is not there"]);
        assert_eq!(messages("[a](../../x)"), ["../../x is not there"]);
        assert_eq!(messages("text [a](#b)"), ["docs/a.md has no heading #b"]);
        assert_eq!(messages("[a](adr/b.md#no-heading)"), ["docs/adr/b.md has no heading #no-heading"]);
    }
}
