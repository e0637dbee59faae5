//! Which segments there are, how many unpurged entries each holds, and their open files.
//!
//! Files are opened when they are read and a bounded number stays open: a disk may hold tens of thousands of segments.

use super::{group::Released, header::file_name, types::SegmentId};
use crate::disk::{Disk, DiskFile};
use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Segments kept open for reading. 256: 16 GiB of segments read at random without opening, and far from any limit on
/// descriptors.
const OPEN_FILES_MAX: usize = 256;

#[derive(Default)]
struct Inner {
    /// Unpurged entries of each segment.
    entries: BTreeMap<SegmentId, u64>,
    active: Option<SegmentId>,
    open: HashMap<SegmentId, (Arc<dyn DiskFile>, u64)>,
    /// Counts uses of files, so that the one unused for longest is closed first.
    uses: u64,
}

/// The segments of one disk.
pub(super) struct Segments {
    disk: Arc<dyn Disk>,
    inner: Mutex<Inner>,
}

impl Segments {
    pub(super) fn new(disk: Arc<dyn Disk>, known: impl Iterator<Item = SegmentId>) -> Self {
        let entries = known.map(|segment| (segment, 0)).collect();
        Self { disk, inner: Mutex::new(Inner { entries, ..Inner::default() }) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The segment that is written from now on.
    pub(super) fn set_active(&self, segment: SegmentId, file: Arc<dyn DiskFile>) {
        let mut inner = self.inner();
        inner.entries.entry(segment).or_default();
        inner.active = Some(segment);
        inner.keep(segment, file);
    }

    /// An entry's record is in `segment` now.
    pub(super) fn add_entry(&self, segment: SegmentId) {
        *self.inner().entries.entry(segment).or_default() += 1;
    }

    /// Adds what recovery found.
    pub(super) fn add_entries(&self, counts: &Released) {
        let mut inner = self.inner();
        for (segment, count) in counts {
            *inner.entries.entry(*segment).or_default() += count;
        }
    }

    /// Entries left their segments: purged, truncated, moved.
    pub(super) fn release(&self, released: &Released) {
        let mut inner = self.inner();
        for (segment, count) in released {
            if let Some(entries) = inner.entries.get_mut(segment) {
                *entries = entries.checked_sub(*count).expect("every entry is counted once");
            }
        }
    }

    /// The first segment that holds an unpurged entry.
    pub(super) fn floor(&self) -> Option<SegmentId> {
        self.inner().entries.iter().find(|(_, entries)| **entries > 0).map(|(segment, _)| *segment)
    }

    /// All of them with their unpurged entries, and the one being written.
    pub(super) fn list(&self) -> (Vec<(SegmentId, u64)>, Option<SegmentId>) {
        let inner = self.inner();
        (inner.entries.iter().map(|(segment, entries)| (*segment, *entries)).collect(), inner.active)
    }

    pub(super) fn count(&self) -> usize {
        self.inner().entries.len()
    }

    /// Unpurged entries of a segment and whether it is being written; none when there is no such segment.
    pub(super) fn usage(&self, segment: SegmentId) -> Option<(u64, bool)> {
        let inner = self.inner();
        Some((*inner.entries.get(&segment)?, inner.active == Some(segment)))
    }

    /// Forgets a segment, so that no new reader finds it.
    pub(super) fn forget(&self, segment: SegmentId) {
        let mut inner = self.inner();
        inner.entries.remove(&segment);
        inner.open.remove(&segment);
    }

    /// The segment's file; none when it was removed. Opening it blocks, shortly.
    pub(super) fn file(&self, segment: SegmentId) -> io::Result<Option<Arc<dyn DiskFile>>> {
        {
            let mut inner = self.inner();
            if !inner.entries.contains_key(&segment) {
                return Ok(None);
            }
            inner.uses += 1;
            let uses = inner.uses;
            if let Some((file, used)) = inner.open.get_mut(&segment) {
                *used = uses;
                return Ok(Some(Arc::clone(file)));
            }
        }
        let file = match self.disk.open_to_read(&file_name(segment)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut inner = self.inner();
        if inner.entries.contains_key(&segment) {
            inner.keep(segment, Arc::clone(&file));
        }
        Ok(Some(file))
    }
}

impl Inner {
    fn keep(&mut self, segment: SegmentId, file: Arc<dyn DiskFile>) {
        if self.open.len() >= OPEN_FILES_MAX {
            let oldest = self.open.iter().min_by_key(|(_, (_, used))| *used).map(|(segment, _)| *segment);
            oldest.map(|oldest| self.open.remove(&oldest));
        }
        self.uses += 1;
        self.open.insert(segment, (file, self.uses));
    }
}
