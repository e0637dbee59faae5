//! The sender's side of transfers: at most one per group, forgotten when nobody asks any more.

use super::page::{
    PAGE_BODY_BYTES_MAX, PAGE_HEAD_BYTES_MAX, PAGE_ROWS_MAX, Page, PageRecord, PageRequest, PageRow, decode_request,
};
use crate::{
    log::{Place, ReadError},
    machine::{ChangedRow, MachineError},
    message::refusal,
    peer::Reply,
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
use wire::{GroupId, CallRefusal};

/// A transfer that nobody has asked about for so long is over.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// Transfers under way, one per group.
#[derive(Default)]
pub(crate) struct Transfers {
    sessions: Mutex<HashMap<GroupId, Session>>,
}

struct Session {
    number: u64,
    asked: Instant,
}

/// Rows looked up under the machine's lock; their records are read after it.
struct Collected {
    rows: Vec<ChangedRow>,
    more: bool,
    complete: bool,
}

impl Transfers {
    /// Answers one request for a page.
    pub(crate) async fn serve(&self, service: &Service, head: Bytes) -> Result<Reply, CallRefusal> {
        let (group, request) =
            decode_request(head).map_err(|error| CallRefusal::new(refusal::MALFORMED, error.to_string()))?;
        let replica =
            service.replica(group).ok_or_else(|| CallRefusal::new(refusal::NO_REPLICA, "no such replica here"))?;
        let state = &replica.state;
        let session = self.session(state, &request)?;
        // a record may be moved between looking it up and reading it: then look it up again
        for _attempt in 0..3 {
            let collected = collect(state, &request).map_err(|error| failed(group, &error))?;
            match read_records(state, collected, session).await {
                Ok(reply) => return Ok(reply),
                Err(ReadError::Gone) => {}
                Err(error) => return Err(failed(group, &error)),
            }
        }
        Err(CallRefusal::new(refusal::UNREADABLE, "records moved again and again"))
    }

    fn session(&self, state: &GroupState, request: &PageRequest) -> Result<u64, CallRefusal> {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let known = sessions.get_mut(&state.group);
        match (request, known) {
            (PageRequest::Begin, Some(known)) if now - known.asked < IDLE_MAX => {
                Err(CallRefusal::new(refusal::OVERLOADED, "another replica is being brought up from here"))
            }
            (PageRequest::Begin, known) => {
                let number = known.map_or(1, |known| known.number + 1);
                state.machine_mut().note_changes();
                sessions.insert(state.group, Session { number, asked: now });
                Ok(number)
            }
            (PageRequest::Rows { session, .. } | PageRequest::Changes { session }, Some(known))
                if known.number == *session =>
            {
                known.asked = now;
                Ok(known.number)
            }
            _ => Err(CallRefusal::new(refusal::MALFORMED, "no such transfer (any more)")),
        }
    }

    /// Ends what nobody asks about any more, so that changes are not noted for ever.
    pub(crate) fn expire(&self, service: &Service) {
        let now = Instant::now();
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).retain(|group, session| {
            let keep = now - session.asked < IDLE_MAX;
            if !keep && let Some(replica) = service.replica(*group) {
                replica.state.machine_mut().forget_changes();
            }
            keep
        });
    }

    /// Ends a transfer that is complete.
    fn end(&self, group: GroupId) {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).remove(&group);
    }

    /// The receiver has everything.
    pub(crate) fn finished(&self, state: &GroupState) {
        state.machine_mut().forget_changes();
        self.end(state.group);
    }
}

fn collect(state: &GroupState, request: &PageRequest) -> Result<Collected, MachineError> {
    match request {
        PageRequest::Begin => Ok(Collected { rows: Vec::new(), more: true, complete: false }),
        PageRequest::Rows { after, .. } => {
            let rows = state.machine().rows_after(after, PAGE_ROWS_MAX, PAGE_HEAD_BYTES_MAX, PAGE_BODY_BYTES_MAX)?;
            Ok(Collected { more: !rows.is_empty(), rows, complete: false })
        }
        PageRequest::Changes { .. } => {
            let mut machine = state.machine_mut();
            let (mut rows, more) = machine.take_changes(PAGE_ROWS_MAX, PAGE_HEAD_BYTES_MAX, PAGE_BODY_BYTES_MAX)?;
            if !more {
                // under the same lock: these rows and the position belong together
                rows.extend(machine.meta_rows()?);
            }
            Ok(Collected { rows, more, complete: !more })
        }
    }
}

async fn read_records(state: &GroupState, collected: Collected, session: u64) -> Result<Reply, ReadError> {
    let mut rows = Vec::with_capacity(collected.rows.len());
    let mut bodies = BytesMut::new();
    for ChangedRow { key, value, place } in collected.rows {
        let record = match place {
            None => None,
            Some(place) => Some(read_record(state, &place, &mut bodies).await?),
        };
        let value = value.map(|value| Bytes::copy_from_slice(&value));
        rows.push(PageRow { key: Bytes::copy_from_slice(&key), value, record });
    }
    let page = Page { session, rows, more: collected.more, complete: collected.complete };
    Ok(Reply { head: page.encode(), body: bodies.freeze() })
}

async fn read_record(state: &GroupState, place: &Place, bodies: &mut BytesMut) -> Result<PageRecord, ReadError> {
    let entry = state.segments.read_entry(place).await?;
    bodies.extend_from_slice(&entry.body);
    let body_length = place.body_length;
    Ok(PageRecord { id: entry.id, kind: entry.kind, head: entry.head, body_length })
}

fn failed(group: GroupId, error: &(dyn std::error::Error + 'static)) -> CallRefusal {
    warn!(%group, error, "state cannot be read for another replica");
    CallRefusal::new(refusal::UNREADABLE, "state cannot be read here")
}

