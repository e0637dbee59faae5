//! What a plan knows of a node.

use wire::NodeId;

/// A node as its operator described it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFacts {
    /// Its id.
    pub id: NodeId,
    /// What fails together with it: a rack, a room, a power feed.
    pub zone: String,
    /// How much it can hold, bytes; only the proportions matter.
    pub capacity_bytes: u64,
}

/// What may be done with a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// It holds replicas and takes more.
    Active,
    /// Its replicas are good but shall leave.
    Draining,
    /// It is no longer a member; its replicas are lost.
    Removed,
    /// It has been away for so long that its replicas are to be made anew elsewhere.
    Down,
}

/// A node and what may be done with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    /// What it is.
    pub facts: NodeFacts,
    /// What may be done with it.
    pub state: NodeState,
}

impl NodeState {
    /// Whether its replicas can be read.
    pub const fn is_good(self) -> bool {
        matches!(self, Self::Active | Self::Draining)
    }
}
