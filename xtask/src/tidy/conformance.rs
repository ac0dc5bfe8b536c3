//! Rule `conformance`: `docs/mqtt-conformance.md` has every numbered statement of MQTT 5.0 and 3.1.1 once, what it names as
//! a test is one, and what code cites as a statement is one.
//!
//! Tests are named from their crate: `door-mqtt::publishing::events_leave_no_trace` is a function in
//! `crates/door-mqtt/tests/publishing.rs` (or in `src`). `mqtt-proto::conformance::connect` is a table of rows,
//! `crates/mqtt-proto/tests/conformance/connect.rs`; it counts for a statement if one of its rows begins with the number.

use std::collections::{BTreeMap, BTreeSet};

use super::Finding;
use super::tree::Tree;

const RULE: &str = "conformance";
const DOCUMENT: &str = "docs/mqtt-conformance.md";
const CITATION: &str = "[MQTT-";
/// How statuses begin.
const IMPLEMENTED: &str = "implemented: ";
const NOT_APPLICABLE: &str = "not applicable: ";
/// A gap that is said is better than a claim that does not hold.
const MISSING: &str = "missing: ";

/// A version of the standard; each numbers its statements anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Edition {
    V311,
    V5,
}

impl Edition {
    const ALL: [Self; 2] = [Self::V5, Self::V311];

    /// The numbers of its statements, one a line.
    fn list(self) -> &'static str {
        match self {
            Self::V311 => "xtask/data/mqtt-3.1.1.txt",
            Self::V5 => "xtask/data/mqtt-5.0.txt",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::V311 => "3.1.1",
            Self::V5 => "5.0",
        }
    }
}

/// The numbers of all statements.
type Statements<'a> = BTreeMap<Edition, BTreeSet<&'a str>>;

/// Finds statements that are missing, twice or invented, and tests that are not there.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut statements = Statements::new();
    for edition in Edition::ALL {
        let list = tree.text(edition.list()).unwrap_or_default();
        if list.is_empty() {
            findings.push(Finding::new(edition.list(), 0, RULE, "is not there"));
        }
        statements.insert(edition, list.lines().collect());
    }
    match tree.text(DOCUMENT) {
        Some(text) => findings.extend(check_document(tree, &statements, text)),
        None => findings.push(Finding::new(DOCUMENT, 0, RULE, "is not there")),
    }
    for (path, text) in tree.ending(".rs") {
        findings.extend(check_citations(&statements, path, text));
    }
    findings
}

fn check_document(tree: &Tree, statements: &Statements<'_>, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut seen = BTreeSet::new();
    for (index, line) in text.lines().enumerate() {
        let Some(row) = Row::read(line) else { continue };
        let mut note = |message: String| findings.push(Finding::new(DOCUMENT, index + 1, RULE, message));
        for &(edition, number) in &row.numbers {
            let name = edition.name();
            if !statements[&edition].contains(number) {
                note(format!("{number} is no statement of {name}"));
            } else if !seen.insert((edition, number)) {
                note(format!("{number} of {name} is there twice"));
            }
        }
        row.check(tree, &mut note);
    }
    for edition in Edition::ALL {
        for number in statements[&edition].iter().filter(|&&number| !seen.contains(&(edition, number))) {
            let message = format!("{number} of {} is missing", edition.name());
            findings.push(Finding::new(DOCUMENT, 0, RULE, message));
        }
    }
    findings
}

/// A row of the document: `| 5.0 | 3.1.1 | statement | status |`.
struct Row<'a> {
    numbers: Vec<(Edition, &'a str)>,
    paraphrase: &'a str,
    status: &'a str,
}

