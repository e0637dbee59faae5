//! Changes on top of an index that are not written yet: entries of one batch see each other's effects here.

use super::{MachineError, Place};
use crate::index::{Batch, Index, IndexError, Overlay, Row, RowBytes};
use std::{
    collections::BTreeMap,
    ops::{Bound, Range},
};

/// Reads through to the index, keeps changes to itself.
pub(crate) struct Transaction<'a, I> {
    index: &'a I,
    changes: BTreeMap<RowBytes, Option<RowBytes>>,
    /// Bytes that became live (or, below zero, dead) per segment.
    liveness: BTreeMap<u32, i64>,
}

/// What a transaction leaves to be written.
pub(crate) struct Changes {
    pub(crate) rows: BTreeMap<RowBytes, Option<RowBytes>>,
    pub(crate) liveness: BTreeMap<u32, i64>,
}

impl<'a, I: Index> Transaction<'a, I> {
    pub(crate) fn new(index: &'a I) -> Self {
        Self { index, changes: BTreeMap::new(), liveness: BTreeMap::new() }
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<RowBytes>, IndexError> {
        match self.changes.get(key) {
            Some(change) => Ok(change.clone()),
            None => self.index.get(key),
        }
    }

    pub(crate) fn put(&mut self, key: impl Into<RowBytes>, value: impl Into<RowBytes>) {
        self.changes.insert(key.into(), Some(value.into()));
    }

    pub(crate) fn delete(&mut self, key: impl Into<RowBytes>) {
        self.changes.insert(key.into(), None);
    }

    /// The rows in `range`, in order.
    pub(crate) fn scan(
        &self,
        range: Range<&[u8]>,
    ) -> impl Iterator<Item = Result<Row, IndexError>> + use<'_, I> {
        overlaid(self.index, &self.changes, range)
    }

    /// The first row in `range`.
    pub(crate) fn first(&self, range: Range<&[u8]>) -> Result<Option<Row>, IndexError> {
        self.scan(range).next().transpose()
    }

    /// A row points to `place` from now on.
    pub(crate) fn hold(&mut self, place: &Place) {
        *self.liveness.entry(place.segment).or_default() += place.live_bytes() as i64;
    }

    /// A row points to `place` no longer.
    pub(crate) fn release(&mut self, place: &Place) {
        *self.liveness.entry(place.segment).or_default() -= place.live_bytes() as i64;
    }

    pub(crate) fn into_changes(self) -> Changes {
        Changes { rows: self.changes, liveness: self.liveness }
    }
}

impl Changes {
    /// As one batch.
    pub(crate) fn into_batch(self) -> Batch {
        let mut batch = Batch::default();
        for (key, value) in self.rows {
            match value {
                Some(value) => batch.put(key, value),
                None => batch.delete(key),
            }
        }
        batch
    }
}

/// The rows of `index` in `range`, in order, with `changes` laid over them.
pub(crate) fn overlaid<'a, I: Index>(
    index: &'a I,
    changes: &'a BTreeMap<RowBytes, Option<RowBytes>>,
    range: Range<&[u8]>,
) -> impl Iterator<Item = Result<Row, IndexError>> + use<'a, I> {
    let bounds = (Bound::Included(range.start), Bound::Excluded(range.end));
    let changes = if range.start < range.end { changes.range::<[u8], _>(bounds) } else { Default::default() };
    let changes = changes.map(|(key, value)| (key.clone(), value.clone()));
    Overlay::new(index.scan(range, true), changes.peekable(), true)
}

impl From<IndexError> for MachineError {
    fn from(source: IndexError) -> Self {
        Self::Index { source }
    }
}
