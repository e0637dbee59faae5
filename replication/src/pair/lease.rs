//! Who vouches for a region: leases that its groups hold of the witness and of their standbys, and those that its standbys
//! give ([`wire::lease`]).
//!
//! A primary that needs leases acknowledges a write while it holds one of the two. A standby may take over unattended once
//! both were withheld: the witness asks for it, and each group's leader refuses unless it has not heard of its primary
//! for [`lease::WAIT`]. Two of three agree on who reigns, and losing one of them stops nobody.
//!
//! ```text
//! standby's leader                          primary's leader
//!   is it still the leader, with all its log applied?
//!   question: the stamp of the last answer  -> a lease since that stamp was given
//!   <- a new stamp, from a leader that a majority follows
//! ```
//!
//! A standby's new leader begins as if it had just heard of the primary: the one before it may have.

use super::standby::Standby;
use crate::{
    message::{kind, refusal},
    peer::{CallRefusal, Reply},
    replica::Replica,
    service::{Service, ensure_linearizable, not_understood, refuse},
};
use bytes::Bytes;
use rustix::time::{ClockId, clock_gettime};
use std::{
    collections::BTreeMap,
    hash::{BuildHasher, Hasher, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};
use wire::{
    DecodeError, Decoder, Encoder, Epoch, FIRST_EPOCH, GroupId, PairRole, PairState, PairStep,
    lease::{Granter, Holder},
};

/// How often a standby asks its primary for a stamp.
const PERIOD: Duration = Duration::from_millis(500);

/// How long an answer may take: what comes later would be a short lease.
const ANSWER_WAIT: Duration = Duration::from_secs(1);

/// Why a primary acknowledges no writes.
pub const CUT_OFF: &str = "neither the witness nor the standby vouches for this region";

/// A time that goes on while the machine sleeps, and that nobody sets.
pub(crate) fn now() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// The leases that a node holds for the groups that it leads.
pub struct Leases {
    stamps: AtomicU64,
    witness: Mutex<OfWitness>,
    standbys: Mutex<BTreeMap<GroupId, Holder>>,
    /// Writes that were not acknowledged for want of a lease.
    refused: AtomicU64,
}

#[derive(Default)]
struct OfWitness {
    holder: Holder,
    /// Groups under an older epoch have been relieved.
    epoch: Epoch,
}

/// The groups led by a node, as its witness counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Led {
    /// Those that take writes.
    pub primaries: u32,
    /// Standbys with a whole state.
    pub standbys: u32,
    /// Neither.
    pub others: u32,
    /// The newest epoch.
    pub epoch: Epoch,
    /// For how long the standby that heard of its primary last has not.
    pub unheard: Option<Duration>,
}

impl Default for Leases {
    fn default() -> Self {
        // no two lives of a node give the same stamps
        let begin = RandomState::new().build_hasher().finish();
        let (witness, standbys) = (Mutex::default(), Mutex::default());
        Self { stamps: AtomicU64::new(begin), witness, standbys, refused: AtomicU64::new(0) }
    }
}

impl Leases {
    /// Takes what the witness says, and gives it the stamp that its next lease has to name.
    pub fn of_witness(&self, epoch: Epoch, stamp: Option<u64>) -> u64 {
        let next = self.stamp();
        let mut witness = locked(&self.witness);
        witness.epoch = witness.epoch.max(epoch);
        if let Some(stamp) = stamp {
            witness.holder.grant(stamp);
        }
        witness.holder.issue(next, now());
        next
    }

    /// Whether the witness vouches for this node.
    pub fn has_witness(&self) -> bool {
        locked(&self.witness).holder.holds(now())
    }

    /// Groups for which their standbys vouch.
    pub fn standbys(&self) -> usize {
        let now = now();
        locked(&self.standbys).values().filter(|holder| holder.holds(now)).count()
    }

    /// Writes that were not acknowledged for want of a lease.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Whether a write of the group, which is primary under `epoch`, may be acknowledged now.
    pub(crate) fn vouches(&self, group: GroupId, epoch: Epoch) -> bool {
        let now = now();
        {
            let witness = locked(&self.witness);
            if witness.epoch <= epoch.max(FIRST_EPOCH) && witness.holder.holds(now) {
                return true;
            }
        }
        locked(&self.standbys).get(&group).is_some_and(|holder| holder.holds(now))
    }

    pub(crate) fn note_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    fn of_standby(&self, group: GroupId, stamp: Option<u64>) -> u64 {
        let next = self.stamp();
        let mut standbys = locked(&self.standbys);
        let holder = standbys.entry(group).or_default();
        if let Some(stamp) = stamp {
            holder.grant(stamp);
        }
        holder.issue(next, now());
        next
    }

    fn stamp(&self) -> u64 {
        self.stamps.fetch_add(1, Ordering::Relaxed)
    }
}

/// A standby's question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LeaseRequest {
    pub(crate) group: GroupId,
    /// Of the last answer: the lease.
    pub(crate) stamp: Option<u64>,
}

