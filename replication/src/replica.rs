//! One replica of one group on this node: its Raft, its state, and the task that tells who leads it.

use crate::{
    ballast::Ballast,
    holdings::Holdings,
    index::{SledIndex, SledStore},
    leaderboard::Leaderboard,
    log::{GroupLog, SegmentLog},
    machine::Machine,
    message::{Leadership, ReplicaAddress},
    options::RaftTimings,
    peer::Peers,
    raft::{Heartbeats, LogStore, Network, Raft, StateMachine},
    repair::Repairer,
    transfer,
};
use openraft::async_runtime::watch::WatchReceiver;
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use thiserror::Error;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info, warn};
use wire::{GroupId, PairRole, ReplicaId};

pub(crate) use crate::raft::GroupState;

/// Pause before all other nodes are asked for a lost state again.
const RESTORE_PAUSE: Duration = Duration::from_millis(500);

/// Why a replica could not be opened.
#[derive(Debug, Error)]
pub enum ReplicaError {
    /// The index could not be read.
    #[error("group {group}: the index cannot be opened")]
    Index {
        /// The group.
        group: GroupId,
        /// Why.
        #[source]
        source: crate::machine::MachineError,
    },
    /// The index store failed.
    #[error("group {group}: the index store failed")]
    Store {
        /// The group.
        group: GroupId,
        /// Why.
        #[source]
        source: crate::index::IndexError,
    },
    /// The settings do not fit together.
    #[error("raft timings are not usable: {reason}")]
    Timings {
        /// Why.
        reason: String,
    },
    /// The group's first members could not be written down. It is tried again at the next start.
    #[error("group {group}: it could not be founded")]
    Founding {
        /// The group.
        group: GroupId,
        /// Why.
        #[source]
        source: crate::log::LogError,
    },
    /// Raft did not start.
    #[error("group {group}: raft did not start: {reason}")]
    Raft {
        /// The group.
        group: GroupId,
        /// Why.
        reason: String,
    },
}

/// What all replicas of a node share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) segments: SegmentLog,
    pub(crate) holdings: Arc<Holdings>,
    pub(crate) repairer: Arc<Repairer>,
    pub(crate) store: Arc<SledStore>,
    pub(crate) ballast: Arc<Ballast>,
    pub(crate) peers: Peers,
    pub(crate) heartbeats: Heartbeats,
    pub(crate) timings: RaftTimings,
    /// The part of a group in a pair until it changes for the first time.
    pub(crate) begins_as: PairRole,
    pub(crate) leaderboard: Arc<Leaderboard>,
    pub(crate) tracker: TaskTracker,
    pub(crate) stop: CancellationToken,
}

impl Shared {
    /// The state of `group` from what log and index hold. It counts as held here from now on.
    pub(crate) async fn state(&self, group: GroupId) -> Result<Arc<GroupState>, ReplicaError> {
        if let Some(state) = self.holdings.state(group) {
            return Ok(state);
        }
        let index = self.store.group(group).map_err(|source| ReplicaError::Store { group, source })?;
        let mut machine = Machine::open_as(self.begins_as, group, index)
            .map_err(|source| ReplicaError::Index { group, source })?;
        let log = self.segments.group(group);
        // what is fetched is written before rows that count point to it
        let _pin = self.holdings.pin();
        restore(self, group, &log, &mut machine).await;
        let state = GroupState::new(log, self.segments.clone(), Arc::clone(&self.store), machine);
        self.holdings.add(Arc::clone(&state));
        Ok(state)
    }
}

/// One replica.
pub(crate) struct Replica {
    /// Which one.
    pub(crate) address: ReplicaAddress,
    /// Its consensus.
    pub(crate) raft: Raft,
    /// Its state.
    pub(crate) state: Arc<GroupState>,
    /// Ends waiting for room.
    stop: CancellationToken,
    /// A leader's heartbeat came since somebody last asked.
    heard: AtomicBool,
}