impl<'a> Row<'a> {
    /// The row on this line; `None` for a line that is none, or a table's head.
    fn read(line: &'a str) -> Option<Self> {
        let cells: Vec<&str> = line.strip_prefix('|')?.strip_suffix('|')?.split('|').map(str::trim).collect();
        let &[new, old, paraphrase, status] = cells.as_slice() else { return None };
        if new == Edition::V5.name() || new.starts_with('-') {
            return None;
        }
        let numbers = [(Edition::V5, new), (Edition::V311, old)].into_iter();
        let numbers = numbers.filter(|(_, number)| !number.is_empty()).collect();
        Some(Self { numbers, paraphrase, status })
    }

    fn check(&self, tree: &Tree, note: &mut impl FnMut(String)) {
        if self.numbers.is_empty() || self.paraphrase.is_empty() {
            note("a row has a number and says something".to_owned());
        }
        if let Some(tests) = self.status.strip_prefix(IMPLEMENTED) {
            for test in tests.split(", ") {
                let name = test.strip_prefix('`').and_then(|test| test.strip_suffix('`'));
                if let Err(message) = self.check_test(tree, name.unwrap_or_default()) {
                    note(format!("{test}: {message}"));
                }
            }
        } else {
            let reason = [NOT_APPLICABLE, MISSING].iter().find_map(|status| self.status.strip_prefix(status));
            if reason.is_none_or(|reason| reason.len() < 10) {
                note(format!(
                    "a status is \"{IMPLEMENTED}`test`, …\", \"{NOT_APPLICABLE}reason\" or \"{MISSING}what\""
                ));
            }
        }
    }

    fn check_test(&self, tree: &Tree, name: &str) -> Result<(), String> {
        let path: Vec<&str> = name.split("::").collect();
        let &[krate, ref modules @ .., last] = path.as_slice() else {
            return Err("is not named like `crate::file::test`".to_owned());
        };
        if modules == ["conformance"]
            && let Some(table) = tree.text(&format!("crates/{krate}/tests/conformance/{last}.rs"))
        {
            let rows = rows_of(table);
            return match self.numbers.iter().find(|number| !rows.contains(number)) {
                Some((edition, number)) => Err(format!("has no row {number} of {}", edition.name())),
                None => Ok(()),
            };
        }
        let found =
            files(krate, modules).iter().any(|file| tree.text(file).is_some_and(|text| has_test(text, last)));
        if found { Ok(()) } else { Err("is not there".to_owned()) }
    }
}

/// Where a test of these modules may be: the modules are files, and at last perhaps modules within one.
fn files(krate: &str, modules: &[&str]) -> Vec<String> {
    let mut files = Vec::new();
    for place in ["tests", "src"] {
        for count in 1..=modules.len() {
            let module = modules[..count].join("/");
            files.push(format!("crates/{krate}/{place}/{module}.rs"));
            files.push(format!("crates/{krate}/{place}/{module}/mod.rs"));
        }
    }
    files
}

/// Whether `text` has a function `name` that is a test.
fn has_test(text: &str, name: &str) -> bool {
    let mut is_test = false;
    for line in text.lines().map(str::trim) {
        let signature = line.strip_prefix("async ").unwrap_or(line);
        if is_test && signature.strip_prefix("fn ").is_some_and(|rest| rest.split('(').next() == Some(name)) {
            return true;
        }
        if line.starts_with("#[") {
            let attribute = line.trim_start_matches("#[").trim_end_matches(']');
            is_test |=
                attribute.split('(').next().is_some_and(|path| path.rsplit("::").next() == Some("test"));
        } else if !line.starts_with("//") {
            is_test = false;
        }
    }
    false
}

/// The statements that the rows of a table name. A row is told by its first string, which begins with them.
fn rows_of(table: &str) -> BTreeSet<(Edition, &str)> {
    let mut rows = BTreeSet::new();
    for line in table.lines().map(|line| line.trim_start().trim_start_matches('(')) {
        let Some(text) = line.strip_prefix('"') else { continue };
        if (text.starts_with(CITATION) || text.starts_with("3.1.1 ["))
            // What stands behind the colon says what the row shows.
            && let Some(end) = text.find("]:")
        {
            let named = citations(&text[..=end]);
            rows.extend(named.filter_map(|(edition, number)| number.ok().map(|number| (edition, number))));
        }
    }
    rows
}

