//! The disk thread: batches records, writes and syncs each batch once, then tells everyone in order.
//!
//! Group commit without waiting: a batch is whatever queued while the previous one was synced. After a failed write or
//! sync nothing is written again; a retried sync could claim what the kernel has already thrown away.

use super::{
    error::LogError,
    group::Group,
    header::{SegmentHeader, VERSION},
    queue::{Done, Pending, Request},
    record::{ALIGN_BYTES, HEADER_BYTES, RecordHeader, RecordKind},
    scan::place_of,
    spare::Spare,
    store::{ENTRY_OVERHEAD_BYTES, Shared},
    types::{EntryId, Place, SegmentId},
};
use crate::disk::{AlignedBuffer, BLOCK_BYTES, DiskFile};
use std::{
    collections::VecDeque,
    io,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Instant,
};
use tokio::sync::OwnedSemaphorePermit;
use wire::GroupId;

/// One batch, bytes, unless a single record is larger. 4 MiB: the device's full speed, and a small write behind it waits
/// a few milliseconds.
const BATCH_BYTES_MAX: usize = 4 << 20;

/// All checkpoints that begin a segment, bytes: recovery looks this far to know that a segment was never begun.
pub(super) const PROLOGUE_BYTES_MAX: usize = 4 << 20;

/// Where the next batch goes.
pub(super) struct Active {
    pub(super) segment: SegmentId,
    pub(super) file: Arc<dyn DiskFile>,
    /// Its next free block.
    pub(super) offset: u64,
}

/// What happens, in order, once a batch is synced.
enum Step {
    Written { group: Arc<Group>, kind: RecordKind, place: Place },
    Finished { done: Done, permit: Option<OwnedSemaphorePermit>, place: Option<Place> },
}

/// An entry whose payload is still in memory though it is on disk.
struct Cached {
    group: Arc<Group>,
    id: EntryId,
    bytes: usize,
}

/// State of the disk thread.
pub(super) struct Writer {
    shared: Arc<Shared>,
    active: Option<Active>,
    buffer: AlignedBuffer,
    steps: Vec<Step>,
    /// The next record's.
    sequence: u64,
    /// Everything up to here is on stable storage.
    synced: u64,
    cached: VecDeque<Cached>,
    cached_bytes: usize,
}

impl Writer {
    /// Goes on after the record before `sequence`, which is synced like all before it.
    pub(super) fn new(shared: Arc<Shared>, active: Option<Active>, sequence: u64) -> Self {
        let writer = Self {
            shared,
            active,
            buffer: AlignedBuffer::with_capacity(BATCH_BYTES_MAX),
            steps: Vec::new(),
            sequence,
            synced: sequence - 1,
            cached: VecDeque::new(),
            cached_bytes: 0,
        };
        writer.note_room();
        writer
    }

    /// Makes sure that there is a segment to write to. Does not wait for a full disk.
    pub(super) fn begin(&mut self) -> Result<(), LogError> {
        if self.active.is_none() { self.roll(false) } else { Ok(()) }
    }

    /// Until the queue is stopped and empty.
    pub(super) fn run(mut self) {
        while let Some(mut requests) = self.shared.queue.take() {
            if let Err(error) = self.write(&mut requests) {
                self.fail(error, requests);
            }
        }
        if self.shared.queue.failure().is_none()
            && let Err(error) = self.close()
        {
            self.fail(error, VecDeque::new());
        }
    }

    fn write(&mut self, requests: &mut VecDeque<Request>) -> Result<(), LogError> {
        while let Some(request) = requests.pop_front() {
            let Request { group, records, done, permit, admitted_bytes } = request;
            let mut place = None;
            let mut added = Ok(());
            for record in records {
                added = self.add(&group, record).map(|at| place = Some(at));
                if added.is_err() {
                    break;
                }
            }
            self.shared.queue.settle(admitted_bytes);
            self.steps.push(Step::Finished { done, permit, place });
            added?;
        }
        self.flush()
    }

    /// Puts a record into the batch; writes the batch first when the record does not fit.
    fn add(&mut self, group: &Arc<Group>, record: Pending) -> Result<Place, LogError> {
        let bytes = record_bytes(&record);
        if self.buffer.length() > 0 && self.buffer.length() + bytes > BATCH_BYTES_MAX {
            self.flush()?;
        }
        if !self.fits(bytes) {
            self.flush()?;
            self.roll(true)?;
        }
        let kind = record.kind;
        let place = self.put(group.id, record);
        self.steps.push(Step::Written { group: Arc::clone(group), kind, place });
        Ok(place)
    }

