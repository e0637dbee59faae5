//! The log of one disk: opening, its groups, its health and room, and what garbage collection needs of it.

use super::{
    error::{LogError, ReadError},
    group::{Group, GroupCore},
    handle::GroupLog,
    header::file_name,
    queue::{Pending, Queue, Request},
    record::{ALIGN_BYTES, Checkpoint, HEADER_BYTES, PAYLOAD_BYTES_MAX, RecordKind},
    recover::{Recovered, recover},
    report::Recovery,
    segments::Segments,
    spare::Spares,
    types::{LogEntry, LogOptions, Place, Priority, SegmentId},
    writer::Writer,
};
use crate::disk::BLOCK_BYTES;
use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use wire::GroupId;

/// Reads that wait for the device at the same time. 32: enough to fill a device's queue, few enough threads.
const READS_MAX: usize = 32;

/// What an entry in memory costs beyond its payload, bytes: header, slot and queue.
pub(super) const ENTRY_OVERHEAD_BYTES: usize = 256;

/// Sizes of segments that work: the smallest that tests use, the largest whose offsets are safely below 4 GiB.
const SEGMENT_BYTES_RANGE: std::ops::RangeInclusive<u64> = (64 << 10)..=(2 << 30);

/// Room on the disk, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// What the log may take up in all.
    pub total_bytes: u64,
    /// What its segments take up.
    pub used_bytes: u64,
    /// What ordinary entries may still take up.
    pub free_bytes: u64,
    /// Whether proposals should be accepted; turns false early enough that what is under way still fits.
    pub writable: bool,
    /// Whether those that free room should be.
    pub reclaimable: bool,
}

/// Whether the disk takes writes.
#[derive(Clone, Debug)]
pub enum DiskHealth {
    /// It does.
    Working,
    /// It failed once and takes nothing until the process starts again.
    Failed(LogError),
}

/// Counters since the log was opened, and levels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogStats {
    /// Batches written; each was synced once.
    pub batches: u64,
    /// Records written.
    pub records: u64,
    /// Bytes written, headers and padding included.
    pub written_bytes: u64,
    /// Bytes of heads and bodies accepted.
    pub payload_bytes: u64,
    /// Time spent writing and syncing batches, microseconds.
    pub write_micros: u64,
    /// The longest batch, microseconds.
    pub write_micros_max: u64,
    /// Payloads of flushed entries in memory, bytes.
    pub cached_bytes: u64,
    /// Reads served without waiting for the device.
    pub reads_at_once: u64,
    /// Reads that waited for the device.
    pub reads_waited: u64,
    /// Reads that found rotten bytes.
    pub reads_rotten: u64,
    /// Segments on the disk, spare ones not counted.
    pub segments: u64,
    /// Spare segments ready.
    pub spares: u64,
    /// Whether writes bypass the page cache.
    pub direct: bool,
}

/// One segment, for garbage collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentSummary {
    /// Which one.
    pub id: SegmentId,
    /// Room it takes up, bytes.
    pub bytes: u64,
    /// Whether nothing will be written to it any more.
    pub sealed: bool,
    /// Entries in it that some group has not purged; it cannot be removed while there are any.
    pub entries_unpurged: u64,
}

#[derive(Default)]
pub(super) struct Counters {
    pub(super) batches: AtomicU64,
    pub(super) records: AtomicU64,
    pub(super) written_bytes: AtomicU64,
    pub(super) payload_bytes: AtomicU64,
    pub(super) write_micros: AtomicU64,
    pub(super) write_micros_max: AtomicU64,
    pub(super) cached_bytes: AtomicU64,
    pub(super) active_room_bytes: AtomicU64,
    /// Room that is promised to entries which are not queued yet.
    pub(super) promised_bytes: AtomicU64,
    pub(super) reads_at_once: AtomicU64,
    pub(super) reads_waited: AtomicU64,
    pub(super) reads_rotten: AtomicU64,
}

