//! Where settings are said: a file, the environment, the command line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Problem;

/// The prefix of variables that are settings: `DOVETAIL__HISTORY__AGE` is `history.age`.
const PREFIX: &str = "DOVETAIL__";

/// What the command line says.
#[derive(Clone, Debug, Default)]
pub struct Arguments {
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--data`.
    pub data: Option<PathBuf>,
    /// `--listen`, as often as given.
    pub listen: Vec<String>,
}

/// A setting as it was written.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Written {
    Text(String),
    Number(i64),
    List(Vec<String>),
    /// Something that no setting is; what it is called.
    Other(&'static str),
}

/// Settings by their dotted names, each with where it was said.
pub(super) type Said = BTreeMap<String, (Written, String)>;

pub(super) fn gather(
    arguments: &Arguments,
    environment: impl Iterator<Item = (String, String)>,
    problems: &mut Vec<Problem>,
) -> Said {
    let mut said = Said::new();
    if let Some(path) = &arguments.config {
        read_file(path, &mut said, problems);
    }
    for (name, value) in environment {
        if let Some(key) = name.strip_prefix(PREFIX) {
            let key = key.to_lowercase().replace("__", ".");
            said.insert(key, (written_in_environment(&value), name));
        }
    }
    if let Some(data) = &arguments.data {
        let text = data.to_string_lossy().into_owned();
        said.insert("data".to_owned(), (Written::Text(text), "--data".to_owned()));
    }
    if !arguments.listen.is_empty() {
        said.insert("listen".to_owned(), (Written::List(arguments.listen.clone()), "--listen".to_owned()));
    }
    said
}

fn written_in_environment(value: &str) -> Written {
    match value.parse() {
        Ok(number) => Written::Number(number),
        Err(_) => Written::Text(value.to_owned()),
    }
}

fn read_file(path: &Path, said: &mut Said, problems: &mut Vec<Problem>) {
    let name = path.display();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            problems.push(Problem {
                origin: "--config".to_owned(),
                message: format!("cannot read {name}: {error}"),
            });
            return;
        }
    };
    match DeTable::parse(&text) {
        Ok(table) => {
            flatten(table.get_ref(), "", &|offset| format!("{name}:{}", line_of(&text, offset)), said);
        }
        Err(error) => {
            let line = error.span().map_or(1, |span| line_of(&text, span.start));
            let message = format!("not TOML: {}", error.message());
            problems.push(Problem { origin: format!("{name}:{line}"), message });
        }
    }
}

fn flatten(table: &DeTable<'_>, prefix: &str, origin: &dyn Fn(usize) -> String, said: &mut Said) {
    for (key, value) in table {
        let name = format!("{prefix}{}", key.get_ref().replace('-', "_"));
        match value.get_ref() {
            DeValue::Table(inner) => flatten(inner, &format!("{name}."), origin, said),
            other => {
                said.insert(name, (written(other), origin(key.span().start)));
            }
        }
    }
}

fn written(value: &DeValue<'_>) -> Written {
    match value {
        DeValue::String(text) => Written::Text(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or(Written::Other("a number that is too large"), Written::Number),
        DeValue::Array(items) => {
            let texts = items.iter().map(Spanned::get_ref).map(|item| match item {
                DeValue::String(text) => Some(text.to_string()),
                _ => None,
            });
            texts.collect::<Option<_>>().map_or(Written::Other("a list that is not of texts"), Written::List)
        }
        DeValue::Float(_) => Written::Other("a fraction"),
        DeValue::Boolean(_) => Written::Other("true or false"),
        DeValue::Datetime(_) => Written::Other("a date"),
        DeValue::Table(_) => Written::Other("a table"),
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text[..offset.min(text.len())].bytes().filter(|&byte| byte == b'\n').count() + 1
}
