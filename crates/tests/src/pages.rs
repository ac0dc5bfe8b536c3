//! The commands in Markdown pages, and what the page says about running them.
//!
//! Blocks marked as `sh` are run in order, in one directory, against one server a page. A comment on the line before a
//! block says otherwise:
//!
//! * `<!-- test: skip REASON -->`: not run.
//! * `<!-- test: background -->`: started, left running, and ended with the page. It must still run, or have ended
//!   well, when the page ends.
//! * `<!-- test: prints TEXT -->`: what it prints contains the text.
//! * `<!-- test: fails -->`: it ends with an error, as the page explains.
//!
//! `<!-- test: server ARGUMENTS -->` anywhere on the page starts the page's server with more arguments;
//! `<!-- test: no server -->` starts none. Commands find the server where the page says it is, at port 1883 or 8080 of
//! localhost, because those are replaced by the real address before they run.

use std::ops::Range;

/// A page that is run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Arguments of its server; `None` for no server.
    pub server: Option<Vec<String>>,
    /// Its blocks.
    pub blocks: Vec<Block>,
}

/// A block of commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The line of its first command, from 1.
    pub line: usize,
    /// The commands.
    pub script: String,
    /// What to do with it.
    pub kind: Kind,
}

/// What to do with a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Run it to its end.
    Run,
    /// Leave it running.
    Background,
    /// Run it, and look for this in what it prints.
    Prints(String),
    /// Run it; it has to fail.
    Fails,
    /// Leave it out.
    Skip,
}

/// Why a page cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct Unclear {
    line: usize,
    reason: String,
}

/// Reads a page.
pub fn read(text: &str) -> Result<Page, Unclear> {
    let lines: Vec<&str> = text.lines().collect();
    let mut page = Page { server: Some(Vec::new()), blocks: Vec::new() };
    let mut kind = None;
    let mut index = 0;
    while index < lines.len() {
        let line = lines[index].trim();
        if let Some(words) = marker(line) {
            match read_marker(words, &mut page).map_err(|reason| Unclear { line: index + 1, reason })? {
                Some(found) => kind = Some((index + 1, found)),
                None => kind = None,
            }
        } else if let Some(language) = line.strip_prefix("```") {
            let block = block(&lines, index);
            if language == "sh" {
                let script = lines[block.clone()].join("\n");
                let (_, kind) = kind.take().unwrap_or((0, Kind::Run));
                page.blocks.push(Block { line: block.start + 1, script, kind });
            }
            index = block.end;
        } else if !line.is_empty()
            && let Some((line, _)) = kind.take()
        {
            return Err(Unclear { line, reason: "no block follows".to_owned() });
        }
        index += 1;
    }
    Ok(page)
}

/// What the comment says, if it is one for us.
fn marker(line: &str) -> Option<&str> {
    Some(line.strip_prefix("<!-- test:")?.strip_suffix("-->")?.trim())
}

fn read_marker(words: &str, page: &mut Page) -> Result<Option<Kind>, String> {
    let (first, rest) = words.split_once(' ').unwrap_or((words, ""));
    match (first, rest.trim()) {
        ("skip", "") => Err("skip needs a reason".to_owned()),
        ("skip", _) => Ok(Some(Kind::Skip)),
        ("background", "") => Ok(Some(Kind::Background)),
        ("prints", text) if !text.is_empty() => Ok(Some(Kind::Prints(text.to_owned()))),
        ("fails", "") => Ok(Some(Kind::Fails)),
        ("server", arguments) => {
            page.server = Some(arguments.split_whitespace().map(str::to_owned).collect());
            Ok(None)
        }
        ("no", "server") => {
            page.server = None;
            Ok(None)
        }
        _ => Err(format!("\"{words}\" is nothing to test")),
    }
}

/// The lines inside the fence that starts at `fence`.
fn block(lines: &[&str], fence: usize) -> Range<usize> {
    let start = fence + 1;
    let length = lines[start..].iter().take_while(|line| !line.trim().starts_with("```")).count();
    start..start + length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_with_what_the_page_says_of_them() {
        let page = read(
            "# A\n<!-- test: server --history 5 -->\n```sh\none\ntwo\n```\ntext\n<!-- test: prints hello -->\n\n```sh\nthree\n```\n\
             ```json\n{}\n```\n<!-- test: skip needs a browser -->\n```sh\nfour\n```\n<!-- test: background -->\n```sh\nfive\n```\n",
        );
        let block = |line, script: &str, kind| Block { line, script: script.to_owned(), kind };
        let expected = Page {
            server: Some(vec!["--history".to_owned(), "5".to_owned()]),
            blocks: vec![
                block(4, "one\ntwo", Kind::Run),
                block(11, "three", Kind::Prints("hello".to_owned())),
                block(18, "four", Kind::Skip),
                block(22, "five", Kind::Background),
            ],
        };
        assert_eq!(page, Ok(expected));
        assert_eq!(read("<!-- test: no server -->\n").unwrap().server, None);
    }

    #[test]
    fn what_is_unclear_is_refused() {
        for bad in [
            "<!-- test: skip -->\n```sh\na\n```\n",
            "<!-- test: someday -->\n```sh\na\n```\n",
            "<!-- test: fails -->\ntext between\n```sh\na\n```\n",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
