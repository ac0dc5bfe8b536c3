//! Rule `layers`: a crate depends on lower layers only.

use super::Finding;
use super::tree::Tree;

/// Where the rule is explained.
const ADR: &str = "docs/adr/0001-layers.md";

/// What our crates are called, and on which floor of the house they stand.
const LAYERS: [(&str, u8); 21] = [
    ("dovetail-model", 1),
    ("dovetail-mqtt-proto", 2),
    ("dovetail-signalr-proto", 2),
    ("dovetail-api", 2),
    ("dovetail-auth", 3),
    ("dovetail-tree", 3),
    ("dovetail-routes", 3),
    ("dovetail-journal", 3),
    ("dovetail-engine", 4),
    ("dovetail-net", 4),
    ("dovetail-calls", 5),
    ("dovetail-door-http", 6),
    ("dovetail-door-mqtt", 6),
    ("dovetail-door-ws", 6),
    ("dovetail-door-signalr", 6),
    ("dovetail-gateway", 6),
    ("dovetail-client", 6),
    ("dovetail-cli", 7),
    ("dovetail-bench", 7),
    ("dovetail-server", 8),
    // Outside the house, looking at all of it.
    ("dovetail-tests", 9),
];

/// Crates that know nothing of ours, so that others can use them and fuzzers can hold them alone.
const ALONE: [&str; 3] = ["dovetail-mqtt-proto", "dovetail-signalr-proto", "xtask"];

/// Finds arrows that point up or sideways.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    tree.crates()
        .flat_map(|directory| {
            let manifest = format!("{directory}/Cargo.toml");
            of_manifest(&manifest, tree.text(&manifest).unwrap_or_default())
        })
        .collect()
}

fn of_manifest(path: &str, text: &str) -> Vec<Finding> {
    let finding = |line, message: String| Finding::new(path, line, "layers", message);
    let table: toml::Table = match text.parse() {
        Ok(table) => table,
        Err(error) => return vec![finding(0, format!("is no TOML: {error}"))],
    };
    let Some(name) =
        table.get("package").and_then(|package| package.get("name")).and_then(toml::Value::as_str)
    else {
        return vec![finding(0, "has no package name".to_owned())];
    };
    let own = layer(name);
    if own.is_none() && !ALONE.contains(&name) {
        let message =
            format!("{name} has no layer: give it one in xtask/src/tidy/layers.rs and say why in {ADR}");
        return vec![finding(0, message)];
    }
    dependencies(&table)
        .into_iter()
        .filter_map(|dependency| {
            let line = line_of(text, &dependency);
            if ALONE.contains(&name) {
                return Some(finding(line, format!("{name} -> {dependency}: {name} stands alone ({ADR})")));
            }
            match (own?, layer(&dependency)) {
                (from, Some(to)) if to < from => None,
                (from, Some(to)) => Some(finding(
                    line,
                    format!(
                        "{name} (layer {from}) -> {dependency} (layer {to}): arrows point down only ({ADR})"
                    ),
                )),
                (_, None) => Some(finding(line, format!("{dependency} has no layer ({ADR})"))),
            }
        })
        .collect()
}

fn layer(name: &str) -> Option<u8> {
    LAYERS.iter().find(|(known, _)| *known == name).map(|(_, layer)| *layer)
}

/// Our crates among the dependencies of every kind and target.
fn dependencies(table: &toml::Table) -> Vec<String> {
    let mut found = Vec::new();
    for (key, value) in table {
        let Some(value) = value.as_table() else {
            continue;
        };
        if key.ends_with("dependencies") {
            found.extend(value.keys().filter(|name| name.starts_with("dovetail-")).cloned());
        } else if key == "target" {
            found.extend(value.values().filter_map(toml::Value::as_table).flat_map(dependencies));
        }
    }
    found
}

fn line_of(text: &str, dependency: &str) -> usize {
    let names =
        |line: &str| line.strip_prefix(dependency).is_some_and(|rest| rest.starts_with(['.', ' ', '=']));
    text.lines().position(names).map_or(0, |index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(name: &str, rest: &str) -> Vec<String> {
        let manifest = format!("[package]\nname = \"{name}\"\n{rest}");
        let tree = Tree::example(&[("crates/x/Cargo.toml", &manifest)]);
        check(&tree).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn arrows_down_are_fine() {
        let rest = "[dependencies]\ndovetail-model.workspace = true\ndovetail-engine.workspace = true\nbytes = \"1\"\n";
        assert_eq!(messages("dovetail-door-http", rest), [""; 0]);
        assert_eq!(messages("xtask", "[dependencies]\nsyn = \"3\"\n"), [""; 0]);
    }

    #[test]
    fn arrows_up_and_sideways_are_named_with_the_rule() {
        let up = messages("dovetail-model", "[dependencies]\ndovetail-engine.workspace = true\n");
        assert_eq!(
            up,
            [
                "crates/x/Cargo.toml:4: dovetail-model (layer 1) -> dovetail-engine (layer 4): arrows point down only (docs/adr/0001-layers.md) [layers]"
            ]
        );
        let sideways =
            messages("dovetail-door-http", "[dev-dependencies]\ndovetail-door-mqtt = { path = \"..\" }\n");
        assert!(sideways[0].contains("dovetail-door-http (layer 6) -> dovetail-door-mqtt (layer 6)"));
        let hidden = messages(
            "dovetail-tree",
            "[target.'cfg(unix)'.dependencies]\ndovetail-routes.workspace = true\n",
        );
        assert_eq!(hidden.len(), 1);
    }

    #[test]
    fn protocol_crates_stand_alone_and_new_crates_need_a_layer() {
        let alone = messages("dovetail-mqtt-proto", "[dependencies]\ndovetail-model.workspace = true\n");
        assert!(alone[0].contains("stands alone"));
        assert!(messages("dovetail-annex", "")[0].contains("has no layer"));
    }
}
