//! What a node does with its peers' calls: Raft messages go to the replica they name, commands and queries of gateways
//! to the group's leader here, each within its limits.

mod appends;
mod pairing;
mod proposals;
mod queries;

pub(crate) use queries::ensure_linearizable;

use crate::{
    admission::Disk,
    gc::Collector,
    maintenance::{self, Purges},
    message::{ReplicaAddress, kind, refusal},
    pair::{self, Leases, Standby},
    peer::{Identity, IncomingStream, PeerClass, PeerRole, Peers, RefusedPeers, Reply},
    raft::{self, AppendResult, Raft, Types},
    repair::Repairer,
    replica::{Replica, ReplicaError, Shared},
    scrub::Scrubber,
    status::{DiskFigures, NodeReport, UpkeepFigures, disk_figures, report_replica, report_stopped},
    transfer::Transfers,
};
use bytes::Bytes;
use futures_util::future::join_all;
use openraft::raft::{AppendEntriesRequest, StreamAppendError, TransferLeaderRequest};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, OnceLock, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};
use tracing::{error, info, warn};
use wire::{CallRefusal, DecodeError, Decoder, Encoder, GroupId, Incarnation, NodeId, ReplicaId};

/// How long a batch of heartbeats may hold up its answer, ms: less than the interval of the fastest setting.
const HEARTBEAT_WAIT_MS: u64 = 25;

/// How long a leaders poll is held, ms.
const LEADERS_WAIT_MS: u64 = crate::router::LEADERS_POLL_MS;

/// The replicas of this node, and what their callers share.
pub struct Service {
    node: NodeId,
    incarnation: Incarnation,
    disk: Disk,
    started: Instant,
    replicas: RwLock<BTreeMap<GroupId, Arc<Replica>>>,
    shared: Shared,
    collector: Arc<Collector>,
    scrubber: Arc<Scrubber>,
    purges: Purges,
    proposals: Arc<Semaphore>,
    transfers: Transfers,
    /// Leaderships that were given away as planned.
    leaders_moved: AtomicU64,
    running: AtomicBool,
    /// Whether the disk has room for ordinary commands; refreshed by [`Service::look_at_disk`].
    writable: AtomicBool,
    /// The same for commands that free room.
    reclaimable: AtomicBool,
    /// The other region of the pair, if there is one.
    standby: OnceLock<Arc<Standby>>,
    /// Present if writes are acknowledged only while somebody vouches for this region.
    leases: OnceLock<Leases>,
    /// Where this process counts the peers that it refuses.
    refused: OnceLock<Arc<RefusedPeers>>,
    /// Free for walks that compare what is held here with the other region.
    walks: Semaphore,
}

impl Service {
    pub(crate) fn new(node: NodeId, incarnation: Incarnation, disk: Disk, shared: Shared) -> Self {
        Self {
            node,
            incarnation,
            disk,
            started: Instant::now(),
            replicas: RwLock::default(),
            collector: Collector::new(Arc::clone(&shared.holdings), Arc::clone(&shared.repairer)),
            scrubber: Scrubber::new(Arc::clone(&shared.holdings), Arc::clone(&shared.repairer)),
            purges: Purges::default(),
            shared,
            proposals: Arc::new(Semaphore::new(proposals::BYTES_MAX)),
            transfers: Transfers::default(),
            leaders_moved: AtomicU64::new(0),
            running: AtomicBool::new(false),
            writable: AtomicBool::new(true),
            reclaimable: AtomicBool::new(true),
            standby: OnceLock::new(),
            leases: OnceLock::new(),
            refused: OnceLock::new(),
            walks: Semaphore::new(pair::WALKS_MAX),
        }
    }

    /// Where this process counts the peers that it refuses; a second call changes nothing.
    pub fn set_refused_peers(&self, refused: Arc<RefusedPeers>) {
        let _second = self.refused.set(refused).is_err();
    }

    /// This node.
    pub(crate) fn node(&self) -> NodeId {
        self.node
    }

    /// Free for walks that compare what is held here with the other region.
    pub(crate) fn walks(&self) -> &Semaphore {
        &self.walks
    }

    /// Who repairs rotten records.
    pub(crate) fn repairer(&self) -> &Repairer {
        &self.shared.repairer
    }

    /// Transfers of groups' states under way.
    pub(crate) fn transfers(&self) -> &Transfers {
        &self.transfers
    }

    /// Leaderships that this node gave away as planned, to spread them or before it ends.
    pub fn leaders_moved(&self) -> u64 {
        self.leaders_moved.load(Ordering::Relaxed)
    }

