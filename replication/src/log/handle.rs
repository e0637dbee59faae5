//! One group's log: what Raft writes to and reads from.
//!
//! Writes of one group come from one task at a time, as Raft does it; an append while a truncation is under way is
//! refused. A future dropped midway leaves its record queued: it is written all the same.

use super::{
    error::{LogError, ReadError},
    group::{Found, Group},
    queue::{Pending, Request},
    record::RecordKind,
    store::{Handle, SegmentLog, admitted_bytes},
    types::{EntryId, GroupState, LogEntry, Place, Priority, Vote},
};
use std::{
    ops::Range,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};
use tokio_util::sync::CancellationToken;
use wire::GroupId;

/// Pause before entries that a full disk has no room for are tried again. 50 ms: little against what freeing takes.
const ROOM_PAUSE: Duration = Duration::from_millis(50);

/// How often a place is looked up again because its segment was removed after a move.
const LOOKUPS_MAX: usize = 4;

/// One group's log. A cheap handle.
#[derive(Clone)]
pub struct GroupLog {
    group: Arc<Group>,
    log: SegmentLog,
}

impl GroupLog {
    pub(super) fn new(group: Arc<Group>, handle: Arc<Handle>) -> Self {
        Self { group, log: SegmentLog { handle } }
    }

    /// Which group.
    pub fn id(&self) -> GroupId {
        self.group.id
    }

    /// See [`SegmentLog::request_bytes_max`].
    pub fn request_bytes_max(&self) -> usize {
        self.log.request_bytes_max()
    }

    /// What the log holds.
    pub fn state(&self) -> GroupState {
        self.group.core().state()
    }

    /// How many ordinary entries from `first` to `last` are still held, and the bytes of their heads and bodies.
    pub fn ordinary(&self, first: u64, last: u64) -> (u64, u64) {
        self.group.core().ordinary(first, last)
    }

    /// Adds ordinary entries: see [`GroupLog::append_as`].
    pub async fn append(
        &self,
        entries: Vec<LogEntry>,
        done: impl FnOnce(Result<(), LogError>) + Send + 'static,
    ) -> Result<(), LogError> {
        self.append_as(Priority::Ordinary, entries, done).await
    }

    /// Adds entries that follow the last one. On return they can be read and are queued; `done` is told once they are
    /// durable, in the order of all appends of this disk, on the disk's thread: it must be short. Waits while too much
    /// is queued. On an error nothing was added and `done` is dropped.
    pub async fn append_as(
        &self,
        priority: Priority,
        entries: Vec<LogEntry>,
        done: impl FnOnce(Result<(), LogError>) + Send + 'static,
    ) -> Result<(), LogError> {
        self.add(priority, entries, None, done).await
    }

    /// The same, but while the disk has no room for them it waits, until `stop` ends that with `Full`.
    pub async fn append_patiently(
        &self,
        priority: Priority,
        entries: Vec<LogEntry>,
        stop: &CancellationToken,
        done: impl FnOnce(Result<(), LogError>) + Send + 'static,
    ) -> Result<(), LogError> {
        self.add(priority, entries, Some(stop), done).await
    }

    async fn add(
        &self,
        priority: Priority,
        entries: Vec<LogEntry>,
        patient_until: Option<&CancellationToken>,
        done: impl FnOnce(Result<(), LogError>) + Send + 'static,
    ) -> Result<(), LogError> {
        let shared = self.log.shared();
        let mut payload_bytes = 0;
        let mut admitted = 0;
        let mut records = Vec::with_capacity(entries.len());
        for entry in &entries {
            shared.check_size(entry)?;
            let bytes = entry.head.len() + entry.body.len();
            payload_bytes += bytes;
            admitted += admitted_bytes(bytes);
            let (head, body) = (entry.head.clone(), entry.body.clone());
            let body_crc = crc32c::crc32c(&body);
            records.push(Pending { kind: RecordKind::Entry(entry.id, entry.kind), head, body, body_crc });
        }
        let done = Box::new(move |result: Result<_, LogError>| done(result.map(|_| ())));
        loop {
            let permit = Some(shared.permit(payload_bytes).await?);
            {
                // under one lock, so that the order of slots is the order of records
                let mut core = self.group.core();
                core.check_append(self.group.id, &entries)?;
                match shared.admit(priority, admitted) {
                    Ok(()) => {
                        let (group, admitted_bytes) = (Arc::clone(&self.group), admitted);
                        shared.queue.push(Request { group, records, done, permit, admitted_bytes })?;
                        for entry in entries {
                            core.push(entry);
                        }
                        shared.counters.payload_bytes.fetch_add(payload_bytes as u64, Relaxed);
                        return Ok(());
                    }
                    Err(LogError::Full) if patient_until.is_some() => {}
                    Err(error) => return Err(error),
                }
            }
            // whoever makes room may need it meanwhile
            drop(permit);
            if let Some(stop) = patient_until {
                self.wait_for_room(stop).await?;
            }
        }
    }

    async fn wait_for_room(&self, stop: &CancellationToken) -> Result<(), LogError> {
        if let Some(failure) = self.log.shared().queue.failure() {
            return Err(failure);
        }
        tokio::select! {
            () = stop.cancelled() => Err(LogError::Full),
            () = tokio::time::sleep(ROOM_PAUSE) => Ok(()),
        }
    }