impl Replica {
    /// Opens the replica from what log and index hold, and starts its Raft.
    pub(crate) async fn open(shared: &Shared, address: ReplicaAddress) -> Result<Arc<Self>, ReplicaError> {
        let group = address.group;
        let state = shared.state(group).await?;
        let config = shared.timings.to_config(group).map_err(|reason| ReplicaError::Timings { reason })?;
        let network = Network {
            peers: shared.peers.clone(),
            heartbeats: shared.heartbeats.clone(),
            group,
            vote_wait: Duration::from_millis(shared.timings.election_max_ms),
        };
        let stop = shared.stop.child_token();
        let raft = Raft::new(
            address.replica.0,
            Arc::new(config),
            network,
            LogStore::new(Arc::clone(&state), Arc::clone(&shared.repairer), stop.clone()),
            StateMachine::new(Arc::clone(&state), stop.clone()),
        )
        .await
        .map_err(|fatal| ReplicaError::Raft { group, reason: fatal.to_string() })?;
        let replica = Arc::new(Self { address, raft, state, stop, heard: AtomicBool::new(false) });
        shared.tracker.spawn(watch_leader(
            replica.raft.clone(),
            group,
            Arc::clone(&shared.leaderboard),
            shared.stop.clone(),
        ));
        Ok(replica)
    }

    /// Asks for votes without waiting until an election is due.
    pub(crate) async fn campaign(&self) {
        // a Raft that ended has nothing to win
        let _ended = self.raft.trigger().elect(true).await.is_err();
    }

    /// A heartbeat of its leader came.
    pub(crate) fn hears_its_leader(&self) {
        self.heard.store(true, Ordering::Relaxed);
    }

    /// Lets its election clock run, or stand: it is needed by those that neither lead nor heard of a leader since the last
    /// time this was called.
    pub(crate) fn settle_clock(&self) {
        let heard = self.heard.swap(false, Ordering::Relaxed);
        self.raft.runtime_config().tick(!heard && !self.leads());
    }

    /// Whether it leads its group, as far as it knows.
    pub(crate) fn leads(&self) -> bool {
        self.raft.server_metrics().borrow_watched().state.is_leader()
    }

    /// The term in which it leads its group, as far as it knows; none while it does not.
    pub(crate) fn leads_in(&self) -> Option<u64> {
        let metrics = self.raft.server_metrics();
        let now = metrics.borrow_watched();
        now.state.is_leader().then_some(now.vote.leader_id.term)
    }

    /// Stops its Raft; the state stays readable.
    pub(crate) async fn shutdown(&self) -> io::Result<()> {
        self.stop.cancel();
        self.raft.shutdown().await.map_err(io::Error::other)
    }
}

/// Fetches the group's state from another replica when the log no longer reaches back to what the index holds: the index
/// was lost, or fell back behind what was purged. Vote and entries are untouched, so the replica may vote as before.
async fn restore(shared: &Shared, group: GroupId, log: &GroupLog, machine: &mut Machine<SledIndex>) {
    let needed = log.state().purged.map_or(0, |purged| purged.index);
    while machine.applied().0.map_or(0, |applied| applied.index) < needed {
        warn!(%group, needed, "the index is behind the log: fetching the group's state from another replica");
        for node in shared.peers.nodes() {
            match transfer::pull(&shared.peers, node, group, needed, &shared.segments, machine).await {
                Ok(()) => {
                    info!(%group, from = %node, "fetched the group's state");
                    break;
                }
                Err(error) => {
                    warn!(%group, from = %node, error = &error as &dyn std::error::Error, "could not fetch it there");
                }
            }
        }
        if shared.stop.is_cancelled() {
            return;
        }
        tokio::time::sleep(RESTORE_PAUSE).await;
    }
}

/// Keeps the leaderboard's row of one group up to date until the Raft ends.
async fn watch_leader(raft: Raft, group: GroupId, leaderboard: Arc<Leaderboard>, stop: CancellationToken) {
    let mut metrics = raft.server_metrics();
    let mut led_by = None;
    loop {
        let (leadership, id) = {
            let now = metrics.borrow_watched();
            let leader = now.current_leader.map(ReplicaId);
            (
                Leadership {
                    group,
                    reign: (now.vote.leader_id.term, ReplicaId(now.vote.leader_id.node_id)),
                    leader,
                },
                ReplicaId(now.id),
            )
        };
        if leadership.leader != led_by {
            if leadership.leader == Some(id) {
                info!(%group, term = leadership.reign.0, "leads the group");
            }
            led_by = leadership.leader;
        }
        leaderboard.note(leadership);
        let changed = tokio::select! {
            () = stop.cancelled() => return,
            changed = metrics.changed() => changed,
        };
        if changed.is_err() {
            leaderboard.note(Leadership { leader: None, ..leadership });
            if !stop.is_cancelled() {
                error!(%group, "replica stopped");
            }
            return;
        }
    }
}
