//! Rule `cycles`: the top-level modules of a crate use each other in one direction.
//!
//! An arrow from module `a` to module `b` is any path in `a` that starts with `crate::b`, or with as many `super` as
//! lead to the root and then `b`. Tests are left out: they may look at everything.

use std::collections::{BTreeMap, BTreeSet};

use syn::visit::{self, Visit};

use super::Finding;
use super::rust::{Source, only_for_tests};
use super::tree::Tree;

/// Top-level modules of one crate, and whom each uses.
type Graph<'a> = BTreeMap<&'a str, BTreeSet<String>>;

/// Finds modules that use each other in a circle.
pub(super) fn check(tree: &Tree, sources: &[Source<'_>]) -> Vec<Finding> {
    tree.crates()
        .filter_map(|directory| {
            let own = sources.iter().filter(|source| !source.all_tests && in_src(source.path, directory));
            let mut graph = Graph::new();
            for source in own {
                let Some(module) = source.module() else {
                    continue;
                };
                // The root of the crate ties the modules together: it may name all of them.
                if let Some(top) = module.first() {
                    graph.entry(top).or_default().extend(used_by(source, &module));
                }
            }
            circle(&graph).map(|names| {
                let message = format!("modules use each other in a circle: {}", names.join(" -> "));
                Finding::new(&format!("{directory}/src"), 0, "cycles", message)
            })
        })
        .collect()
}

fn in_src(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.starts_with("/src/"))
}

/// The first segments, seen from the root of the crate, of every path in `source`.
fn used_by(source: &Source<'_>, module: &[&str]) -> BTreeSet<String> {
    let mut paths = Paths { depth: module.len(), found: BTreeSet::new() };
    paths.visit_file(&source.syntax);
    paths.found.remove(module.first().copied().unwrap_or_default());
    paths.found
}

struct Paths {
    /// How many `super` lead to the root.
    depth: usize,
    found: BTreeSet<String>,
}

impl Paths {
    /// Notes what follows `crate` or enough `super` in a path of single names.
    fn note(&mut self, names: &[String]) {
        let ups = names.iter().take_while(|name| *name == "super").count();
        let from_root = match names.first().map(String::as_str) {
            Some("crate") => names.get(1),
            _ if ups > 0 && ups == self.depth => names.get(ups),
            _ => None,
        };
        self.found.extend(from_root.cloned());
    }

    fn note_use(&mut self, before: &[String], tree: &syn::UseTree) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => self.note_use(&with(&path.ident), &path.tree),
            syn::UseTree::Group(group) => group.items.iter().for_each(|item| self.note_use(before, item)),
            syn::UseTree::Name(name) => self.note(&with(&name.ident)),
            syn::UseTree::Rename(name) => self.note(&with(&name.ident)),
            syn::UseTree::Glob(_) => self.note(before),
        }
    }
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if !only_for_tests(&item.attrs) {
            self.note_use(&[], &item.tree);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.note(&names);
        visit::visit_path(self, path);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if only_for_tests(&item.attrs) {
            return;
        }
        self.depth += 1;
        visit::visit_item_mod(self, item);
        self.depth -= 1;
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if !only_for_tests(&item.attrs) {
            visit::visit_item_fn(self, item);
        }
    }
}

/// The first circle, by name, with its start repeated at the end.
fn circle(graph: &Graph<'_>) -> Option<Vec<String>> {
    graph.keys().find_map(|start| {
        let mut trail = vec![(*start).to_owned()];
        way_back(graph, start, &mut trail, &mut BTreeSet::new()).then_some(trail)
    })
}

/// Extends `trail` to lead back to `start`, if a way does.
fn way_back(graph: &Graph<'_>, start: &str, trail: &mut Vec<String>, seen: &mut BTreeSet<String>) -> bool {
    let here = trail.last().cloned().unwrap_or_default();
    for next in graph.get(here.as_str()).into_iter().flatten() {
        if next == start {
            trail.push(next.clone());
            return true;
        }
        if graph.contains_key(next.as_str()) && seen.insert(next.clone()) {
            trail.push(next.clone());
            if way_back(graph, start, trail, seen) {
                return true;
            }
            trail.pop();
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(files: &[(&str, &str)]) -> Vec<String> {
        let mut all = vec![("crates/x/Cargo.toml", "[package]\n")];
        all.extend(files);
        let tree = Tree::example(&all);
        check(&tree, &Source::all(&tree)).into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn one_direction_is_fine() {
        let files = [
            ("crates/x/src/lib.rs", "mod a; mod b;\npub use a::A;\n"),
            ("crates/x/src/a.rs", "use crate::b::{B, C};\nuse crate::Thing;\n"),
            ("crates/x/src/b.rs", "mod inner;\n#[cfg(test)]\nmod tests { use crate::a::A; }\n"),
            ("crates/x/src/b/inner.rs", "use super::B;\n"),
            ("crates/x/src/b/tests.rs", "use crate::a::A;\n"),
        ];
        assert_eq!(messages(&files), [""; 0]);
    }

    #[test]
    fn circles_are_found_through_every_kind_of_path() {
        let back = [
            "use crate::a;",
            "use crate::{other, a::{A, B}};",
            "use super::a::A;",
            "fn f() -> crate::a::A { todo() }",
            "mod inner { use super::super::a::A; }",
        ];
        for text in back {
            let files = [("crates/x/src/a.rs", "use crate::b::B;\n"), ("crates/x/src/b.rs", text)];
            assert_eq!(messages(&files), ["modules use each other in a circle: a -> b -> a"], "{text}");
        }
        let long = [
            ("crates/x/src/a.rs", "use super::b::B;"),
            ("crates/x/src/b/mod.rs", "mod deep;"),
            ("crates/x/src/b/deep.rs", "use super::super::c::C;"),
            ("crates/x/src/c.rs", "use crate::a::A;"),
        ];
        assert_eq!(messages(&long), ["modules use each other in a circle: a -> b -> c -> a"]);
    }
}
