//! How full nodes are with replicas, in proportion to what they can hold.

use crate::NodeFacts;
use std::{
    cmp::{Ordering, Reverse},
    collections::BTreeMap,
};
use wire::NodeId;

/// Nodes that take replicas, with how many they hold.
pub(crate) struct Load<'a> {
    nodes: BTreeMap<NodeId, (&'a NodeFacts, u64)>,
}

impl<'a> Load<'a> {
    pub(crate) fn new(nodes: impl IntoIterator<Item = &'a NodeFacts>) -> Self {
        Self { nodes: nodes.into_iter().map(|node| (node.id, (node, 0))).collect() }
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Counts a replica on `node`, if it is one that takes replicas.
    pub(crate) fn add(&mut self, node: NodeId) {
        if let Some((_, count)) = self.nodes.get_mut(&node) {
            *count += 1;
        }
    }

    pub(crate) fn remove(&mut self, node: NodeId) {
        if let Some((_, count)) = self.nodes.get_mut(&node) {
            *count -= 1;
        }
    }

    pub(crate) fn contains(&self, node: NodeId) -> bool {
        self.nodes.contains_key(&node)
    }

    /// The node that should take the next replica of `group`, whose replicas stay on `members`, whose zones are
    /// `zones`: another zone before anything, then the emptiest.
    pub(crate) fn choose(&self, group: usize, members: &[NodeId], zones: &[&str]) -> Option<NodeId> {
        let candidates = self.nodes.values().filter(|(node, _)| !members.contains(&node.id));
        candidates
            .min_by(|(a, a_count), (b, b_count)| {
                let shared = |node: &NodeFacts| zones.iter().filter(|zone| **zone == node.zone).count();
                // equals are told apart by group, so that a lost node's work falls to many others
                let mixed = |node: &NodeFacts| (mix(group as u64, node.id), node.id);
                shared(a)
                    .cmp(&shared(b))
                    .then_with(|| fill((a, a_count + 1), (b, b_count + 1)))
                    .then_with(|| mixed(a).cmp(&mixed(b)))
            })
            .map(|(node, _)| node.id)
    }

    /// The nodes, fullest first.
    pub(crate) fn fullest_first(&self) -> Vec<NodeId> {
        let mut nodes: Vec<_> = self.nodes.values().collect();
        nodes
            .sort_by(|a, b| fill((b.0, b.1), (a.0, a.1)).then_with(|| Reverse(a.0.id).cmp(&Reverse(b.0.id))));
        nodes.into_iter().map(|(node, _)| node.id).collect()
    }

    /// Whether a replica fewer on `from` and one more on `to` leaves the fuller of the two less full than before.
    pub(crate) fn would_level(&self, from: NodeId, to: NodeId) -> bool {
        let (from, to) = (self.nodes[&from], self.nodes[&to]);
        fill((to.0, to.1 + 1), from) == Ordering::Less
    }

    /// Which of two nodes is fuller.
    pub(crate) fn compare(&self, a: NodeId, b: NodeId) -> Ordering {
        fill(self.nodes[&a], self.nodes[&b])
    }
}

/// Compares replicas per capacity, without rounding.
fn fill(a: (&NodeFacts, u64), b: (&NodeFacts, u64)) -> Ordering {
    let capacity = |node: &NodeFacts| u128::from(node.capacity_bytes.max(1));
    (u128::from(a.1) * capacity(b.0)).cmp(&(u128::from(b.1) * capacity(a.0)))
}

fn mix(group: u64, node: NodeId) -> u64 {
    let mut mixed = group.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (u64::from(node.0) << 32);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