/// What callers, the disk thread and the thread that makes spares share.
pub(super) struct Shared {
    pub(super) options: LogOptions,
    pub(super) queue: Queue,
    pub(super) spares: Spares,
    pub(super) segments: Segments,
    pub(super) counters: Counters,
    pub(super) reads: Semaphore,
    groups: Mutex<BTreeMap<GroupId, Arc<Group>>>,
    queue_permits: Arc<Semaphore>,
}

/// Ends the threads with the last user of the log.
pub(super) struct Handle {
    pub(super) shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// Room that is kept until it is dropped, for entries that are queued by then.
pub struct Promise {
    shared: Arc<Shared>,
    bytes: u64,
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.shared.counters.promised_bytes.fetch_sub(self.bytes, Relaxed);
    }
}

/// The segment log of one disk. A cheap handle; the log closes with the last handle, those of groups included.
#[derive(Clone)]
pub struct SegmentLog {
    pub(super) handle: Arc<Handle>,
}

impl SegmentLog {
    /// Opens the log, recovers what is in it and starts its threads. Blocks.
    pub fn open(options: LogOptions) -> Result<(Self, Recovery), LogError> {
        check_options(&options)?;
        let Recovered { cores, active, spares, known, next_segment, next_sequence, recovery } =
            recover(&options)?;
        let segments = Segments::new(Arc::clone(&options.disk), known.iter().copied());
        let mut groups = BTreeMap::new();
        for (id, core) in cores {
            segments.add_entries(&core.segments());
            groups.insert(id, Arc::new(Group::new(id, core)));
        }
        if let Some(active) = &active {
            segments.set_active(active.segment, Arc::clone(&active.file));
        }
        let spares = Spares::new(
            Arc::clone(&options.disk),
            options.segment_bytes,
            options.total_bytes_max,
            options.reserve_segments,
            known.len() as u64,
            next_segment,
            spares,
        );
        let shared = Arc::new(Shared {
            queue: Queue::default(),
            spares,
            segments,
            counters: Counters::default(),
            reads: Semaphore::new(READS_MAX),
            groups: Mutex::new(groups),
            queue_permits: Arc::new(Semaphore::new(options.queue_bytes_max)),
            options,
        });
        if active.is_none() && shared.spares.ready().0 == 0 {
            shared.spares.make();
        }
        let mut writer = Writer::new(Arc::clone(&shared), active, next_sequence);
        writer.begin()?;
        let spare_maker = Arc::clone(&shared);
        let threads = vec![
            spawn("log-disk", &shared, move || writer.run())?,
            spawn("log-spares", &shared, move || spare_maker.spares.run())?,
        ];
        let handle = Arc::new(Handle { shared, threads: Mutex::new(threads) });
        Ok((Self { handle }, recovery))
    }

    /// The log of one group; an empty one when it is not known yet.
    pub fn group(&self, group: GroupId) -> GroupLog {
        GroupLog::new(self.shared().group(group), Arc::clone(&self.handle))
    }

    /// The groups that there are.
    pub fn groups(&self) -> Vec<GroupId> {
        self.shared().groups().keys().copied().collect()
    }

    /// Counters and levels.
    pub fn stats(&self) -> LogStats {
        let shared = self.shared();
        let counters = &shared.counters;
        LogStats {
            batches: counters.batches.load(Relaxed),
            records: counters.records.load(Relaxed),
            written_bytes: counters.written_bytes.load(Relaxed),
            payload_bytes: counters.payload_bytes.load(Relaxed),
            write_micros: counters.write_micros.load(Relaxed),
            write_micros_max: counters.write_micros_max.load(Relaxed),
            cached_bytes: counters.cached_bytes.load(Relaxed),
            reads_at_once: counters.reads_at_once.load(Relaxed),
            reads_waited: counters.reads_waited.load(Relaxed),
            reads_rotten: counters.reads_rotten.load(Relaxed),
            segments: shared.segments.count() as u64,
            spares: shared.spares.ready().0 as u64,
            direct: shared.options.disk.direct(),
        }
    }

