//! The first placement of a region's groups.

use crate::{NodeFacts, load::Load};
use std::collections::BTreeMap;
use thiserror::Error;
use wire::NodeId;

/// Why there is no plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PlanError {
    /// Each copy needs a node of its own.
    #[error("{replication} copies need as many nodes; there are {nodes}")]
    TooFewNodes {
        /// How many there are.
        nodes: usize,
        /// How many copies are asked for.
        replication: usize,
    },
}

/// Places `groups` groups: each on `replication` nodes, in as many zones as there are, and nodes filled in proportion
/// to their capacity as far as zones allow.
pub fn place_groups(
    nodes: &[NodeFacts],
    groups: usize,
    replication: usize,
) -> Result<Vec<Vec<NodeId>>, PlanError> {
    let mut load = Load::new(nodes);
    if load.len() < replication {
        return Err(PlanError::TooFewNodes { nodes: load.len(), replication });
    }
    let zones: BTreeMap<NodeId, &str> = nodes.iter().map(|node| (node.id, &*node.zone)).collect();
    Ok((0..groups)
        .map(|group| {
            let mut members = Vec::with_capacity(replication);
            while let Some(node) = load.choose(group, &members, &zones_of(&members, &zones))
                && members.len() < replication
            {
                load.add(node);
                members.push(node);
            }
            members
        })
        .collect())
}

pub(crate) fn zones_of<'a>(members: &[NodeId], zones: &BTreeMap<NodeId, &'a str>) -> Vec<&'a str> {
    members.iter().filter_map(|member| zones.get(member).copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{counts, nodes};

    #[test]
    fn copies_lie_in_different_zones_and_nodes_are_filled_evenly() {
        for (count, zones, groups) in
            [(3, 3, 8), (3, 1, 8), (6, 3, 64), (9, 3, 256), (5, 5, 64), (12, 4, 1024)]
        {
            let nodes = nodes(count, zones);
            let placement = place_groups(&nodes, groups, 3).unwrap();
            for members in &placement {
                let mut of = members.iter().map(|member| (member.0 - 1) % zones).collect::<Vec<_>>();
                of.sort();
                of.dedup();
                assert_eq!((members.len(), of.len()), (3, usize::from(zones.min(3))), "{count} in {zones}");
            }
            let counts = counts(&placement, &nodes);
            let (least, most) = (counts.values().min().unwrap(), counts.values().max().unwrap());
            assert!(most - least <= 1, "{count} in {zones}: {counts:?}");
        }
    }

    #[test]
    fn larger_nodes_take_more() {
        let mut nodes = nodes(8, 8);
        nodes[0].capacity_bytes *= 2;
        let counts = counts(&place_groups(&nodes, 300, 3).unwrap(), &nodes);
        assert!((198..=202).contains(&counts[&nodes[0].id]), "{counts:?}");
        assert!(nodes[1..].iter().all(|node| (99..=101).contains(&counts[&node.id])), "{counts:?}");
    }

    #[test]
    fn the_order_of_nodes_does_not_matter() {
        let nodes = nodes(9, 3);
        let reversed: Vec<_> = nodes.iter().rev().cloned().collect();
        assert_eq!(place_groups(&nodes, 64, 3), place_groups(&reversed, 64, 3));
    }

    #[test]
    fn a_lost_node_leaves_its_work_to_many() {
        let nodes = nodes(12, 12);
        let placement = place_groups(&nodes, 256, 3).unwrap();
        let of_first = placement.iter().filter(|members| members.contains(&nodes[0].id)).cloned();
        let others = counts(&of_first.collect::<Vec<_>>(), &nodes);
        assert!(others.values().filter(|count| **count > 0).count() >= 10, "{others:?}");
    }

    #[test]
    fn too_few_nodes_are_an_error() {
        let expected = Err(PlanError::TooFewNodes { nodes: 2, replication: 3 });
        assert_eq!(place_groups(&nodes(2, 2), 8, 3), expected);
    }
}
