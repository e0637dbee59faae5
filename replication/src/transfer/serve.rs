//! The sender's side of transfers: at most one per group, ended when it is complete or nobody asks any more.

use super::page::{PAGE_BYTES_MAX, Page, PageRecord, PageRequest, PageRow, decode_request};
use crate::{
    log::{Place, ReadError},
    machine::{MachineError, SnapshotId, SnapshotPage, SnapshotRow},
    message::refusal,
    peer::{CallRefusal, Reply},
    raft::GroupState,
    service::Service,
};
use bytes::{Bytes, BytesMut};
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;
use tracing::warn;
use wire::{GroupId, PairState, Revision};

/// A transfer that nobody has asked about for so long is over.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// Transfers under way, one per group.
#[derive(Default)]
pub(crate) struct Transfers {
    sessions: Mutex<HashMap<GroupId, Session>>,
}

/// A transfer that has begun, and where the group stood then.
pub(crate) struct Begun {
    pub(crate) session: u64,
    pub(crate) applied: u64,
    pub(crate) pair: PairState,
    pub(crate) revision: Revision,
}

#[derive(Clone, Copy)]
struct Session {
    number: u64,
    snapshot: SnapshotId,
    applied: u64,
    asked: Instant,
}

impl Transfers {
    /// Answers one request for a page.
    pub(crate) async fn serve(&self, service: &Service, head: Bytes) -> Result<Reply, CallRefusal> {
        let (group, request) =
            decode_request(head).map_err(|error| CallRefusal::new(refusal::MALFORMED, error.to_string()))?;
        let replica = service
            .replica(group)
            .ok_or_else(|| CallRefusal::new(refusal::NO_REPLICA, "no such replica here"))?;
        let state = &replica.state;
        match request {
            PageRequest::Begin => self.begin(state),
            PageRequest::Rows { session, after } => self.rows(state, session, &after).await,
            PageRequest::End { session } => self.end(state, session).map(|()| Reply::default()),
        }
    }

    /// Ends what nobody asks about any more, so that former rows are not kept for ever.
    pub(crate) fn expire(&self, service: &Service) {
        let now = Instant::now();
        self.lock().retain(|group, session| {
            let keep = now - session.asked < IDLE_MAX;
            if !keep && let Some(replica) = service.replica(*group) {
                replica.state.machine_mut().end_snapshot(session.snapshot);
            }
            keep
        });
    }

    fn begin(&self, state: &GroupState) -> Result<Reply, CallRefusal> {
        let Begun { session, applied, .. } = self.open(state)?;
        let page = Page { session, applied, rows: Vec::new(), last: false };
        Ok(Reply::head(page.encode()))
    }

    /// Keeps the rows of a group as they are now, for whoever pulls them.
    pub(crate) fn open(&self, state: &GroupState) -> Result<Begun, CallRefusal> {
        let now = Instant::now();
        let mut sessions = self.lock();
        let known = sessions.get(&state.group);
        if known.is_some_and(|known| now - known.asked < IDLE_MAX) {
            return Err(CallRefusal::new(
                refusal::OVERLOADED,
                "another replica is being brought up from here",
            ));
        }
        let number = known.map_or(1, |known| known.number + 1);
        let mut machine = state.machine_mut();
        let (snapshot, applied, _membership) = machine.begin_snapshot();
        let applied = applied.map_or(0, |position| position.index);
        sessions.insert(state.group, Session { number, snapshot, applied, asked: now });
        Ok(Begun { session: number, applied, pair: machine.pair(), revision: machine.revision() })
    }

    /// The rows after `after` as they were then.
    pub(crate) fn page(
        &self,
        state: &GroupState,
        session: u64,
        after: &[u8],
        bytes_max: usize,
        bodies: bool,
    ) -> Result<SnapshotPage, CallRefusal> {
        let known = self.touch(state.group, session)?;
        let after = (!after.is_empty()).then_some(after);
        let page = state.machine_mut().snapshot_rows(known.snapshot, after, bytes_max, bodies);
        page.map_err(|error: MachineError| failed(state.group, &error))?
            .ok_or_else(|| CallRefusal::new(refusal::MALFORMED, "the transfer is over: begin again"))
    }

    /// Nobody needs the former rows any more.
    pub(crate) fn end(&self, state: &GroupState, session: u64) -> Result<(), CallRefusal> {
        let ended = self.touch(state.group, session)?;
        self.lock().remove(&state.group);
        state.machine_mut().end_snapshot(ended.snapshot);
        Ok(())
    }

    /// Somebody still reads what the session holds.
    pub(crate) fn keep(&self, state: &GroupState, session: u64) -> Result<(), CallRefusal> {
        self.touch(state.group, session).map(drop)
    }

    async fn rows(&self, state: &GroupState, session: u64, after: &[u8]) -> Result<Reply, CallRefusal> {
        let applied = self.touch(state.group, session)?.applied;
        let page = self.page(state, session, after, PAGE_BYTES_MAX, true)?;
        let (rows, body) =
            read_records(state, page.rows).await.map_err(|error| failed(state.group, &error))?;
        let page = Page { session, applied, rows, last: page.last };
        Ok(Reply { head: page.encode(), body })
    }

    fn touch(&self, group: GroupId, session: u64) -> Result<Session, CallRefusal> {
        let mut sessions = self.lock();
        let known = sessions.get_mut(&group).filter(|known| known.number == session);
        let known =
            known.ok_or_else(|| CallRefusal::new(refusal::MALFORMED, "no such transfer (any more)"))?;
        known.asked = Instant::now();
        Ok(*known)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<GroupId, Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn read_records(
    state: &GroupState,
    rows: Vec<SnapshotRow>,
) -> Result<(Vec<PageRow>, Bytes), ReadError> {
    let mut sent = Vec::with_capacity(rows.len());
    let mut bodies = BytesMut::new();
    for SnapshotRow { key, value, body } in rows {
        let record = match body {
            None => None,
            Some(place) => Some(read_record(state, &Place::from(place), &mut bodies).await?),
        };
        sent.push(PageRow { key, value, record });
    }
    Ok((sent, bodies.freeze()))
}

async fn read_record(
    state: &GroupState,
    place: &Place,
    bodies: &mut BytesMut,
) -> Result<PageRecord, ReadError> {
    let entry = state.segments.read_entry(place).await?;
    bodies.extend_from_slice(&entry.body);
    Ok(PageRecord { id: entry.id, kind: entry.kind, head: entry.head, body_length: place.body_length })
}

fn failed(group: GroupId, error: &(dyn std::error::Error + 'static)) -> CallRefusal {
    warn!(%group, error, "state cannot be read for another replica");
    CallRefusal::new(refusal::UNREADABLE, "state cannot be read here")
}