    /// Room on the disk. Asks the file system; blocks shortly.
    pub fn capacity(&self) -> Result<Capacity, LogError> {
        let shared = self.shared();
        let space = shared.options.disk.space().map_err(|source| shared.io("asking for room", source))?;
        let segments = shared.segments.count() + shared.spares.ready().0;
        let used_bytes = segments as u64 * shared.options.segment_bytes;
        let limit = shared.options.total_bytes_max.unwrap_or(u64::MAX);
        let elsewhere = space.free_bytes.min(limit.saturating_sub(used_bytes));
        let room = shared.room(Priority::Ordinary);
        let reclaim_room = shared.room(Priority::Reclaim);
        let working = shared.queue.failure().is_none();
        let margin = (shared.options.queue_bytes_max as u64).min(shared.options.segment_bytes / 2);
        Ok(Capacity {
            total_bytes: space.total_bytes.min(limit),
            used_bytes,
            free_bytes: room.unwrap_or(elsewhere),
            writable: working && room.is_none_or(|room| room >= margin),
            reclaimable: working && reclaim_room.is_none_or(|room| room >= margin / 2),
        })
    }

    /// Whether the disk takes writes.
    pub fn health(&self) -> DiskHealth {
        self.shared().queue.failure().map_or(DiskHealth::Working, DiskHealth::Failed)
    }

    /// The most that one request of entries from a leader may bring, bytes: so little that it fits into what a follower
    /// keeps free, however small its segments.
    pub fn request_bytes_max(&self) -> usize {
        payload_bytes_max(self.shared().options.segment_bytes)
    }

    /// All segments, oldest first.
    pub fn segments(&self) -> Vec<SegmentSummary> {
        let (segments, active) = self.shared().segments.list();
        let bytes = self.shared().options.segment_bytes;
        let summary = |(id, entries_unpurged)| SegmentSummary {
            id,
            bytes,
            sealed: active != Some(id),
            entries_unpurged,
        };
        segments.into_iter().map(summary).collect()
    }

    /// Whether records of `bytes` in all fit now, headers and padding included, for as long as nobody else adds any.
    pub fn has_room(&self, priority: Priority, bytes: u64) -> bool {
        self.shared().room(priority).is_none_or(|room| room >= bytes)
    }

    /// Keeps room for entries that are on their way, so many with so many bytes of heads and bodies; none if there is too
    /// little for such as free room. They are appended as [`Priority::Accepted`].
    pub fn promise(&self, entries: usize, payload_bytes: usize) -> Option<Promise> {
        let bytes = (payload_bytes + entries * (HEADER_BYTES + BLOCK_BYTES)) as u64;
        let shared = Arc::clone(self.shared());
        let before = shared.counters.promised_bytes.fetch_add(bytes, Relaxed);
        let promise = Promise { shared, bytes };
        let room = promise.shared.room_and_promises(Priority::Reclaim);
        (bytes == 0 || room.is_none_or(|room| room >= before + bytes)).then_some(promise)
    }

    /// Copies an entry's record to the end of the log, though the disk be full; durable on return. The log's own slot
    /// for the entry, if it has one, points to the copy from then on. Only applied entries may be moved. It fails with
    /// `Full` rather than use the last spare segment.
    pub async fn move_entry(&self, group: GroupId, place: &Place) -> Result<Place, LogError> {
        let entry = self.read_entry(place).await.map_err(LogError::Read)?;
        self.rewrite_entry(group, entry).await
    }

    /// Writes an entry again whose record is rotten here, as a peer has it; durable on return. Like a move otherwise.
    pub async fn rewrite_entry(&self, group: GroupId, entry: LogEntry) -> Result<Place, LogError> {
        let known = self.shared().group(group).core().id_at(entry.id.index);
        if known.is_some_and(|id| id != entry.id) {
            return Err(LogError::Read(ReadError::Gone));
        }
        let kind = RecordKind::Moved(entry.id, entry.kind);
        self.write_copy(Priority::Move, group, kind, entry).await
    }

