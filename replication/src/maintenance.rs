//! Background work of a node: purges what every replica of a group has, so that start-up reads little and segments can
//! be freed.
//!
//! Only a group's leader knows how far the others are. It tells them, so that a follower never purges what another
//! replica would miss should it become the leader. It also tells what the other region's standby has, also when it leads no
//! more: a leader that comes after it knows that even if the standby is gone.

use crate::{
    message::{kind, refusal},
    peer::{CallError, CallRefusal, PeerClass, Reply},
    replica::Replica,
    service::Service,
};
use bytes::Bytes;
use futures_util::future::join_all;
use openraft::async_runtime::watch::WatchReceiver;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use wire::{DecodeError, Decoder, Encoder, Epoch, GroupId, NodeId, PairRole, ReplicaId};

/// How often each group is looked at.
const INTERVAL: Duration = Duration::from_secs(5);

/// Entries kept beyond what every replica has: a follower that was away for a moment finds them without a snapshot.
const KEEP_ENTRIES: u64 = 1_024;

/// Entries that are kept for a follower that is away; past it, it gets a snapshot.
const KEEP_FOR_ABSENT_ENTRIES: u64 = 100_000;

/// Entries that a primary whose disk is short of room keeps for a standby that is behind; past it, that takes over the whole state. 512:
/// half a gigabyte of large objects in each group.
const KEEP_WHEN_SHORT_ENTRIES: u64 = 512;

/// A standby of which nothing was heard for so long is away: a primary whose disk is nearly full keeps nothing for it, and goes on with its writes.
/// Longer than one answer takes over a link that is narrow.
const ABSENT_AFTER: Duration = Duration::from_secs(60);

/// Purging is worth an index flush from this many entries on.
const PURGE_ENTRIES_MIN: u64 = 1_024;

/// Entries that every replica has go after this long, however few they are: what is deleted in a quiet region shall
/// free its segment.
const AGE_MAX: Duration = Duration::from_secs(60);

/// Groups whose purges wait for one index flush together. 64: threads that wait for it.
const PURGES_MAX: usize = 64;

/// How long the index flush and the purge of one group may take.
const PURGE_WAIT: Duration = Duration::from_secs(20);

/// How long another node may take to note what it is told.
const TELL_WAIT: Duration = Duration::from_secs(2);

/// Groups in one message. 8,192: all that a node may hold.
const TOLD_MAX: usize = 8_192;

/// How often the disk's room is looked at: at 1 GB/s a tenth of a second fills two segments, which the reserve holds.
const DISK_INTERVAL: Duration = Duration::from_millis(100);

/// How far purging may go, per group.
#[derive(Default)]
pub(crate) struct Purges {
    groups: Mutex<BTreeMap<GroupId, Known>>,
    /// Another node says that the region has a pair.
    has_pair: AtomicBool,
    /// When a node of the other region asked here last, for anything of any group.
    asked: Mutex<Option<Instant>>,
}

#[derive(Clone, Copy, Default)]
struct Known {
    /// Every replica has the entries up to here, says the leader.
    held: u64,
    /// Of a group whose region writes for a pair: what its standby has.
    shipped: Option<Shipped>,
    /// What another replica told of it.
    learned: Option<Shipped>,
    /// What the others were told last.
    told: Told,
    /// Since when the group is led here.
    led: Option<Instant>,
    /// What was applied at some time.
    applied: Option<(Instant, u64)>,
    /// What was applied for longer than [`AGE_MAX`].
    aged: u64,
}

/// What the standby of a group's pair has of the primary's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Shipped {
    /// The reign of the primary: what was shipped under another one says nothing of its standby.
    pub(crate) epoch: Epoch,
    /// It has the entries up to here, or needs none of them.
    pub(crate) upto: u64,
    /// It has them; else it is about to take over a state that holds them.
    pub(crate) is_there: bool,
}

/// What a replica tells of its group; `held` is 0 from one that does not lead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// Every replica has the entries up to here.
    pub(crate) held: u64,
    /// What the standby of the pair has.
    pub(crate) shipped: Option<Shipped>,
}

