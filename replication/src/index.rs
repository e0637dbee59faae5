//! The index of one group: an ordered map of bytes that a replica can throw away and rebuild.
//!
//! A write is atomic (all of a batch or none of it) but survives a power cut only once `flush` has returned. Nothing
//! acknowledged rests on it: the log does. What the rows mean is the state machine's business (`machine`).

mod buffer;
mod generation;
mod memory;
mod overlay;
mod room;
mod sled_store;

pub use memory::MemoryIndex;
pub(crate) use overlay::{Change, Overlay};
pub use room::IndexRoom;
pub use sled_store::{SledIndex, SledOptions, SledStore};

use std::{ops::Range, path::PathBuf};
use thiserror::Error;

/// A key or a value: shared bytes, cheap to clone.
pub type RowBytes = sled::IVec;

/// A key and its value.
pub type Row = (RowBytes, RowBytes);

/// Rows in key order, read as they are asked for.
pub type Rows<'a> = Box<dyn Iterator<Item = Result<Row, IndexError>> + Send + 'a>;

/// Why an index could not do what it was asked.
#[derive(Debug, Error)]
pub enum IndexError {
    /// The store contradicts itself, or its code gave up on it: wipe and rebuild.
    #[error("the index is damaged ({operation})")]
    Damaged {
        /// What was being done.
        operation: &'static str,
        /// What the store said, unless its code panicked.
        #[source]
        source: Option<sled::Error>,
    },
    /// The store came up without what was flushed: wipe and rebuild.
    #[error("the index lost what was flushed: generation {found} of {flushed}")]
    WentBack {
        /// What was flushed.
        flushed: u64,
        /// What is there.
        found: u64,
    },
    /// Somebody else has the store open: another process, or one that is ending.
    #[error("the index in {} is in use", path.display())]
    InUse {
        /// Where it is.
        path: PathBuf,
    },
    /// The disk is too full to be sure that the change fits: nothing was changed, and it can be tried again.
    #[error("the index has no room behind {}", path.display())]
    NoRoom {
        /// Which file would grow.
        path: PathBuf,
    },
    /// The disk below it failed.
    #[error("the index cannot {operation} {path}")]
    Disk {
        /// What was being done.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

impl IndexError {
    /// Whether the same can be tried again once the disk has room.
    pub fn is_for_want_of_room(&self) -> bool {
        matches!(self, Self::NoRoom { .. })
    }
}

/// Changes that become visible together, or not at all.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    changes: Vec<(RowBytes, Option<RowBytes>)>,
}

/// An ordered map of bytes.
///
/// Scans are lazy and not isolated from writes: whoever needs both keeps them apart (the machine's `&mut` does).
pub trait Index: Send + Sync + 'static {
    /// The value of `key`.
    fn get(&self, key: &[u8]) -> Result<Option<RowBytes>, IndexError>;

    /// The rows whose keys are in `range`, in order, or in reverse order unless `forward`.
    fn scan(&self, range: Range<&[u8]>, forward: bool) -> Rows<'_>;

    /// Makes all changes of the batch visible at once; later changes of a key win over earlier ones. After
    /// [`IndexError::NoRoom`] nothing was changed.
    fn write(&self, batch: Batch) -> Result<(), IndexError>;

    /// When it returns, everything written before survives a power cut.
    fn flush(&self) -> Result<(), IndexError>;

    /// Removes every row, in no particular order and not atomically.
    fn clear(&self) -> Result<(), IndexError>;
}

impl Batch {
    /// Sets `key` to `value`.
    pub fn put(&mut self, key: impl Into<RowBytes>, value: impl Into<RowBytes>) {
        self.changes.push((key.into(), Some(value.into())));
    }

    /// Removes `key`, if it is there.
    pub fn delete(&mut self, key: impl Into<RowBytes>) {
        self.changes.push((key.into(), None));
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The changes in the order in which they were made.
    pub fn into_changes(self) -> Vec<(RowBytes, Option<RowBytes>)> {
        self.changes
    }
}

#[cfg(test)]
mod conformance;
