//! Scrubbing: reads every record that rows or logs point to, from the device, and repairs what is rotten from other
//! replicas. A slow pass runs in the background all the time; an operator can ask for a fast one.

use crate::{
    holdings::Holdings,
    log::{Place, ReadError},
    machine::{LiveBody, MachineError},
    pace::Pace,
    raft::GroupState,
    repair::{RepairError, Repairer},
};
use bytes::Bytes;
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};
use wire::{DecodeError, Decoder, Encoder, UnixMillis};

/// How often everything is read. A day: two copies of a record rot within one with a probability far below that of
/// losing two disks.
const CADENCE: Duration = Duration::from_secs(24 * 60 * 60);

/// The slowest background pace, bytes per second: a small disk is done within the hour instead of idling over it.
const BACKGROUND_BYTES_PER_SECOND_MIN: u64 = 4 << 20;

/// The pace of a pass that somebody waits for, bytes per second: half of a modest disk.
const DEMAND_BYTES_PER_SECOND: u64 = 256 << 20;

/// From the start to the first background pass: start-up has better things to read.
const FIRST_AFTER: Duration = Duration::from_secs(600);

/// Rows looked at under one lock.
const ROWS_MAX: usize = 256;

/// What scrubbing did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrubFigures {
    /// Whether a pass is under way.
    pub running: bool,
    /// When the last whole pass ended.
    pub finished: Option<UnixMillis>,
    /// Bytes checked in this pass, or the last.
    pub bytes_checked: u64,
    /// Bytes to check in it.
    pub bytes_total: u64,
    /// Rotten records found in it.
    pub corrupt: u64,
    /// Of these, repaired.
    pub repaired: u64,
}

#[derive(Default)]
struct Status {
    figures: ScrubFigures,
    /// Rotten records since the start, and those of them that were repaired.
    totals: (u64, u64),
    /// Records that this pass found rotten and could not repair.
    unrepaired: BTreeSet<Place>,
    /// Somebody waits for the pass under way, or for the next.
    demanded: bool,
}

/// Scrubs one node.
pub(crate) struct Scrubber {
    holdings: Arc<Holdings>,
    repairer: Arc<Repairer>,
    status: Mutex<Status>,
    wanted: Notify,
}

impl Scrubber {
    /// Over what a node holds.
    pub(crate) fn new(holdings: Arc<Holdings>, repairer: Arc<Repairer>) -> Arc<Self> {
        Arc::new(Self { holdings, repairer, status: Mutex::default(), wanted: Notify::new() })
    }

    /// Begins a fast pass, unless a fast one is under way. A slow one is hurried instead of begun anew.
    pub(crate) fn start(&self) {
        let mut status = self.status();
        status.demanded = true;
        if !status.figures.running {
            status.figures =
                ScrubFigures { running: true, finished: status.figures.finished, ..Default::default() };
        }
        drop(status);
        self.wanted.notify_one();
    }

    /// What it did so far.
    pub(crate) fn figures(&self) -> ScrubFigures {
        self.status().figures
    }

    /// Rotten records that scrubbing found and that have no good copy here still.
    pub(crate) fn unrepaired(&self) -> u64 {
        self.repairer.unrepaired()
    }

    /// Rotten records found since the start, and those of them that were repaired.
    pub(crate) fn totals(&self) -> (u64, u64) {
        self.status().totals
    }

