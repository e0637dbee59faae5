//! Commands of gateways, proposed to the group's leader here: while the disk has room, in bounds of what is in flight, and
//! acknowledged only while somebody vouches for the region.

use super::{Service, malformed, not_leader, not_understood, refuse, stopped};
use crate::{
    log::Priority,
    message::refusal,
    peer::Reply,
    raft::{Proposal, Types},
};
use bytes::Bytes;
use openraft::errors::{ClientWriteError, RaftError};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::time::timeout;
use wire::{CallRefusal, Command, Decoder, Encoder, GroupId, Operation, Outcome, PairStep, limits};

/// Bodies of commands between arrival and outcome, bytes. 64 MiB: more than the disk takes in a client's patience on
/// the slowest disk worth using.
pub(super) const BYTES_MAX: usize = 64 << 20;

/// Each command counts at least this much, bytes: the head and what Raft keeps for it.
const BYTES_MIN: usize = 1 << 10;

/// How long a command waits for room before it is refused.
const ROOM_WAIT: Duration = Duration::from_secs(2);

impl Service {
    pub(super) async fn propose(&self, head: Bytes, body: Bytes) -> Result<Reply, CallRefusal> {
        let mut d = Decoder::new("proposal", head);
        let group = GroupId(d.u32().map_err(not_understood)?);
        let head = d.rest();
        if head.len() > limits::COMMAND_HEAD_BYTES_MAX
            || body.len() > limits::CHUNK_BYTES_MAX + limits::SEAL_OVERHEAD_BYTES
        {
            return Err(malformed("command over its limits"));
        }
        // what cannot be decoded must not enter the log: every replica would stop at it
        let command = Command::decode(head.clone(), Bytes::new()).map_err(not_understood)?;
        let replica = self.replica(group).ok_or_else(|| refuse(refusal::NO_REPLICA, ""))?;
        if let Operation::PairStep(PairStep::Relieve { .. }) = command.operation {
            return self.relieve(&replica, head).await;
        }
        self.check_vouched(&replica, &command.operation)?;
        let weight = (head.len() + body.len()).max(BYTES_MIN) as u32;
        self.check_room(command.operation.reclaims(), weight)?;
        let room = Arc::clone(&self.proposals).acquire_many_owned(weight);
        let _room = match timeout(ROOM_WAIT, room).await {
            Ok(Ok(room)) => room,
            _ => return Err(refuse(refusal::OVERLOADED, "too much in flight")),
        };
        match replica.raft.client_write(Proposal { head, body }).await {
            Ok(written) => Ok(outcome(&self.vouched(&replica, &command.operation, written.data)?)),
            Err(error) => Err(not_written(group, &error)),
        }
    }

    /// Whether ordinary commands of so many bytes fit now.
    pub(crate) fn has_room_for(&self, bytes: usize) -> bool {
        self.writable.load(Ordering::Relaxed)
            && self.shared.segments.has_room(Priority::Ordinary, bytes as u64)
    }

    /// Refuses a command that the disk may have no room for, counting those under way as if none were written yet.
    fn check_room(&self, reclaims: bool, weight: u32) -> Result<(), CallRefusal> {
        let (open, priority) = if reclaims {
            (&self.reclaimable, Priority::Reclaim)
        } else {
            (&self.writable, Priority::Ordinary)
        };
        let under_way = BYTES_MAX - self.proposals.available_permits().min(BYTES_MAX);
        let bytes = under_way as u64 + u64::from(weight);
        if open.load(Ordering::Relaxed) && self.shared.segments.has_room(priority, bytes) {
            Ok(())
        } else {
            Err(refuse(refusal::FULL, "disk is nearly full"))
        }
    }
}

pub(super) fn outcome(outcome: &Outcome) -> Reply {
    let mut e = Encoder::with_capacity(64);
    outcome.encode(&mut e);
    Reply::head(e.finish())
}

pub(super) fn not_written(group: GroupId, error: &RaftError<Types, ClientWriteError<Types>>) -> CallRefusal {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(to)) => not_leader(to.leader_id),
        error => stopped(group, error),
    }
}
