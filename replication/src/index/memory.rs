//! An index in memory, for tests and simulations: nothing survives it.

use super::{Batch, Index, IndexError, Row, RowBytes, Rows};
use std::{
    collections::BTreeMap,
    ops::{Bound, Range},
    sync::{PoisonError, RwLock, RwLockReadGuard},
};

/// An ordered map in memory.
#[derive(Debug, Default)]
pub struct MemoryIndex {
    rows: RwLock<BTreeMap<RowBytes, RowBytes>>,
}

impl MemoryIndex {
    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<RowBytes, RowBytes>> {
        self.rows.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index for MemoryIndex {
    fn get(&self, key: &[u8]) -> Result<Option<RowBytes>, IndexError> {
        Ok(self.read().get(key).cloned())
    }

    fn scan(&self, range: Range<&[u8]>, forward: bool) -> Rows<'_> {
        Box::new(MemoryRows {
            index: self,
            lower: Bound::Included(range.start.into()),
            upper: Bound::Excluded(range.end.into()),
            forward,
        })
    }

    fn write(&self, batch: Batch) -> Result<(), IndexError> {
        let mut rows = self.rows.write().unwrap_or_else(PoisonError::into_inner);
        for (key, value) in batch.into_changes() {
            match value {
                Some(value) => rows.insert(key, value),
                None => rows.remove(&key),
            };
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), IndexError> {
        Ok(())
    }

    fn clear(&self) -> Result<(), IndexError> {
        self.rows.write().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(())
    }
}

/// Looks the next row up each time, so that no lock is held between two rows.
struct MemoryRows<'a> {
    index: &'a MemoryIndex,
    lower: Bound<RowBytes>,
    upper: Bound<RowBytes>,
    forward: bool,
}

impl Iterator for MemoryRows<'_> {
    type Item = Result<Row, IndexError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let (
            Bound::Included(lower) | Bound::Excluded(lower),
            Bound::Included(upper) | Bound::Excluded(upper),
        ) = (&self.lower, &self.upper)
            && lower >= upper
        {
            return None;
        }
        let rows = self.index.read();
        let mut range = rows.range((self.lower.clone(), self.upper.clone()));
        let (key, value) = if self.forward { range.next() } else { range.next_back() }?;
        let end = Bound::Excluded(key.clone());
        if self.forward {
            self.lower = end;
        } else {
            self.upper = end;
        }
        Some(Ok((key.clone(), value.clone())))
    }
}
