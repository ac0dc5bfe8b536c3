//! The files that the rules look at.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Text files by their path from the root, with `/` between names.
#[derive(Debug, Default)]
pub(super) struct Tree {
    files: BTreeMap<String, String>,
    /// Files that are not UTF-8, of which only the names matter.
    binary: Vec<String>,
}

impl Tree {
    /// Every file that git tracks, or would track if it were added, at `root`.
    pub(super) fn of_git(root: &Path) -> Result<Self> {
        let output = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(root)
            .output()
            .context("could not start git")?;
        if !output.status.success() {
            bail!("git ls-files: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let mut tree = Self::default();
        for name in String::from_utf8_lossy(&output.stdout).split('\0').filter(|name| !name.is_empty()) {
            // A tracked file that was deleted and not yet committed is still listed.
            let Ok(bytes) = std::fs::read(root.join(name)) else {
                continue;
            };
            match String::from_utf8(bytes) {
                Ok(text) => {
                    tree.files.insert(name.to_owned(), text);
                }
                Err(_) => tree.binary.push(name.to_owned()),
            }
        }
        Ok(tree)
    }

    /// All files with their text.
    pub(super) fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// The files whose names end with `ending`.
    pub(super) fn ending(&self, ending: &str) -> impl Iterator<Item = (&str, &str)> {
        self.files().filter(move |(path, _)| path.ends_with(ending))
    }

    /// The text of one file.
    pub(super) fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    /// Whether `path` is a file, or a directory with a file in it.
    pub(super) fn has(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        let inside =
            |name: &str| name == path || name.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
        path.is_empty() || self.files.keys().chain(&self.binary).any(|name| inside(name))
    }

    /// The directories of our crates, from their manifests. Fuzz targets inside a crate are no crates of the house.
    pub(super) fn crates(&self) -> impl Iterator<Item = &str> {
        self.ending("/Cargo.toml").filter_map(|(path, _)| {
            let directory = path.strip_suffix("/Cargo.toml")?;
            let name = directory.strip_prefix("crates/").unwrap_or(directory);
            let ours = name != directory && !name.contains('/') || directory == "xtask";
            ours.then_some(directory)
        })
    }

    /// A tree for an example.
    #[cfg(test)]
    pub(super) fn example(files: &[(&str, &str)]) -> Self {
        Self {
            files: files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect(),
            binary: Vec::new(),
        }
    }
}