impl Purges {
    /// A leader tells how far all replicas of its groups are. One that does not know of the region's pair cannot know what
    /// the standby lacks: a node that was added and has no identity in the other region yet. Answers whether this node has one.
    pub(crate) fn learn(&self, head: Bytes, has_pair: bool) -> Result<Reply, CallRefusal> {
        let (knows_pair, told) =
            decode_held(head).map_err(|error| CallRefusal::new(refusal::MALFORMED, error.to_string()))?;
        if has_pair && !knows_pair {
            return Err(CallRefusal::new(
                refusal::PAIRED,
                "the region has a pair, which this node does not know",
            ));
        }
        let mut groups = self.groups();
        for (group, Told { held, shipped }) in told {
            let known = groups.entry(group).or_default();
            known.held = known.held.max(held);
            known.shipped = known.shipped.max(shipped);
            known.learned = known.learned.max(shipped);
        }
        Ok(Reply::head(Bytes::copy_from_slice(&[u8::from(has_pair)])))
    }

    /// What the other region has of a group.
    pub(crate) fn shipped(&self, group: GroupId, shipped: Shipped) {
        self.groups().entry(group).or_default().shipped = Some(shipped);
    }

    /// A node of the other region asks for something.
    pub(crate) fn note_asked(&self) {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// For how long nothing was heard of the standby by who leads a group since then.
    fn silence(&self, led: Instant) -> Duration {
        let asked = *self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.map_or(led, |asked| asked.max(led)).elapsed()
    }

    /// The last entry of a group that the standby of this reign is known to have.
    pub(crate) fn shipped_upto(&self, group: GroupId, epoch: Epoch) -> Option<u64> {
        let shipped = self.groups().get(&group)?.shipped?;
        (shipped.is_there && shipped.epoch == epoch).then_some(shipped.upto)
    }

    /// Forgets a group that is no longer here.
    pub(crate) fn forget(&self, group: GroupId) {
        self.groups().remove(&group);
    }

    fn groups(&self) -> MutexGuard<'_, BTreeMap<GroupId, Known>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs until `stop`.
pub(crate) async fn run(service: Arc<Service>, stop: CancellationToken) {
    let mut rounds = 0_u32;
    let rounds_per_interval = u32::try_from(INTERVAL.as_millis() / DISK_INTERVAL.as_millis()).unwrap_or(1);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(DISK_INTERVAL) => {}
        }
        service.look_at_disk();
        rounds += 1;
        if rounds.is_multiple_of(rounds_per_interval) {
            service.expire_transfers();
            tokio::select! {
                () = stop.cancelled() => return,
                () = purge(&service, service.is_short_of_room()) => {}
            }
        }
    }
}

/// Purges what nobody needs any more of all groups here. `all`: also what is young or hardly worth it.
pub(crate) async fn purge(service: &Service, all: bool) {
    let replicas = service.replicas();
    tell(service, &replicas).await;
    let now = Instant::now();
    let due: Vec<(Arc<Replica>, u64)> = replicas
        .into_iter()
        .filter_map(|replica| {
            let upto = purgeable(service.purges(), &replica, now, all)?;
            Some((replica, upto))
        })
        .collect();
    for batch in due.chunks(PURGES_MAX) {
        join_all(batch.iter().map(|(replica, upto)| purge_group(replica, *upto))).await;
    }
}

/// Tells the other replicas of the groups led here how far all of them are, and of all groups what the standby was seen to have
/// here.
async fn tell(service: &Service, replicas: &[Arc<Replica>]) {
    let mut messages: BTreeMap<NodeId, Vec<(GroupId, Told)>> = BTreeMap::new();
    let was_told = !service.has_pair() && service.purges().has_pair.load(Ordering::Relaxed);
    let has_pair = service.has_pair() || was_told;
    for replica in replicas {
        let now = news(service, replica, has_pair);
        if now.is_none() && !was_told {
            continue;
        }
        let metrics = replica.raft.metrics();
        let metrics = metrics.borrow_watched();
        let members = metrics.membership_config.membership().nodes().map(|(id, _)| ReplicaId(*id));
        for other in members.filter(|id| *id != replica.address.replica) {
            // who was told of a pair asks all others whether there is one still, also when there is nothing else to say
            let message = messages.entry(other.node()).or_default();
            message.extend(now.map(|now| (replica.address.group, now)));
        }
    }
    let answers = join_all(messages.into_iter().map(|(node, held)| async move {
        let head = encode_held(has_pair, &held);
        let told = service.peers().call(node, PeerClass::Bulk, kind::HELD, head, Vec::new(), TELL_WAIT).await;
        let error = match told {
            Ok(answer) => return answer.head[..] == [0],
            Err(error) => error,
        };
        debug!(%node, %error, "node was not told what all replicas have");
        let is_paired = matches!(error, CallError::Refused { code: refusal::PAIRED, .. });
        if is_paired && !service.purges().has_pair.swap(true, Ordering::Relaxed) {
            warn!(%node, "this region has a pair, and this node no identity there: groups led here are not shipped; `twinkeep pair make` gives it one");
        }
        let mut groups = service.purges().groups();
        for (group, _) in held {
            let known = groups.entry(group).or_default();
            known.told = Told::default();
            if is_paired || !has_pair {
                // nothing of it was purged yet; and who does not answer may know of a pair
                known.held = 0;
            }
        }
        false
    }))
    .await;
    if was_told && answers.iter().all(|knows_of_none| *knows_of_none) {
        info!("no node of this region knows of a pair any more");
        service.purges().has_pair.store(false, Ordering::Relaxed);
    }
}

