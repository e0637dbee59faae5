//! The pair descriptor in the operator's folder: signed by both regions, and of these two.

use super::Findings;
use crate::deployment::Deployment;
use crate::region::{PairCheck, RegionFolder, read_pair, verify_pair};
use std::path::PathBuf;
use wire::NodeId;
use wire::descriptor::PAIR_DESCRIPTOR_FILE;

const OURS: &str = "certificates";

pub(super) fn run(deployment: &Deployment, findings: &mut Findings) {
    let Some(region) = deployment.region.as_ref().filter(|region| region.pair_operator().exists()) else {
        return;
    };
    let advice = "`twinkeep pair make` makes a new one; bring each node its folder again";
    match verify_pair(&region.pair_descriptor(), &PairCheck::Region(region)) {
        Ok(pair) => {
            let descriptor = pair.descriptor();
            let [first, second] = [0, 1].map(|side| descriptor.regions[side].name.as_str());
            findings.ok(
                OURS,
                format!(
                    "{first} and {second} are a pair in jurisdiction {}, environment {}: both signed descriptor {}",
                    descriptor.jurisdiction, descriptor.environment, descriptor.serial
                ),
            );
        }
        Err(error) => {
            findings.failure(OURS, "TK-C022", format!("the pair descriptor does not hold: {error}"), advice);
            return;
        }
    }
    let other: Vec<String> =
        differing(region, deployment).iter().map(|path| path.display().to_string()).collect();
    if !other.is_empty() {
        let message = format!("not the descriptor of this pair: {}", other.join(", "));
        findings.failure(OURS, "TK-C022", message, advice);
    }
    let (with, without): (Vec<NodeId>, Vec<NodeId>) = deployment
        .descriptor
        .nodes
        .iter()
        .map(|node| node.id)
        .partition(|node| region.pair_node(*node).exists());
    // a part of the operator's folder has none of them
    if !with.is_empty() && !without.is_empty() {
        let nodes: Vec<String> = without.iter().map(NodeId::to_string).collect();
        let message = format!(
            "no identity in the other region: node {}; groups that it leads are not shipped",
            nodes.join(", ")
        );
        findings.failure(OURS, "TK-C022", message, advice);
    }
}

/// Copies that are not as the descriptor above them.
fn differing(region: &RegionFolder, deployment: &Deployment) -> Vec<PathBuf> {
    let wanted = read_pair(&region.pair_descriptor()).ok();
    let folders = deployment.descriptor.nodes.iter().map(|node| region.pair_node(node.id));
    // a node without a folder is told of apart
    let copies = folders.filter(|folder| folder.exists()).map(|folder| folder.join(PAIR_DESCRIPTOR_FILE));
    copies.filter(|copy| read_pair(copy).ok() != wanted).collect()
}
