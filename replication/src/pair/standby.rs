//! The standby's side: one task per group that is led here reads the primary's log and proposes it.

use super::{
    adopt::Adoption,
    asking::{ANSWER_BYTES_MIN, Asking},
    lease::{CUT_OFF, Grants},
    message::{GroupLag, ShipRequest, Shipment, SyncedThen, Unshipped, encode_lags},
    system::SystemGroup,
};
use crate::{
    message::kind, pace::Pace, peer::Reply, raft::Proposal, region::RegionError, replica::Replica,
    router::Router, service::Service,
};
use bytes::Bytes;
use futures_util::StreamExt;
use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};
use thiserror::Error;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, info, warn};
use wire::{
    Command, CommandMeta, Epoch, GroupId, Operation, Outcome, PairRole, PairState, PairStep, Refusal,
    Sequence, ShippedCommand, UnixMillis, limits,
};

/// How often it is looked whether groups are led here.
const LOOK: Duration = Duration::from_millis(100);

/// How long the primary may wait with an answer that has nothing in it, ms: so often the lag is known anew.
const WAIT_MS: u32 = 500;

/// How long a question may take, the way to a primary that is being elected included.
const ASK_WAIT: Duration = Duration::from_secs(10);

/// The same while the group is behind: what has come to wait for each other's bytes on a slow link is not thrown away.
const CATCH_UP_WAIT: Duration = Duration::from_secs(30);

/// Groups of a node that are behind and ask at once. 8: with whole answers they fill a link of 100 ms and 2 GBit/s; with one command of 1 MiB
/// for each, those of three nodes come in time over a link of 7 MBit/s.
const CATCH_UP_AT_ONCE: usize = 8;

/// Groups of a node that take over the whole state at once. 4: one record for each of three nodes comes in time over a link of 3 MBit/s.
const ADOPTIONS_AT_ONCE: usize = 4;

/// Pause of a group that follows nobody, before it looks again whether the other region was promoted meanwhile.
const WATCH: Duration = Duration::from_millis(500);

/// Answers that are taken in a second when that is limited: groups ask beside each other, and each for no more than this part.
const ANSWERS_PER_SECOND: u64 = 16;

/// What comes with an answer that has nothing in it does not count against the link's rate, bytes.
const FREE_BYTES: usize = 256;

/// The longest body that a command has, bytes.
const BODY_BYTES_MAX: usize = limits::CHUNK_BYTES_MAX + limits::SEAL_OVERHEAD_BYTES;

/// How long a data group waits for the system group before it says so and asks the primary again.
const SYSTEM_WAIT: Duration = Duration::from_secs(2);

/// Pause after a question that failed.
const RETRY: Duration = Duration::from_millis(200);

