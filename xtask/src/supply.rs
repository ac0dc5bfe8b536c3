//! What the workspace depends on: licences and banned crates, read from `deny.toml`.
//!
//! `cargo-deny` reads the same file and checks more (advisories, sources) where it is installed. It takes minutes to
//! build, so this much of it is checked everywhere.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// The parts of `deny.toml` that are checked here.
#[derive(Debug, Deserialize)]
struct Rules {
    licenses: Licences,
    bans: Bans,
}

#[derive(Debug, Deserialize)]
struct Licences {
    allow: Vec<String>,
    #[serde(default)]
    exceptions: Vec<Exception>,
}

/// Further licences for one crate.
#[derive(Debug, Deserialize)]
struct Exception {
    #[serde(rename = "crate")]
    name: String,
    allow: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Bans {
    #[serde(default)]
    deny: Vec<Ban>,
}

/// A crate that only `wrappers` may depend on; nobody, if there are none.
#[derive(Debug, Deserialize)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
    #[serde(default)]
    wrappers: Vec<String>,
    reason: String,
}

/// The parts of `cargo metadata` that are read.
#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Debug, Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Debug, Deserialize)]
struct DependencyKind {
    /// `dev`, `build`, or nothing for the usual kind.
    kind: Option<String>,
}

impl Dependency {
    /// Whether it is more than a help of tests, which may look behind every wall.
    fn is_built_in(&self) -> bool {
        self.dep_kinds.iter().any(|kind| kind.kind.as_deref() != Some("dev"))
    }
}

/// Checks every package that the lock file names.
pub(crate) fn run(root: &Path) -> Result<()> {
    let rules = std::fs::read_to_string(root.join("deny.toml")).context("could not read deny.toml")?;
    let rules: Rules = toml::from_str(&rules).context("could not read deny.toml")?;
    let output = Command::new("cargo")
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(root)
        .output()
        .context("could not start cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let metadata: Metadata =
        serde_json::from_slice(&output.stdout).context("could not read cargo metadata")?;
    let mut findings = licences(&rules.licenses, &metadata.packages);
    findings.extend(bans(&rules.bans, &metadata));
    if findings.is_empty() {
        return Ok(());
    }
    bail!("{}", findings.join("\n"))
}

fn licences(rules: &Licences, packages: &[Package]) -> Vec<String> {
    packages
        .iter()
        .filter_map(|package| {
            let more = rules
                .exceptions
                .iter()
                .filter(|exception| exception.name == package.name)
                .flat_map(|exception| &exception.allow);
            let allowed: Vec<&str> = rules.allow.iter().chain(more).map(String::as_str).collect();
            let licence = package.license.as_deref().unwrap_or("none");
            let fine = permits(licence, &allowed);
            (!fine).then(|| {
                format!(
                    "deny.toml: {} {} has the licence \"{licence}\", which [licenses] does not allow",
                    package.name, package.version
                )
            })
        })
        .collect()
}

fn bans(rules: &Bans, metadata: &Metadata) -> Vec<String> {
    let names: BTreeMap<&str, &str> =
        metadata.packages.iter().map(|package| (package.id.as_str(), package.name.as_str())).collect();
    let mut findings = Vec::new();
    for ban in &rules.deny {
        for node in &metadata.resolve.nodes {
            let user = names.get(node.id.as_str()).copied().unwrap_or_default();
            let is_it =
                |dependency: &&Dependency| names.get(dependency.pkg.as_str()) == Some(&ban.name.as_str());
            let uses = node.deps.iter().filter(is_it).any(Dependency::is_built_in);
            if uses && !ban.wrappers.iter().any(|wrapper| wrapper == user) {
                findings.push(format!("deny.toml: {user} depends on {}: {}", ban.name, ban.reason));
            }
        }
    }
    findings
}

/// Whether an SPDX expression (`MIT OR (Apache-2.0 AND ISC)`; `/` is an old form of `OR`) can be met with `allowed`.
fn permits(expression: &str, allowed: &[&str]) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut parser = Spdx { tokens: &tokens, allowed };
    let permitted = parser.any();
    // What is left over was not understood.
    permitted && parser.tokens.is_empty()
}

/// Reads an expression from left to right; `AND` binds closer than `OR`.
struct Spdx<'a> {
    tokens: &'a [&'a str],
    allowed: &'a [&'a str],
}

impl<'a> Spdx<'a> {
    fn any(&mut self) -> bool {
        let mut permitted = self.all();
        while self.take("OR") {
            permitted |= self.all();
        }
        permitted
    }

    fn all(&mut self) -> bool {
        let mut permitted = self.one();
        while self.take("AND") {
            permitted &= self.one();
        }
        permitted
    }

    fn one(&mut self) -> bool {
        if self.take("(") {
            let permitted = self.any();
            return self.take(")") && permitted;
        }
        let Some(name) = self.next() else {
            return false;
        };
        if self.take("WITH") {
            // An exception only adds permissions.
            self.next();
        }
        // "or any later version" contains the version itself.
        self.allowed.contains(&name.trim_end_matches('+'))
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.tokens.first() == Some(&token);
        if found {
            self.next();
        }
        found
    }

    fn next(&mut self) -> Option<&'a str> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licence_expressions_are_read_as_spdx_means_them() {
        let allowed = ["MIT", "ISC"];
        for good in [
            "MIT",
            "GPL-3.0 OR MIT",
            "Apache-2.0/MIT",
            "MIT AND ISC",
            "(GPL-3.0 OR ISC) AND MIT",
            "MIT WITH X",
        ] {
            assert!(permits(good, &allowed), "{good}");
        }
        for bad in
            ["GPL-3.0", "MIT AND GPL-3.0", "", "MIT MIT", "(MIT", "none", "(GPL-3.0 OR ISC) AND GPL-3.0"]
        {
            assert!(!permits(bad, &allowed), "{bad}");
        }
    }

    fn package(name: &str, licence: Option<&str>) -> Package {
        Package {
            id: format!("id of {name}"),
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            license: licence.map(str::to_owned),
        }
    }

    #[test]
    fn an_exception_is_for_one_crate() {
        let rules = Licences {
            allow: vec!["MIT".to_owned()],
            exceptions: vec![Exception { name: "map".to_owned(), allow: vec!["MPL-2.0".to_owned()] }],
        };
        let packages =
            [package("map", Some("MPL-2.0")), package("other", Some("MPL-2.0")), package("bare", None)];
        let findings = licences(&rules, &packages);
        assert_eq!(findings.len(), 2, "{findings:?}");
        assert!(findings[0].contains("other 1.0.0"));
        assert!(findings[1].contains("bare 1.0.0"));
    }

    #[test]
    fn a_banned_crate_may_be_used_by_its_wrappers_alone() {
        let rules = Bans {
            deny: vec![Ban {
                name: "engine".to_owned(),
                wrappers: vec!["door".to_owned()],
                reason: "doors only".to_owned(),
            }],
        };
        let node = |user: &str, kind: Option<&str>| {
            let dep_kinds = vec![DependencyKind { kind: kind.map(str::to_owned) }];
            let deps = vec![Dependency { pkg: "id of engine".to_owned(), dep_kinds }];
            Node { id: format!("id of {user}"), deps }
        };
        let metadata = Metadata {
            packages: ["engine", "door", "model", "tree"].map(|name| package(name, None)).into(),
            resolve: Resolve {
                nodes: vec![node("door", None), node("model", None), node("tree", Some("dev"))],
            },
        };
        assert_eq!(bans(&rules, &metadata), ["deny.toml: model depends on engine: doors only"]);
    }
}
