//! Snapshots as openraft sees them. A group's state *is* its index, so making one is flushing the index; moving one to a
//! replica that lags is a transfer that the receiver pulls when its leader asks it to.

use super::{
    codec,
    types::{Raft, Types, Vote},
};
use crate::{
    index::SledIndex,
    machine::{Machine, MachineError},
    message::{ReplicaAddress, kind},
    peer::{CallError, PeerClass, Peers},
    raft::{GroupState, state_machine::position_to_log_id},
    transfer::{self, PullError},
};
use bytes::Bytes;
use openraft::{
    alias::{SnapshotMetaOf, SnapshotOf},
    raft::SnapshotResponse,
};
use std::time::Duration;
use thiserror::Error;
use tracing::info;
use wire::{Decoder, Encoder, NodeId};

/// How long a transfer may take before its leader asks again: a group of some hundred gigabytes over a fast link.
const INSTALL_WAIT: Duration = Duration::from_secs(3600);

/// A state that covers a prefix of the log.
pub(crate) enum GroupSnapshot {
    /// This replica's own index, as it goes on.
    Live,
    /// A state pulled from another replica, not in use yet.
    Staged(Box<Machine<SledIndex>>),
}

/// Why a pulled state could not be put in place.
#[derive(Debug, Error)]
pub(crate) enum InstallError {
    /// The request makes no sense.
    #[error("the request cannot be read")]
    Decode(#[from] wire::DecodeError),
    /// It could not be fetched.
    #[error("the state cannot be fetched")]
    Pull(#[from] PullError),
    /// The index could not be opened.
    #[error("the index cannot be used")]
    Index(#[from] crate::index::IndexError),
    /// The state could not be read.
    #[error("the fetched state cannot be used")]
    Machine(#[from] MachineError),
    /// Raft stopped.
    #[error("raft stopped: {reason}")]
    Raft {
        /// Why.
        reason: String,
    },
}

/// Asks the lagging replica `to` to fetch this node's state.
pub(crate) async fn send(
    peers: &Peers,
    to: ReplicaAddress,
    vote: Vote,
) -> Result<SnapshotResponse<Types>, CallError> {
    let mut e = Encoder::new();
    to.encode(&mut e);
    codec::encode_vote(&mut e, &vote);
    let reply = peers
        .call(to.replica.node(), PeerClass::Bulk, kind::INSTALL, e.finish(), Vec::new(), INSTALL_WAIT)
        .await?;
    let vote = codec::decode_vote(&mut Decoder::new("install answer", reply.head));
    Ok(SnapshotResponse::new(vote.map_err(|_| CallError::Disconnected)?))
}

/// Fetches the leader's state, puts it in place, and says under which vote.
pub(crate) async fn receive(
    peers: &Peers,
    from: NodeId,
    state: &GroupState,
    raft: &Raft,
    mut request: Decoder,
) -> Result<Bytes, InstallError> {
    let vote = codec::decode_vote(&mut request)?;
    request.finish()?;
    let group = state.group;
    let mut staged = Box::new(Machine::open(group, state.staging()?)?);
    transfer::pull(peers, from, group, 0, &state.segments, &mut staged).await?;
    let (applied, membership) = staged.applied();
    let membership = match membership {
        Some(stored) => super::types::StoredMembership::new(
            Some(position_to_log_id(stored.position)),
            codec::decode_membership(stored.membership)?,
        ),
        None => super::types::StoredMembership::default(),
    };
    let applied = applied.map(position_to_log_id);
    info!(%group, %from, applied = applied.map_or(0, |id| id.index), "fetched the group's state");
    let meta = SnapshotMetaOf::<Types> { last_log_id: applied, last_membership: membership };
    let snapshot = SnapshotOf::<Types, GroupSnapshot> { meta, snapshot: GroupSnapshot::Staged(staged) };
    let response = raft
        .install_full_snapshot(vote, snapshot)
        .await
        .map_err(|error| InstallError::Raft { reason: error.to_string() })?;
    let mut e = Encoder::new();
    codec::encode_vote(&mut e, &response.vote);
    Ok(e.finish())
}
