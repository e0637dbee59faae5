//! What is known in memory about one group's log: its state, and a slot per entry that is not purged.
//!
//! Memory is what is durable plus entries not yet flushed: truncations, purges and votes show only once they are on disk.

use super::{
    error::LogError,
    record::Checkpoint,
    types::{Damage, EntryId, EntryKind, GroupState, LogEntry, Place, SegmentId, Vote},
};
use bytes::Bytes;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;
use wire::{GroupId, ReplicaId};

/// One group of the log.
pub(super) struct Group {
    pub(super) id: GroupId,
    core: Mutex<GroupCore>,
    /// Wakes those who wait for entries to be flushed.
    pub(super) flushed: Notify,
}

impl Group {
    pub(super) fn new(id: GroupId, core: GroupCore) -> Self {
        Self { id, core: Mutex::new(core), flushed: Notify::new() }
    }

    /// Never held across an await or a disk operation.
    pub(super) fn core(&self) -> MutexGuard<'_, GroupCore> {
        // a panic under the lock leaves it as consistent as the last finished statement; going on beats a second panic
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Head and body of an entry kept in memory.
pub(super) struct Payload {
    pub(super) head: Bytes,
    pub(super) body: Bytes,
}

/// One entry. It has a place, or a payload, or both.
pub(super) struct Slot {
    term: u64,
    leader: ReplicaId,
    kind: EntryKind,
    pub(super) rotten: bool,
    pub(super) place: Option<Place>,
    pub(super) payload: Option<Box<Payload>>,
}

impl Slot {
    pub(super) fn recovered(id: EntryId, kind: EntryKind, place: Place, rotten: bool) -> Self {
        Self { term: id.term, leader: id.leader, kind, rotten, place: Some(place), payload: None }
    }

    fn payload_bytes(&self) -> u64 {
        match (&self.payload, self.place) {
            (Some(payload), _) => payload.head.len() as u64 + payload.body.len() as u64,
            (None, Some(place)) => u64::from(place.head_length) + u64::from(place.body_length),
            (None, None) => 0,
        }
    }

    fn id(&self, index: u64) -> EntryId {
        EntryId { term: self.term, leader: self.leader, index }
    }
}

/// An entry found in the log: in memory, or where to read it.
pub(super) enum Found {
    Cached(LogEntry),
    OnDisk { place: Place, rotten: bool },
}

impl Found {
    /// Head and body, bytes.
    pub(super) fn payload_bytes(&self) -> usize {
        match self {
            Self::Cached(entry) => entry.head.len() + entry.body.len(),
            Self::OnDisk { place, .. } => place.head_length as usize + place.body_length as usize,
        }
    }
}

/// How many slots left each segment.
pub(super) type Released = BTreeMap<SegmentId, u64>;

/// State and slots.
#[derive(Default)]
pub(super) struct GroupCore {
    pub(super) vote: Option<Vote>,
    pub(super) purged: Option<EntryId>,
    pub(super) committed: Option<EntryId>,
    /// Whether `committed` is newer than what the log says.
    pub(super) committed_unwritten: bool,
    pub(super) damage: Option<Damage>,
    pub(super) truncating: bool,
    pub(super) dropped: bool,
    /// Index of the first slot.
    first: u64,
    slots: VecDeque<Slot>,
}

impl GroupCore {
    pub(super) fn recovered(checkpoint: Checkpoint, first: u64, slots: VecDeque<Slot>) -> Self {
        Self {
            vote: checkpoint.vote,
            purged: checkpoint.purged,
            committed: checkpoint.committed,
            damage: checkpoint.damage,
            first,
            slots,
            ..Self::default()
        }
    }

    pub(super) fn state(&self) -> GroupState {
        let held = self.held();
        GroupState {
            vote: self.vote,
            purged: self.purged,
            committed: self.committed,
            first: held.map(|(first, _)| first),
            last: held.map(|(_, last)| last).or(self.purged),
            damage: self.damage,
        }
    }

    /// The state to begin a segment with; none for a group that was never used.
    pub(super) fn checkpoint(&self) -> Option<Checkpoint> {
        let checkpoint = Checkpoint {
            vote: self.vote,
            purged: self.purged,
            committed: self.committed,
            held: self.held_durably(),
            damage: self.damage,
        };
        (checkpoint != Checkpoint::default()).then_some(checkpoint)
    }

    pub(super) fn segments(&self) -> Released {
        count_segments(self.slots.iter())
    }

    /// Why nothing may be written for Raft; none when it may.
    pub(super) fn refusal(&self, group: GroupId) -> Option<LogError> {
        if self.dropped {
            return Some(LogError::Dropped { group });
        }
        self.damage.map(|damage| LogError::Damaged { group, damage })
    }

    /// Checks that `entries` follow the log and each other.
    pub(super) fn check_append(&self, group: GroupId, entries: &[LogEntry]) -> Result<(), LogError> {
        if let Some(refusal) = self.refusal(group) {
            return Err(refusal);
        }
        let mut expected = self.next_index();
        for entry in entries {
            let index = entry.id.index;
            if self.truncating || expected.is_some_and(|expected| expected != index) {
                let expected = expected.filter(|_| !self.truncating);
                return Err(LogError::OutOfOrder { group, index, expected });
            }
            expected = Some(index + 1);
        }
        Ok(())
    }

