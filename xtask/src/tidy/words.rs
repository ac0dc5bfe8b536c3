//! Rules about single words: what is left for later (`later`), tests that do not run (`ignored`), waiting by the clock
//! in tests (`sleep`), clocks in pure crates (`clock`), and tasks that nobody owns (`spawn`; a local task belongs to the
//! set of its thread).

use super::Finding;
use super::rust::Source;
use super::tree::Tree;

/// Crates whose code gets the time as an argument.
const PURE: [&str; 6] =
    ["crates/model/", "crates/api/", "crates/mqtt-proto/", "crates/auth/", "crates/tree/", "crates/routes/"];

/// Measures tasks themselves, and ends with its process.
const BENCH: &str = "crates/bench/";
/// Words for work that was put off. Spelled in two halves so that this file passes its own rule.
const LATER: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
const IGNORED: &str = concat!("#[", "ignore");
const SLEEP: [&str; 2] = [concat!("thread::", "sleep("), concat!("time::", "sleep(")];
const CLOCK: [&str; 3] =
    [concat!("Instant::", "now"), concat!("SystemTime::", "now"), concat!("Timestamp::", "now")];
const SPAWN: [&str; 2] = [concat!("tokio::", "spawn("), concat!("tokio::task::", "spawn(")];

/// Finds the words, line by line.
pub(super) fn check(tree: &Tree, sources: &[Source<'_>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.files().filter(|(path, _)| is_ours(path)) {
        for (line, text) in numbered(text) {
            for word in LATER.iter().filter(|word| has_word(text, word)) {
                let message = format!("{word}: please do it, or write down elsewhere why not");
                findings.push(Finding::new(path, line, "later", message));
            }
        }
    }
    for source in sources {
        let pure = PURE.iter().any(|place| source.path.starts_with(place));
        for (line, text) in numbered(source.text) {
            let code = text.split("//").next().unwrap_or_default();
            let test = source.is_test(line);
            let mut note = |words: &[&str], rule, message: &str| {
                if words.iter().any(|word| code.contains(word)) {
                    findings.push(Finding::new(source.path, line, rule, message));
                }
            };
            note(&[IGNORED], "ignored", "a test that does not run proves nothing");
            if test {
                note(&SLEEP, "sleep", "a test waits for what it needs, not for the clock");
            } else if !source.path.starts_with(BENCH) {
                // Who keeps what spawning gives owns the task; a bare statement throws it away.
                let bare = SPAWN.into_iter().filter(|word| code.trim_start().starts_with(word));
                let bare: Vec<&str> = bare.collect();
                note(&bare, "spawn", "nobody owns this task: keep its handle, or say who waits for it");
            }
            if pure && !test {
                note(&CLOCK, "clock", "this crate is told the time by its caller");
            }
        }
    }
    findings
}

/// Lock files hold names of others.
fn is_ours(path: &str) -> bool {
    !["Cargo.lock", "package-lock.json", "LICENSE"].iter().any(|name| path.ends_with(name))
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

/// Whether `word` stands in `text` with no letter, digit or `_` beside it.
fn has_word(text: &str, word: &str) -> bool {
    let part_of_name = |character: char| character.is_alphanumeric() || character == '_';
    text.match_indices(word).any(|(start, _)| {
        let before = text[..start].chars().next_back();
        let after = text[start + word.len()..].chars().next();
        !before.is_some_and(part_of_name) && !after.is_some_and(part_of_name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(path: &str, text: &str) -> Vec<&'static str> {
        let tree = Tree::example(&[(path, text)]);
        check(&tree, &Source::all(&tree)).iter().map(|finding| finding.rule).collect()
    }

    #[test]
    fn bad_words_are_found() {
        let later = format!("// {}: more\n", LATER[0]);
        assert_eq!(rules("docs/a.md", &later), ["later"]);
        let ignored = format!("#[test]\n{IGNORED}]\nfn a() {{}}\n");
        assert_eq!(rules("crates/x/tests/a.rs", &ignored), ["ignored"]);
        let sleep = format!("fn a() {{ std::{}d); }}\n", SLEEP[0]);
        assert_eq!(rules("crates/x/tests/a.rs", &sleep), ["sleep"]);
        let clock = format!("fn a() {{ let _ = {}(); }}\n", CLOCK[0]);
        assert_eq!(rules("crates/tree/src/a.rs", &clock), ["clock"]);
        let spawn = format!("fn a() {{\n    {}b());\n}}\n", SPAWN[0]);
        assert_eq!(rules("crates/engine/src/a.rs", &spawn), ["spawn"]);
    }

    #[test]
    fn the_same_words_elsewhere_are_fine() {
        let name = format!("let MY{}LIST = 1; // a {}\n", LATER[0], LATER[0].to_lowercase());
        assert_eq!(rules("crates/x/src/a.rs", &name), [""; 0]);
        let sleep = format!("fn a() {{ std::{}d); }} // and in words: {}\n", SLEEP[0], SPAWN[0]);
        assert_eq!(rules("crates/x/src/a.rs", &sleep), [""; 0]);
        let clock = format!("fn a() {{ {}(); }}\n", CLOCK[0]);
        assert_eq!(rules("crates/net/src/a.rs", &clock), [""; 0]);
        assert_eq!(rules("crates/tree/tests/a.rs", &clock), [""; 0]);
        let kept = format!("fn a() {{\nlet task = {}b());\n}}\n", SPAWN[0]);
        assert_eq!(rules("crates/engine/src/a.rs", &kept), [""; 0]);
        let spawn = format!("#[cfg(test)]\nmod tests {{\nfn a() {{ {}b()); }}\n}}\n", SPAWN[0]);
        assert_eq!(rules("crates/engine/src/a.rs", &spawn), [""; 0]);
    }
}
