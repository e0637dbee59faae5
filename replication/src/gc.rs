//! Garbage collection: frees segments in which nothing is live, after moving the live rest out of mostly-dead ones.
//!
//! A segment goes only when no group has unpurged entries in it, no row points into it, the index that says so is on
//! disk (after a crash it may come back as it was flushed last), no snapshot is open that shows rows as they were, and
//! nobody writes records that rows do not point to yet. Which segments are worth it is [`plan::gc`]'s.

mod compact;

use crate::{
    holdings::Holdings,
    index::IndexError,
    log::{LogError, SegmentId, SegmentSummary},
    machine::MachineError,
    pace::Pace,
    repair::Repairer,
};
use bytes::Bytes;
use compact::{Compacted, compact};
use plan::gc::{Choice, SegmentFacts, Urgency, choose, packed_bytes_max};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use thiserror::Error;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};
use wire::{DecodeError, Decoder, Encoder};

/// How often segments are looked at. 5 s: a full disk has room again soon, and looking costs next to nothing.
const INTERVAL: Duration = Duration::from_secs(5);

/// Moved per second while room is plenty, bytes. 32 MiB: a few percent of what a disk can do.
const MOVE_BYTES_PER_SECOND: u64 = 32 << 20;

/// Moved in one round, bytes: what the rate allows until the next one, so that one index flush frees several segments.
const ROUND_BYTES_MAX: u64 = MOVE_BYTES_PER_SECOND * 5;

/// Rounds of one collection on demand: at 160 MiB each more than a disk moves while an operator waits.
const ROUNDS_MAX: u32 = 64;

/// A collection on demand ends after this; the rest is left to the rounds that follow anyway.
const DEMAND_WAIT: Duration = Duration::from_secs(45);

/// Free room below which the disk counts as short of it: a tenth.
const SHORT_OF_ROOM_SHARE: u64 = 10;

/// The largest record that is worth planning for, bytes: a chunk with its head.
const RECORD_BYTES: u64 = (1 << 20) + (64 << 10);

/// What collections did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freed {
    /// Segments removed.
    pub segments: u64,
    /// Their size, bytes.
    pub bytes: u64,
    /// Live bytes moved.
    pub moved_bytes: u64,
}

/// Why a round ended early.
#[derive(Debug, Error)]
pub(crate) enum GcError {
    /// The index cannot be read or written.
    #[error("the index failed")]
    Machine(#[source] MachineError),
    /// The index cannot be flushed.
    #[error("the index cannot be flushed")]
    Flush(#[source] IndexError),
    /// The log cannot be read or written.
    #[error("the log failed")]
    Log(#[source] LogError),
    /// The disk is too full for the next move. What was freed until then stays free.
    #[error("no room is left to move live records")]
    NoRoom,
    /// The process ends.
    #[error("the collection was stopped")]
    Stopped,
}

impl From<MachineError> for GcError {
    fn from(error: MachineError) -> Self {
        if error.is_for_want_of_room() { Self::NoRoom } else { Self::Machine(error) }
    }
}

impl From<IndexError> for GcError {
    fn from(error: IndexError) -> Self {
        if error.is_for_want_of_room() { Self::NoRoom } else { Self::Flush(error) }
    }
}

impl From<LogError> for GcError {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Full => Self::NoRoom,
            error => Self::Log(error),
        }
    }
}

/// Collects one node's garbage.
pub(crate) struct Collector {
    holdings: Arc<Holdings>,
    repairer: Arc<Repairer>,
    turn: Semaphore,
    /// Segments that looked sparse but are not, with their live bytes then: looked at again once those are fewer.
    dense: Mutex<BTreeMap<SegmentId, u64>>,
    segments: AtomicU64,
    bytes: AtomicU64,
    moved_bytes: AtomicU64,
}

impl Collector {
    /// Over what a node holds.
    pub(crate) fn new(holdings: Arc<Holdings>, repairer: Arc<Repairer>) -> Arc<Self> {
        Arc::new(Self {
            holdings,
            repairer,
            turn: Semaphore::new(1),
            dense: Mutex::default(),
            segments: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            moved_bytes: AtomicU64::new(0),
        })
    }

