//! The region as seen from a gateway: finds each group's leader, holds requests while there is none, repeats them.
//!
//! One task per node keeps a long poll open that answers when any group's leader changed there; the newest reign wins.
//! A request in flight to a leader that lost its group moves on to the next one at once. Repeating is safe: a command
//! keeps its request id, and applying one twice gives the first outcome.

use crate::{
    message::{Leadership, kind, refusal},
    nearby::{self, NearbyDisks},
    peer::{CallError, PeerClass, Peers},
    region::{Consistency, Region, RegionError},
};
use async_trait::async_trait;
use bytes::Bytes;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::debug;
use wire::{
    Answer, Command, Decoder, Encoder, Epoch, GroupId, NodeId, Operation, Outcome, PairRole, Query, Refusal,
    ReplicaId,
};

/// How long a node may think over a leaders poll, ms. 1 s: the answer doubles as a sign of life.
pub(crate) const LEADERS_POLL_MS: u64 = 1_000;

/// Wait after a poll that failed, ms: about one heartbeat.
const POLL_RETRY_MS: u64 = 40;

/// Wait before the same leader is asked again, ms, when nothing else is known.
const LEADER_RETRY_MS: u64 = 15;

/// How long a group whose leader's disk is full is asked again, in case a replica with room takes over.
const FULL_WAIT: Duration = Duration::from_secs(4);

/// How long a group is asked again for which nobody vouches: a new leader has to be vouched for first.
const CUT_OFF_WAIT: Duration = Duration::from_secs(5);

/// Pause between two tries at a full leader, ms.
const FULL_RETRY_MS: u64 = 200;

/// Pause before a sealed group is asked again, ms: a planned switch takes it to the other region before long.
const SEALED_RETRY_MS: u64 = 50;

/// Commands and queries in flight through one router: beyond it callers are refused. 8,192 is far past what two
/// cores serve in the time a client waits.
const REQUESTS_MAX: usize = 8_192;

/// A group's leader as known here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Known {
    reign: (u64, ReplicaId),
    leader: Option<ReplicaId>,
}

