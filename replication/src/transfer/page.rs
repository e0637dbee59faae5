//! What travels in a transfer: requests for pages, and pages of rows with their records.

use crate::log::{EntryId, EntryKind};
use bytes::Bytes;
use wire::{DecodeError, Decoder, Encoder, GroupId, ReplicaId, limits};

/// Keys, values and records of one page, bytes: with the largest row on top it still fits a frame's head and body.
pub(crate) const PAGE_BYTES_MAX: usize = 2 << 20;

/// Rows of one page: what [`PAGE_BYTES_MAX`] holds of the smallest rows.
const PAGE_ROWS_MAX: usize = PAGE_BYTES_MAX / 8;

/// A row's key, bytes: the longest name, escaped, and what surrounds it.
const KEY_BYTES_MAX: usize = 4 << 10;

/// What the receiver asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PageRequest {
    /// Begin: keep the rows as they are now.
    Begin,
    /// Rows after this key (from the start if empty).
    Rows { session: u64, after: Bytes },
    /// All rows have arrived.
    End { session: u64 },
}

/// What the sender answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    /// The transfer it belongs to.
    pub(crate) session: u64,
    /// The log index that the rows stand at.
    pub(crate) applied: u64,
    /// Rows, in order.
    pub(crate) rows: Vec<PageRow>,
    /// Whether these were the last.
    pub(crate) last: bool,
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PageRow {
    pub(crate) key: Bytes,
    /// Without the sender's place.
    pub(crate) value: Bytes,
    /// The record that the row points to; its body is in the page's body.
    pub(crate) record: Option<PageRecord>,
}

/// A record without its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PageRecord {
    pub(crate) id: EntryId,
    pub(crate) kind: EntryKind,
    pub(crate) head: Bytes,
    pub(crate) body_length: u32,
}

pub(crate) fn encode_request(group: GroupId, request: &PageRequest) -> Bytes {
    let mut e = Encoder::new();
    e.u32(group.0);
    match request {
        PageRequest::Begin => e.u8(0),
        PageRequest::Rows { session, after } => {
            e.u8(1);
            e.u64(*session);
            e.bytes(after);
        }
        PageRequest::End { session } => {
            e.u8(2);
            e.u64(*session);
        }
    }
    e.finish()
}

pub(crate) fn decode_request(head: Bytes) -> Result<(GroupId, PageRequest), DecodeError> {
    let mut d = Decoder::new("state request", head);
    let group = GroupId(d.u32()?);
    let request = match d.u8()? {
        0 => PageRequest::Begin,
        1 => PageRequest::Rows { session: d.u64()?, after: d.bytes(KEY_BYTES_MAX)? },
        2 => PageRequest::End { session: d.u64()? },
        found => return Err(d.unknown(u64::from(found))),
    };
    d.finish()?;
    Ok((group, request))
}

impl Page {
    pub(crate) fn encode(&self) -> Bytes {
        let mut e = Encoder::with_capacity(1 << 16);
        e.u64(self.session);
        e.u64(self.applied);
        e.flag(self.last);
        e.list(&self.rows, |e, row| {
            e.bytes(&row.key);
            e.bytes(&row.value);
            e.option(row.record.as_ref(), |e, record| {
                e.u64(record.id.term);
                e.u64(record.id.leader.0);
                e.u64(record.id.index);
                e.u8(kind_number(record.kind));
                e.bytes(&record.head);
                e.u32(record.body_length);
            });
        });
        e.finish()
    }

    pub(crate) fn decode(head: Bytes) -> Result<Self, DecodeError> {
        let mut d = Decoder::new("state page", head);
        let (session, applied, last) = (d.u64()?, d.u64()?, d.flag()?);
        let rows = d.list(PAGE_ROWS_MAX, |d| {
            Ok(PageRow {
                key: d.bytes(KEY_BYTES_MAX)?,
                value: d.bytes(limits::FRAME_HEAD_BYTES_MAX)?,
                record: d.option(decode_record)?,
            })
        })?;
        d.finish()?;
        Ok(Self { session, applied, rows, last })
    }
}

fn decode_record(d: &mut Decoder) -> Result<PageRecord, DecodeError> {
    let id = EntryId { term: d.u64()?, leader: ReplicaId(d.u64()?), index: d.u64()? };
    let kind = match d.u8()? {
        0 => EntryKind::Blank,
        1 => EntryKind::Normal,
        2 => EntryKind::Membership,
        found => return Err(d.unknown(u64::from(found))),
    };
    Ok(PageRecord { id, kind, head: d.bytes(limits::COMMAND_HEAD_BYTES_MAX)?, body_length: d.u32()? })
}

fn kind_number(kind: EntryKind) -> u8 {
    match kind {
        EntryKind::Blank => 0,
        EntryKind::Normal => 1,
        EntryKind::Membership => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_and_requests_come_back_as_sent_and_every_cut_is_an_error() {
        let page = Page {
            session: 3,
            applied: 9,
            rows: vec![PageRow {
                key: Bytes::from_static(b"key"),
                value: Bytes::from_static(b"value"),
                record: Some(PageRecord {
                    id: EntryId { term: 1, leader: ReplicaId(2), index: 3 },
                    kind: EntryKind::Normal,
                    head: Bytes::from_static(b"head"),
                    body_length: 4,
                }),
            }],
            last: false,
        };
        let bytes = page.encode();
        assert_eq!(Page::decode(bytes.clone()), Ok(page));
        for cut in 0..bytes.len() {
            assert!(Page::decode(bytes.slice(..cut)).is_err(), "cut at {cut}");
        }
        let request = PageRequest::Rows { session: 3, after: Bytes::from_static(b"key") };
        assert_eq!(decode_request(encode_request(GroupId(1), &request)), Ok((GroupId(1), request)));
    }
}