    /// Writes an entry that came with another replica's state. If the own log has another one at its index, only rows will
    /// know it; else it is like a move. It takes room without freeing any, and leaves moves their part. Durable on return.
    pub async fn write_fetched(&self, group: GroupId, entry: LogEntry) -> Result<Place, LogError> {
        let known = self.shared().group(group).core().id_at(entry.id.index);
        let kind = if known.is_some_and(|id| id != entry.id) {
            RecordKind::Fetched(entry.id, entry.kind)
        } else {
            RecordKind::Moved(entry.id, entry.kind)
        };
        self.write_copy(Priority::Reclaim, group, kind, entry).await
    }

    async fn write_copy(
        &self,
        priority: Priority,
        group: GroupId,
        kind: RecordKind,
        entry: LogEntry,
    ) -> Result<Place, LogError> {
        let shared = self.shared();
        shared.check_size(&entry)?;
        let group = shared.group(group);
        let bytes = entry.head.len() + entry.body.len();
        let permit = shared.permit(bytes).await?;
        // moves come many at a time, and fill batches
        let admitted_bytes = (HEADER_BYTES + bytes).next_multiple_of(ALIGN_BYTES) as u64;
        shared.admit(priority, admitted_bytes)?;
        let body_crc = crc32c::crc32c(&entry.body);
        let record = Pending { kind, head: entry.head, body: entry.body, body_crc };
        let place = shared.write(group, record, Some(permit), admitted_bytes).await?;
        Ok(place.expect("a request with a record has a place"))
    }

    /// Removes a segment that holds nothing which is needed; readers that have it open can finish. Blocks.
    pub fn remove_segment(&self, segment: SegmentId) -> Result<(), LogError> {
        let shared = self.shared();
        match shared.segments.usage(segment) {
            None => return Err(LogError::NoSegment { segment }),
            Some((entries, active)) if entries > 0 || active => return Err(LogError::InUse { segment }),
            Some(_) => {}
        }
        shared.segments.forget(segment);
        let removed = shared.options.disk.remove(&file_name(segment));
        removed.map_err(|source| shared.io("removing a segment", source))?;
        shared.spares.released();
        tracing::debug!(%segment, "segment removed");
        Ok(())
    }

    /// Writes what is queued, says in the log that it was closed in order, and ends its threads. Blocks.
    pub fn close(&self) {
        self.handle.close();
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }
}

impl Handle {
    fn close(&self) {
        self.shared.queue.stop();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let mut threads = threads.into_iter();
        // the disk thread first: it may still need spares
        for (number, handle) in threads.by_ref().enumerate() {
            if number == 1 {
                self.shared.spares.stop();
            }
            // a completion that holds the last handle runs on the disk thread itself
            if handle.thread().id() != thread::current().id() && handle.join().is_err() {
                tracing::error!("a thread of the log panicked");
            }
        }
        self.shared.spares.stop();
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn groups(&self) -> MutexGuard<'_, BTreeMap<GroupId, Arc<Group>>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn group(&self, id: GroupId) -> Arc<Group> {
        let mut groups = self.groups();
        Arc::clone(groups.entry(id).or_insert_with(|| Arc::new(Group::new(id, GroupCore::default()))))
    }

    pub(super) fn forget_group(&self, group: &Arc<Group>) {
        let mut groups = self.groups();
        // another one may have begun under the same number
        if groups.get(&group.id).is_some_and(|known| Arc::ptr_eq(known, group)) {
            groups.remove(&group.id);
        }
    }

    /// States of all groups that have one.
    pub(super) fn checkpoints(&self) -> Vec<(GroupId, Checkpoint)> {
        let groups: Vec<_> = self.groups().values().cloned().collect();
        groups.iter().filter_map(|group| Some((group.id, group.core().checkpoint()?))).collect()
    }

    /// Lets those who wait for entries see that the disk failed.
    pub(super) fn wake_everyone(&self) {
        for group in self.groups().values() {
            group.flushed.notify_waiters();
        }
    }

    /// Waits until `payload_bytes` more may be queued.
    pub(super) async fn permit(&self, payload_bytes: usize) -> Result<OwnedSemaphorePermit, LogError> {
        let bytes = (payload_bytes + ENTRY_OVERHEAD_BYTES).min(self.options.queue_bytes_max);
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        let acquired = Arc::clone(&self.queue_permits).acquire_many_owned(permits).await;
        acquired.map_err(|_| LogError::Closed)
    }

