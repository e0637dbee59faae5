//! Changing which replicas a group has: the steps that a controller asks nodes to take, each safe to repeat.

use crate::{
    message::{kind, refusal},
    peer::{CallError, CallRefusal, PeerClass, Peers, Reply},
    service::Service,
};
use bytes::Bytes;
use std::{collections::BTreeSet, time::Duration};
use tracing::info;
use wire::{DecodeError, Decoder, Encoder, GroupId, NodeId, ReplicaId};

/// How long one step may take: a change of voters waits for two commits.
const STEP_WAIT: Duration = Duration::from_secs(15);

/// How long a leadership that is given away may take to arrive: an election without a wait before it.
const TRANSFER_WAIT: Duration = Duration::from_secs(2);

/// Voters that one group may have.
const VOTERS_MAX: usize = 16;

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Hold an empty replica of the group, to be filled as a learner.
    Open,
    /// Stop and forget the group's replica.
    Drop,
    /// (To the leader) replicate to this replica without letting it vote.
    AddLearner(ReplicaId),
    /// (To the leader) let exactly these vote; all others leave.
    SetVoters(Vec<ReplicaId>),
    /// (To the leader) hand the lead to this replica.
    Transfer(ReplicaId),
}

/// Asks `node` to take a step with its replica of `group`.
pub(crate) async fn ask(peers: &Peers, node: NodeId, group: GroupId, step: &Step) -> Result<(), CallError> {
    let head = encode(group, step);
    peers.call(node, PeerClass::Bulk, kind::REPLICA, head, Vec::new(), STEP_WAIT).await.map(drop)
}

pub(crate) fn encode(group: GroupId, step: &Step) -> Bytes {
    let mut e = Encoder::new();
    e.u32(group.0);
    match step {
        Step::Open => e.u8(0),
        Step::Drop => e.u8(1),
        Step::AddLearner(replica) => {
            e.u8(2);
            e.u64(replica.0);
        }
        Step::SetVoters(voters) => {
            e.u8(3);
            e.list(voters, |e, voter| e.u64(voter.0));
        }
        Step::Transfer(replica) => {
            e.u8(4);
            e.u64(replica.0);
        }
    }
    e.finish()
}

pub(crate) fn decode(head: Bytes) -> Result<(GroupId, Step), DecodeError> {
    let mut d = Decoder::new("replica step", head);
    let group = GroupId(d.u32()?);
    let step = match d.u8()? {
        0 => Step::Open,
        1 => Step::Drop,
        2 => Step::AddLearner(ReplicaId(d.u64()?)),
        3 => Step::SetVoters(d.list(VOTERS_MAX, |d| Ok(ReplicaId(d.u64()?)))?),
        4 => Step::Transfer(ReplicaId(d.u64()?)),
        found => return Err(d.unknown(u64::from(found))),
    };
    d.finish()?;
    Ok((group, step))
}

impl Service {
    /// Takes a step that the region's controller asks for.
    pub(crate) async fn change_replica(&self, head: Bytes) -> Result<Reply, CallRefusal> {
        let (group, step) =
            decode(head).map_err(|error| CallRefusal::new(refusal::MALFORMED, error.to_string()))?;
        info!(%group, ?step, "membership step");
        match step {
            Step::Open => self.open_empty(group).await?,
            Step::Drop => self.drop_replica(group).await?,
            Step::AddLearner(replica) => {
                let raft = self.leading(group)?;
                raft.add_learner(replica.0, openraft::EmptyNode::new(), false)
                    .await
                    .map_err(|error| not_done(&error))?;
            }
            Step::SetVoters(voters) => {
                let voters: BTreeSet<u64> = voters.into_iter().map(|voter| voter.0).collect();
                let raft = self.leading(group)?;
                raft.change_membership(voters, false).await.map_err(|error| not_done(&error))?;
            }
            Step::Transfer(replica) => {
                let raft = self.leading(group)?;
                raft.trigger().transfer_leader(replica.0).await.map_err(|error| not_done(&error))?;
                // the other may refuse: only a leadership that moved is counted
                let wait = raft.wait(Some(TRANSFER_WAIT));
                if wait.current_leader(replica.0, "a leadership given away").await.is_ok() {
                    self.count_leader_moved();
                }
            }
        }
        Ok(Reply::default())
    }
}

fn not_done(error: &dyn std::fmt::Display) -> CallRefusal {
    CallRefusal::new(refusal::NOT_LEADER, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_come_back_as_sent() {
        for step in [
            Step::Open,
            Step::Drop,
            Step::AddLearner(ReplicaId(7)),
            Step::SetVoters(vec![ReplicaId(7), ReplicaId(8)]),
            Step::Transfer(ReplicaId(9)),
        ] {
            assert_eq!(decode(encode(GroupId(3), &step)), Ok((GroupId(3), step)));
        }
    }
}