    /// Everything freed since the start.
    pub(crate) fn freed(&self) -> Freed {
        Freed {
            segments: self.segments.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            moved_bytes: self.moved_bytes.load(Relaxed),
        }
    }

    /// Whether the disk is short of room.
    pub(crate) fn short_of_room(&self) -> bool {
        self.has_less_than(SHORT_OF_ROOM_SHARE)
    }

    /// Whether it will soon take no more writes.
    pub(crate) fn nearly_full(&self) -> bool {
        self.has_less_than(2 * SHORT_OF_ROOM_SHARE)
    }

    fn has_less_than(&self, share: u64) -> bool {
        let capacity = self.holdings.segments.capacity();
        capacity.is_ok_and(|room| !room.writable || room.free_bytes < room.total_bytes / share)
    }

    /// Frees all that can be freed now, as fast as the disk allows, and says what that was.
    pub(crate) async fn collect_all(&self) -> Result<Freed, GcError> {
        let before = self.freed();
        let all = async {
            for _ in 0..ROUNDS_MAX {
                let now = self.freed();
                match self.round(None).await {
                    // what was moved until then may have made room
                    Ok(()) | Err(GcError::NoRoom) => {}
                    Err(error) => return Err(error),
                }
                if self.freed() == now {
                    break;
                }
            }
            Ok::<(), GcError>(())
        };
        // what was done until then stays done
        tokio::time::timeout(DEMAND_WAIT, all).await.unwrap_or(Ok(()))?;
        let after = self.freed();
        Ok(Freed {
            segments: after.segments - before.segments,
            bytes: after.bytes - before.bytes,
            moved_bytes: after.moved_bytes - before.moved_bytes,
        })
    }

    /// One round: free what is dead, move what is nearly, flush once, free what was moved.
    pub(crate) async fn round(&self, bytes_per_second: Option<u64>) -> Result<(), GcError> {
        let _turn = self.turn.acquire().await.map_err(|_| GcError::Stopped)?;
        if self.snapshot_is_open() {
            return Ok(());
        }
        let urgency = if self.short_of_room() { Urgency::Eager } else { Urgency::Relaxed };
        let Choice { free, compact } = self.choose(urgency);
        // first what costs nothing: the moves may need the room
        self.free(&free).await?;
        let emptied = self.empty(&compact, urgency, bytes_per_second).await;
        self.free(&emptied.0).await?;
        emptied.1
    }

    fn choose(&self, urgency: Urgency) -> Choice {
        // in this order: an entry that is purged is applied, so its row is there; a pin is older than what it pins
        let segments = self.holdings.segments.segments();
        let pinned = self.holdings.pinned_from();
        let live = self.live_bytes();
        let dense = self.dense();
        let facts: Vec<SegmentFacts> = segments
            .iter()
            .map(|summary| self.facts(summary, pinned, &live))
            .filter(|facts| dense.get(&SegmentId(facts.segment)).is_none_or(|then| facts.live_bytes < *then))
            .collect();
        let segment_bytes = segments.first().map_or(0, |segment| segment.bytes);
        choose(&facts, urgency, record_bytes(segment_bytes), ROUND_BYTES_MAX)
    }

    fn facts(
        &self,
        summary: &SegmentSummary,
        pinned: Option<SegmentId>,
        live: &BTreeMap<u64, u64>,
    ) -> SegmentFacts {
        let pinned = pinned.is_some_and(|from| summary.id >= from);
        SegmentFacts {
            segment: summary.id.0,
            bytes: summary.bytes,
            live_bytes: live.get(&summary.id.0).copied().unwrap_or(0),
            removable: summary.sealed && summary.entries_unpurged == 0 && !pinned,
        }
    }

    fn live_bytes(&self) -> BTreeMap<u64, u64> {
        let mut live = BTreeMap::new();
        for state in self.holdings.states() {
            for (segment, bytes) in state.machine().segment_liveness() {
                *live.entry(u64::from(segment)).or_default() += bytes;
            }
        }
        live
    }

    fn snapshot_is_open(&self) -> bool {
        self.holdings.states().iter().any(|state| state.machine().snapshot_is_open())
    }

