//! What a node says about itself: to other nodes (placement, repair), to the command line, to metrics.

use crate::{
    gc::Freed,
    log::{Capacity, DiskHealth, LogStats, SegmentLog},
    replica::{GroupState, Replica},
    scrub::ScrubFigures,
};
use bytes::Bytes;
use openraft::async_runtime::watch::WatchReceiver;
use wire::{DecodeError, Decoder, Encoder, GroupId, Incarnation, NodeId, ReplicaId};

/// Replicas of one node, and members of one group, in a report.
const ROWS_MAX: usize = 8_192;

/// An entry is good enough behind: a replica within this many of its leader counts as caught up.
const CAUGHT_UP_ENTRIES: u64 = 256;

/// A node about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeReport {
    /// Which node.
    pub node: NodeId,
    /// Under which incarnation.
    pub incarnation: Incarnation,
    /// Its release.
    pub version: String,
    /// Since when its process runs, ms.
    pub uptime_ms: u64,
    /// What its segments may take, bytes.
    pub capacity_bytes: u64,
    /// What its segments take, bytes.
    pub used_bytes: u64,
    /// What is free, bytes.
    pub free_bytes: u64,
    /// Whether it takes ordinary writes.
    pub writable: bool,
    /// Whether its disk failed.
    pub disk_failed: bool,
    /// Whether every replica that it holds was started.
    pub running: bool,
    /// Handshakes that it refused since it began.
    pub refused_handshakes: u64,
    /// Its replicas.
    pub replicas: Vec<ReplicaReport>,
}

/// A replica about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaReport {
    /// Its group.
    pub group: GroupId,
    /// The term it is in.
    pub term: u64,
    /// Who leads, as far as it knows.
    pub leader: Option<ReplicaId>,
    /// Who votes, as far as it knows.
    pub voters: Vec<ReplicaId>,
    /// Who is catching up, as far as it knows.
    pub learners: Vec<ReplicaId>,
    /// Its last entry.
    pub last_index: u64,
    /// The last entry it applied.
    pub applied_index: u64,
    /// The last entry it purged.
    pub purged_index: u64,
    /// Whether its log or Raft stopped.
    pub stopped: bool,
    /// Whether the members above are agreed on, not only written.
    pub members_agreed: bool,
    /// How far each replica is, if this one leads.
    pub matched: Vec<(ReplicaId, u64)>,
}

impl ReplicaReport {
    /// Whether `replica` has (nearly) all that this leader has.
    pub fn caught_up(&self, replica: ReplicaId) -> bool {
        self.matched
            .iter()
            .any(|(id, matched)| *id == replica && matched + CAUGHT_UP_ENTRIES >= self.last_index)
    }

    /// Whether the replica that reports leads its group.
    pub fn leads(&self, me: ReplicaId) -> bool {
        self.leader == Some(me) && !self.matched.is_empty()
    }
}

/// The replica's own view.
pub(crate) fn report_replica(replica: &Replica) -> ReplicaReport {
    let metrics = replica.raft.metrics();
    let metrics = metrics.borrow_watched();
    let membership = metrics.membership_config.membership();
    let voters: Vec<ReplicaId> = membership.voter_ids().map(ReplicaId).collect();
    let learners = membership.learner_ids().map(ReplicaId).collect();
    let matched = metrics.replication.iter().flatten();
    ReplicaReport {
        group: replica.address.group,
        term: metrics.current_term,
        leader: metrics.current_leader.map(ReplicaId),
        voters,
        learners,
        last_index: metrics.last_log_index.unwrap_or(0),
        applied_index: metrics.last_applied.map_or(0, |id| id.index),
        purged_index: metrics.purged.map_or(0, |id| id.index),
        stopped: metrics.running_state.is_err(),
        members_agreed: metrics.committed_membership_config == metrics.membership_config,
        matched: matched.map(|(id, matched)| (ReplicaId(*id), matched.map_or(0, |id| id.index))).collect(),
    }
}

/// A replica that was not started: its log is damaged, or it waits for peers to repair it.
pub(crate) fn report_stopped(state: &GroupState) -> ReplicaReport {
    let log = state.log.state();
    ReplicaReport {
        group: state.group,
        term: log.vote.map_or(0, |vote| vote.term),
        leader: None,
        voters: Vec::new(),
        learners: Vec::new(),
        last_index: log.last.map_or(0, |id| id.index),
        applied_index: state.machine().applied().0.map_or(0, |position| position.index),
        purged_index: log.purged.map_or(0, |id| id.index),
        stopped: true,
        members_agreed: false,
        matched: Vec::new(),
    }
}

/// What upkeep of the stored bytes did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpkeepFigures {
    /// Garbage collection, since the start.
    pub freed: Freed,
    /// The scrub pass under way, or the last.
    pub scrub: ScrubFigures,
    /// Rotten records that scrubbing found since the start.
    pub scrub_corrupt: u64,
    /// Of these, repaired.
    pub scrub_repaired: u64,
    /// Rotten records that have no good copy here still.
    pub scrub_unrepaired: u64,
}

