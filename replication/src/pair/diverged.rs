//! What a group acknowledged and the pair does not have: the entries of its own log from the one under which the other
//! region's reign began.
//!
//! Whether a command was acknowledged is not in the log: it is where the version lies that it made, or in the outcomes that
//! the machine remembers. Commands beyond its memory whose result is not there any more are told as uncertain.

use super::primary::{HEADS_MAX, clock};
use crate::{
    log::{EntryKind, LogEntry},
    machine::Verdict,
    message::{kind, refusal},
    peer::{CallRefusal, Reply},
    region::RegionError,
    replica::Replica,
    router::Router,
    service::{Service, ensure_linearizable, not_understood, refuse},
};
use bytes::Bytes;
use tokio::time::Instant;
use tracing::warn;
use wire::{Command, DecodeError, Decoder, Encoder, GroupId, Sequence, UnixMillis, limits};

/// Bytes of the log that one answer looks at.
const LOOK_BYTES: usize = 16 << 20;

/// Commands in one answer.
const WRITES_MAX: usize = 1_024;

/// Asks for what a group has from the pair's entry `since` on, a page at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct DivergedRequest {
    group: GroupId,
    since: Sequence,
    /// The entry of the own log that the page before ended with; 0 for the first page.
    after: u64,
}

/// A page of what a group acknowledged alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DivergedPage {
    /// The clock of the group's leader.
    pub now: UnixMillis,
    /// Whether the log still reaches back to all of it.
    pub complete: bool,
    /// In order.
    pub writes: Vec<DivergedWrite>,
    /// Where the next page begins, if there is one.
    pub next: Option<u64>,
}

/// A command that was acknowledged, or may have been.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DivergedWrite {
    /// Its number in the pair, as this region counted it.
    pub sequence: Sequence,
    /// What became of it.
    pub verdict: Verdict,
    /// The command without its body.
    pub head: Bytes,
}

/// Asks the group's leader for the page after `after`.
pub async fn diverged(
    router: &Router,
    group: GroupId,
    since: Sequence,
    after: u64,
    deadline: Instant,
) -> Result<DivergedPage, RegionError> {
    let head = DivergedRequest { group, since, after }.encode();
    let reply = router.ask(group, kind::DIVERGED, head, deadline).await?;
    DivergedPage::decode(reply.head).map_err(|_| RegionError::Protocol { group })
}

/// Answers a request for a page.
pub(crate) async fn serve(service: &Service, head: Bytes) -> Result<Reply, CallRefusal> {
    let request = DivergedRequest::decode(head).map_err(not_understood)?;
    let replica = service.replica(request.group).ok_or_else(|| refuse(refusal::NO_REPLICA, ""))?;
    ensure_linearizable(&replica.raft, request.group).await?;
    let page = page(&replica, &request).await.map_err(|error| {
        warn!(group = %request.group, error = &*error, "entries cannot be read for the loss manifest");
        refuse(refusal::UNREADABLE, "entries cannot be read here")
    })?;
    Ok(Reply::head(page.encode()))
}

async fn page(
    replica: &Replica,
    request: &DivergedRequest,
) -> Result<DivergedPage, Box<dyn std::error::Error + Send + Sync>> {
    let (first, applied) = {
        let machine = replica.state.machine();
        let first = machine.entry_after(Sequence(request.since.0.saturating_sub(1)));
        (first, machine.applied().0.map_or(0, |applied| applied.index))
    };
    let purged = replica.state.log.state().purged.map_or(0, |purged| purged.index);
    let complete = first.is_some_and(|first| first > purged);
    let from = first.unwrap_or(0).max(purged + 1).max(request.after + 1);
    let mut page = DivergedPage { now: clock(), complete, writes: Vec::new(), next: None };
    if from > applied {
        return Ok(page);
    }
    let entries = replica.state.log.entries(from..applied + 1, LOOK_BYTES).await?;
    let mut bytes = 0;
    for entry in &entries {
        if page.writes.len() == WRITES_MAX || bytes > HEADS_MAX {
            break;
        }
        page.next = (entry.id.index < applied).then_some(entry.id.index);
        if let Some(write) = judge(replica, entry)? {
            bytes += write.head.len();
            page.writes.push(write);
        }
    }
    Ok(page)
}

fn judge(
    replica: &Replica,
    entry: &LogEntry,
) -> Result<Option<DivergedWrite>, Box<dyn std::error::Error + Send + Sync>> {
    if entry.kind != EntryKind::Normal {
        return Ok(None);
    }
    let command = Command::decode(entry.head.clone(), Bytes::new())?;
    let machine = replica.state.machine();
    let sequence = machine.sequence_of(entry.id.index);
    let verdict = machine.verdict(&command, sequence)?;
    Ok(verdict.map(|verdict| DivergedWrite { sequence, verdict, head: entry.head.clone() }))
}

impl DivergedRequest {
    fn encode(self) -> Bytes {
        let mut e = Encoder::with_capacity(20);
        e.u32(self.group.0);
        e.u64(self.since.0);
        e.u64(self.after);
        e.finish()
    }

    fn decode(head: Bytes) -> Result<Self, DecodeError> {
        let mut d = Decoder::new("request for diverged writes", head);
        let request = Self { group: GroupId(d.u32()?), since: Sequence(d.u64()?), after: d.u64()? };
        d.finish()?;
        Ok(request)
    }
}

impl DivergedPage {
    fn encode(&self) -> Bytes {
        let mut e = Encoder::with_capacity(1 << 10);
        e.u64(self.now.0);
        e.flag(self.complete);
        e.list(&self.writes, |e, write| {
            e.u64(write.sequence.0);
            e.u8(write.verdict as u8);
            e.bytes(&write.head);
        });
        e.option(self.next.as_ref(), |e, next| e.u64(*next));
        e.finish()
    }

    fn decode(head: Bytes) -> Result<Self, DecodeError> {
        let mut d = Decoder::new("diverged writes", head);
        let page = Self {
            now: UnixMillis(d.u64()?),
            complete: d.flag()?,
            writes: d.list(WRITES_MAX, |d| {
                let sequence = Sequence(d.u64()?);
                let verdict = match d.u8()? {
                    0 => Verdict::Kept,
                    1 => Verdict::Replaced,
                    2 => Verdict::Uncertain,
                    found => return Err(d.unknown(u64::from(found))),
                };
                Ok(DivergedWrite { sequence, verdict, head: d.bytes(limits::COMMAND_HEAD_BYTES_MAX)? })
            })?,
            next: d.option(Decoder::u64)?,
        };
        d.finish()?;
        Ok(page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_pages_come_back_as_sent_and_every_cut_is_an_error() {
        let request = DivergedRequest { group: GroupId(1), since: Sequence(2), after: 3 };
        let write =
            |verdict| DivergedWrite { sequence: Sequence(4), verdict, head: Bytes::from_static(b"head") };
        let writes = [Verdict::Kept, Verdict::Replaced, Verdict::Uncertain].map(write).to_vec();
        let page = DivergedPage { now: UnixMillis(5), complete: true, writes, next: Some(6) };
        assert_eq!(DivergedRequest::decode(request.encode()), Ok(request));
        assert_eq!(DivergedPage::decode(page.encode()), Ok(page.clone()));
        for cut in 0..page.encode().len() {
            assert!(DivergedPage::decode(page.encode().slice(..cut)).is_err(), "cut at {cut}");
        }
    }
}