    /// Records a vote; durable on return.
    pub async fn save_vote(&self, vote: Vote) -> Result<(), LogError> {
        self.check()?;
        self.write(RecordKind::Vote(vote)).await
    }

    /// Records how far the log is known committed. Not durable: it is written along with the next batch.
    pub fn save_committed(&self, upto: Option<EntryId>) -> Result<(), LogError> {
        self.check()?;
        let noted = {
            let mut core = self.group.core();
            core.committed = upto;
            std::mem::replace(&mut core.committed_unwritten, true)
        };
        if !noted {
            self.log.shared().queue.note_committed(Arc::clone(&self.group));
        }
        Ok(())
    }

    /// Voids all entries after `after` (all there are: none); durable on return.
    pub async fn truncate_after(&self, after: Option<EntryId>) -> Result<(), LogError> {
        self.check()?;
        self.group.core().truncating = true;
        let written = self.write(RecordKind::Truncate(after)).await;
        if written.is_err() {
            self.group.core().truncating = false;
        }
        written
    }

    /// Lets go of all entries up to `upto`, which may lie beyond the last one; durable on return. What they hold can
    /// still be read by place until the segment is removed.
    pub async fn purge(&self, upto: EntryId) -> Result<(), LogError> {
        self.check()?;
        self.write(RecordKind::Purge(upto)).await
    }

    /// Forgets the group; durable on return. Works on a damaged log too. The handle is of no use afterwards.
    pub async fn drop_group(&self) -> Result<(), LogError> {
        let dropped = std::mem::replace(&mut self.group.core().dropped, true);
        if dropped {
            return Err(LogError::Dropped { group: self.group.id });
        }
        self.write(RecordKind::DropGroup).await
    }

    /// Entries of `range` from its start on, as many as fit into `bytes_max`, but one at least if there is any.
    pub async fn entries(&self, range: Range<u64>, bytes_max: usize) -> Result<Vec<LogEntry>, ReadError> {
        let found = self.find(range, bytes_max);
        let mut entries = Vec::with_capacity(found.len());
        for (index, found) in found {
            let read = match found {
                Found::Cached(entry) => Ok(entry),
                Found::OnDisk { place, rotten } => self.read(index, place, rotten).await,
            };
            match read {
                Ok(entry) => entries.push(entry),
                // the caller asks again from there and gets the error then
                Err(_) if !entries.is_empty() => break,
                Err(error) => return Err(error),
            }
        }
        Ok(entries)
    }

    /// Waits until an entry is durable on this disk, and says where.
    pub async fn flushed(&self, index: u64) -> Result<Place, LogError> {
        loop {
            let notified = self.group.flushed.notified();
            tokio::pin!(notified);
            // from here on no wake-up is missed
            notified.as_mut().enable();
            {
                let core = self.group.core();
                if let Some(place) = core.place(index) {
                    return Ok(place);
                }
                if !core.contains(index) {
                    return Err(LogError::NoEntry { group: self.group.id, index });
                }
            }
            if let Some(failure) = self.log.shared().queue.failure() {
                return Err(failure);
            }
            notified.await;
        }
    }

    /// Which entry is held at `index`.
    pub fn entry_id(&self, index: u64) -> Option<EntryId> {
        self.group.core().id_at(index)
    }

    /// Where an entry lies, if it is durable.
    pub fn place(&self, index: u64) -> Option<Place> {
        self.group.core().place(index)
    }

    fn check(&self) -> Result<(), LogError> {
        match self.group.core().refusal(self.group.id) {
            Some(refusal) => Err(refusal),
            None => Ok(()),
        }
    }

    async fn write(&self, kind: RecordKind) -> Result<(), LogError> {
        let group = Arc::clone(&self.group);
        self.log.shared().write(group, Pending::bare(kind), None, 0).await.map(|_| ())
    }

    fn find(&self, range: Range<u64>, bytes_max: usize) -> Vec<(u64, Found)> {
        let core = self.group.core();
        let mut found = Vec::new();
        let mut bytes = 0_usize;
        for index in range {
            let Some(entry) = core.find(index) else { break };
            bytes = bytes.saturating_add(entry.payload_bytes());
            if bytes > bytes_max && !found.is_empty() {
                break;
            }
            found.push((index, entry));
        }
        found
    }

    /// Reads an entry, also when its segment goes while it is read because the record was moved.
    async fn read(&self, index: u64, mut place: Place, mut rotten: bool) -> Result<LogEntry, ReadError> {
        for _ in 0..LOOKUPS_MAX {
            if rotten {
                return Err(ReadError::Rotten { place });
            }
            match self.log.read_entry(&place).await {
                Err(ReadError::Gone) => {}
                other => return other,
            }
            match self.group.core().find(index) {
                Some(Found::Cached(entry)) => return Ok(entry),
                Some(Found::OnDisk { place: now, rotten: bad }) => (place, rotten) = (now, bad),
                None => break,
            }
        }
        Err(ReadError::Gone)
    }
}