/// What the other replicas of a group were not told yet.
fn news(service: &Service, replica: &Replica, has_pair: bool) -> Option<Told> {
    let metrics = replica.raft.metrics();
    let metrics = metrics.borrow_watched();
    let all_have = metrics
        .replication
        .as_ref()
        .map(|progress| progress.values().map(|matched| matched.map_or(0, |id| id.index)).min().unwrap_or(0));
    // looked at after the progress: a standby that is promoted meanwhile had all of that before its reign
    let pair = replica.state.machine().pair();
    let ships = has_pair && matches!(pair.role, PairRole::Primary | PairRole::Sealed);
    let purges = service.purges();
    let mut groups = purges.groups();
    let known = groups.entry(replica.address.group).or_default();
    let shipped = known.shipped.filter(|shipped| ships && shipped.epoch == pair.epoch);
    let Some(all_have) = all_have else {
        known.led = None;
        // it led before: whoever leads now may never have heard of the standby
        let is_new = shipped > known.learned.max(known.told.shipped);
        if is_new {
            known.told.shipped = shipped;
        }
        return is_new.then_some(Told { held: 0, shipped });
    };
    // what follows rows that are being taken over is kept: without it they would be taken over again and again
    let may_go = pair.role == PairRole::Primary && shipped.is_none_or(|shipped| shipped.is_there);
    let applied = metrics.last_applied.map_or(0, |id| id.index);
    let is_away = purges.silence(*known.led.get_or_insert_with(Instant::now)) > ABSENT_AFTER;
    let kept = match may_go {
        true if is_away && service.is_nearly_full() => applied,
        true if service.is_short_of_room() => applied.saturating_sub(KEEP_WHEN_SHORT_ENTRIES),
        _ => 0,
    };
    let held =
        if ships { all_have.min(shipped.map_or(0, |shipped| shipped.upto).max(kept)) } else { all_have };
    known.held = known.held.max(held);
    let now = Told { held, shipped };
    let is_new = held > known.told.held || shipped > known.told.shipped;
    if is_new {
        known.told = now;
    }
    is_new.then_some(now)
}

fn purgeable(purges: &Purges, replica: &Replica, now: Instant, all: bool) -> Option<u64> {
    let (applied, purged) = {
        let metrics = replica.raft.metrics();
        let metrics = metrics.borrow_watched();
        (metrics.last_applied?.index, metrics.purged.map(|id| id.index))
    };
    let mut groups = purges.groups();
    let known = groups.entry(replica.address.group).or_default();
    match known.applied {
        Some((at, index)) if now - at >= AGE_MAX => {
            known.aged = index;
            known.applied = Some((now, applied));
        }
        Some(_) => {}
        None => known.applied = Some((now, applied)),
    }
    upto(applied, purged, known.held, known.aged, all)
}

/// How far to purge, if it is worth it.
fn upto(applied: u64, purged: Option<u64>, held: u64, aged: u64, all: bool) -> Option<u64> {
    let needed = held.max(applied.saturating_sub(KEEP_FOR_ABSENT_ENTRIES)).min(applied);
    let first = purged.map_or(0, |purged| purged + 1);
    let old = needed.min(if all { applied } else { aged });
    let many = needed.min(applied.saturating_sub(KEEP_ENTRIES));
    if many >= first + PURGE_ENTRIES_MIN { Some(many.max(old)) } else { (old >= first.max(1)).then_some(old) }
}

/// Lets the index be flushed as far as the purge goes, then purges.
async fn purge_group(replica: &Replica, upto: u64) {
    let group = replica.address.group;
    let purged = timeout(PURGE_WAIT, async {
        let mut metrics = replica.raft.data_metrics();
        let covered = |index: u64| index >= upto;
        if !covered(metrics.borrow_watched().snapshot.map_or(0, |id| id.index)) {
            replica.raft.trigger().snapshot().await.map_err(|error| error.to_string())?;
            while !covered(metrics.borrow_watched().snapshot.map_or(0, |id| id.index)) {
                metrics.changed().await.map_err(|error| error.to_string())?;
            }
        }
        replica.raft.trigger().purge_log(upto).await.map_err(|error| error.to_string())?;
        while metrics.borrow_watched().purged.is_none_or(|id| id.index < upto) {
            metrics.changed().await.map_err(|error| error.to_string())?;
        }
        Ok::<(), String>(())
    });
    match purged.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => warn!(%group, %error, "purge was refused"),
        Err(_) => debug!(%group, upto, "purge goes on"),
    }
}