/// The primary's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LeaseAnswer {
    pub(crate) state: PairState,
    pub(crate) stamp: u64,
}

impl LeaseRequest {
    pub(crate) fn encode(self) -> Bytes {
        let mut e = Encoder::with_capacity(16);
        e.u32(self.group.0);
        e.option(self.stamp.as_ref(), |e, stamp| e.u64(*stamp));
        e.finish()
    }

    pub(crate) fn decode(head: Bytes) -> Result<Self, DecodeError> {
        let mut d = Decoder::new("lease request", head);
        let request = Self { group: GroupId(d.u32()?), stamp: d.option(Decoder::u64)? };
        d.finish()?;
        Ok(request)
    }
}

impl LeaseAnswer {
    pub(crate) fn encode(self) -> Bytes {
        let mut e = Encoder::with_capacity(64);
        self.state.encode(&mut e);
        e.u64(self.stamp);
        e.finish()
    }

    pub(crate) fn decode(head: Bytes) -> Result<Self, DecodeError> {
        let mut d = Decoder::new("lease answer", head);
        let answer = Self { state: PairState::decode(&mut d)?, stamp: d.u64()? };
        d.finish()?;
        Ok(answer)
    }
}

/// Answers a standby, if this is the group's leader and a majority follows it: one that nobody follows can acknowledge
/// nothing, and shall not pass for a primary.
pub(crate) async fn serve(service: &Service, head: Bytes) -> Result<Reply, CallRefusal> {
    let request = LeaseRequest::decode(head).map_err(not_understood)?;
    let replica = service.replica(request.group).ok_or_else(|| refuse(refusal::NO_REPLICA, ""))?;
    ensure_linearizable(&replica.raft, request.group).await?;
    let state = replica.state.machine().pair();
    let stamp = service.leases().map_or(0, |leases| leases.of_standby(request.group, request.stamp));
    Ok(Reply::head(LeaseAnswer { state, stamp }.encode()))
}

/// What the standbys led by a node gave.
#[derive(Default)]
pub(super) struct Grants(Mutex<BTreeMap<GroupId, Grant>>);

struct Grant {
    /// The term in which this node led the group: who led before may have given a lease a moment ago.
    term: u64,
    granter: Granter,
    /// Switches that were let begin and are not decided: nothing is given while there is one.
    under_way: u32,
}

impl Grants {
    /// Acts on what is known since the replica leads; nothing if it does not.
    fn with<T>(&self, replica: &Replica, act: impl FnOnce(&mut Grant) -> T) -> Option<T> {
        let term = replica.leads_in()?;
        let mut grants = locked(&self.0);
        let grant = grants.entry(replica.address.group).or_insert_with(|| Grant::new(term));
        if grant.term != term {
            *grant = Grant::new(term);
        }
        Some(act(grant))
    }

    /// As if the primary was heard of now.
    fn renew(&self, replica: &Replica) {
        self.with(replica, |grant| *grant = Grant::new(grant.term));
    }

    /// For how long the group has not heard of its primary, at least.
    pub(super) fn silence(&self, replica: &Replica) -> Duration {
        self.with(replica, |grant| grant.granter.silence(now())).unwrap_or_default()
    }

    /// Withholds further leases if none is left; false if one may be. While a switch is under way none was given.
    pub(super) fn withhold(&self, replica: &Replica) -> bool {
        let may_begin = self.with(replica, |grant| {
            let may_begin = grant.under_way > 0 || grant.granter.is_over(now());
            grant.under_way += u32::from(may_begin);
            may_begin
        });
        may_begin.unwrap_or(false)
    }

    /// A switch was decided.
    pub(super) fn resume(&self, replica: &Replica) {
        self.with(replica, |grant| grant.under_way = grant.under_way.saturating_sub(1));
    }
}

impl Grant {
    fn new(term: u64) -> Self {
        Self { term, granter: Granter::new(now()), under_way: 0 }
    }
}

impl Standby {
    /// Vouches for the primary of the group until the replica no longer leads in this term.
    pub(super) async fn vouch(&self, replica: &Replica, term: u64) {
        let group = replica.address.group;
        if !self.is_needed() {
            return;
        }
        let mut was_heard = true;
        while replica.leads_in() == Some(term) {
            let role = replica.state.machine().pair().role;
            if matches!(role, PairRole::Standby | PairRole::Bootstrap) {
                let is_heard = self.ask_for_stamp(replica).await;
                if is_heard != was_heard {
                    was_heard = is_heard;
                    if is_heard {
                        info!(%group, "the primary is heard of");
                    } else {
                        warn!(%group, "the primary is not heard of");
                    }
                }
            } else {
                // should it become a standby, that one begins as if it had just heard of its primary
                self.grants.renew(replica);
            }
            sleep(PERIOD).await;
        }
    }

