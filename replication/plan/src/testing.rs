//! Nodes and randomness for tests.

use crate::NodeFacts;
use std::collections::BTreeMap;
use wire::NodeId;

/// Nodes 1 to `count` of the same size, dealt to `zones` zones.
pub(crate) fn nodes(count: u16, zones: u16) -> Vec<NodeFacts> {
    (0..count)
        .map(|number| NodeFacts {
            id: NodeId(number + 1),
            zone: format!("zone {}", number % zones),
            capacity_bytes: 1 << 40,
        })
        .collect()
}

/// How many copies each node holds.
pub(crate) fn counts(placement: &[Vec<NodeId>], nodes: &[NodeFacts]) -> BTreeMap<NodeId, usize> {
    let mut counts: BTreeMap<_, _> = nodes.iter().map(|node| (node.id, 0)).collect();
    for member in placement.iter().flatten() {
        *counts.entry(*member).or_default() += 1;
    }
    counts
}

/// SplitMix64.
pub(crate) struct Random(u64);

impl Random {
    /// A seed from the environment variable `SEED`, or from the clock.
    pub(crate) fn seed() -> u64 {
        match std::env::var("SEED") {
            Ok(seed) => seed.parse().expect("SEED is a number"),
            Err(_) => std::time::SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_nanos() as u64,
        }
    }

    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}
