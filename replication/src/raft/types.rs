//! The types under which openraft runs here, and nothing else of it leaks beyond this module's parent.

use bytes::Bytes;
use std::fmt;
use wire::Outcome;

/// What is proposed to a group: an encoded command and its bulk body, both by reference count.
#[derive(Clone)]
pub(crate) struct Proposal {
    /// `Command::encode_head`.
    pub(crate) head: Bytes,
    /// Sealed bytes.
    pub(crate) body: Bytes,
}

impl fmt::Debug for Proposal {
    /// Lengths only: openraft prints entries in its own logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proposal(head {} B, body {} B)", self.head.len(), self.body.len())
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

openraft::declare_raft_types!(
    /// openraft's type parameters; a replica's id is a [`wire::ReplicaId`] as u64.
    pub(crate) Types:
        D = Proposal,
        R = Outcome,
        NodeId = u64,
        Node = openraft::EmptyNode,
        AsyncRuntime = openraft::impls::TokioRuntime,
);

/// The position of an entry: term and leader, index.
pub(crate) type LogId = openraft::alias::LogIdOf<Types>;
/// A vote as openraft keeps it.
pub(crate) type Vote = openraft::alias::VoteOf<Types>;
/// A log entry.
pub(crate) type Entry = openraft::alias::EntryOf<Types>;
/// Voters and learners with the position at which they were set.
pub(crate) type StoredMembership = openraft::alias::StoredMembershipOf<Types>;
/// Voters and learners.
pub(crate) type Membership = openraft::Membership<u64, openraft::EmptyNode>;
/// Term and leader.
pub(crate) type LeaderId = openraft::impls::leader_id_adv::LeaderId<u64, u64>;
/// The group's Raft.
pub(crate) type Raft = openraft::Raft<Types, super::state_machine::StateMachine>;
