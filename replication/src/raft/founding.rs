//! The first entry of a group's log: who its first members are.
//!
//! Every founder writes it into its own empty log before its Raft starts, and all write the same. So each of them knows
//! its group from then on, and any majority can elect a leader, whoever of the founders is lost.

use super::{
    log_store::from_entry,
    types::{Entry, LeaderId, LogId, Membership},
};
use crate::log::{GroupLog, LogError, Priority, Vote};
use openraft::{EmptyNode, EntryPayload};
use std::collections::BTreeMap;
use tokio_util::sync::CancellationToken;
use wire::ReplicaId;

/// The term of the first entry: no election leads to it.
const TERM: u64 = 0;

/// Where Raft's log begins.
const INDEX: u64 = 0;

/// Makes `members` the first voters of the group of an empty log; durable on return. An interrupted call may be repeated.
///
/// Waits while the disk has no room for it, until `stop`.
pub(crate) async fn found(
    log: &GroupLog,
    members: &[ReplicaId],
    stop: &CancellationToken,
) -> Result<(), LogError> {
    let first = *members.iter().min().expect("a group has founders");
    log.save_vote(Vote { term: TERM, node: first, committed: false }).await?;
    let voters: BTreeMap<u64, EmptyNode> = members.iter().map(|id| (id.0, EmptyNode::new())).collect();
    let entry = Entry {
        log_id: LogId { leader_id: LeaderId { term: TERM, node_id: first.0 }, index: INDEX },
        payload: EntryPayload::Membership(Membership::from(voters)),
    };
    log.append_patiently(Priority::Accepted, vec![from_entry(entry)], stop, |_result| {}).await?;
    log.flushed(INDEX).await.map(drop)
}

/// Whether the log holds nothing but, at most, what an interrupted [`found`] left.
pub(crate) fn is_unfounded(log: &GroupLog) -> bool {
    let state = log.state();
    state.last.is_none() && state.purged.is_none() && state.vote.is_none_or(|vote| vote.term == TERM)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod tests {
    use super::*;
    use crate::log::{LogOptions, SegmentLog};
    use wire::{DeploymentId, GroupId, Incarnation, NodeId};

    fn members() -> Vec<ReplicaId> {
        [3, 1, 2].map(|node| ReplicaId::new(NodeId(node), Incarnation(0))).to_vec()
    }

    fn open(folder: &std::path::Path, node: u16) -> GroupLog {
        std::fs::create_dir_all(folder).unwrap();
        let mut options =
            LogOptions::new(folder, DeploymentId([7; 16]), NodeId(node), Incarnation(0)).unwrap();
        options.segment_bytes = 1 << 20;
        SegmentLog::open(options).unwrap().0.group(GroupId(1))
    }

    #[tokio::test]
    async fn every_founder_writes_the_same_entry() {
        let folder = tempfile::tempdir().unwrap();
        let mut written = Vec::new();
        for node in 1..=3 {
            let log = open(&folder.path().join(node.to_string()), node);
            assert!(is_unfounded(&log));
            found(&log, &members(), &CancellationToken::new()).await.unwrap();
            assert!(!is_unfounded(&log));
            written.push((log.state().last, log.state().vote));
        }
        assert!(written.iter().all(|each| *each == written[0]), "{written:?}");
    }

    #[tokio::test]
    async fn a_founding_that_was_interrupted_is_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let log = open(folder.path(), 2);
        let first = *members().iter().min().unwrap();
        log.save_vote(Vote { term: TERM, node: first, committed: false }).await.unwrap();
        assert!(is_unfounded(&log));
        found(&log, &members(), &CancellationToken::new()).await.unwrap();
        assert_eq!(log.state().last.map(|last| (last.term, last.leader)), Some((TERM, first)));
    }

    #[tokio::test]
    async fn a_log_that_voted_in_an_election_is_not_founded_again() {
        let folder = tempfile::tempdir().unwrap();
        let log = open(folder.path(), 2);
        log.save_vote(Vote { term: 1, node: members()[0], committed: false }).await.unwrap();
        assert!(!is_unfounded(&log));
    }
}