    /// One pass over everything.
    pub(crate) async fn pass(&self) {
        let states = self.holdings.states();
        let bytes_total = states.iter().flat_map(|state| live_bytes(state)).sum();
        {
            let mut status = self.status();
            let finished = status.figures.finished;
            status.figures = ScrubFigures { running: true, finished, bytes_total, ..Default::default() };
        }
        let mut pace = Pace::new();
        let mut whole = true;
        for state in states {
            if let Err(error) = self.scrub_rows(&state, &mut pace).await {
                let error = &error as &dyn std::error::Error;
                error!(group = %state.group, error, "group cannot be scrubbed: its index cannot be read");
                whole = false;
            }
            self.scrub_log(&state, &mut pace).await;
        }
        let met = std::mem::take(&mut self.status().unrepaired);
        if whole {
            self.repairer.keep_unrepaired(&met);
        }
        let mut status = self.status();
        status.demanded = false;
        status.figures.running = false;
        status.figures.bytes_total = status.figures.bytes_checked;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        status.figures.finished = Some(UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX)));
        let ScrubFigures { bytes_checked, corrupt, repaired, .. } = status.figures;
        drop(status);
        info!(bytes_checked, corrupt, repaired, "scrub pass done");
    }

    async fn scrub_rows(&self, state: &GroupState, pace: &mut Pace) -> Result<(), MachineError> {
        let mut after: Option<Bytes> = None;
        loop {
            let (bodies, next) = state.machine().live_bodies(after.as_deref(), ROWS_MAX)?;
            for body in bodies {
                self.scrub_body(state, body, pace).await?;
            }
            match next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }

    async fn scrub_body(
        &self,
        state: &GroupState,
        (row_key, place): LiveBody,
        pace: &mut Pace,
    ) -> Result<(), MachineError> {
        let mut place = place;
        let mut rotten = self.is_rotten(state, &place.into(), pace).await;
        if rotten.is_none() {
            // moved, or deleted, since the row was read
            let Some(now) = state.machine().body_place(&row_key)? else { return Ok(()) };
            place = now;
            rotten = self.is_rotten(state, &place.into(), pace).await;
        }
        if rotten == Some(true) {
            let repaired = self.repairer.row(state, &row_key).await;
            self.note(state, &place.into(), repaired.map(|repaired| repaired.kept));
        }
        Ok(())
    }

    /// Entries that are not purged: Raft may still read them, whether rows point to them or not.
    async fn scrub_log(&self, state: &GroupState, pace: &mut Pace) {
        let held = state.log.state();
        let (Some(first), Some(last)) = (held.first, held.last) else { return };
        for index in first.index..=last.index {
            // purged meanwhile, or not on disk yet
            let Some(place) = state.log.place(index) else { continue };
            if self.is_rotten(state, &place, pace).await == Some(true) {
                let repaired = self.repairer.entry(state, index).await;
                self.note(state, &place, repaired.map(|repaired| repaired.kept));
            }
        }
    }

    /// Whether the record at `place` is not what was written; nothing if it is not there any more.
    async fn is_rotten(&self, state: &GroupState, place: &Place, pace: &mut Pace) -> Option<bool> {
        let bytes = u64::from(place.head_length) + u64::from(place.body_length);
        let read = state.segments.reread_entry(place).await;
        let (demanded, total) = {
            let mut status = self.status();
            status.figures.bytes_checked += bytes;
            status.figures.bytes_total = status.figures.bytes_total.max(status.figures.bytes_checked);
            (status.demanded, status.figures.bytes_total)
        };
        let background = (total / CADENCE.as_secs()).max(BACKGROUND_BYTES_PER_SECOND_MIN);
        pace.pass(bytes, Some(if demanded { DEMAND_BYTES_PER_SECOND } else { background })).await;
        match read {
            Ok(_) => Some(false),
            Err(ReadError::Gone) => None,
            // a sector that the device cannot read is as lost as one that changed
            Err(ReadError::Rotten { .. } | ReadError::Io { .. }) => Some(true),
        }
    }

    fn note(&self, state: &GroupState, place: &Place, repaired: Result<bool, RepairError>) {
        if matches!(repaired, Err(RepairError::Gone)) {
            return;
        }
        let kept = matches!(repaired, Ok(true));
        let mut status = self.status();
        status.figures.corrupt += 1;
        status.figures.repaired += u64::from(kept);
        status.totals.0 += 1;
        status.totals.1 += u64::from(kept);
        if !kept {
            status.unrepaired.insert(*place);
        }
        drop(status);
        if !kept {
            self.repairer.note_unrepaired(*place);
            let error = repaired.err();
            let error = error.as_ref().map(|error| error as &dyn std::error::Error);
            let (group, segment, offset) = (state.group, place.segment, place.offset);
            error!(%group, %segment, offset, error, "live record is rotten and was not repaired");
        }
    }

    fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs until `stop`.
pub(crate) async fn run(scrubber: Arc<Scrubber>, stop: CancellationToken) {
    let mut next = Instant::now() + FIRST_AFTER;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = scrubber.wanted.notified() => {
                // a pass that was under way then has served who asked
                if !scrubber.status().demanded {
                    continue;
                }
            }
            () = tokio::time::sleep_until(next) => {}
        }
        next = Instant::now() + CADENCE;
        tokio::select! {
            () = stop.cancelled() => return,
            () = scrubber.pass() => {}
        }
    }
}

fn live_bytes(state: &GroupState) -> Vec<u64> {
    state.machine().segment_liveness().map(|(_, bytes)| bytes).collect()
}

impl ScrubFigures {
    /// Its layout.
    pub fn encode(&self) -> Bytes {
        let mut e = Encoder::new();
        e.flag(self.running);
        e.option(self.finished.as_ref(), |e, finished| e.u64(finished.0));
        for number in [self.bytes_checked, self.bytes_total, self.corrupt, self.repaired] {
            e.u64(number);
        }
        e.finish()
    }

    /// Reads its layout.
    pub fn decode(input: Bytes) -> Result<Self, DecodeError> {
        let mut d = Decoder::new("scrub report", input);
        let figures = Self {
            running: d.flag()?,
            finished: d.option(Decoder::u64)?.map(UnixMillis),
            bytes_checked: d.u64()?,
            bytes_total: d.u64()?,
            corrupt: d.u64()?,
            repaired: d.u64()?,
        };
        d.finish()?;
        Ok(figures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_come_back_as_written() {
        let figures = ScrubFigures {
            running: true,
            finished: Some(UnixMillis(7)),
            bytes_checked: 1,
            bytes_total: 2,
            corrupt: 3,
            repaired: 4,
        };
        assert_eq!(ScrubFigures::decode(figures.encode()), Ok(figures));
    }
}