    /// Ends a switch whose entry may still come: everything before an entry that was applied is decided. A new term knows
    /// of no switch, and begins with an entry of its own.
    pub(crate) async fn end_relief_once_decided(self: Arc<Self>, replica: Arc<Replica>) {
        let Some(term) = replica.leads_in() else { return };
        // a standby refuses it: it changes nothing
        let step = PairStep::Unseal { epoch: Epoch(0) };
        while replica.leads_in() == Some(term) {
            if self.submit(&replica, step).await.is_ok() {
                self.grants.resume(&replica);
                return;
            }
            sleep(PERIOD).await;
        }
    }

    /// Whether a primary answered.
    async fn ask_for_stamp(&self, replica: &Replica) -> bool {
        let group = replica.address.group;
        // A switch that an earlier leader proposed, if it was ever to happen, has happened then; and no later leader
        // was elected before.
        let leads = ensure_linearizable(&replica.raft, group).await.is_ok();
        let role = replica.state.machine().pair().role;
        if !leads || !matches!(role, PairRole::Standby | PairRole::Bootstrap) {
            return false;
        }
        let give = |grant: &mut Grant| if grant.under_way > 0 { None } else { grant.granter.grant() };
        let stamp = self.grants.with(replica, give).flatten();
        let request = LeaseRequest { group, stamp }.encode();
        let asked = self.other().ask(group, kind::LEASE, request, Instant::now() + ANSWER_WAIT).await;
        let answer = asked.ok().and_then(|reply| LeaseAnswer::decode(reply.head).ok());
        match answer {
            Some(answer) if matches!(answer.state.role, PairRole::Primary | PairRole::Sealed) => {
                self.grants.with(replica, |grant| grant.granter.hear(answer.stamp, now()));
                true
            }
            _ => false,
        }
    }
}

/// Counts the groups led here by a leader that a majority follows.
pub(crate) async fn led(service: &Service, standby: Option<&Standby>) -> Led {
    let replicas = service.replicas().into_iter().filter(|replica| replica.leads());
    let looks = replicas.map(|replica| async move {
        let asked = ensure_linearizable(&replica.raft, replica.address.group);
        let leads = tokio::time::timeout(PERIOD, asked).await.is_ok_and(|leads| leads.is_ok());
        let pair = replica.state.machine().pair();
        leads.then_some((pair, replica))
    });
    let mut led = Led::default();
    for (pair, replica) in futures_util::future::join_all(looks).await.into_iter().flatten() {
        led.epoch = led.epoch.max(pair.epoch).max(FIRST_EPOCH);
        match pair.role {
            PairRole::Primary => led.primaries += 1,
            PairRole::Standby => {
                led.standbys += 1;
                let silence = standby.map_or(Duration::ZERO, |standby| standby.grants.silence(&replica));
                led.unheard = Some(led.unheard.map_or(silence, |unheard| unheard.min(silence)));
            }
            PairRole::Sealed | PairRole::Bootstrap => led.others += 1,
        }
    }
    led
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_voucher_is_enough_and_a_relieved_epoch_has_no_witness() {
        let leases = Leases::default();
        let (group, epoch) = (GroupId(3), Epoch(2));
        let fresh = Leases::default();
        let stamp = fresh.of_witness(FIRST_EPOCH, None);
        fresh.of_witness(FIRST_EPOCH, Some(stamp));
        assert!(fresh.vouches(group, Epoch(0)), "nothing was written to the group yet");
        assert!(!leases.vouches(group, epoch), "a node that just began");
        let stamp = leases.of_witness(epoch, None);
        leases.of_witness(epoch, Some(stamp));
        assert!(leases.vouches(group, epoch) && leases.vouches(group, Epoch(3)) && leases.has_witness());
        assert!(!leases.vouches(group, Epoch(1)), "another region reigns under a newer epoch");
        let stamp = leases.of_standby(group, None);
        assert!(!leases.vouches(group, Epoch(1)));
        leases.of_standby(group, Some(stamp));
        assert!(leases.vouches(group, Epoch(1)), "its standby has heard of it");
        assert!(!leases.vouches(GroupId(4), Epoch(1)), "another group's standby has not");
        assert_eq!(leases.standbys(), 1);
    }

    #[test]
    fn another_life_of_a_node_gives_other_stamps() {
        let (one, other) = (Leases::default(), Leases::default());
        let stamp = one.of_witness(Epoch(1), None);
        other.of_witness(Epoch(1), None);
        other.of_witness(Epoch(1), Some(stamp));
        assert!(!other.has_witness());
    }

    #[test]
    fn messages_come_back_as_written_and_every_cut_is_an_error() {
        let request = LeaseRequest { group: GroupId(7), stamp: Some(9) };
        let answer = LeaseAnswer { state: PairState::default(), stamp: 9 };
        assert_eq!(LeaseRequest::decode(request.encode()), Ok(request));
        assert_eq!(LeaseAnswer::decode(answer.encode()), Ok(answer));
        for cut in 0..request.encode().len() {
            assert!(LeaseRequest::decode(request.encode().slice(..cut)).is_err(), "{cut}");
        }
        for cut in 0..answer.encode().len() {
            assert!(LeaseAnswer::decode(answer.encode().slice(..cut)).is_err(), "{cut}");
        }
    }
}
