//! The queue between callers and the disk thread, and the place where a failed disk stops everything.
//!
//! Ordinary appends are bounded in bytes by a semaphore; everything else is awaited by its caller one at a time per group.

use super::{error::LogError, group::Group, record::RecordKind, types::Place};
use bytes::Bytes;
use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::OwnedSemaphorePermit;

/// A record to be written.
pub(super) struct Pending {
    pub(super) kind: RecordKind,
    pub(super) head: Bytes,
    pub(super) body: Bytes,
    pub(super) body_crc: u32,
}

impl Pending {
    /// A record without head and body.
    pub(super) fn bare(kind: RecordKind) -> Self {
        Self { kind, head: Bytes::new(), body: Bytes::new(), body_crc: 0 }
    }
}

/// Told once the last record of a request is on disk, with its place, or why it is not.
pub(super) type Done = Box<dyn FnOnce(Result<Option<Place>, LogError>) + Send>;

/// Records of one group that are written in order.
pub(super) struct Request {
    pub(super) group: Arc<Group>,
    pub(super) records: Vec<Pending>,
    pub(super) done: Done,
    pub(super) permit: Option<OwnedSemaphorePermit>,
    /// Bytes promised to it while the disk has room for ordinary entries.
    pub(super) admitted_bytes: u64,
}

#[derive(Default)]
struct Inner {
    requests: VecDeque<Request>,
    /// Groups whose committed position is to be written along with the next batch.
    committed: Vec<Arc<Group>>,
    admitted_bytes: u64,
    stopping: bool,
    failed: Option<LogError>,
}

/// The queue of one disk.
#[derive(Default)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    filled: Condvar,
}

impl Queue {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a request; refused requests are dropped and their callers told by the error alone.
    pub(super) fn push(&self, request: Request) -> Result<(), LogError> {
        let mut inner = self.inner();
        if let Some(failed) = &inner.failed {
            return Err(failed.clone());
        }
        if inner.stopping {
            return Err(LogError::Closed);
        }
        inner.admitted_bytes += request.admitted_bytes;
        inner.requests.push_back(request);
        drop(inner);
        self.filled.notify_one();
        Ok(())
    }

    /// Has the group's committed position written with the next batch, whenever that is.
    pub(super) fn note_committed(&self, group: Arc<Group>) {
        self.inner().committed.push(group);
    }

    /// Groups with a committed position to write.
    pub(super) fn take_committed(&self) -> Vec<Arc<Group>> {
        std::mem::take(&mut self.inner().committed)
    }

    /// Waits for requests and takes all of them; none once it is stopped and empty.
    pub(super) fn take(&self) -> Option<VecDeque<Request>> {
        let mut inner = self.inner();
        loop {
            if !inner.requests.is_empty() {
                return Some(std::mem::take(&mut inner.requests));
            }
            if inner.stopping {
                return None;
            }
            inner = self.filled.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whether nothing more is taken.
    pub(super) fn is_stopping(&self) -> bool {
        self.inner().stopping
    }

    /// Bytes promised to queued requests.
    pub(super) fn admitted_bytes(&self) -> u64 {
        self.inner().admitted_bytes
    }

    /// Those bytes are written now.
    pub(super) fn settle(&self, bytes: u64) {
        let mut inner = self.inner();
        inner.admitted_bytes = inner.admitted_bytes.saturating_sub(bytes);
    }

    /// Takes nothing more, for good, and gives back what is queued. The first failure is the one that is told.
    pub(super) fn fail(&self, error: LogError) -> VecDeque<Request> {
        let mut inner = self.inner();
        inner.failed.get_or_insert(error);
        std::mem::take(&mut inner.requests)
    }

    /// Why nothing is taken any more.
    pub(super) fn failure(&self) -> Option<LogError> {
        self.inner().failed.clone()
    }

    /// Lets the disk thread end once the queue is empty.
    pub(super) fn stop(&self) {
        self.inner().stopping = true;
        self.filled.notify_all();
    }
}