    /// Moves the live records of `segments` elsewhere. Gives those that are empty now, also when it ended early.
    pub(crate) async fn empty(
        &self,
        segments: &[u64],
        urgency: Urgency,
        bytes_per_second: Option<u64>,
    ) -> (Vec<u64>, Result<(), GcError>) {
        let mut pace = Pace::new();
        let mut emptied = Vec::new();
        for segment in segments {
            let id = SegmentId(*segment);
            let bytes = self.holdings.segments.segments().first().map_or(0, |summary| summary.bytes);
            let packed_bytes = packed_bytes_max(bytes, record_bytes(bytes), urgency);
            let mut moved = |bytes| {
                self.moved_bytes.fetch_add(bytes, Relaxed);
            };
            let compacted = compact(
                &self.holdings,
                &self.repairer,
                id,
                packed_bytes,
                &mut pace,
                bytes_per_second,
                &mut moved,
            );
            match compacted.await {
                Ok(Compacted::Empty) => emptied.push(*segment),
                Ok(Compacted::Dense { live_bytes }) => {
                    self.dense().insert(id, live_bytes);
                }
                // another round may find it gone, or repaired
                Ok(Compacted::Stuck) => debug!(segment = %id, "segment could not be emptied"),
                Err(error) => return (emptied, Err(error)),
            }
        }
        (emptied, Ok(()))
    }

    /// Removes segments in which nothing is live, once that is on disk.
    async fn free(&self, segments: &[u64]) -> Result<(), GcError> {
        if segments.is_empty() {
            return Ok(());
        }
        self.flush().await?;
        // asked after the flush: one that was opened since shows rows as they are now
        if self.snapshot_is_open() {
            return Ok(());
        }
        let live = self.live_bytes();
        for segment in segments.iter().filter(|segment| !live.contains_key(segment)) {
            self.remove(SegmentId(*segment)).await?;
        }
        Ok(())
    }

    /// Makes the index durable, for all groups at once.
    pub(crate) async fn flush(&self) -> Result<(), GcError> {
        let Some(state) = self.holdings.states().into_iter().next() else { return Ok(()) };
        tokio::task::spawn_blocking(move || state.flush()).await.map_err(|_| GcError::Stopped)??;
        Ok(())
    }

    async fn remove(&self, segment: SegmentId) -> Result<(), GcError> {
        let log = self.holdings.segments.clone();
        let bytes = log.segments().first().map_or(0, |summary| summary.bytes);
        let removed = tokio::task::spawn_blocking(move || log.remove_segment(segment)).await;
        match removed.map_err(|_| GcError::Stopped)? {
            Ok(()) => {
                self.segments.fetch_add(1, Relaxed);
                self.bytes.fetch_add(bytes, Relaxed);
                self.dense().remove(&segment);
                Ok(())
            }
            Err(LogError::InUse { .. } | LogError::NoSegment { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn dense(&self) -> MutexGuard<'_, BTreeMap<SegmentId, u64>> {
        self.dense.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs until `stop`.
pub(crate) async fn run(collector: Arc<Collector>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
        let rate = (!collector.short_of_room()).then_some(MOVE_BYTES_PER_SECOND);
        let round = tokio::select! {
            () = stop.cancelled() => return,
            round = collector.round(rate) => round,
        };
        match round {
            Ok(()) | Err(GcError::Stopped) => {}
            Err(GcError::NoRoom) => warn!("no room is left to move live records"),
            Err(error) => error!(error = &error as &dyn std::error::Error, "garbage cannot be collected"),
        }
    }
}

fn record_bytes(segment_bytes: u64) -> u64 {
    RECORD_BYTES.min(segment_bytes / 4)
}

impl Freed {
    /// Its layout.
    pub fn encode(&self) -> Bytes {
        let mut e = Encoder::new();
        for number in [self.segments, self.bytes, self.moved_bytes] {
            e.u64(number);
        }
        e.finish()
    }

    /// Reads its layout.
    pub fn decode(input: Bytes) -> Result<Self, DecodeError> {
        let mut d = Decoder::new("collection report", input);
        let freed = Self { segments: d.u64()?, bytes: d.u64()?, moved_bytes: d.u64()? };
        d.finish()?;
        Ok(freed)
    }
}

#[cfg(test)]
mod tests;