    /// Adds an entry that [`GroupCore::check_append`] let through.
    pub(super) fn push(&mut self, entry: LogEntry) {
        if self.slots.is_empty() {
            self.first = entry.id.index;
        }
        self.slots.push_back(Slot {
            term: entry.id.term,
            leader: entry.id.leader,
            kind: entry.kind,
            rotten: false,
            place: None,
            payload: Some(Box::new(Payload { head: entry.head, body: entry.body })),
        });
    }

    /// The entry is on disk. Says whether it is still in the log.
    pub(super) fn set_flushed(&mut self, id: EntryId, place: Place) -> bool {
        match self.slot_mut(id) {
            Some(slot) => {
                slot.place = Some(place);
                true
            }
            None => false,
        }
    }

    /// The entry's record was copied. Gives the segment it was in, if the entry is still in the log.
    pub(super) fn set_moved(&mut self, id: EntryId, place: Place) -> Option<SegmentId> {
        let slot = self.slot_mut(id)?;
        slot.rotten = false;
        slot.place.replace(place).map(|old| old.segment)
    }

    /// Drops the entry's payload from memory; it has a place.
    pub(super) fn evict(&mut self, id: EntryId) {
        if let Some(slot) = self.slot_mut(id)
            && slot.place.is_some()
        {
            slot.payload = None;
        }
    }

    pub(super) fn purge(&mut self, upto: EntryId) -> Released {
        if self.purged.is_none_or(|purged| purged.index < upto.index) {
            self.purged = Some(upto);
        }
        let count = (upto.index + 1).saturating_sub(self.first).min(self.slots.len() as u64);
        self.first += count;
        count_segments(self.slots.drain(..count as usize).collect::<Vec<_>>().iter())
    }

    pub(super) fn truncate(&mut self, after: Option<EntryId>) -> Released {
        self.truncating = false;
        let keep = after.map_or(0, |after| (after.index + 1).saturating_sub(self.first));
        let keep = keep.min(self.slots.len() as u64) as usize;
        count_segments(self.slots.split_off(keep).iter())
    }

    pub(super) fn clear(&mut self) -> Released {
        let released = self.segments();
        *self = Self { dropped: true, ..Self::default() };
        released
    }

    pub(super) fn place(&self, index: u64) -> Option<Place> {
        self.slot(index)?.place
    }

    /// Heads and bodies of the ordinary entries from `first` to `last` that are still held: how many, and their bytes.
    pub(super) fn ordinary(&self, first: u64, last: u64) -> (u64, u64) {
        let skipped = first.saturating_sub(self.first);
        let count = (last + 1).saturating_sub(self.first.max(first));
        let [skipped, count] = [skipped, count].map(|number| usize::try_from(number).unwrap_or(usize::MAX));
        let slots = self.slots.iter().skip(skipped).take(count);
        let ordinary = slots.filter(|slot| slot.kind == EntryKind::Normal);
        ordinary.fold((0, 0), |(entries, bytes), slot| (entries + 1, bytes + slot.payload_bytes()))
    }

    pub(super) fn contains(&self, index: u64) -> bool {
        self.slot(index).is_some()
    }

    pub(super) fn id_at(&self, index: u64) -> Option<EntryId> {
        Some(self.slot(index)?.id(index))
    }

    pub(super) fn find(&self, index: u64) -> Option<Found> {
        let slot = self.slot(index)?;
        match (&slot.payload, slot.place) {
            (Some(payload), _) => Some(Found::Cached(LogEntry {
                id: slot.id(index),
                kind: slot.kind,
                head: payload.head.clone(),
                body: payload.body.clone(),
            })),
            (None, Some(place)) => Some(Found::OnDisk { place, rotten: slot.rotten }),
            (None, None) => None,
        }
    }

    /// Index that the next entry must have; none when any will do.
    fn next_index(&self) -> Option<u64> {
        match self.slots.len() {
            0 => self.purged.map(|purged| purged.index + 1),
            length => Some(self.first + length as u64),
        }
    }

    fn held(&self) -> Option<(EntryId, EntryId)> {
        let last = self.first + (self.slots.len() as u64).checked_sub(1)?;
        Some((self.slots.front()?.id(self.first), self.slots.back()?.id(last)))
    }

    fn held_durably(&self) -> Option<(u64, EntryId)> {
        // entries are flushed in order, so those without a place are at the end
        let count = self.slots.partition_point(|slot| slot.place.is_some());
        let last = self.first + (count as u64).checked_sub(1)?;
        Some((self.first, self.slots.get(count - 1)?.id(last)))
    }

    fn slot(&self, index: u64) -> Option<&Slot> {
        self.slots.get(usize::try_from(index.checked_sub(self.first)?).ok()?)
    }

    fn slot_mut(&mut self, id: EntryId) -> Option<&mut Slot> {
        let position = usize::try_from(id.index.checked_sub(self.first)?).ok()?;
        self.slots.get_mut(position).filter(|slot| slot.id(id.index) == id)
    }
}

fn count_segments<'a>(slots: impl Iterator<Item = &'a Slot>) -> Released {
    let mut counts = Released::new();
    for place in slots.filter_map(|slot| slot.place) {
        *counts.entry(place.segment).or_default() += 1;
    }
    counts
}