    pub(super) fn check_size(&self, entry: &LogEntry) -> Result<(), LogError> {
        let bytes = entry.head.len() + entry.body.len();
        let limit_bytes = payload_bytes_max(self.options.segment_bytes);
        if bytes > limit_bytes { Err(LogError::TooLarge { bytes, limit_bytes }) } else { Ok(()) }
    }

    /// Refuses entries that would take `bytes` when they would eat into what is kept for others.
    pub(super) fn admit(&self, priority: Priority, bytes: u64) -> Result<(), LogError> {
        match self.room(priority) {
            Some(room) if room < bytes => Err(LogError::Full),
            _ => Ok(()),
        }
    }

    /// Room for entries on a full disk; none while more segments can be made. What was let in was promised its room, and
    /// moves stand behind nobody.
    fn room(&self, priority: Priority) -> Option<u64> {
        let room = self.room_and_promises(priority)?;
        Some(match priority {
            Priority::Ordinary | Priority::Reclaim => {
                room.saturating_sub(self.counters.promised_bytes.load(Relaxed))
            }
            Priority::Accepted | Priority::Move => room,
        })
    }

    fn room_and_promises(&self, priority: Priority) -> Option<u64> {
        // what is lost at a segment's end, and to its prologue
        let slack = payload_bytes_max(self.options.segment_bytes) as u64 + self.options.segment_bytes / 16;
        let usable = self.options.segment_bytes.saturating_sub(slack);
        let spare_bytes = self.spares.room(priority, usable)?;
        let active = self.counters.active_room_bytes.load(Relaxed);
        let room = spare_bytes.map_or(0, |spare_bytes| spare_bytes + active);
        Some(room.saturating_sub(self.queue.admitted_bytes()))
    }

    /// Queues one record and waits until it is durable.
    pub(super) async fn write(
        &self,
        group: Arc<Group>,
        record: Pending,
        permit: Option<OwnedSemaphorePermit>,
        admitted_bytes: u64,
    ) -> Result<Option<Place>, LogError> {
        let (sender, receiver) = oneshot::channel();
        // whoever stopped waiting does not want to know
        let done = Box::new(move |result| drop(sender.send(result)));
        self.queue.push(Request { group, records: vec![record], done, permit, admitted_bytes })?;
        receiver.await.unwrap_or(Err(LogError::Closed))
    }

    pub(super) fn io(&self, operation: &'static str, source: io::Error) -> LogError {
        LogError::Io { operation, path: self.options.disk.path(), source: Arc::new(source) }
    }

    pub(super) fn disk_failed(&self, operation: &'static str, source: io::Error) -> LogError {
        LogError::DiskFailed { operation, path: self.options.disk.path(), source: Arc::new(source) }
    }
}

/// What a record with so much payload takes on disk at worst: a batch of its own.
pub(super) fn admitted_bytes(payload_bytes: usize) -> u64 {
    (HEADER_BYTES + payload_bytes).next_multiple_of(BLOCK_BYTES) as u64
}

/// A quarter of a segment at most, so that little is lost at its end.
pub(super) fn payload_bytes_max(segment_bytes: u64) -> usize {
    PAYLOAD_BYTES_MAX.min(segment_bytes as usize / 4)
}

fn check_options(options: &LogOptions) -> Result<(), LogError> {
    let bytes = options.segment_bytes;
    if !SEGMENT_BYTES_RANGE.contains(&bytes) || !bytes.is_multiple_of(BLOCK_BYTES as u64) {
        return Err(LogError::Unsupported { what: "segment size", found: bytes });
    }
    if options.queue_bytes_max == 0 || options.queue_bytes_max > u32::MAX as usize {
        let found = options.queue_bytes_max as u64;
        return Err(LogError::Unsupported { what: "queue size", found });
    }
    Ok(())
}

fn spawn(
    name: &str,
    shared: &Arc<Shared>,
    run: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, LogError> {
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(run);
    spawned.map_err(|source| shared.io("starting a thread", source))
}