pub(crate) fn encode_held(has_pair: bool, told: &[(GroupId, Told)]) -> Bytes {
    let mut e = Encoder::with_capacity(9 + 30 * told.len());
    e.flag(has_pair);
    e.list(told, |e, (group, Told { held, shipped })| {
        e.u32(group.0);
        e.u64(*held);
        e.option(shipped.as_ref(), |e, shipped| {
            e.u64(shipped.epoch.0);
            e.u64(shipped.upto);
            e.flag(shipped.is_there);
        });
    });
    e.finish()
}

pub(crate) fn decode_held(head: Bytes) -> Result<(bool, Vec<(GroupId, Told)>), DecodeError> {
    let mut d = Decoder::new("held entries", head);
    let has_pair = d.flag()?;
    let told = d.list(TOLD_MAX, |d| {
        let group = GroupId(d.u32()?);
        let held = d.u64()?;
        let shipped =
            d.option(|d| Ok(Shipped { epoch: Epoch(d.u64()?), upto: d.u64()?, is_there: d.flag()? }))?;
        Ok((group, Told { held, shipped }))
    })?;
    d.finish()?;
    Ok((has_pair, told))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_leader_tells_comes_back_as_sent() {
        let told = vec![
            (GroupId(1), Told { held: 7, shipped: None }),
            (GroupId(2), Told { held: u64::MAX, shipped: Some(shipped(3, 8)) }),
        ];
        let bytes = encode_held(true, &told);
        assert_eq!(decode_held(bytes.clone()), Ok((true, told)));
        for cut in 0..bytes.len() {
            assert!(decode_held(bytes.slice(..cut)).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_leader_that_does_not_know_of_the_pair_is_told_of_it_and_nothing_is_learned() {
        let purges = Purges::default();
        let told = |has_pair| encode_held(has_pair, &[(GroupId(1), Told { held: 7, shipped: None })]);
        let refused = purges.learn(told(false), true).unwrap_err();
        assert_eq!(refused.code, refusal::PAIRED);
        assert!(purges.groups().is_empty());
        purges.learn(told(true), true).unwrap();
        purges.learn(told(false), false).unwrap();
        assert_eq!(purges.groups()[&GroupId(1)].held, 7);
    }

    #[test]
    fn who_follows_a_leader_knows_what_the_standby_had() {
        let purges = Purges::default();
        let told = |shipped| encode_held(true, &[(GroupId(1), Told { held: 7, shipped })]);
        let upto = |epoch| purges.shipped_upto(GroupId(1), Epoch(epoch));
        purges.learn(told(Some(shipped(1, 5))), true).unwrap();
        purges.learn(told(None), true).unwrap();
        assert_eq!(upto(1), Some(5));
        assert_eq!(upto(2), None, "another reign's");
        purges.learn(told(Some(Shipped { is_there: false, ..shipped(2, 9) })), true).unwrap();
        assert_eq!(upto(2), None, "it is about to take it over");
        purges.learn(told(Some(shipped(1, 7))), true).unwrap();
        assert_eq!(upto(1), None, "an older reign's comes too late");
    }

    fn shipped(epoch: u64, upto: u64) -> Shipped {
        Shipped { epoch: Epoch(epoch), upto, is_there: true }
    }

    #[test]
    fn what_another_replica_lacks_stays_however_old_it_is() {
        assert_eq!(upto(500, None, 100, 500, true), Some(100));
        assert_eq!(upto(500, Some(100), 100, 500, true), None);
    }

    #[test]
    fn a_few_entries_go_once_they_are_old_and_many_at_once() {
        assert_eq!(upto(500, None, 500, 0, false), None);
        assert_eq!(upto(500, None, 500, 300, false), Some(300));
        assert_eq!(upto(5_000, None, 5_000, 0, false), Some(5_000 - KEEP_ENTRIES));
    }

    #[test]
    fn a_replica_that_is_away_does_not_keep_entries_for_ever() {
        assert_eq!(upto(500_000, None, 3, 0, false), Some(400_000));
    }
}
