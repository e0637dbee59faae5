//! Rules of dependencies: who may know whom. A missing edge is a security claim, so it is checked against what cargo resolves.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::house::Finding;
use crate::tools;
use crate::trouble::{Outcome, Trouble};

/// The packages each package depends on, by name; development dependencies left out, build dependencies kept.
#[derive(Debug, Default, Clone)]
pub struct Graph {
    edges: BTreeMap<String, BTreeSet<String>>,
    members: BTreeSet<String>,
}

/// Packages from which others must not be reachable.
const UNREACHABLE: &[(&str, &[&str])] = &[
    ("replication", &["envelope", "aes-gcm-siv", "pseudo", "risk", "custody", "store-node"]),
    ("wire", LEAVES_NEVER_REACH),
    ("envelope", LEAVES_NEVER_REACH),
    ("trust", LEAVES_NEVER_REACH),
    ("pkcs11", LEAVES_NEVER_REACH),
    ("plan", LEAVES_NEVER_REACH),
    ("audit", LEAVES_NEVER_REACH),
    ("risk", LEAVES_NEVER_REACH),
    ("custody", LEAVES_NEVER_REACH),
    ("transform", LEAVES_NEVER_REACH),
    ("policy", LEAVES_NEVER_REACH),
    ("pipeline", LEAVES_NEVER_REACH),
    ("client", &["replication", "store-node", "pseudo", "risk", "custody", "sled", "openraft"]),
    ("store-node", &["pseudo", "risk", "custody"]),
    ("pseudo", &["replication", "store-node"]),
];
/// Leaves do no I/O: none of the crates that do may be below them.
const LEAVES_NEVER_REACH: &[&str] =
    &["tokio", "sled", "openraft", "hyper", "mio", "socket2", "replication", "store-node"];
/// Crates that one workspace member alone may depend on directly.
const ONLY: &[(&str, &str)] = &[
    ("aes-gcm-siv", "envelope"),
    ("cryptoki", "pkcs11"),
    ("sled", "replication"),
    ("openraft", "replication"),
];

impl Graph {
    /// The graph that cargo resolves for this workspace.
    pub fn of_workspace() -> Outcome<Self> {
        let mut command = tools::cargo();
        command.args(["metadata", "--format-version", "1", "--locked"]);
        let output = tools::expect_success(&mut command, "read the dependencies")?;
        let json = serde_json::from_slice(&output.stdout);
        Self::from_metadata(
            &json.map_err(|error| Trouble::new(format!("cargo's metadata is not JSON: {error}")))?,
        )
    }

    fn from_metadata(metadata: &Value) -> Outcome<Self> {
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let names: BTreeMap<String, String> = list(&metadata["packages"])
            .iter()
            .map(|package| (text(&package["id"]), text(&package["name"])))
            .collect();
        let name_of = |id: &Value| names.get(&text(id)).cloned().unwrap_or_default();
        let mut graph = Graph::default();
        for node in list(&metadata["resolve"]["nodes"]) {
            let from = name_of(&node["id"]);
            for dependency in list(&node["deps"]) {
                let kinds = list(&dependency["dep_kinds"]);
                if kinds.iter().any(|kind| kind["kind"].as_str() != Some("dev")) {
                    graph.add(&from, &name_of(&dependency["pkg"]));
                }
            }
        }
        graph.members = list(&metadata["workspace_members"]).iter().map(name_of).collect();
        if graph.edges.is_empty() || graph.members.is_empty() {
            return Err(Trouble::new(
                "cargo's metadata holds no dependencies: this check would prove nothing",
            ));
        }
        Ok(graph)
    }

    /// All findings of all rules of this module.
    pub fn check(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (from, forbidden) in UNREACHABLE {
            let reached = self.reachable(from);
            for package in forbidden.iter().filter(|package| reached.contains(**package)) {
                let rule = "this package must never be reachable from that one";
                findings.push(Finding { rule, place: format!("{from} -> {package}") });
            }
        }
        for (package, owner) in ONLY {
            for member in self.members.iter().filter(|member| member != owner) {
                if self.edges.get(member).is_some_and(|edges| edges.contains(*package)) {
                    let rule = "only one member may depend on this package";
                    findings.push(Finding {
                        rule,
                        place: format!("{member} -> {package}, which is {owner}'s alone"),
                    });
                }
            }
        }
        findings
    }

    fn add(&mut self, from: &str, to: &str) {
        self.edges.entry(from.to_owned()).or_default().insert(to.to_owned());
    }

    fn reachable(&self, from: &str) -> BTreeSet<String> {
        let mut reached = BTreeSet::new();
        let mut next = vec![from.to_owned()];
        while let Some(package) = next.pop() {
            for to in self.edges.get(&package).into_iter().flatten() {
                if reached.insert(to.clone()) {
                    next.push(to.clone());
                }
            }
        }
        reached
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(&str, &str)]) -> Graph {
        let mut graph = Graph::default();
        for (from, to) in edges {
            graph.add(from, to);
            graph.members.insert((*from).to_owned());
        }
        graph
    }

    #[test]
    fn a_clean_graph_has_no_finding() {
        let clean =
            graph(&[("replication", "wire"), ("store-node", "envelope"), ("envelope", "aes-gcm-siv")]);
        assert_eq!(clean.check(), []);
    }

    #[test]
    fn each_planted_edge_is_caught() {
        let planted: [&[(&str, &str)]; 9] = [
            &[("replication", "wire"), ("wire", "envelope"), ("envelope", "aes-gcm-siv")],
            &[("wire", "bytes"), ("bytes", "tokio")],
            &[("client", "replication")],
            &[("client", "risk")],
            &[("store-node", "pseudo")],
            &[("risk", "bytes"), ("bytes", "tokio")],
            &[("store-node", "aes-gcm-siv")],
            &[("store-node", "sled")],
            &[("store-node", "transform"), ("transform", "custody")],
        ];
        for edges in planted {
            assert!(!graph(edges).check().is_empty(), "{edges:?}");
        }
    }
}
