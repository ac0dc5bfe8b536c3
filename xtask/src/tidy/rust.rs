//! What the rules need to know of Rust sources: which lines are tests, and the syntax tree.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use super::tree::Tree;

/// A source that was read.
pub(super) struct Source<'a> {
    pub(super) path: &'a str,
    pub(super) text: &'a str,
    pub(super) syntax: syn::File,
    /// The whole file is only built for tests, benches or examples.
    pub(super) all_tests: bool,
    tests: Vec<RangeInclusive<usize>>,
}

impl<'a> Source<'a> {
    /// Every Rust file of `tree`; one that cannot be read is left to the compiler to complain about.
    pub(super) fn all(tree: &'a Tree) -> Vec<Self> {
        let mut sources: Vec<Self> =
            tree.ending(".rs").filter_map(|(path, text)| Self::read(path, text)).collect();
        let test_modules: BTreeSet<String> = sources.iter().flat_map(Self::test_modules).collect();
        for source in &mut sources {
            source.all_tests |= test_modules.iter().any(|module| {
                let rest = source.path.strip_prefix(module.as_str());
                rest.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
            });
        }
        sources
    }

    fn read(path: &'a str, text: &'a str) -> Option<Self> {
        let syntax = syn::parse_file(text).ok()?;
        let mut tests = TestItems::default();
        tests.visit_file(&syntax);
        let all_tests =
            ["/tests/", "/benches/", "/examples/", "/fuzz/"].iter().any(|place| path.contains(place))
                || path.ends_with("/tests.rs");
        Some(Self { path, text, syntax, all_tests, tests: tests.lines })
    }

    /// Whether the line (from 1) is only built for tests.
    pub(super) fn is_test(&self, line: usize) -> bool {
        self.all_tests || self.tests.iter().any(|lines| lines.contains(&line))
    }

    /// The path of this module from the crate's root, `["a", "b"]` for `src/a/b.rs`; `None` outside `src`.
    pub(super) fn module(&self) -> Option<Vec<&'a str>> {
        let (_, inside) = self.path.split_once("src/")?;
        let mut names: Vec<&str> = inside.strip_suffix(".rs")?.split('/').collect();
        if matches!(names.last(), Some(&("mod" | "lib" | "main"))) {
            names.pop();
        }
        Some(names)
    }

    /// Files, without their ending, of the modules that are declared as `#[cfg(test)] mod name;`.
    fn test_modules(&self) -> Vec<String> {
        let directory = match self.path.rsplit_once('/') {
            Some((directory, "lib.rs" | "main.rs" | "mod.rs")) => directory,
            _ => self.path.trim_end_matches(".rs"),
        };
        self.syntax
            .items
            .iter()
            .filter_map(|item| match item {
                syn::Item::Mod(module) if module.content.is_none() && only_for_tests(&module.attrs) => {
                    Some(format!("{directory}/{}", module.ident))
                }
                _ => None,
            })
            .collect()
    }
}

/// Whether the attributes keep an item out of everything but tests.
pub(super) fn only_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let syn::Meta::List(list) = &attribute.meta else {
            return attribute.path().segments.last().is_some_and(|last| last.ident == "test");
        };
        let text = list.tokens.to_string();
        attribute.path().is_ident("cfg")
            && (text == "test" || text.starts_with("all (test") || text.starts_with("all(test"))
    })
}

#[derive(Default)]
struct TestItems {
    lines: Vec<RangeInclusive<usize>>,
}

impl<'ast> Visit<'ast> for TestItems {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attributes = match item {
            syn::Item::Mod(item) => &item.attrs,
            syn::Item::Fn(item) => &item.attrs,
            syn::Item::Impl(item) => &item.attrs,
            syn::Item::Struct(item) => &item.attrs,
            syn::Item::Use(item) => &item.attrs,
            syn::Item::Const(item) => &item.attrs,
            _ => return visit::visit_item(self, item),
        };
        if only_for_tests(attributes) {
            let span = item.span();
            self.lines.push(span.start().line..=span.end().line);
        } else {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if only_for_tests(&item.attrs) {
            let span = item.span();
            self.lines.push(span.start().line..=span.end().line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_tests_are_known() {
        let text =
            "fn a() {}\n\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n\n#[test]\nfn c() {}\nfn d() {}\n";
        let tree = Tree::example(&[("crates/a/src/lib.rs", text)]);
        let sources = Source::all(&tree);
        let tests: Vec<usize> = (1..=10).filter(|line| sources[0].is_test(*line)).collect();
        assert_eq!(tests, [3, 4, 5, 6, 8, 9]);
    }

    #[test]
    fn files_that_only_tests_build_are_known() {
        let tree = Tree::example(&[
            (
                "crates/a/src/lib.rs",
                "#[cfg(test)]\nmod kit;\n#[cfg(all(test, unix))]\nmod more;\nmod real;\n",
            ),
            ("crates/a/src/kit.rs", "fn a() {}\n"),
            ("crates/a/src/kit/part.rs", "fn a() {}\n"),
            ("crates/a/src/more.rs", "fn a() {}\n"),
            ("crates/a/src/real.rs", "#[cfg(test)]\nmod proof;\n"),
            ("crates/a/src/real/proof.rs", "fn a() {}\n"),
            ("crates/a/tests/all.rs", "fn a() {}\n"),
        ]);
        let tests: Vec<&str> =
            Source::all(&tree).iter().filter(|source| source.all_tests).map(|source| source.path).collect();
        assert_eq!(
            tests,
            [
                "crates/a/src/kit.rs",
                "crates/a/src/kit/part.rs",
                "crates/a/src/more.rs",
                "crates/a/src/real/proof.rs",
                "crates/a/tests/all.rs"
            ]
        );
    }
}
