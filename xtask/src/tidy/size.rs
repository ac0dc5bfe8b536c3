//! Rule `size`: files and functions stay short enough to read in one go.

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use super::Finding;
use super::rust::Source;

/// Lines of a file without its tests.
const FILE_LINES: usize = 800;
/// Lines of a function, from its signature to its closing brace. About 70 is the aim; this is where it ends.
const FUNCTION_LINES: usize = 100;

/// Finds files and functions over the limits, outside tests.
pub(super) fn check(sources: &[Source<'_>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| !source.all_tests) {
        let lines = (1..=source.text.lines().count()).filter(|line| !source.is_test(*line)).count();
        if lines > FILE_LINES {
            let message = format!("has {lines} lines without its tests; the limit is {FILE_LINES}");
            findings.push(Finding::new(source.path, 0, "size", message));
        }
        let mut functions = Functions::default();
        functions.visit_file(&source.syntax);
        for function in functions.long.iter().filter(|function| !source.is_test(function.line)) {
            let message =
                format!("{} has {} lines; the limit is {FUNCTION_LINES}", function.name, function.lines);
            findings.push(Finding::new(source.path, function.line, "size", message));
        }
    }
    findings
}

#[derive(Default)]
struct Functions {
    long: Vec<Function>,
}

struct Function {
    name: String,
    line: usize,
    lines: usize,
}

impl Functions {
    fn note(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let line = signature.span().start().line;
        let lines = block.span().end().line + 1 - line;
        if lines > FUNCTION_LINES {
            self.long.push(Function { name: signature.ident.to_string(), line, lines });
        }
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.note(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.note(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::Tree;
    use super::*;

    fn function(lines: usize) -> String {
        format!("fn long() {{\n{}}}\n", "    work();\n".repeat(lines - 2))
    }

    fn messages(text: &str) -> Vec<String> {
        let tree = Tree::example(&[("crates/x/src/a.rs", text)]);
        check(&Source::all(&tree)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn at_the_limits_all_is_well() {
        assert_eq!(messages(&function(FUNCTION_LINES)), [""; 0]);
        assert_eq!(messages(&"fn a() {}\n".repeat(FILE_LINES)), [""; 0]);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}{}}}\n", function(200), "fn a() {}\n".repeat(900));
        assert_eq!(messages(&tests), [""; 0]);
    }

    #[test]
    fn one_line_more_is_too_long() {
        let method = format!("impl A {{\n{}}}\n", function(FUNCTION_LINES + 1));
        assert_eq!(messages(&method), ["crates/x/src/a.rs:2: long has 101 lines; the limit is 100 [size]"]);
        let file = "fn a() {}\n".repeat(FILE_LINES + 1);
        assert_eq!(
            messages(&file),
            ["crates/x/src/a.rs: has 801 lines without its tests; the limit is 800 [size]"]
        );
    }
}
