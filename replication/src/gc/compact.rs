//! Moves one segment's live records to the end of the log and lets rows point there.
//!
//! Records are read and written in batches, so that moving many small ones packs them instead of giving each a block of
//! its own.

use super::GcError;
use crate::{
    holdings::Holdings,
    log::{LogEntry, LogError, Place, Priority, ReadError, ScannedEntry, SegmentId},
    machine::{Move, body_row},
    pace::Pace,
    raft::GroupState,
    repair::Repairer,
};
use bytes::Bytes;
use futures_util::future::try_join_all;
use std::{collections::BTreeMap, sync::Arc};
use wire::{Command, GroupId, Operation, Sequence};

/// One batch, bytes of heads and bodies. 4 MiB: what the disk writes at once.
const BATCH_BYTES_MAX: u64 = 4 << 20;

/// One batch, records: rows of one index write.
const BATCH_RECORDS_MAX: usize = 256;

/// What a record takes beyond its head and body: header and padding.
const RECORD_OVERHEAD_BYTES: u64 = 88;

/// How a segment came out.
pub(super) enum Compacted {
    /// Nothing in it is live any more.
    Empty,
    /// What is live in it is too much to be worth it.
    Dense {
        /// Heads and bodies.
        live_bytes: u64,
    },
    /// A record could not be moved.
    Stuck,
}

struct Live {
    state: Arc<GroupState>,
    place: Place,
    operation: Operation,
    sequence: Sequence,
}

/// Moves what is live in `segment`, unless that would take more than `packed_bytes_max`. Tells `moved` of each batch.
pub(super) async fn compact(
    holdings: &Arc<Holdings>,
    repairer: &Repairer,
    segment: SegmentId,
    packed_bytes_max: u64,
    pace: &mut Pace,
    bytes_per_second: Option<u64>,
    moved: &mut (dyn FnMut(u64) + Send),
) -> Result<Compacted, GcError> {
    let scanned = Arc::clone(holdings);
    let scan = tokio::task::spawn_blocking(move || scan_live(&scanned, segment));
    let live = scan.await.map_err(|_| GcError::Stopped)??;
    let live_bytes = live.iter().map(|live| payload_bytes(&live.place)).sum();
    let packed_bytes = live_bytes + RECORD_OVERHEAD_BYTES * live.len() as u64;
    if packed_bytes > packed_bytes_max {
        return Ok(Compacted::Dense { live_bytes });
    }
    // all or nothing: a half that was moved takes room and frees none
    let index_has_room = live.first().is_none_or(|live| live.state.has_room());
    if !holdings.segments.has_room(Priority::Move, packed_bytes) || !index_has_room {
        return Err(GcError::NoRoom);
    }
    let mut stuck = false;
    let mut rest = live.as_slice();
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = |live: &&Live| {
            bytes += payload_bytes(&live.place);
            bytes <= BATCH_BYTES_MAX
        };
        let count = rest.iter().take(BATCH_RECORDS_MAX).take_while(fits).count().max(1);
        let (batch, after) = rest.split_at(count);
        rest = after;
        let bytes = batch.iter().map(|live| payload_bytes(&live.place)).sum();
        stuck |= !move_batch(holdings, repairer, batch).await?;
        moved(bytes);
        pace.pass(bytes, bytes_per_second).await;
    }
    Ok(if stuck { Compacted::Stuck } else { Compacted::Empty })
}

fn scan_live(holdings: &Holdings, segment: SegmentId) -> Result<Vec<Live>, GcError> {
    let states: BTreeMap<GroupId, Arc<GroupState>> =
        holdings.states().into_iter().map(|state| (state.group, state)).collect();
    let mut live = Vec::new();
    for found in holdings.segments.scan_segment(segment)? {
        let ScannedEntry { place, group, id, head, .. } = found?;
        let Some(state) = states.get(&group) else { continue };
        // blank entries and memberships have heads that are no commands; they hold no bodies
        let Ok(command) = Command::decode(head, Bytes::new()) else { continue };
        let Ok((operation, sequence)) = state.machine().meaning(command.operation, id.index) else {
            continue;
        };
        if state.machine().is_live(&operation, sequence, &place.into())? {
            live.push(Live { state: Arc::clone(state), place, operation, sequence });
        }
    }
    Ok(live)
}

/// Says whether all of them were moved.
async fn move_batch(holdings: &Holdings, repairer: &Repairer, batch: &[Live]) -> Result<bool, GcError> {
    let mut read: Vec<(&Live, LogEntry)> = Vec::with_capacity(batch.len());
    let mut all = true;
    for live in batch {
        match holdings.segments.read_entry(&live.place).await {
            Ok(entry) => read.push((live, entry)),
            Err(ReadError::Rotten { .. }) => all &= repair(repairer, live).await,
            Err(error) => return Err(LogError::Read(error).into()),
        }
    }
    let writes = read.into_iter().map(|(live, entry)| async move {
        match holdings.segments.rewrite_entry(live.state.group, entry).await {
            // another entry took its number: it is in the log, and nothing points to this one
            Err(LogError::Read(ReadError::Gone)) => Ok(None),
            Ok(to) => Ok(Some((live, to))),
            Err(error) => Err(error),
        }
    });
    let written = try_join_all(writes).await?;
    let mut by_group: BTreeMap<GroupId, (&GroupState, Vec<Move<'_>>)> = BTreeMap::new();
    for (live, to) in written.into_iter().flatten() {
        let moves = &mut by_group.entry(live.state.group).or_insert_with(|| (&live.state, Vec::new())).1;
        let (from, to) = (live.place.into(), to.into());
        moves.push(Move { operation: &live.operation, sequence: live.sequence, from, to });
    }
    for (state, moves) in by_group.values() {
        state.machine_mut().relocate(moves)?;
    }
    Ok(all)
}

/// A rotten record moves by being repaired.
async fn repair(repairer: &Repairer, live: &Live) -> bool {
    let Some(row_key) = body_row(&live.operation, live.sequence) else { return true };
    match repairer.row(&live.state, &row_key.into()).await {
        Ok(repaired) => repaired.kept,
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(group = %live.state.group, error, "live record is rotten and cannot be repaired now");
            false
        }
    }
}

fn payload_bytes(place: &Place) -> u64 {
    u64::from(place.head_length) + u64::from(place.body_length)
}