    pub(crate) fn count_leader_moved(&self) {
        self.leaders_moved.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether every replica that this node holds was started.
    pub fn is_running(&self) -> bool {
        self.running.load(Ordering::Acquire)
    }

    pub(crate) fn set_running(&self) {
        self.running.store(true, Ordering::Release);
    }

    /// Opens the replica of `group` from what the disk holds of it, if it is not open.
    pub(crate) async fn open_replica(&self, group: GroupId) -> Result<Arc<Replica>, ReplicaError> {
        if let Some(replica) = self.replica(group) {
            return Ok(replica);
        }
        let address = ReplicaAddress { group, replica: ReplicaId::new(self.node, self.incarnation) };
        let replica = Replica::open(&self.shared, address).await?;
        self.add(Arc::clone(&replica));
        Ok(replica)
    }

    /// Holds an empty replica of `group`, to be filled by its leader.
    pub(crate) async fn open_empty(&self, group: GroupId) -> Result<(), CallRefusal> {
        self.open_replica(group).await.map(drop).map_err(|error| {
            error!(%group, error = &error as &dyn std::error::Error, "replica cannot be opened");
            refuse(refusal::STOPPED, "the replica cannot be opened")
        })
    }

    /// Stops and forgets the replica of `group`; its bodies are freed by garbage collection.
    pub(crate) async fn drop_replica(&self, group: GroupId) -> Result<(), CallRefusal> {
        if !self.shared.store.has_room() {
            return Err(refuse(refusal::FULL, "disk is full"));
        }
        let Some(replica) = self.remove(group) else { return Ok(()) };
        let failed = |error: &(dyn std::error::Error + 'static)| {
            error!(%group, error, "replica cannot be dropped");
            refuse(refusal::STOPPED, "the replica cannot be dropped")
        };
        replica.shutdown().await.map_err(|error| failed(&error))?;
        replica.state.log.drop_group().await.map_err(|error| failed(&error))?;
        self.shared.store.remove_group(group).map_err(|error| failed(&error))?;
        // last: rows that a restart would find must not point to bodies that were freed
        self.shared.holdings.remove(group);
        Ok(())
    }

    /// The group's Raft, for changes that only its leader can make.
    pub(crate) fn leading(&self, group: GroupId) -> Result<Raft, CallRefusal> {
        let replica = self.replica(group).ok_or_else(|| refuse(refusal::NO_REPLICA, ""))?;
        Ok(replica.raft.clone())
    }

    pub(crate) fn add(&self, replica: Arc<Replica>) {
        let group = replica.address.group;
        self.replicas.write().unwrap_or_else(PoisonError::into_inner).insert(group, replica);
    }

    pub(crate) fn remove(&self, group: GroupId) -> Option<Arc<Replica>> {
        self.purges.forget(group);
        self.shared.leaderboard.forget(group);
        self.replicas.write().unwrap_or_else(PoisonError::into_inner).remove(&group)
    }

    pub(crate) fn peers(&self) -> &Peers {
        &self.shared.peers
    }

    pub(crate) fn purges(&self) -> &Purges {
        &self.purges
    }

    pub(crate) fn collector(&self) -> &Arc<Collector> {
        &self.collector
    }

    pub(crate) fn scrubber(&self) -> &Arc<Scrubber> {
        &self.scrubber
    }

    /// Whether the disk is so full that freeing some of it cannot wait.
    pub(crate) fn is_short_of_room(&self) -> bool {
        self.collector.short_of_room()
    }

    /// Whether the disk will soon take no more writes.
    pub(crate) fn is_nearly_full(&self) -> bool {
        self.collector.nearly_full()
    }

    /// What upkeep did since the start.
    pub fn upkeep(&self) -> UpkeepFigures {
        let (scrub_corrupt, scrub_repaired) = self.scrubber.totals();
        let (freed, scrub) = (self.collector.freed(), self.scrubber.figures());
        let scrub_unrepaired = self.scrubber.unrepaired();
        UpkeepFigures { freed, scrub, scrub_corrupt, scrub_repaired, scrub_unrepaired }
    }

    /// The replica of `group` here.
    pub(crate) fn replica(&self, group: GroupId) -> Option<Arc<Replica>> {
        self.replicas.read().unwrap_or_else(PoisonError::into_inner).get(&group).cloned()
    }

    /// All replicas here.
    pub(crate) fn replicas(&self) -> Vec<Arc<Replica>> {
        self.replicas.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// The node about itself.
    pub fn report(&self) -> NodeReport {
        let disk = self.disk();
        let mut replicas: Vec<_> = self.replicas().iter().map(|replica| report_replica(replica)).collect();
        let stopped =
            self.shared.holdings.states().into_iter().filter(|state| self.replica(state.group).is_none());
        replicas.extend(stopped.map(|state| report_stopped(&state)));
        NodeReport {
            node: self.node,
            incarnation: self.incarnation,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            capacity_bytes: disk.capacity.map_or(0, |capacity| capacity.total_bytes),
            used_bytes: disk.capacity.map_or(0, |capacity| capacity.used_bytes),
            free_bytes: disk.capacity.map_or(0, |capacity| capacity.free_bytes),
            writable: self.writable.load(Ordering::Relaxed),
            disk_failed: disk.failed,
            running: self.is_running(),
            refused_handshakes: self.refused.get().map_or(0, |refused| refused.total()),
            replicas,
        }
    }

    /// The disk's figures.
    pub fn disk(&self) -> DiskFigures {
        disk_figures(&self.shared.segments)
    }

    /// Looks whether the disk still has room.
    pub(crate) fn look_at_disk(&self) {
        let unknown = |error: &(dyn std::error::Error + 'static)| {
            warn!(node = %self.node, error, "the disk's room cannot be looked at");
        };
        let log = self.shared.segments.capacity().inspect_err(|error| unknown(error)).ok();
        let index = self.shared.store.room().inspect_err(|error| unknown(error)).ok();
        let files = self.shared.ballast.look().inspect_err(|error| unknown(error)).unwrap_or(false);
        let (writable, reclaimable) = match (log, index) {
            (Some(log), Some(index)) => {
                (log.writable && index.writable && files, log.reclaimable && index.reclaimable)
            }
            _ => (false, false),
        };
        self.reclaimable.store(reclaimable, Ordering::Relaxed);
        if self.writable.swap(writable, Ordering::Relaxed) != writable {
            if writable {
                info!(node = %self.node, "disk has room again");
            } else {
                warn!(node = %self.node, "disk is nearly full: only deletes are taken");
            }
        }
    }

    /// Answers one call; kinds that are not the engine's, or not for this peer, are refused.
    pub async fn call(
        &self,
        from: &Identity,
        class: PeerClass,
        kind: u16,
        head: Bytes,
        body: Bytes,
    ) -> Result<Reply, CallRefusal> {
        check_allowed(from, class, kind)?;
        if matches!(kind, kind::SHIP | kind::PAIR_STATE) {
            self.purges.note_asked();
        }
        match kind {
            kind::HEARTBEATS => self.heartbeats(head).await,
            kind::VOTE | kind::PRE_VOTE => self.vote(kind, head).await,
            kind::TRANSFER => self.transfer(head).await,
            kind::PROPOSE => self.propose(head, body).await,
            kind::QUERY => self.query(head).await,
            kind::LEADERS => self.leaders(head).await,
            kind::STATE => self.transfers.serve(self, head).await,
            kind::INSTALL => self.install(from, head).await,
            kind::RECORD => self.shared.repairer.serve(head).await,
            kind::SHIP => pair::serve(self, head).await,
            kind::PAIR_STATE => pair::serve_state(self, head).await,
            kind::LEASE => pair::serve_lease(self, head).await,
            kind::DIVERGED => pair::serve_diverged(self, head).await,
            kind::COMPARE => pair::serve_compare(self, head).await,
            kind::PAIR_REPORT => Ok(self
                .standby
                .get()
                .map_or_else(|| Reply::head(pair::no_lags()), |standby| standby.report())),
            kind::HELD => self.purges.learn(head, self.has_pair()),
            kind::GC => self.collect().await,
            kind::SCRUB => self.scrub(head),
            kind::REPLICA => self.change_replica(head).await,
            kind::NODE_STATUS => Ok(Reply::head(self.report().encode())),
            kind::HELLO => self.hello(from),
            _ => Err(malformed("unknown kind of call")),
        }
    }

    /// Serves one stream until it ends.
    pub async fn stream(
        &self,
        from: &Identity,
        class: PeerClass,
        kind: u16,
        head: Bytes,
        incoming: IncomingStream,
    ) -> Result<(), CallRefusal> {
        check_allowed(from, class, kind)?;
        let mut d = Decoder::new("stream", head);
        let replica = self.addressed(ReplicaAddress::decode(&mut d).map_err(not_understood)?)?;
        match kind {
            kind::APPEND => {
                appends::serve(replica.raft.clone(), self.shared.segments.clone(), incoming).await
            }
            _ => Err(malformed("unknown kind of stream")),
        }
    }

    /// The disk that this node takes part with.
    pub(crate) fn disk_identity(&self) -> &Disk {
        &self.disk
    }

    fn hello(&self, from: &Identity) -> Result<Reply, CallRefusal> {
        match from.role {
            PeerRole::Node(node) => Ok(Reply::head(self.disk.hello(node).encode())),
            _ => Err(refuse(refusal::DENIED, "only nodes take part")),
        }
    }

    fn addressed(&self, to: ReplicaAddress) -> Result<Arc<Replica>, CallRefusal> {
        let replica = self.replica(to.group).ok_or_else(|| refuse(refusal::NO_REPLICA, ""))?;
        if replica.address.replica != to.replica {
            return Err(refuse(refusal::WRONG_INCARNATION, "this disk began anew"));
        }
        Ok(replica)
    }

    async fn heartbeats(&self, head: Bytes) -> Result<Reply, CallRefusal> {
        let beats = raft::decode_beats(head).map_err(not_understood)?;
        let deadline = Instant::now() + Duration::from_millis(HEARTBEAT_WAIT_MS);
        let answers =
            join_all(beats.into_iter().map(|(to, request)| self.heartbeat(to, request, deadline))).await;
        Ok(Reply::head(raft::encode_answers(&answers)))
    }

    async fn heartbeat(
        &self,
        to: ReplicaAddress,
        request: AppendEntriesRequest<Types>,
        deadline: Instant,
    ) -> Option<AppendResult> {
        let replica = self.addressed(to).ok()?;
        let previous = request.prev_log_id;
        let response = timeout_at(deadline, replica.raft.append_entries(request)).await.ok()?.ok()?;
        let result = response.into_stream_result(previous, previous);
        if !matches!(result, Err(StreamAppendError::HigherVote(_))) {
            replica.hears_its_leader();
        }
        Some(result)
    }

    async fn vote(&self, kind: u16, head: Bytes) -> Result<Reply, CallRefusal> {
        let mut d = Decoder::new("vote request", head);
        let to = ReplicaAddress::decode(&mut d).map_err(not_understood)?;
        let request = raft::decode_vote_request(&mut d).map_err(not_understood)?;
        d.finish().map_err(not_understood)?;
        let replica = self.addressed(to)?;
        let log = replica.state.log.state();
        if log.last.is_none() && log.purged.is_none() {
            // an empty replica does not know what it voted for and stored before it was emptied
            return Err(refuse(refusal::NO_REPLICA, ""));
        }
        let raft = &replica.raft;
        let response =
            if kind == kind::VOTE { raft.vote(request).await } else { raft.pre_vote(request).await };
        let response = response.map_err(|error| stopped(to.group, &error))?;
        let mut e = Encoder::new();
        raft::encode_vote_response(&mut e, &response);
        Ok(Reply::head(e.finish()))
    }

    async fn transfer(&self, head: Bytes) -> Result<Reply, CallRefusal> {
        let mut d = Decoder::new("transfer", head);
        let to = ReplicaAddress::decode(&mut d).map_err(not_understood)?;
        let from = raft::decode_vote(&mut d).map_err(not_understood)?;
        let target = d.u64().map_err(not_understood)?;
        let last = d.option(raft::decode_log_id).map_err(not_understood)?;
        let replica = self.addressed(to)?;
        let request = TransferLeaderRequest::new(from, target, last);
        match replica.raft.handle_transfer_leader(request).await {
            Ok(Ok(())) => Ok(Reply::default()),
            Ok(Err(rejected)) => {
                Err(CallRefusal { code: refusal::NOT_LEADER, message: rejected.to_string() })
            }
            Err(error) => Err(stopped(to.group, &error)),
        }
    }

    /// A leader says that its log does not reach back to what this replica lacks.
    async fn install(&self, from: &Identity, head: Bytes) -> Result<Reply, CallRefusal> {
        let PeerRole::Node(leader) = from.role else {
            return Err(refuse(refusal::DENIED, "only nodes hold replicas"));
        };
        let mut d = Decoder::new("install", head);
        let replica = self.addressed(ReplicaAddress::decode(&mut d).map_err(not_understood)?)?;
        // a leader that lost patience asks again; what it began goes on
        let Ok(_only) = replica.state.fetching.try_lock() else {
            return Err(refuse(refusal::OVERLOADED, "the state is being fetched already"));
        };
        // records arrive before rows point to them
        let _pin = self.shared.holdings.pin();
        let received =
            raft::receive_snapshot(&self.shared.peers, leader, &replica.state, &replica.raft, d).await;
        received.map(Reply::head).map_err(|error| {
            let group = replica.address.group;
            warn!(%group, error = &error as &dyn std::error::Error, "state could not be fetched");
            refuse(refusal::UNREADABLE, "the state could not be fetched")
        })
    }

    async fn collect(&self) -> Result<Reply, CallRefusal> {
        if !self.is_running() {
            return Err(refuse(refusal::STARTING, "not all replicas were taken up yet"));
        }
        maintenance::purge(self, true).await;
        let freed = self.collector.collect_all().await.map_err(|error| {
            warn!(error = &error as &dyn std::error::Error, "collection on demand ended early");
            refuse(refusal::STOPPED, "the collection ended early")
        })?;
        Ok(Reply::head(freed.encode()))
    }

    fn scrub(&self, head: Bytes) -> Result<Reply, CallRefusal> {
        if Decoder::new("scrub request", head).flag().map_err(not_understood)? {
            self.scrubber.start();
        }
        Ok(Reply::head(self.scrubber.figures().encode()))
    }

    /// Forgets transfers that nobody asks about any more.
    pub(crate) fn expire_transfers(&self) {
        self.transfers.expire(self);
    }

    async fn leaders(&self, head: Bytes) -> Result<Reply, CallRefusal> {
        let seen = Decoder::new("leaders poll", head).u64().map_err(not_understood)?;
        self.shared.leaderboard.changed_since(seen, Duration::from_millis(LEADERS_WAIT_MS)).await;
        let (version, rows) = self.shared.leaderboard.rows();
        let mut e = Encoder::with_capacity(16 + 24 * rows.len());
        e.u64(version);
        e.list(&rows, |e, row| row.encode(e));
        Ok(Reply::head(e.finish()))
    }
}

/// Raft's own messages come from nodes only, each in its class; gateways propose, ask, and look.
fn check_allowed(from: &Identity, class: PeerClass, kind: u16) -> Result<(), CallRefusal> {
    let node = matches!(from.role, PeerRole::Node(_));
    let gateway = matches!(from.role, PeerRole::Gateway(_));
    let pair = matches!(from.role, PeerRole::Pair(_));
    let allowed = match kind {
        kind::APPEND => node && class == PeerClass::Append,
        kind::HEARTBEATS | kind::VOTE | kind::PRE_VOTE | kind::TRANSFER => {
            node && class == PeerClass::Liveness
        }
        kind::LEADERS if pair => class == PeerClass::Bulk,
        kind::PROPOSE | kind::QUERY | kind::LEADERS | kind::NODE_STATUS | kind::GC | kind::SCRUB => {
            (node || gateway) && class == PeerClass::Bulk
        }
        kind::PAIR_REPORT | kind::DIVERGED | kind::COMPARE => (node || gateway) && class == PeerClass::Bulk,
        kind::SHIP => (pair || node) && class == PeerClass::Bulk,
        kind::PAIR_STATE | kind::LEASE => pair && class == PeerClass::Bulk,
        kind::STATE | kind::INSTALL | kind::REPLICA | kind::HELLO | kind::RECORD | kind::HELD => {
            node && class == PeerClass::Bulk
        }
        _ => false,
    };
    if allowed { Ok(()) } else { Err(refuse(refusal::DENIED, "not for this peer in this class")) }
}

pub(crate) fn refuse(code: u16, message: &str) -> CallRefusal {
    CallRefusal { code, message: message.to_owned() }
}

fn malformed(message: &str) -> CallRefusal {
    refuse(refusal::MALFORMED, message)
}

pub(crate) fn not_understood(error: DecodeError) -> CallRefusal {
    refuse(refusal::MALFORMED, &error.to_string())
}

fn not_leader(leader: Option<u64>) -> CallRefusal {
    let hint = leader.map(|id| ReplicaId(id).node().to_string()).unwrap_or_default();
    refuse(refusal::NOT_LEADER, &hint)
}

fn stopped(group: GroupId, error: &(dyn std::error::Error + 'static)) -> CallRefusal {
    warn!(%group, error, "replica does not work");
    refuse(refusal::STOPPED, "the replica stopped")
}
