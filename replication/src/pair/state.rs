//! The primary's side of taking over its state: rows as they stood at one entry of the pair, and records on request.

use crate::{
    log::Place as LogPlace,
    machine::{ADOPTED_END, Place, is_shared, to_adopted},
    message::refusal,
    peer::{CallRefusal, Reply},
    service::{Service, ensure_linearizable, not_understood, refuse},
    transfer::Begun,
};
use bytes::Bytes;
use tracing::warn;
use wire::{AdoptedRow, DecodeError, Decoder, Encoder, GroupId, PairRole, PairState, Revision, limits};

/// Keys and values in one page, bytes: with the largest row on top it still fits the head of an entry.
const PAGE_BYTES_MAX: usize = 256 << 10;

/// Rows in one page.
const PAGE_ROWS_MAX: usize = wire::ADOPTED_ROWS_MAX;

/// A row's key, bytes.
const KEY_BYTES_MAX: usize = 4 << 10;

/// What a standby asks that takes over the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StateRequest {
    /// Keep the rows as they are now.
    Begin,
    /// The rows after this key (from the start if empty).
    Rows { session: u64, after: Bytes },
    /// The body of a record that a row pointed to.
    Body { session: u64, place: Place },
    /// All is there.
    End { session: u64 },
}

/// Where the rows stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StateBegun {
    pub(super) session: u64,
    pub(super) state: PairState,
    pub(super) revision: Revision,
}

/// Rows of both regions' state, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StatePage {
    /// With the places of their records there.
    pub(super) rows: Vec<(AdoptedRow, Option<Place>)>,
    /// The last key that was looked at; none if these were the last.
    pub(super) more_after: Option<Bytes>,
}

/// Answers one request.
pub(crate) async fn serve(service: &Service, head: Bytes) -> Result<Reply, CallRefusal> {
    let (group, request) = StateRequest::decode(head).map_err(not_understood)?;
    let replica = service.replica(group).ok_or_else(|| refuse(refusal::NO_REPLICA, ""))?;
    let (state, transfers) = (&replica.state, service.transfers());
    match request {
        StateRequest::Begin => {
            ensure_linearizable(&replica.raft, group).await?;
            let Begun { session, pair, revision, .. } = transfers.open(state)?;
            if pair.role != PairRole::Primary {
                transfers.end(state, session)?;
                return Err(refuse(refusal::OVERLOADED, "this group takes no writes now: ask again"));
            }
            // the log from here on is needed once the rows have arrived
            service.note_shipped(group, pair.epoch, state.machine().entry_after(pair.sequence), false);
            Ok(Reply::head(StateBegun { session, state: pair, revision }.encode()))
        }
        StateRequest::Rows { session, after } => {
            let page = transfers.page(state, session, &after, PAGE_BYTES_MAX, false)?;
            // Raft's own rows come last, and nobody takes them over
            let last = page.rows.last().filter(|row| !page.last && *row.key < ADOPTED_END[..]);
            let more_after = last.map(|row| row.key.clone());
            let shared = page.rows.into_iter().filter(|row| is_shared(&row.key));
            let rows = shared.map(to_adopted).collect();
            Ok(Reply::head(StatePage { rows, more_after }.encode()))
        }
        StateRequest::Body { session, place } => {
            transfers.keep(state, session)?;
            let entry = state.segments.read_entry(&LogPlace::from(place)).await.map_err(|error| {
                warn!(%group, error = &error as &dyn std::error::Error, "a record cannot be read for the pair");
                refuse(refusal::UNREADABLE, "the record cannot be read here")
            })?;
            Ok(Reply { head: Bytes::new(), body: entry.body })
        }
        StateRequest::End { session } => transfers.end(state, session).map(|()| Reply::default()),
    }
}

impl StateRequest {
    pub(super) fn encode(&self, group: GroupId) -> Bytes {
        let mut e = Encoder::with_capacity(64);
        e.u32(group.0);
        match self {
            Self::Begin => e.u8(0),
            Self::Rows { session, after } => {
                e.u8(1);
                e.u64(*session);
                e.bytes(after);
            }
            Self::Body { session, place } => {
                e.u8(2);
                e.u64(*session);
                place.encode(&mut e);
            }
            Self::End { session } => {
                e.u8(3);
                e.u64(*session);
            }
        }
        e.finish()
    }

    fn decode(head: Bytes) -> Result<(GroupId, Self), DecodeError> {
        let mut d = Decoder::new("request for the state", head);
        let group = GroupId(d.u32()?);
        let request = match d.u8()? {
            0 => Self::Begin,
            1 => Self::Rows { session: d.u64()?, after: d.bytes(KEY_BYTES_MAX)? },
            2 => Self::Body { session: d.u64()?, place: Place::decode(&mut d)? },
            3 => Self::End { session: d.u64()? },
            found => return Err(d.unknown(u64::from(found))),
        };
        d.finish()?;
        Ok((group, request))
    }
}

impl StateBegun {
    fn encode(&self) -> Bytes {
        let mut e = Encoder::with_capacity(64);
        e.u64(self.session);
        self.state.encode(&mut e);
        e.u64(self.revision.0);
        e.finish()
    }

    pub(super) fn decode(head: Bytes) -> Result<Self, DecodeError> {
        let mut d = Decoder::new("beginning of the state", head);
        let begun =
            Self { session: d.u64()?, state: PairState::decode(&mut d)?, revision: Revision(d.u64()?) };
        d.finish()?;
        Ok(begun)
    }
}

impl StatePage {
    fn encode(&self) -> Bytes {
        let mut e = Encoder::with_capacity(PAGE_BYTES_MAX);
        e.list(&self.rows, |e, (row, place)| {
            row.encode(e);
            e.option(place.as_ref(), |e, place| place.encode(e));
        });
        e.option(self.more_after.as_ref(), |e, key| e.bytes(key));
        e.finish()
    }

    pub(super) fn decode(head: Bytes) -> Result<Self, DecodeError> {
        let mut d = Decoder::new("page of the state", head);
        let page = Self {
            rows: d.list(PAGE_ROWS_MAX, |d| Ok((AdoptedRow::decode(d)?, d.option(Place::decode)?)))?,
            more_after: d.option(|d| d.bytes(limits::KEY_BYTES_MAX * 4))?,
        };
        d.finish()?;
        Ok(page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::RecordSum;

    #[test]
    fn requests_and_answers_come_back_as_sent_and_every_cut_is_an_error() {
        let place = Place { segment: 1, offset: 2, head_length: 3, body_length: 4, body_crc: 5 };
        let after = Bytes::from_static(b"key");
        for request in [
            StateRequest::Begin,
            StateRequest::Rows { session: 1, after: after.clone() },
            StateRequest::Body { session: 1, place },
            StateRequest::End { session: 1 },
        ] {
            assert_eq!(StateRequest::decode(request.encode(GroupId(9))), Ok((GroupId(9), request)));
        }
        let begun = StateBegun { session: 1, state: PairState::default(), revision: Revision(2) };
        assert_eq!(StateBegun::decode(begun.encode()), Ok(begun));
        let record = Some(RecordSum { length: 4, crc: 5 });
        let row = AdoptedRow { key: after.clone(), value: Bytes::from_static(b"value"), record };
        let page = StatePage { rows: vec![(row, Some(place))], more_after: Some(after) };
        assert_eq!(StatePage::decode(page.encode()), Ok(page.clone()));
        for cut in 0..page.encode().len() {
            assert!(StatePage::decode(page.encode().slice(..cut)).is_err(), "cut at {cut}");
        }
    }
}
