//! The primary's side: a group's leader reads its log for the standby.

use super::message::{COMMANDS_MAX, ShipRequest, Shipment, ShippedHead};
use crate::{
    log::{EntryKind, LogEntry},
    message::refusal,
    peer::{CallRefusal, Reply},
    replica::Replica,
    service::{Service, ensure_linearizable, not_understood, refuse},
};
use bytes::BytesMut;
use openraft::async_runtime::watch::WatchReceiver;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::{Instant, timeout_at};
use tracing::warn;
use wire::{FIRST_EPOCH, GroupId, PairRole, PairState, Sequence, UnixMillis, limits};

/// Bodies in one answer, bytes.
const BODIES_MAX: usize = limits::FRAME_BODY_BYTES_MAX;

/// Heads in one answer, bytes: half of what a frame takes, so that one more fits whatever its length.
pub(super) const HEADS_MAX: usize = limits::FRAME_HEAD_BYTES_MAX / 2;

/// The longest that an answer without commands waits.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// What is known of the group at one moment.
struct Look {
    now: UnixMillis,
    state: PairState,
    /// Last entry of the own log that was applied.
    applied: u64,
    /// The first entry of the own log that the standby lacks; none: it is before the present reign.
    first: Option<u64>,
}

/// Answers a standby's request, with commands as soon as there are any.
pub(crate) async fn serve(service: &Service, head: bytes::Bytes) -> Result<Reply, CallRefusal> {
    let request = ShipRequest::decode(head).map_err(not_understood)?;
    let replica = service.replica(request.group).ok_or_else(|| refuse(refusal::NO_REPLICA, ""))?;
    let deadline = Instant::now() + Duration::from_millis(request.wait_ms.into()).min(WAIT_MAX);
    let mut metrics = replica.raft.data_metrics();
    let mut looked = 0;
    loop {
        // in this order: what is acknowledged by the time that is told was applied before it is looked for
        let now = clock();
        ensure_linearizable(&replica.raft, request.group).await?;
        metrics.borrow_watched();
        let look = look(&replica, &request, now);
        let system = match request.group {
            GroupId::SYSTEM => replica.state.machine().shared_upto(),
            _ => Sequence(0),
        };
        let Some(reign) = request.follows else {
            return Ok(answer(&look, true, false, system, Vec::new()));
        };
        // what another reign counted says nothing about this log; the first one begins with the first write, which the standby may lack
        if reign.max(FIRST_EPOCH) == look.state.epoch.max(FIRST_EPOCH) {
            service.note_shipped(request.group, look.state.epoch, look.first, true);
        }
        let Some(first) = look.first else { return Ok(answer(&look, true, true, system, Vec::new())) };
        let from = first.max(looked + 1);
        if from > look.applied || look.state.role == PairRole::Standby {
            if Instant::now() >= deadline || look.state.role != PairRole::Primary {
                return Ok(answer(&look, true, false, system, Vec::new()));
            }
            // nothing new, or the deadline passed: both are looked at above
            let _changed = timeout_at(deadline, metrics.changed()).await.is_ok();
            continue;
        }
        if replica.state.log.state().purged.is_some_and(|purged| purged.index >= from) {
            return Ok(answer(&look, true, true, system, Vec::new()));
        }
        let bodies_max = BODIES_MAX.min(request.bytes_max as usize);
        let entries = replica.state.log.entries(from..look.applied + 1, bodies_max).await.map_err(|error| {
            warn!(group = %request.group, error = &error as &dyn std::error::Error, "entries for the pair cannot be read");
            refuse(refusal::UNREADABLE, "entries cannot be read here")
        })?;
        let taken = take(entries, bodies_max);
        looked = taken.last().map_or(looked, |entry| entry.id.index);
        let commands: Vec<LogEntry> =
            taken.into_iter().filter(|entry| entry.kind == EntryKind::Normal).collect();
        if !commands.is_empty() {
            let complete = looked == look.applied;
            // looked at after what is shipped was applied: that was done under records from before now
            let system = match request.group {
                GroupId::SYSTEM => system,
                _ => service.system_upto().await?,
            };
            return Ok(answer(&look, complete, false, system, commands_of(&replica, commands)));
        }
    }
}

fn look(replica: &Replica, request: &ShipRequest, now: UnixMillis) -> Look {
    let machine = replica.state.machine();
    Look {
        now,
        state: machine.pair(),
        applied: machine.applied().0.map_or(0, |applied| applied.index),
        first: machine.entry_after(request.after),
    }
}

/// As many entries from the front as one answer holds.
fn take(entries: Vec<LogEntry>, bodies_max: usize) -> Vec<LogEntry> {
    let (mut heads, mut bodies) = (0, 0);
    let mut entries: Vec<LogEntry> = entries
        .into_iter()
        .enumerate()
        .take_while(|(number, entry)| {
            heads += entry.head.len() + 16;
            bodies += entry.body.len();
            *number == 0 || (heads <= HEADS_MAX && bodies <= bodies_max)
        })
        .map(|(_, entry)| entry)
        .collect();
    entries.truncate(COMMANDS_MAX);
    entries
}

fn commands_of(replica: &Replica, entries: Vec<LogEntry>) -> Vec<(ShippedHead, bytes::Bytes)> {
    let machine = replica.state.machine();
    let command = |entry: LogEntry| {
        let sequence = machine.sequence_of(entry.id.index);
        let body_bytes = u32::try_from(entry.body.len()).expect("bodies are limited at the border");
        (ShippedHead { sequence, head: entry.head, body_bytes }, entry.body)
    };
    entries.into_iter().map(command).collect()
}

fn answer(
    look: &Look,
    complete: bool,
    gone: bool,
    system: Sequence,
    commands: Vec<(ShippedHead, bytes::Bytes)>,
) -> Reply {
    let (commands, bodies): (Vec<_>, Vec<_>) = commands.into_iter().unzip();
    let mut body = BytesMut::with_capacity(bodies.iter().map(bytes::Bytes::len).sum());
    bodies.iter().for_each(|bytes| body.extend_from_slice(bytes));
    let shipment = Shipment { state: look.state, now: look.now, complete, gone, system, commands };
    Reply { head: shipment.encode(), body: body.freeze() }
}

pub(super) fn clock() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
