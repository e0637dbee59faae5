//! What a node holds: the state of every group, also of those whose replica does not run, and which segments hold
//! records that no row points to yet.
//!
//! Garbage collection frees what nobody here holds, so a group is added before any of its records is needed and leaves
//! only after it was dropped.

use crate::{
    log::{SegmentId, SegmentLog},
    raft::GroupState,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};
use wire::GroupId;

/// States of groups, and pins.
pub(crate) struct Holdings {
    /// Where bodies lie.
    pub(crate) segments: SegmentLog,
    states: RwLock<BTreeMap<GroupId, Arc<GroupState>>>,
    pins: Mutex<Pins>,
}

#[derive(Default)]
struct Pins {
    taken: u64,
    from: BTreeMap<u64, SegmentId>,
}

/// While it lives, no segment that a record can be written to from its taking on is freed.
pub(crate) struct Pin {
    holdings: Arc<Holdings>,
    number: u64,
}

impl Holdings {
    /// None yet.
    pub(crate) fn new(segments: SegmentLog) -> Arc<Self> {
        Arc::new(Self { segments, states: RwLock::default(), pins: Mutex::default() })
    }

    /// Takes a group's state in.
    pub(crate) fn add(&self, state: Arc<GroupState>) {
        self.states.write().unwrap_or_else(PoisonError::into_inner).insert(state.group, state);
    }

    /// Lets a group go: its bodies may be freed.
    pub(crate) fn remove(&self, group: GroupId) {
        self.states.write().unwrap_or_else(PoisonError::into_inner).remove(&group);
    }

    /// A group's state.
    pub(crate) fn state(&self, group: GroupId) -> Option<Arc<GroupState>> {
        self.states.read().unwrap_or_else(PoisonError::into_inner).get(&group).cloned()
    }

    /// The states of all groups.
    pub(crate) fn states(&self) -> Vec<Arc<GroupState>> {
        self.states.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Keeps what is written from now on until rows point to it.
    pub(crate) fn pin(self: &Arc<Self>) -> Pin {
        let mut pins = self.pins();
        // under the lock: who lists segments and then asks for pins sees this one, or lists none that it protects
        let newest = self.segments.segments().last().map_or(SegmentId(0), |segment| segment.id);
        pins.taken += 1;
        let number = pins.taken;
        pins.from.insert(number, newest);
        Pin { holdings: Arc::clone(self), number }
    }

    /// The first segment that is pinned. To be asked after segments were listed.
    pub(crate) fn pinned_from(&self) -> Option<SegmentId> {
        self.pins().from.values().min().copied()
    }

    fn pins(&self) -> MutexGuard<'_, Pins> {
        self.pins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.holdings.pins().from.remove(&self.number);
    }
}
