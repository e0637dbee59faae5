//! The receiver's side of transfers.

use super::page::{Page, PageRecord, PageRequest, encode_request};
use crate::{
    index::SledIndex,
    log::{LogEntry, LogError, Priority, SegmentLog},
    machine::{InstalledRow, Machine, MachineError, Place},
    message::kind,
    peer::{CallError, PeerClass, Peers},
};
use bytes::Bytes;
use std::time::Duration;
use thiserror::Error;
use wire::{DecodeError, GroupId, NodeId};

/// How long one page may take: 2 MiB over a slow link.
const PAGE_WAIT: Duration = Duration::from_secs(20);

/// Pages asked for once more when a connection breaks, before the transfer is given up.
const PAGE_TRIES: u32 = 5;

/// Pause before a page is asked for again.
const PAGE_PAUSE: Duration = Duration::from_millis(200);

/// Rows copied at once when a pulled state is put in its place.
const COPY_BYTES: usize = 1 << 20;

/// Why a group's state could not be fetched.
#[derive(Debug, Error)]
pub(crate) enum PullError {
    /// The sender did not answer, or would not.
    #[error("the sender did not send a page")]
    Call(#[from] CallError),
    /// A page makes no sense.
    #[error("a page cannot be read")]
    Decode(#[from] DecodeError),
    /// A page's records and bodies do not belong together.
    #[error("a page's bodies do not fit its rows")]
    Bodies,
    /// The sender has not applied as much as is needed.
    #[error("the sender stands at entry {applied}, entry {needed} is needed")]
    Behind {
        /// Where it stands.
        applied: u64,
        /// What is needed.
        needed: u64,
    },
    /// The rows could not be written.
    #[error("the index cannot take the rows")]
    Machine(#[from] MachineError),
    /// The records could not be written.
    #[error("the log cannot take the records")]
    Log(#[from] LogError),
}

/// Replaces what `machine` holds by the state of `group` on `from`, which must cover the entry `needed`.
pub(crate) async fn pull(
    peers: &Peers,
    from: NodeId,
    group: GroupId,
    needed: u64,
    segments: &SegmentLog,
    machine: &mut Machine<SledIndex>,
) -> Result<(), PullError> {
    let begun = ask(peers, from, group, &PageRequest::Begin).await?.0;
    let session = begun.session;
    let result = if begun.applied < needed {
        Err(PullError::Behind { applied: begun.applied, needed })
    } else {
        fetch(peers, from, group, session, segments, machine).await
    };
    // the sender keeps former rows until it hears this, or for a minute
    let ended = ask(peers, from, group, &PageRequest::End { session }).await;
    result.and(ended.map(drop).or(Ok(())))
}

async fn fetch(
    peers: &Peers,
    from: NodeId,
    group: GroupId,
    session: u64,
    segments: &SegmentLog,
    machine: &mut Machine<SledIndex>,
) -> Result<(), PullError> {
    machine.begin_install()?;
    let mut after = Bytes::new();
    loop {
        let request = PageRequest::Rows { session, after: after.clone() };
        let (page, mut bodies) = ask(peers, from, group, &request).await?;
        let mut rows = Vec::with_capacity(page.rows.len());
        for row in page.rows {
            after = row.key.clone();
            let place = match row.record {
                None => None,
                Some(record) => Some(write_record(segments, group, record, &mut bodies).await?),
            };
            rows.push(InstalledRow { key: row.key, value: row.value, place });
        }
        if !bodies.is_empty() {
            return Err(PullError::Bodies);
        }
        machine.install_rows(&rows)?;
        if page.last {
            machine.finish_install()?;
            return Ok(());
        }
    }
}

async fn write_record(
    segments: &SegmentLog,
    group: GroupId,
    record: PageRecord,
    bodies: &mut Bytes,
) -> Result<Place, PullError> {
    let length = record.body_length as usize;
    if length > bodies.len() {
        return Err(PullError::Bodies);
    }
    let body = bodies.split_to(length);
    let entry = LogEntry { id: record.id, kind: record.kind, head: record.head, body };
    Ok(segments.rewrite_entry_as(Priority::Reclaim, group, entry).await?.into())
}

async fn ask(
    peers: &Peers,
    from: NodeId,
    group: GroupId,
    request: &PageRequest,
) -> Result<(Page, Bytes), PullError> {
    let mut tries = 0;
    loop {
        let head = encode_request(group, request);
        match peers.call(from, PeerClass::Bulk, kind::STATE, head, Vec::new(), PAGE_WAIT).await {
            Ok(reply) if matches!(request, PageRequest::End { .. }) => {
                return Ok((Page { session: 0, applied: 0, rows: Vec::new(), last: true }, reply.body));
            }
            Ok(reply) => return Ok((Page::decode(reply.head)?, reply.body)),
            Err(error @ (CallError::Disconnected | CallError::Unreachable { .. } | CallError::TimedOut))
                if tries < PAGE_TRIES && matches!(request, PageRequest::Rows { .. }) =>
            {
                tracing::debug!(%group, %from, %error, "page is asked for again");
                tries += 1;
                tokio::time::sleep(PAGE_PAUSE).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Puts a pulled state in the place of `machine`'s: a crash in between leaves an empty one, which is pulled again. When
/// the index has no room, each step is repeated as long as `wait` says so.
pub(crate) fn install_staged(
    machine: &mut Machine<SledIndex>,
    staged: &mut Machine<SledIndex>,
    wait: &dyn Fn() -> bool,
) -> Result<(), MachineError> {
    with_room(wait, || machine.begin_install())?;
    let (snapshot, _, _) = staged.begin_snapshot();
    let mut after: Option<Bytes> = None;
    loop {
        let page = staged.snapshot_rows(snapshot, after.as_deref(), COPY_BYTES, true)?;
        let page = page.ok_or(MachineError::Row { row: "staged row that went away" })?;
        let rows: Vec<InstalledRow> = page
            .rows
            .into_iter()
            .map(|row| InstalledRow { key: row.key, value: row.value, place: row.body })
            .collect();
        after = rows.last().map(|row| row.key.clone()).or(after);
        with_room(wait, || machine.install_rows(&rows))?;
        if page.last {
            break;
        }
    }
    staged.end_snapshot(snapshot);
    with_room(wait, || machine.finish_install())
}

fn with_room(
    wait: &dyn Fn() -> bool,
    mut step: impl FnMut() -> Result<(), MachineError>,
) -> Result<(), MachineError> {
    loop {
        match step() {
            Err(error) if error.is_for_want_of_room() && wait() => {}
            done => return done,
        }
    }
}