    fn fits(&self, bytes: usize) -> bool {
        self.active.as_ref().is_some_and(|active| {
            active.offset + (self.buffer.length() + bytes) as u64 <= self.shared.options.segment_bytes
        })
    }

    /// Encodes a record behind what is in the buffer.
    fn put(&mut self, group: GroupId, record: Pending) -> Place {
        let active = self.active.as_ref().expect("a segment was begun before anything is put");
        let header = RecordHeader {
            kind: record.kind,
            group,
            segment: active.segment,
            sequence: self.sequence,
            synced: self.synced,
            head_length: u32::try_from(record.head.len()).expect("heads are limited at the border"),
            head_crc: crc32c::crc32c(&record.head),
            body_length: u32::try_from(record.body.len()).expect("bodies are limited at the border"),
            body_crc: record.body_crc,
        };
        let place = place_of(&header, active.offset + self.buffer.length() as u64);
        self.sequence += 1;
        self.buffer.extend(&header.encode());
        self.buffer.extend(&record.head);
        self.buffer.extend(&record.body);
        self.buffer.pad_to(ALIGN_BYTES);
        place
    }

    /// Writes and syncs the batch, then takes its steps.
    fn flush(&mut self) -> Result<(), LogError> {
        if self.buffer.length() > 0 {
            self.put_committed();
            self.write_out()?;
        }
        for step in std::mem::take(&mut self.steps) {
            match step {
                Step::Written { group, kind, place } => self.apply(&group, kind, place),
                Step::Finished { done, permit, place } => {
                    drop(permit);
                    done(Ok(place));
                }
            }
        }
        self.evict();
        Ok(())
    }

    /// Committed positions ride along with whatever else is written.
    fn put_committed(&mut self) {
        for group in self.shared.queue.take_committed() {
            if !self.fits(HEADER_BYTES) {
                self.shared.queue.note_committed(group);
                continue;
            }
            let committed = {
                let mut core = group.core();
                core.committed_unwritten = false;
                core.committed.filter(|_| !core.dropped)
            };
            if committed.is_some() {
                self.put(group.id, Pending::bare(RecordKind::Committed(committed)));
            }
        }
    }

    fn write_out(&mut self) -> Result<(), LogError> {
        let started = Instant::now();
        self.buffer.pad_to(BLOCK_BYTES);
        let active = self.active.as_mut().expect("a batch is made for a segment");
        let bytes = self.buffer.bytes();
        let written = active.file.write_at(bytes, active.offset);
        written.map_err(|source| self.shared.disk_failed("writing to the log", source))?;
        active.file.sync_data().map_err(|source| self.shared.disk_failed("syncing the log", source))?;
        active.offset += bytes.len() as u64;
        let counters = &self.shared.counters;
        counters.batches.fetch_add(1, Relaxed);
        counters.records.fetch_add(self.sequence - 1 - self.synced, Relaxed);
        counters.written_bytes.fetch_add(bytes.len() as u64, Relaxed);
        let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        counters.write_micros.fetch_add(micros, Relaxed);
        counters.write_micros_max.fetch_max(micros, Relaxed);
        self.synced = self.sequence - 1;
        self.buffer.clear();
        self.note_room();
        Ok(())
    }