/// Routes commands and queries to leaders.
pub struct Router {
    peers: Peers,
    groups: u32,
    epoch: AtomicU64,
    /// Index 0 is the system group.
    leaders: Vec<watch::Sender<Known>>,
    /// Nodes that may hold replicas, for reads that any replica can answer.
    nodes: Mutex<BTreeMap<NodeId, CancellationToken>>,
    /// Disks of nodes on this host.
    nearby: OnceLock<NearbyDisks>,
    in_flight: AtomicUsize,
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Router {
    /// Routes to `groups` data groups held by `nodes`; polls run on `tracker` until `stop`.
    pub fn start(
        peers: Peers,
        groups: u32,
        nodes: impl IntoIterator<Item = NodeId>,
        tracker: TaskTracker,
        stop: CancellationToken,
    ) -> Arc<Self> {
        assert!(groups.is_power_of_two(), "a region's group count is a power of two");
        let leaders = (0..=groups).map(|_| watch::channel(Known::default()).0).collect();
        let router = Arc::new(Self {
            peers,
            groups,
            epoch: AtomicU64::new(1),
            leaders,
            nodes: Mutex::default(),
            nearby: OnceLock::new(),
            in_flight: AtomicUsize::new(0),
            tracker,
            stop,
        });
        router.update_nodes(nodes, []);
        router
    }

    /// Large bodies are read from these disks instead of being sent; a second call changes nothing.
    pub fn set_nearby(&self, disks: NearbyDisks) {
        let _second = self.nearby.set(disks).is_err();
    }

    /// Polls `members` from now on, and `removed` no more. Who is in neither stays as it is: while a region forms, the
    /// system group does not know all of its founders yet, and the node that leads it may be lost just then.
    pub fn update_nodes(
        self: &Arc<Self>,
        members: impl IntoIterator<Item = NodeId>,
        removed: impl IntoIterator<Item = NodeId>,
    ) {
        let mut polled = self.nodes.lock().expect("no holder of this lock panics");
        for stop in removed.into_iter().filter_map(|node| polled.remove(&node)) {
            stop.cancel();
        }
        for node in members {
            polled.entry(node).or_insert_with(|| {
                let stop = self.stop.child_token();
                let (router, token) = (Arc::clone(self), stop.clone());
                self.tracker.spawn(async move {
                    tokio::select! {
                        () = token.cancelled() => {}
                        () = router.poll(node) => {}
                    }
                });
                stop
            });
        }
    }

    /// The node that leads `group`, as far as known.
    pub fn leader(&self, group: GroupId) -> Option<NodeId> {
        self.leaders.get(group.0 as usize)?.borrow().leader.map(ReplicaId::node)
    }

    /// Asks one node, whoever it is, for what a group's replica there has.
    pub async fn query_node(
        &self,
        node: NodeId,
        group: GroupId,
        query: &Query,
        wait: Duration,
    ) -> Result<(Answer, Bytes), RegionError> {
        let head = query_head(group, Consistency::Local, &[], query);
        let reply =
            self.peers.call(node, PeerClass::Bulk, kind::QUERY, head, Vec::new(), wait).await.map_err(
                |error| match error {
                    CallError::Refused { code: refusal::UNREADABLE, .. } => RegionError::Unreadable { group },
                    _ => RegionError::Unavailable { group },
                },
            )?;
        let (_, answer) = nearby::decode_answer(reply.head).map_err(|_| RegionError::Protocol { group })?;
        Ok((answer, reply.body))
    }

    async fn poll(&self, node: NodeId) {
        let mut seen = 0_u64;
        loop {
            let mut e = Encoder::new();
            e.u64(seen);
            let wait = Duration::from_millis(LEADERS_POLL_MS * 2);
            match self.peers.call(node, PeerClass::Bulk, kind::LEADERS, e.finish(), Vec::new(), wait).await {
                Ok(reply) => match self.learn(reply.head) {
                    Ok(version) => seen = version,
                    Err(error) => {
                        debug!(%node, %error, "leaders answer not understood");
                        sleep(Duration::from_millis(POLL_RETRY_MS)).await;
                    }
                },
                Err(error) => {
                    debug!(%node, %error, "leaders poll failed");
                    seen = 0;
                    sleep(Duration::from_millis(POLL_RETRY_MS)).await;
                }
            }
        }
    }

    fn learn(&self, head: Bytes) -> Result<u64, wire::DecodeError> {
        let mut d = Decoder::new("leaders", head);
        let version = d.u64()?;
        for known in d.list(self.leaders.len(), Leadership::decode)? {
            self.note(known.group, known.reign, known.leader);
        }
        Ok(version)
    }

    fn note(&self, group: GroupId, reign: (u64, ReplicaId), leader: Option<ReplicaId>) {
        if let Some(slot) = self.leaders.get(group.0 as usize) {
            note_in(slot, reign, leader);
        }
    }

    /// Calls the group's leader until it answers or the deadline passes.
    async fn call_leader(
        &self,
        group: GroupId,
        kind: u16,
        head: Bytes,
        body: Bytes,
        deadline: Instant,
    ) -> Result<crate::peer::Reply, RegionError> {
        let slot = self.leaders.get(group.0 as usize).ok_or(RegionError::Protocol { group })?;
        let mut known = slot.subscribe();
        let (mut full_since, mut cut_off): (Option<Instant>, Option<(ReplicaId, Instant)>) = (None, None);
        let mut unavailable = RegionError::Unavailable { group };
        loop {
            let current = *known.borrow_and_update();
            let Some(leader) = current.leader else {
                match timeout_at(deadline, known.changed()).await {
                    Ok(Ok(())) => continue,
                    _ => return Err(unavailable),
                }
            };
            let wait = deadline.saturating_duration_since(Instant::now());
            if wait.is_zero() {
                return Err(unavailable);
            }
            let bodies = if body.is_empty() { Vec::new() } else { vec![body.clone()] };
            let call = self.peers.call(leader.node(), PeerClass::Bulk, kind, head.clone(), bodies, wait);
            let result = tokio::select! {
                biased;
                result = call => result,
                // another term began: whatever the old leader would say comes too late or not at all
                _ = known.changed() => continue,
            };
            if matches!(result, Err(CallError::Refused { code: refusal::CUT_OFF, .. })) {
                unavailable = RegionError::CutOff { group };
                // a new leader has to be vouched for first, and has as long for it as the one before
                let (_, since) = *cut_off.insert(match cut_off {
                    Some(known) if known.0 == leader => known,
                    _ => (leader, Instant::now()),
                });
                if since.elapsed() > CUT_OFF_WAIT {
                    return Err(unavailable);
                }
            }
            match result {
                Ok(reply) => return Ok(reply),
                Err(CallError::Refused {
                    code:
                        refusal::CUT_OFF
                        | refusal::NOT_LEADER
                        | refusal::NO_REPLICA
                        | refusal::STOPPED
                        // a leader that was killed starts again before its followers know that it is gone
                        | refusal::STARTING
                        | refusal::WRONG_INCARNATION,
                    ..
                })
                | Err(CallError::Unreachable { .. } | CallError::Disconnected | CallError::TimedOut) => {
                    let retry = (Instant::now() + Duration::from_millis(LEADER_RETRY_MS)).min(deadline);
                    // either someone else leads now, or the same one is asked again
                    let _changed_or_time_passed = timeout_at(retry, known.changed()).await.is_ok();
                    if Instant::now() >= deadline {
                        return Err(unavailable);
                    }
                }
                Err(CallError::Refused { code: refusal::FULL, .. }) => {
                    // one full disk hands its groups over; only when no replica has room is the group full
                    let since = *full_since.get_or_insert_with(Instant::now);
                    let retry = (Instant::now() + Duration::from_millis(FULL_RETRY_MS)).min(deadline);
                    let _changed_or_time_passed = timeout_at(retry, known.changed()).await.is_ok();
                    if since.elapsed() > FULL_WAIT || Instant::now() >= deadline {
                        return Err(RegionError::Full { group });
                    }
                }
                Err(CallError::Refused { code: refusal::UNREADABLE, .. }) => {
                    return Err(RegionError::Unreadable { group });
                }
                Err(CallError::Overloaded | CallError::Refused { code: refusal::OVERLOADED, .. }) => {
                    return Err(RegionError::Overloaded);
                }
                Err(CallError::Refused { .. } | CallError::TooLarge) => {
                    return Err(RegionError::Protocol { group });
                }
            }
        }
    }

    /// Asks the leader of a group what is not a command or query of a client.
    pub(crate) async fn ask(
        &self,
        group: GroupId,
        kind: u16,
        head: Bytes,
        deadline: Instant,
    ) -> Result<crate::peer::Reply, RegionError> {
        self.call_leader(group, kind, head, Bytes::new(), deadline).await
    }

    fn admit(&self) -> Result<InFlight<'_>, RegionError> {
        if self.in_flight.fetch_add(1, Ordering::Relaxed) >= REQUESTS_MAX {
            self.in_flight.fetch_sub(1, Ordering::Relaxed);
            return Err(RegionError::Overloaded);
        }
        Ok(InFlight(&self.in_flight))
    }
}