/// Disk figures for a report and for metrics.
#[derive(Clone, Debug)]
pub struct DiskFigures {
    /// Room.
    pub capacity: Option<Capacity>,
    /// Counters.
    pub stats: LogStats,
    /// Whether it failed.
    pub failed: bool,
}

/// The disk's figures now.
pub(crate) fn disk_figures(segments: &SegmentLog) -> DiskFigures {
    DiskFigures {
        capacity: segments.capacity().ok(),
        stats: segments.stats(),
        failed: matches!(segments.health(), DiskHealth::Failed(_)),
    }
}

impl NodeReport {
    /// Its layout.
    pub fn encode(&self) -> Bytes {
        let mut e = Encoder::with_capacity(64 + 96 * self.replicas.len());
        e.u16(self.node.0);
        e.u16(self.incarnation.0);
        e.text(&self.version);
        for number in [self.uptime_ms, self.capacity_bytes, self.used_bytes, self.free_bytes] {
            e.u64(number);
        }
        e.flag(self.writable);
        e.flag(self.disk_failed);
        e.flag(self.running);
        e.u64(self.refused_handshakes);
        e.list(&self.replicas, |e, replica| replica.encode(e));
        e.finish()
    }

    /// Reads its layout.
    pub fn decode(input: Bytes) -> Result<Self, DecodeError> {
        let mut d = Decoder::new("node report", input);
        let report = Self {
            node: NodeId(d.u16()?),
            incarnation: Incarnation(d.u16()?),
            version: d.text(64)?,
            uptime_ms: d.u64()?,
            capacity_bytes: d.u64()?,
            used_bytes: d.u64()?,
            free_bytes: d.u64()?,
            writable: d.flag()?,
            disk_failed: d.flag()?,
            running: d.flag()?,
            refused_handshakes: d.u64()?,
            replicas: d.list(ROWS_MAX, ReplicaReport::decode)?,
        };
        d.finish()?;
        Ok(report)
    }

    /// Whether it leads groups although it takes no ordinary writes.
    pub fn leads_while_full(&self) -> bool {
        let me = self.replica_id();
        !self.writable && self.replicas.iter().any(|replica| replica.leader == Some(me))
    }

    /// The replica id under which it runs.
    pub fn replica_id(&self) -> ReplicaId {
        ReplicaId::new(self.node, self.incarnation)
    }
}

impl ReplicaReport {
    fn encode(&self, e: &mut Encoder) {
        e.u32(self.group.0);
        e.u64(self.term);
        e.option(self.leader.as_ref(), |e, id| e.u64(id.0));
        e.list(&self.voters, |e, id| e.u64(id.0));
        e.list(&self.learners, |e, id| e.u64(id.0));
        e.u64(self.last_index);
        e.u64(self.applied_index);
        e.u64(self.purged_index);
        e.flag(self.stopped);
        e.flag(self.members_agreed);
        e.list(&self.matched, |e, (id, index)| {
            e.u64(id.0);
            e.u64(*index);
        });
    }

    fn decode(d: &mut Decoder) -> Result<Self, DecodeError> {
        let ids = |d: &mut Decoder| d.list(64, |d| Ok(ReplicaId(d.u64()?)));
        Ok(Self {
            group: GroupId(d.u32()?),
            term: d.u64()?,
            leader: d.option(Decoder::u64)?.map(ReplicaId),
            voters: ids(d)?,
            learners: ids(d)?,
            last_index: d.u64()?,
            applied_index: d.u64()?,
            purged_index: d.u64()?,
            stopped: d.flag()?,
            members_agreed: d.flag()?,
            matched: d.list(64, |d| Ok((ReplicaId(d.u64()?), d.u64()?)))?,
        })
    }
}

#[cfg(any(test, feature = "fuzz"))]
impl NodeReport {
    /// A report with something in every field.
    pub(crate) fn example() -> Self {
        Self {
            node: NodeId(2),
            incarnation: Incarnation(1),
            version: "0.1.0".into(),
            uptime_ms: 5,
            capacity_bytes: 7,
            used_bytes: 8,
            free_bytes: 9,
            writable: true,
            disk_failed: false,
            running: true,
            refused_handshakes: 3,
            replicas: vec![ReplicaReport {
                group: GroupId(4),
                term: 2,
                leader: Some(ReplicaId(9)),
                voters: vec![ReplicaId(9), ReplicaId(10)],
                learners: vec![ReplicaId(11)],
                last_index: 100,
                applied_index: 99,
                purged_index: 3,
                stopped: false,
                members_agreed: true,
                matched: vec![(ReplicaId(10), 98)],
            }],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_comes_back_as_written() {
        let report = NodeReport::example();
        assert_eq!(NodeReport::decode(report.encode()), Ok(report));
    }
}