    /// Begins the next segment: header and one checkpoint per group, synced before anything else is written to it. On a
    /// disk without any room left, all that is queued waits for some if `patient`: nothing was half done, and nobody is
    /// told that it was.
    fn roll(&mut self, patient: bool) -> Result<(), LogError> {
        let patient = || patient && !self.shared.queue.is_stopping();
        let Spare { segment, file } = self.shared.spares.take(patient).map_err(|error| match error {
            LogError::Full => {
                self.shared.disk_failed("making a segment", io::Error::from(io::ErrorKind::StorageFull))
            }
            other => other,
        })?;
        self.active = Some(Active { segment, file: Arc::clone(&file), offset: 0 });
        let options = &self.shared.options;
        let checkpoints = self.shared.checkpoints();
        let header = SegmentHeader {
            version: VERSION,
            prologue_records: u32::try_from(checkpoints.len()).expect("groups are numbered with 32 bits"),
            deployment: options.deployment,
            node: options.node,
            incarnation: options.incarnation,
            segment,
            first_sequence: self.sequence,
            floor: self.shared.segments.floor().unwrap_or(segment),
            segment_bytes: options.segment_bytes,
        };
        let prologue_bytes_max = PROLOGUE_BYTES_MAX.min(options.segment_bytes as usize / 2);
        self.buffer.clear();
        self.buffer.extend(&header.encode());
        for (group, checkpoint) in checkpoints {
            let head = checkpoint.encode();
            self.put(group, Pending { head, ..Pending::bare(RecordKind::Checkpoint) });
        }
        if self.buffer.length() > prologue_bytes_max {
            let found = self.buffer.length() as u64;
            return Err(LogError::Unsupported { what: "state of all groups in one segment", found });
        }
        self.write_out()?;
        self.shared.segments.set_active(segment, file);
        tracing::debug!(%segment, floor = %header.floor, "segment begun");
        Ok(())
    }

    /// What was recorded is durable: make it so in memory.
    fn apply(&mut self, group: &Arc<Group>, kind: RecordKind, place: Place) {
        let segments = &self.shared.segments;
        match kind {
            RecordKind::Entry(id, _) => {
                if group.core().set_flushed(id, place) {
                    segments.add_entry(place.segment);
                    let bytes =
                        place.head_length as usize + place.body_length as usize + ENTRY_OVERHEAD_BYTES;
                    self.cached_bytes += bytes;
                    self.cached.push_back(Cached { group: Arc::clone(group), id, bytes });
                }
                group.flushed.notify_waiters();
            }
            RecordKind::Moved(id, _) => {
                let moved = group.core().set_moved(id, place);
                if let Some(old) = moved {
                    segments.add_entry(place.segment);
                    segments.release(&[(old, 1)].into());
                }
            }
            RecordKind::Vote(vote) => group.core().vote = Some(vote),
            RecordKind::Truncate(after) => {
                let released = group.core().truncate(after);
                segments.release(&released);
                group.flushed.notify_waiters();
            }
            RecordKind::Purge(upto) => {
                let released = group.core().purge(upto);
                segments.release(&released);
                group.flushed.notify_waiters();
            }
            RecordKind::DropGroup => {
                let released = group.core().clear();
                segments.release(&released);
                self.shared.forget_group(group);
                group.flushed.notify_waiters();
            }
            RecordKind::Fetched(..)
            | RecordKind::Committed(_)
            | RecordKind::Checkpoint
            | RecordKind::Closed => {}
        }
    }

    /// Oldest payloads leave memory first, whichever group's they are.
    fn evict(&mut self) {
        while self.cached_bytes > self.shared.options.cache_bytes_max
            && let Some(cached) = self.cached.pop_front()
        {
            self.cached_bytes -= cached.bytes;
            cached.group.core().evict(cached.id);
        }
        self.shared.counters.cached_bytes.store(self.cached_bytes as u64, Relaxed);
    }

    fn note_room(&self) {
        let room = self
            .active
            .as_ref()
            .map_or(0, |active| self.shared.options.segment_bytes.saturating_sub(active.offset));
        self.shared.counters.active_room_bytes.store(room, Relaxed);
    }

    /// Says in the log that all of it is synced, if there is room to say so.
    fn close(&mut self) -> Result<(), LogError> {
        if self.fits(HEADER_BYTES) {
            self.put(GroupId(0), Pending::bare(RecordKind::Closed));
            self.flush()?;
        }
        Ok(())
    }

    /// The disk is out: everyone waiting now or later is told so.
    fn fail(&mut self, error: LogError, rest: VecDeque<Request>) {
        let source = std::error::Error::source(&error);
        tracing::error!(%error, source, "the log stopped");
        let queued = self.shared.queue.fail(error.clone());
        self.buffer.clear();
        for step in std::mem::take(&mut self.steps) {
            if let Step::Finished { done, .. } = step {
                done(Err(error.clone()));
            }
        }
        for request in rest.into_iter().chain(queued) {
            (request.done)(Err(error.clone()));
        }
        self.shared.wake_everyone();
    }
}

fn record_bytes(record: &Pending) -> usize {
    (HEADER_BYTES + record.head.len() + record.body.len()).next_multiple_of(ALIGN_BYTES)
}