/// The statements that a line cites, in order: `Err` for one that is no number. A statement of 3.1.1 is told by its name
/// before it.
fn citations(line: &str) -> impl Iterator<Item = (Edition, Result<&str, &str>)> {
    line.match_indices(CITATION).filter_map(|(at, _)| {
        let rest = &line[at + CITATION.len()..];
        let number = &rest[..rest.find(']')?];
        let before = line[..at].trim_end_matches(['`', '(', ' ']);
        let edition = if before.ends_with("3.1.1") { Edition::V311 } else { Edition::V5 };
        let is_number = number.contains('-')
            && number.split(['.', '-']).count() == 4
            && number.chars().all(|character| character.is_ascii_digit() || ".-".contains(character));
        // `[MQTT-x.y.z-n]` explains how statements are cited.
        let is_placeholder = number.starts_with(|character: char| character.is_ascii_lowercase());
        (!is_placeholder).then_some((edition, if is_number { Ok(number) } else { Err(number) }))
    })
}

fn check_citations(statements: &Statements<'_>, path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for (edition, number) in citations(line) {
            let (Ok(number) | Err(number)) = number;
            if !statements[&edition].contains(number) {
                let message = format!("{number} is no statement of {}", edition.name());
                findings.push(Finding::new(path, index + 1, RULE, message));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIVE: &str = "1.1.1-1\n1.1.1-2\n";
    const THREE: &str = "1.1.1-1\n2.2.2-2\n";
    /// A document that is complete.
    const ROWS: [&str; 3] = [
        "| 1.1.1-1 | 2.2.2-2 | Both. | implemented: `a::conformance::table`, `a::file::works` |",
        "| 1.1.1-2 | | New. | implemented: `a::unit::tests::works` |",
        "| | 1.1.1-1 | Old. | not applicable: nobody can see it |",
    ];
    const TEST: &str = "#[test]\n#[cfg(unix)]\n/// It works.\nfn works() {}\n\nfn helper() {}\n";

    /// A citation, so that this file has none that is invented.
    fn cite(edition: &str, number: &str) -> String {
        format!("{edition}{CITATION}{number}]")
    }

    fn table(rows: &[String]) -> String {
        let rows: Vec<String> = rows
            .iter()
            .map(|row| format!("    (\n        \"{row}: it works\",\n        \"> c0:\",\n    ),\n"))
            .collect();
        rows.concat()
    }

    fn full_table() -> String {
        table(&[format!("{}, {}", cite("", "1.1.1-1"), cite("3.1.1 ", "2.2.2-2"))])
    }

    fn messages_of(rows: &[&str], table: &str, source: &str) -> Vec<String> {
        let document = format!(
            "# Title\n\n| 5.0 | 3.1.1 | statement | status |\n|---|---|---|---|\n{}\n",
            rows.join("\n")
        );
        let unit = format!("{source}\nmod tests {{\n    {}}}\n", TEST.replace('\n', "\n    "));
        let tree = Tree::example(&[
            (DOCUMENT, &document),
            (Edition::V5.list(), FIVE),
            (Edition::V311.list(), THREE),
            ("crates/a/tests/conformance/table.rs", table),
            ("crates/a/tests/file.rs", TEST),
            ("crates/a/src/unit.rs", &unit),
        ]);
        check(&tree).into_iter().map(|finding| finding.message).collect()
    }

    fn messages(rows: &[&str]) -> Vec<String> {
        messages_of(rows, &full_table(), "")
    }

    #[test]
    fn a_complete_document_is_fine() {
        assert_eq!(messages(&ROWS), [""; 0]);
        let gap = "| 1.1.1-2 | | New. | missing: nobody has done it |";
        assert_eq!(messages(&[ROWS[0], gap, ROWS[2]]), [""; 0]);
    }

    #[test]
    fn statements_are_there_once_and_real() {
        assert_eq!(messages(&ROWS[1..]), ["1.1.1-1 of 5.0 is missing", "2.2.2-2 of 3.1.1 is missing"]);
        let twice = "| 1.1.1-2 | | Again. | not applicable: it was there already |";
        assert_eq!(messages(&[&ROWS[..], &[twice]].concat()), ["1.1.1-2 of 5.0 is there twice"]);
        let invented = "| 2.2.2-2 | | Other. | not applicable: it is of the other edition |";
        assert_eq!(messages(&[&ROWS[..], &[invented]].concat()), ["2.2.2-2 is no statement of 5.0"]);
    }

    #[test]
    fn a_row_has_a_number_words_and_a_status() {
        let odd = [
            "| | | Nothing. | not applicable: it has no number |",
            "| 1.1.1-2 | | | not applicable: it says nothing |",
            "| 1.1.1-2 | | New. | done |",
            "| 1.1.1-2 | | New. | not applicable: no |",
            "| 1.1.1-2 | | New. | missing: |",
        ];
        for row in odd {
            let found = messages(&[ROWS[0], row, ROWS[2]]);
            assert!(
                found[0].starts_with("a row has") || found[0].starts_with("a status is"),
                "{row}: {found:?}"
            );
        }
    }

    #[test]
    fn tests_are_there_and_are_tests() {
        let rows = [
            ("`a::file::helper`", "`a::file::helper`: is not there"),
            ("`a::file::gone`", "`a::file::gone`: is not there"),
            ("`b::file::works`", "`b::file::works`: is not there"),
            ("`works`", "`works`: is not named like `crate::file::test`"),
            ("works", "works: is not named like `crate::file::test`"),
            ("`a::conformance::other`", "`a::conformance::other`: is not there"),
            ("`a::conformance::table`", "`a::conformance::table`: has no row 1.1.1-2 of 5.0"),
        ];
        for (test, message) in rows {
            let row = format!("| 1.1.1-2 | | New. | implemented: {test} |");
            assert_eq!(messages(&[ROWS[0], &row, ROWS[2]]), [message]);
        }
    }

    #[test]
    fn a_table_counts_for_the_rows_that_it_has() {
        let claims = "`a::conformance::table`: has no row 2.2.2-2 of 3.1.1";
        assert_eq!(messages_of(&ROWS, &table(&[cite("", "1.1.1-1")]), ""), [claims]);
        // A number elsewhere in the file is no row.
        let comment = format!("// \"{}: not yet\"\n", cite("3.1.1 ", "2.2.2-2"));
        assert_eq!(messages_of(&ROWS, &(table(&[cite("", "1.1.1-1")]) + &comment), ""), [claims]);
        let aside = format!("{}: not {}", cite("", "1.1.1-1"), cite("3.1.1 ", "2.2.2-2"));
        assert_eq!(messages_of(&ROWS, &table(&[aside]), ""), [claims]);
    }

    #[test]
    fn code_cites_real_statements() {
        let good = format!("/// As `{}` and 3.1.1 `{}` say.", cite("", "1.1.1-2"), cite("", "2.2.2-2"));
        assert_eq!(messages_of(&ROWS, &full_table(), &good), [""; 0]);
        for (edition, number) in [("", "2.2.2-2"), ("", "1.1.1"), ("", "1-1.1-1"), ("", "9.9.9-9")] {
            let source = format!("// {}", cite(edition, number));
            assert_eq!(
                messages_of(&ROWS, &full_table(), &source),
                [format!("{number} is no statement of 5.0")]
            );
        }
        let old = format!("// {}", cite("3.1.1 ", "1.1.1-2"));
        assert_eq!(messages_of(&ROWS, &full_table(), &old), ["1.1.1-2 is no statement of 3.1.1"]);
        let explained = format!("//! Cited as `{}`.", cite("", "x.y.z-n"));
        assert_eq!(messages_of(&ROWS, &full_table(), &explained), [""; 0]);
    }
}