/// Takes in what a node says of a group's leader, unless something newer is known.
fn note_in(slot: &watch::Sender<Known>, reign: (u64, ReplicaId), leader: Option<ReplicaId>) {
    slot.send_if_modified(|known| {
        let newer = reign > known.reign || (reign == known.reign && known.leader.is_none());
        let changed = newer && (known.reign, known.leader) != (reign, leader);
        if changed {
            *known = Known { reign, leader };
        }
        changed
    });
}

struct InFlight<'a>(&'a AtomicUsize);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[async_trait]
impl Region for Router {
    fn groups(&self) -> u32 {
        self.groups
    }

    fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::Relaxed))
    }

    async fn propose(
        &self,
        group: GroupId,
        command: Command,
        deadline: Instant,
    ) -> Result<Outcome, RegionError> {
        let _in_flight = self.admit()?;
        let mut command = command;
        loop {
            let mut e = Encoder::with_capacity(512);
            e.u32(group.0);
            e.fixed(&command.encode_head());
            let body = command.body.clone();
            let reply = self.call_leader(group, kind::PROPOSE, e.finish(), body, deadline).await?;
            let mut d = Decoder::new("outcome", reply.head);
            let outcome = Outcome::decode(&mut d).map_err(|_| RegionError::Protocol { group })?;
            if matches!(command.operation, Operation::PairStep(_)) {
                return Ok(outcome);
            }
            match outcome {
                // writing came to this region: what the group knows is newer than what was known here
                Outcome::Refused(Refusal::StaleEpoch { current }) if current > command.meta.epoch => {
                    self.epoch.fetch_max(current.0, Ordering::Relaxed);
                    command.meta.epoch = current;
                }
                Outcome::Refused(Refusal::PairRole { role: PairRole::Sealed, .. }) => {
                    if Instant::now() >= deadline {
                        return Err(RegionError::Unavailable { group });
                    }
                    sleep(Duration::from_millis(SEALED_RETRY_MS)).await;
                }
                Outcome::Refused(Refusal::PairRole { .. }) => return Err(RegionError::NotPrimary { group }),
                outcome => return Ok(outcome),
            }
        }
    }

    async fn query(
        &self,
        group: GroupId,
        query: Query,
        consistency: Consistency,
        deadline: Instant,
    ) -> Result<(Answer, Bytes), RegionError> {
        let _in_flight = self.admit()?;
        let mut readable = self.nearby.get().map_or_else(Vec::new, NearbyDisks::readable);
        loop {
            let head = query_head(group, consistency, &readable, &query);
            let reply = self.call_leader(group, kind::QUERY, head, Bytes::new(), deadline).await?;
            let (nearby, answer) =
                nearby::decode_answer(reply.head).map_err(|_| RegionError::Protocol { group })?;
            let (Some(nearby), Some(disks)) = (nearby, self.nearby.get()) else {
                return Ok((answer, reply.body));
            };
            if readable.is_empty() {
                return Err(RegionError::Protocol { group });
            }
            if let Some(body) = disks.read(&nearby).await {
                return Ok((answer, body));
            }
            // the node itself knows what to do about bytes that moved or are rotten
            readable.clear();
        }
    }
}

fn query_head(group: GroupId, consistency: Consistency, readable: &[NodeId], query: &Query) -> Bytes {
    let mut e = Encoder::with_capacity(192);
    e.u32(group.0);
    e.flag(consistency == Consistency::Linearizable);
    nearby::encode_readable(&mut e, readable);
    e.fixed(&query.encode());
    e.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_leader_of_the_same_term_is_followed_and_an_older_one_is_not() {
        let (first, second) = (ReplicaId(1 << 16), ReplicaId(2 << 16));
        let seen = |notes: &[((u64, ReplicaId), Option<ReplicaId>)]| {
            let slot = watch::channel(Known::default()).0;
            for (reign, leader) in notes {
                note_in(&slot, *reign, *leader);
            }
            slot.borrow().leader
        };
        assert_eq!(seen(&[((5, first), Some(first)), ((5, second), Some(second))]), Some(second));
        assert_eq!(seen(&[((5, second), Some(second)), ((5, first), Some(first))]), Some(second));
        assert_eq!(seen(&[((5, first), None), ((5, first), Some(first))]), Some(first));
        assert_eq!(seen(&[((5, first), Some(first)), ((6, second), None)]), None);
    }
}
