//! Rebuilds the groups' states from records in the order they were written: the last one wins.
//!
//! Segments between those read may have been removed, so the checkpoints that begin a segment are believed over what was
//! replayed before them. What they say is there and is not found by the end is a gap; a group they do not mention was
//! dropped.

use super::{
    group::{GroupCore, Slot},
    record::{Checkpoint, RecordKind},
    scan::ScannedRecord,
    types::{Damage, EntryId, EntryKind, Place},
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use wire::GroupId;

struct Found {
    id: EntryId,
    kind: EntryKind,
    place: Place,
    rotten: bool,
}

#[derive(Default)]
struct ReplayedGroup {
    /// Vote, purged, committed and damage; `held` is not used.
    state: Checkpoint,
    /// What must be there: from `first` to `last`.
    first: Option<u64>,
    last: Option<EntryId>,
    /// What was found.
    entries: BTreeMap<u64, Found>,
}

/// A group's rebuilt state, and those of its entries that are rotten.
pub(super) struct Rebuilt {
    pub(super) group: GroupId,
    pub(super) core: GroupCore,
    pub(super) rotten: Vec<EntryId>,
}

/// Groups under reconstruction.
#[derive(Default)]
pub(super) struct Replay {
    groups: BTreeMap<GroupId, ReplayedGroup>,
    /// Checkpoints that the segment still owes, and the groups it mentioned.
    prologue: (u32, BTreeSet<GroupId>),
}

impl Replay {
    /// The next record is the first of a segment that begins with so many checkpoints; none: its header cannot be read.
    pub(super) fn begin_segment(&mut self, checkpoints: Option<u32>) {
        self.prologue = (checkpoints.unwrap_or(0), BTreeSet::new());
        if checkpoints == Some(0) {
            self.groups.clear();
        }
    }

    /// Takes the next record. Says whether it could be used: a checkpoint that is not intact cannot.
    pub(super) fn apply(&mut self, record: &ScannedRecord) -> bool {
        let id = record.header.group;
        match record.header.kind {
            RecordKind::Closed => return true,
            RecordKind::Checkpoint => self.mention(id),
            RecordKind::DropGroup => {
                self.groups.remove(&id);
                return true;
            }
            _ => {}
        }
        let by_place_only = match record.header.kind {
            RecordKind::Fetched(..) => true,
            RecordKind::Moved(..) => !self.groups.contains_key(&id),
            _ => false,
        };
        if by_place_only {
            // a body that rows point to, of which no log knows
            return true;
        }
        let group = self.groups.entry(id).or_default();
        match record.header.kind {
            RecordKind::Entry(id, kind) => group.entry(id, kind, record),
            RecordKind::Moved(id, kind) => group.moved(id, kind, record),
            RecordKind::Vote(vote) => group.state.vote = Some(vote),
            RecordKind::Truncate(after) => group.truncate(after),
            RecordKind::Purge(upto) => group.purge(upto),
            RecordKind::Committed(upto) => group.state.committed = upto,
            RecordKind::Checkpoint => {
                let checkpoint =
                    record.intact.then(|| Checkpoint::decode(record.head.clone()).ok()).flatten();
                let Some(checkpoint) = checkpoint else { return false };
                group.restate(checkpoint);
            }
            RecordKind::Fetched(..) | RecordKind::DropGroup | RecordKind::Closed => {}
        }
        true
    }

    /// The prologue mentions a group: with its last one, it is known which groups there are.
    fn mention(&mut self, group: GroupId) {
        let (owed, mentioned) = &mut self.prologue;
        mentioned.insert(group);
        if *owed > 0 {
            *owed -= 1;
            if *owed == 0 {
                self.groups.retain(|group, _| mentioned.contains(group));
            }
        }
    }

    /// Records of this group were lost.
    pub(super) fn doubt(&mut self, group: GroupId) {
        self.groups.entry(group).or_default().state.damage.get_or_insert(Damage::Unknown);
    }

    /// Records of some group were lost, nobody knows whose.
    pub(super) fn doubt_all(&mut self) {
        for group in self.groups.values_mut() {
            group.state.damage.get_or_insert(Damage::Unknown);
        }
    }

    pub(super) fn finish(self) -> Vec<Rebuilt> {
        self.groups.into_iter().map(|(id, group)| group.finish(id)).collect()
    }
}

impl ReplayedGroup {
    fn entry(&mut self, id: EntryId, kind: EntryKind, record: &ScannedRecord) {
        if self.state.purged.is_some_and(|purged| id.index <= purged.index) {
            return;
        }
        if self.last.is_none() {
            self.first = Some(self.state.purged.map_or(id.index, |purged| purged.index + 1));
            self.entries.clear();
        } else if self.first.is_some_and(|first| id.index < first) {
            self.first = Some(id.index);
        }
        // an entry voids those after it, should the record that said so be lost
        self.entries.split_off(&id.index);
        let (place, rotten) = (record.place(), !record.intact);
        self.entries.insert(id.index, Found { id, kind, place, rotten });
        self.last = Some(id);
    }

    fn moved(&mut self, id: EntryId, kind: EntryKind, record: &ScannedRecord) {
        let wanted = self.first.is_some_and(|first| id.index >= first)
            && self.last.is_some_and(|last| id.index <= last.index);
        // another entry found at this index was replaced by one whose segment is gone
        if wanted {
            let (place, rotten) = (record.place(), !record.intact);
            self.entries.insert(id.index, Found { id, kind, place, rotten });
        }
    }

    fn truncate(&mut self, after: Option<EntryId>) {
        let keep = after.map_or(0, |after| after.index + 1);
        self.entries.split_off(&keep);
        if self.last.is_some_and(|last| last.index >= keep) {
            self.last = after.filter(|after| self.first.is_some_and(|first| after.index >= first));
        }
    }

    fn purge(&mut self, upto: EntryId) {
        if self.state.purged.is_none_or(|purged| purged.index < upto.index) {
            self.state.purged = Some(upto);
        }
        self.entries = self.entries.split_off(&(upto.index + 1));
        if self.last.is_some_and(|last| last.index <= upto.index) {
            self.last = None;
        }
        self.first = self.first.max(Some(upto.index + 1));
    }

    fn restate(&mut self, checkpoint: Checkpoint) {
        self.first = checkpoint.held.map(|(first, _)| first);
        self.last = checkpoint.held.map(|(_, last)| last);
        let (first, last) = (self.first, self.last.map(|last| last.index));
        self.entries.retain(|index, _| Some(*index) >= first && Some(*index) <= last);
        self.state = Checkpoint { held: None, ..checkpoint };
    }

    fn finish(mut self, group: GroupId) -> Rebuilt {
        let mut slots = VecDeque::new();
        let mut rotten = Vec::new();
        let first = self.first.unwrap_or_default();
        if let Some(last) = self.last {
            for index in first..=last.index {
                let found = self.entries.remove(&index);
                let Some(found) = found.filter(|found| index < last.index || found.id == last) else {
                    self.state.damage.get_or_insert(Damage::Gap { first: index, last: last.index });
                    break;
                };
                if found.rotten {
                    rotten.push(found.id);
                }
                slots.push_back(Slot::recovered(found.id, found.kind, found.place, found.rotten));
            }
        }
        let mut core = GroupCore::recovered(self.state, first, slots);
        // it was written along with a batch before the entries it speaks of
        let last = core.state().last;
        core.committed = core.committed.and_then(|committed| match last {
            Some(last) if committed.index > last.index => Some(last),
            Some(_) => Some(committed),
            None => None,
        });
        Rebuilt { group, core, rotten }
    }
}

/// Identity of the entry that a record holds; none when it holds none.
pub(super) fn entry_of(kind: RecordKind) -> Option<(EntryId, EntryKind)> {
    match kind {
        RecordKind::Entry(id, kind) | RecordKind::Moved(id, kind) | RecordKind::Fetched(id, kind) => {
            Some((id, kind))
        }
        _ => None,
    }
}
