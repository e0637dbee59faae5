//! What unit tests of several modules begin with.

use wire::descriptor::{DESCRIPTOR_FORMAT, NodeDescriptor, RaftTimings, RegionDescriptor};
use wire::{DeploymentId, Incarnation, NodeId};

/// A region of these nodes that nodes 1 to 3 founded.
pub(crate) fn region(nodes: &[u16]) -> RegionDescriptor {
    let node = |id: &u16| NodeDescriptor {
        id: NodeId(*id),
        zone: format!("zone-{id}"),
        peer_address: format!("127.0.0.1:{}", 7600 + id),
        incarnation: Incarnation(1),
    };
    RegionDescriptor {
        format: DESCRIPTOR_FORMAT,
        deployment: DeploymentId([1; 16]),
        environment: "test".into(),
        jurisdiction: "eu".into(),
        region: "twin-1".into(),
        groups: 8,
        standby_of: None,
        replication: 3,
        initial_members: [1, 2, 3].map(NodeId).to_vec(),
        timings: RaftTimings::default(),
        nodes: nodes.iter().map(node).collect(),
        gateways: vec![],
    }
}
