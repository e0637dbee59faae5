//! Segments made ahead of time on their own thread, so that the disk thread never waits for the file system to allocate.
//!
//! A few of them are a reserve: ordinary entries may not use it, deletes, moves, purges and votes may, each a part of it.
//! So a full disk can still be freed.

use super::{
    error::LogError,
    header::file_name,
    types::{Priority, SegmentId},
};
use crate::disk::{Disk, DiskFile};
use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// How long until a full disk is asked again, in case others made room.
const RETRY: Duration = Duration::from_secs(1);

/// A preallocated file without a header.
pub(super) struct Spare {
    pub(super) segment: SegmentId,
    pub(super) file: Arc<dyn DiskFile>,
}

struct Inner {
    ready: VecDeque<Spare>,
    next: SegmentId,
    /// Segments with a header, for the limit on the total.
    used: u64,
    full: bool,
    stopping: bool,
}

/// The spare segments of one disk.
pub(super) struct Spares {
    disk: Arc<dyn Disk>,
    segment_bytes: u64,
    segments_max: u64,
    reserve: usize,
    inner: Mutex<Inner>,
    changed: Condvar,
}

impl Spares {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        segment_bytes: u64,
        total_bytes_max: Option<u64>,
        reserve: usize,
        used: u64,
        next: SegmentId,
        ready: VecDeque<Spare>,
    ) -> Self {
        Self {
            disk,
            segment_bytes,
            segments_max: total_bytes_max.map_or(u64::MAX, |bytes| bytes / segment_bytes),
            reserve,
            inner: Mutex::new(Inner { ready, next, used, full: false, stopping: false }),
            changed: Condvar::new(),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps one more spare ready than the reserve, until stopped. Blocks.
    pub(super) fn run(&self) {
        let mut inner = self.inner();
        while !inner.stopping {
            if inner.ready.len() > self.reserve {
                inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            drop(inner);
            self.make();
            inner = self.inner();
            if inner.full && !inner.stopping {
                let waited = self.changed.wait_timeout(inner, RETRY);
                inner = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }

    /// Makes one spare; a failure shows as full.
    pub(super) fn make(&self) {
        let segment = {
            let mut inner = self.inner();
            if inner.used + inner.ready.len() as u64 >= self.segments_max {
                self.set_full(inner, None);
                return;
            }
            let segment = inner.next;
            inner.next = SegmentId(segment.0 + 1);
            segment
        };
        let made = self.disk.create(&file_name(segment), self.segment_bytes);
        let mut inner = self.inner();
        match made {
            Ok(file) => {
                if inner.full {
                    tracing::info!(disk = %self.disk.path().display(), "disk has room again");
                }
                inner.full = false;
                inner.ready.push_back(Spare { segment, file });
                self.changed.notify_all();
            }
            Err(error) => self.set_full(inner, Some(error)),
        }
    }

    fn set_full(&self, mut inner: MutexGuard<'_, Inner>, error: Option<io::Error>) {
        if !inner.full {
            let error = error.as_ref().map(|error| error as &dyn std::error::Error);
            tracing::warn!(disk = %self.disk.path().display(), error, "no room for another segment");
        }
        inner.full = true;
        self.changed.notify_all();
    }

    /// Takes a spare. Waits for one, on a full disk for as long as `patient` says so.
    pub(super) fn take(&self, patient: impl Fn() -> bool) -> Result<Spare, LogError> {
        let mut inner = self.inner();
        let mut told = false;
        loop {
            // who can wait leaves the reserve alone until it is known that no more can be made
            let may_use_reserve = inner.full || inner.stopping || !patient();
            if (may_use_reserve || inner.ready.len() > self.reserve)
                && let Some(spare) = inner.ready.pop_front()
            {
                inner.used += 1;
                self.changed.notify_all();
                return Ok(spare);
            }
            if inner.stopping {
                return Err(LogError::Closed);
            }
            if inner.full {
                if !patient() {
                    return Err(LogError::Full);
                }
                if !std::mem::replace(&mut told, true) {
                    tracing::error!(disk = %self.disk.path().display(), "the log waits for room: even its reserve is used up");
                }
            }
            let waited = self.changed.wait_timeout(inner, RETRY);
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// How many spares are not for records of this priority.
    fn kept(&self, priority: Priority) -> usize {
        match priority {
            Priority::Ordinary => self.reserve,
            Priority::Reclaim => self.reserve.saturating_sub(1).max(self.kept(Priority::Move)),
            // the last one is for votes and purges, or nothing could be freed any more
            Priority::Accepted | Priority::Move => self.reserve.min(1),
        }
    }

    /// Bytes that entries may still take up in segments not begun yet; none: more can be made.
    pub(super) fn room(&self, priority: Priority, usable_bytes: u64) -> Option<Option<u64>> {
        let inner = self.inner();
        if !inner.full {
            return None;
        }
        // with fewer spares than are kept not even the active segment is theirs
        let spares = inner.ready.len().checked_sub(self.kept(priority));
        Some(spares.map(|spares| spares as u64 * usable_bytes))
    }

    /// A segment's file is gone: there may be room for another.
    pub(super) fn released(&self) {
        let mut inner = self.inner();
        inner.used = inner.used.saturating_sub(1);
        self.changed.notify_all();
    }

    /// How many are ready, and whether no more can be made.
    pub(super) fn ready(&self) -> (usize, bool) {
        let inner = self.inner();
        (inner.ready.len(), inner.full)
    }

    /// Lets the thread and those who wait end.
    pub(super) fn stop(&self) {
        self.inner().stopping = true;
        self.changed.notify_all();
    }
}