/// Why shipping stopped for a moment.
#[derive(Debug, Error)]
pub(super) enum ShipError {
    #[error("the other region does not answer")]
    Ask(#[from] RegionError),
    #[error("the other region's answer makes no sense")]
    Answer(#[from] wire::DecodeError),
    #[error("this region's disks are full")]
    Full,
    #[error("the system group is not as far here as it was there when this was written")]
    System,
    #[error("this group does not take it: {reason}")]
    Propose { reason: String },
}

/// What a node knows of its groups' primaries.
pub struct Standby {
    /// Weak: the service holds this.
    service: Weak<Service>,
    other: Arc<Router>,
    system: SystemGroup,
    /// What may come from it in a second, all groups together.
    bytes_per_second_max: Option<u64>,
    pace: tokio::sync::Mutex<Pace>,
    /// Turns of the groups that are behind, so that not all of them wait for parts of a slow link.
    catch_ups: Semaphore,
    adoptions: Semaphore,
    /// Given to the primaries of the groups led here.
    pub(super) grants: Grants,
    known: Mutex<BTreeMap<GroupId, Known>>,
    /// What was known of groups before the node started.
    recalled: Vec<SyncedThen>,
}

#[derive(Clone, Default)]
struct Known {
    other: Option<PairState>,
    /// Under which epoch of the primary, and until when everything of it is here.
    synced: Option<(Epoch, UnixMillis)>,
    /// Under which epoch of the primary, and up to which of its entries everything is here.
    through: Option<(Epoch, Sequence)>,
    heard: Option<Instant>,
    gone: bool,
    blocked: Option<String>,
}

impl Standby {
    /// Follows the groups of `other`, for those of `service`, a node of `own`, that are standbys, until `stop`; takes no more than
    /// `bytes_per_second_max` of what it lacks in a second, if that is limited. `recalled` is what `synced` said before the node started.
    pub fn start(
        service: &Arc<Service>,
        own: Arc<Router>,
        other: Arc<Router>,
        bytes_per_second_max: Option<u64>,
        recalled: Vec<SyncedThen>,
        tracker: &TaskTracker,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let standby = Arc::new(Self {
            service: Arc::downgrade(service),
            other,
            system: SystemGroup::new(Arc::downgrade(service), own),
            bytes_per_second_max,
            catch_ups: Semaphore::new(CATCH_UP_AT_ONCE),
            adoptions: Semaphore::new(ADOPTIONS_AT_ONCE),
            pace: tokio::sync::Mutex::new(Pace::new()),
            grants: Grants::default(),
            known: Mutex::default(),
            recalled,
        });
        tracker.spawn(Arc::clone(&standby).run(stop));
        standby
    }

    /// How far the groups led here are behind.
    pub fn lags(&self) -> Vec<GroupLag> {
        let Some(service) = self.service.upgrade() else { return Vec::new() };
        let led = service.replicas().into_iter().filter(|replica| replica.leads());
        let known = self.known();
        let lags = led.map(|replica| {
            let group = replica.address.group;
            let Known { other, synced, heard, gone, blocked, .. } =
                known.get(&group).cloned().unwrap_or_default();
            let heard_ms = heard.map(|at| u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX));
            let own = replica.state.machine().pair();
            let synced = synced.map(|(_, synced)| synced);
            let unshipped = service.shipped_upto(group, own.epoch).map(|upto| unshipped(&replica, upto));
            let unshipped = unshipped.filter(|_| matches!(own.role, PairRole::Primary | PairRole::Sealed));
            let blocked = match own.role {
                PairRole::Standby | PairRole::Bootstrap => blocked,
                PairRole::Primary => service.is_unvouched(&replica).then(|| CUT_OFF.to_owned()),
                PairRole::Sealed => None,
            };
            GroupLag { group, own, other, synced, heard_ms, gone, unshipped, blocked }
        });
        lags.collect()
    }

    /// What is known of groups whether they are led here still or not: a leader that is new knows nothing.
    pub fn synced(&self) -> Vec<SyncedThen> {
        let mut then: BTreeMap<GroupId, SyncedThen> =
            self.recalled.iter().map(|then| (then.group, *then)).collect();
        for (group, known) in &*self.known() {
            if let Some((epoch, synced)) = known.synced {
                then.insert(*group, SyncedThen { group: *group, epoch, synced });
            }
        }
        then.into_values().collect()
    }

    /// Lets the switch of a group begin for which no lease is left: none is given until it is over. False if the primary
    /// was heard of, or could have been.
    pub(crate) fn begin_relief(&self, replica: &Replica) -> bool {
        self.grants.withhold(replica)
    }

    /// The switch was refused, or done: unless another is under way, the primary may be vouched for again.
    pub(crate) fn end_relief(&self, replica: &Replica) {
        self.grants.resume(replica);
    }

    /// Up to where a group has all of its primary, and under which reign.
    pub(crate) fn through(&self, group: GroupId) -> Option<(Epoch, Sequence)> {
        self.known().get(&group)?.through
    }

    /// How far this region's system group has come.
    pub(crate) fn system(&self) -> &SystemGroup {
        &self.system
    }

    /// How far the other region's has.
    pub(super) async fn system_there(&self, deadline: Instant) -> Result<Sequence, ShipError> {
        let group = GroupId::SYSTEM;
        let reply = self.fetch(group, kind::SHIP, ShipRequest::part_of(group).encode(), deadline).await?;
        Ok(Shipment::decode(reply.head)?.system)
    }

    pub(crate) fn report(&self) -> Reply {
        Reply::head(encode_lags(&self.lags(), &self.synced()))
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<GroupId, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut tasks: BTreeMap<GroupId, JoinHandle<()>> = BTreeMap::new();
        loop {
            tasks.retain(|_, task| !task.is_finished());
            let replicas = self.service.upgrade().map_or_else(Vec::new, |service| service.replicas());
            for replica in replicas {
                let group = replica.address.group;
                let Some(term) = replica.leads_in() else { continue };
                if let Entry::Vacant(free) = tasks.entry(group) {
                    let (standby, stop) = (Arc::clone(&self), stop.clone());
                    let follow = async move {
                        tokio::select! {
                            () = stop.cancelled() => {}
                            ((), ()) = async { tokio::join!(standby.follow(&replica, term), standby.vouch(&replica, term)) } => {}
                        }
                    };
                    free.insert(tokio::spawn(follow));
                }
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
        for task in tasks.into_values() {
            task.abort();
        }
    }

    /// Until the replica no longer leads in this term. One that leads again soon after does so in another: if it went on where it
    /// had not noticed, and ended where it had, the group would be followed by half.
    async fn follow(&self, replica: &Replica, term: u64) {
        let group = replica.address.group;
        let mut told = false;
        let mut asking = Asking::new(self.answer_bytes_max());
        while replica.leads_in() == Some(term) {
            match self.look(replica, term, &mut asking).await {
                Ok(()) => {
                    self.note(group, |known| known.blocked = None);
                    if std::mem::take(&mut told) {
                        info!(%group, "the pair is heard of again");
                    }
                }
                Err(error) => {
                    let reason = reason(&error);
                    self.note(group, |known| known.blocked = Some(reason));
                    not_followed(group, &error, std::mem::replace(&mut told, true));
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// The other region.
    pub(super) fn other(&self) -> &Router {
        &self.other
    }

    /// Asks the other region for what this one lacks: what comes counts against the link's rate, and those that ask take turns.
    pub(super) async fn fetch(
        &self,
        group: GroupId,
        kind: u16,
        head: Bytes,
        deadline: Instant,
    ) -> Result<Reply, RegionError> {
        let reply = self.other.ask(group, kind, head, deadline).await?;
        let bytes = reply.head.len() + reply.body.len();
        if self.bytes_per_second_max.is_some() && bytes > FREE_BYTES {
            self.pace.lock().await.pass(bytes as u64, self.bytes_per_second_max).await;
        }
        Ok(reply)
    }

    /// What one answer may bring, bytes.
    fn answer_bytes_max(&self) -> u32 {
        let part = |rate: u64| u32::try_from(rate / ANSWERS_PER_SECOND).unwrap_or(u32::MAX);
        self.bytes_per_second_max.map_or(u32::MAX, |rate| part(rate).max(ANSWER_BYTES_MIN))
    }

    /// How many questions may be on their way for one group at once, if `wanted` are when nothing is limited.
    pub(super) fn at_once(&self, wanted: usize) -> usize {
        if self.bytes_per_second_max.is_some() { 1 } else { wanted }
    }

    /// Whether this region's writes, and so its pair's, need leases.
    pub(super) fn is_needed(&self) -> bool {
        self.service.upgrade().is_some_and(|service| service.leases().is_some())
    }

    /// Whether the disk takes `bytes` more.
    pub(super) fn check_room(&self, bytes: usize) -> Result<(), ShipError> {
        let has_room = self.service.upgrade().is_some_and(|service| service.has_room_for(bytes));
        if has_room { Ok(()) } else { Err(ShipError::Full) }
    }

    /// Asks once, and applies what comes if this is the standby.
    async fn look(&self, replica: &Replica, term: u64, asking: &mut Asking) -> Result<(), ShipError> {
        let group = replica.address.group;
        let own = replica.state.machine().pair();
        if own.role == PairRole::Bootstrap {
            self.note(group, |known| *known = Known::default());
            let Some(_turn) = turn(&self.adoptions, replica, term).await else { return Ok(()) };
            let adopted = Adoption::run(self, replica, self.at_once(asking.records_at_once())).await;
            match &adopted {
                Ok(()) => asking.adopted(),
                Err(ShipError::Ask(_)) => asking.failed(),
                Err(_) => {}
            }
            return adopted;
        }
        let Some((shipment, body)) = self.ask(replica, term, own, asking).await? else { return Ok(()) };
        if own.role == PairRole::Primary
            && shipment.state.role == PairRole::Primary
            && shipment.state.epoch > own.epoch
        {
            let epoch = own.epoch;
            warn!(%group, %epoch, "the other region reigns under a newer epoch: this one takes no more writes");
            return self.step(replica, PairStep::Seal { epoch }).await;
        }
        let follows = own.role == PairRole::Standby && shipment.state.role != PairRole::Standby;
        if !follows {
            // two standbys, or two primaries: nothing is shipped
            self.note(group, |known| {
                (known.other, known.heard) = (Some(shipment.state), Some(Instant::now()));
            });
            tokio::time::sleep(WATCH).await;
            return Ok(());
        }
        let (state, now, complete, gone) = (shipment.state, shipment.now, shipment.complete, shipment.gone);
        let applied = if gone { Ok(()) } else { self.propose(replica, own.sequence, shipment, body).await };
        let whole = applied.is_ok() && complete && !gone;
        self.note(group, |known| {
            known.other = Some(state);
            known.heard = Some(Instant::now());
            known.gone = gone;
            if whole {
                known.synced = Some((state.epoch, now));
                known.through = Some((state.epoch, state.sequence));
            }
        });
        if gone {
            warn!(%group, after = own.sequence.0, "the primary's log no longer reaches back to this standby: it takes over the whole state");
            return self.step(replica, PairStep::Rejoin { epoch: state.epoch }).await;
        }
        applied
    }

    /// Asks for what follows on `own`, and for nothing but the other's part if this is no standby; `None` if the term ended meanwhile.
    async fn ask(
        &self,
        replica: &Replica,
        term: u64,
        own: PairState,
        asking: &mut Asking,
    ) -> Result<Option<(Shipment, Bytes)>, ShipError> {
        let group = replica.address.group;
        let follows = (own.role == PairRole::Standby).then_some(own.epoch);
        let (mut held, mut wait_ms, mut wait) = (None, WAIT_MS, ASK_WAIT);
        if follows.is_some() && asking.is_behind() {
            if !asking.is_heard() {
                // a primary that has no leader is waited for without a turn
                let part = ShipRequest::part_of(group).encode();
                self.fetch(group, kind::SHIP, part, Instant::now() + ASK_WAIT).await?;
                asking.heard();
            }
            let Some(turn) = turn(&self.catch_ups, replica, term).await else { return Ok(None) };
            (held, wait_ms, wait) = (Some(turn), 0, CATCH_UP_WAIT);
        }
        let (after, bytes_max) = (own.sequence, asking.bytes_max());
        let request = ShipRequest { group, follows, after, bytes_max, wait_ms };
        let reply = self.fetch(group, kind::SHIP, request.encode(), Instant::now() + wait).await;
        drop(held);
        let reply = reply.inspect_err(|_| asking.failed())?;
        let shipment = Shipment::decode(reply.head)?;
        asking.answered(reply.body.len(), shipment.complete);
        Ok(Some((shipment, reply.body)))
    }

    /// Changes the group's own part.
    async fn step(&self, replica: &Replica, step: PairStep) -> Result<(), ShipError> {
        match self.submit(replica, step).await? {
            Outcome::Pair(_) => Ok(()),
            other => Err(ShipError::Propose { reason: format!("{other:?}") }),
        }
    }

    /// What came of a change of the group's own part, once it is applied.
    pub(super) async fn submit(&self, replica: &Replica, step: PairStep) -> Result<Outcome, ShipError> {
        let operation = Operation::PairStep(step);
        let head = Command { meta: CommandMeta::default(), operation, body: Bytes::new() }.encode_head();
        let written = replica.raft.client_write(Proposal { head, body: Bytes::new() }).await;
        Ok(written.map_err(|error| ShipError::Propose { reason: error.to_string() })?.data)
    }

    fn note(&self, group: GroupId, change: impl FnOnce(&mut Known)) {
        change(self.known().entry(group).or_default());
    }

    async fn propose(
        &self,
        replica: &Replica,
        mut after: Sequence,
        shipment: Shipment,
        mut bodies: Bytes,
    ) -> Result<(), ShipError> {
        if shipment.commands.is_empty() {
            return Ok(());
        }
        let is_system = replica.address.group == GroupId::SYSTEM;
        if !is_system && !self.system.has_come_to(shipment.system, SYSTEM_WAIT).await {
            return Err(ShipError::System);
        }
        let mut proposals = Vec::with_capacity(shipment.commands.len());
        for shipped in shipment.commands {
            let length = shipped.body_bytes as usize;
            if length > bodies.len() {
                return Err(wire::DecodeError::Short {
                    what: "shipped bodies",
                    missing: length - bodies.len(),
                }
                .into());
            }
            let body = bodies.split_to(length);
            // what cannot be decoded must not enter the log: every replica would stop at it
            let meta = Command::decode(shipped.head.clone(), Bytes::new())?.meta;
            let (epoch, sequence, head) = (shipment.state.epoch, shipped.sequence, shipped.head);
            let operation = Operation::Shipped(ShippedCommand { epoch, after, sequence, head });
            after = sequence;
            let meta = CommandMeta { epoch, ..meta };
            let head = Command { meta, operation, body: Bytes::new() }.encode_head();
            if head.len() > limits::COMMAND_HEAD_BYTES_MAX || body.len() > BODY_BYTES_MAX {
                let reason = format!("entry {} is longer than entries may be", sequence.0);
                return Err(ShipError::Propose { reason });
            }
            proposals.push(Proposal { head, body });
        }
        let bytes = proposals.iter().map(|proposal| proposal.head.len() + proposal.body.len()).sum();
        self.check_room(bytes)?;
        let refused = |reason: &dyn std::fmt::Display| ShipError::Propose { reason: reason.to_string() };
        let written = replica.raft.client_write_many(proposals).await;
        let mut written = written.map_err(|error| refused(&error))?;
        while let Some(outcome) = written.next().await {
            let outcome = outcome.map_err(|error| refused(&error))?.map_err(|error| refused(&error))?;
            match outcome.response {
                // it was proposed by the leader before this one
                Outcome::Done | Outcome::Refused(Refusal::OutOfOrder { .. }) => {}
                other => return Err(refused(&format_args!("{other:?}"))),
            }
        }
        Ok(())
    }
}

/// A turn among the groups of this node, `None` once the group is no longer led in this term. The system group waits for nobody, since the
/// others wait for it.
async fn turn<'s>(turns: &'s Semaphore, replica: &Replica, term: u64) -> Option<Turn<'s>> {
    if replica.address.group == GroupId::SYSTEM {
        return Some(Turn(None));
    }
    while replica.leads_in() == Some(term) {
        if let Ok(turn) = timeout(LOOK, turns.acquire()).await {
            return turn.ok().map(|turn| Turn(Some(turn)));
        }
    }
    None
}

/// Held while a group is asked for.
struct Turn<'s>(#[expect(dead_code, reason = "given back when it is dropped")] Option<SemaphorePermit<'s>>);

/// What the other region does not have yet, which has everything up to the entry `upto`.
fn unshipped(replica: &Replica, upto: u64) -> Unshipped {
    let (after, applied) = {
        let machine = replica.state.machine();
        (machine.sequence_of(upto), machine.applied().0.map_or(0, |applied| applied.index))
    };
    let (operations, bytes) = replica.state.log.ordinary(upto + 1, applied);
    Unshipped { after, operations, bytes }
}

/// An error with what it came from.
fn reason(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn not_followed(group: GroupId, error: &ShipError, again: bool) {
    let error = error as &dyn std::error::Error;
    if again {
        debug!(%group, error, "the pair is still not followed");
    } else {
        warn!(%group, error, "the pair is not followed now");
    }
}
