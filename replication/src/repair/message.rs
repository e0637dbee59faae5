//! What travels in a repair: which record is wanted, and the record.

use crate::log::{EntryId, EntryKind, LogEntry};
use bytes::Bytes;
use wire::{DecodeError, Decoder, Encoder, GroupId, ReplicaId, limits};

/// A row's key, bytes: the longest name, escaped, and what surrounds it.
const ROW_KEY_BYTES_MAX: usize = 4 << 10;

/// Which record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The one that this row points to.
    Row(Bytes),
    /// This entry of the log.
    Entry(EntryId),
}

pub(crate) fn encode_wanted(group: GroupId, wanted: &Wanted) -> Bytes {
    let mut e = Encoder::new();
    e.u32(group.0);
    match wanted {
        Wanted::Row(key) => {
            e.u8(0);
            e.bytes(key);
        }
        Wanted::Entry(id) => {
            e.u8(1);
            encode_id(&mut e, *id);
        }
    }
    e.finish()
}

pub(crate) fn decode_wanted(head: Bytes) -> Result<(GroupId, Wanted), DecodeError> {
    let mut d = Decoder::new("record request", head);
    let group = GroupId(d.u32()?);
    let wanted = match d.u8()? {
        0 => Wanted::Row(d.bytes(ROW_KEY_BYTES_MAX)?),
        1 => Wanted::Entry(decode_id(&mut d)?),
        found => return Err(d.unknown(u64::from(found))),
    };
    d.finish()?;
    Ok((group, wanted))
}

/// Everything but the body, which travels beside it.
pub(crate) fn encode_record(entry: &LogEntry) -> Bytes {
    let mut e = Encoder::with_capacity(64 + entry.head.len());
    encode_id(&mut e, entry.id);
    e.u8(match entry.kind {
        EntryKind::Blank => 0,
        EntryKind::Normal => 1,
        EntryKind::Membership => 2,
    });
    e.bytes(&entry.head);
    e.finish()
}

pub(crate) fn decode_record(head: Bytes, body: Bytes) -> Result<LogEntry, DecodeError> {
    let mut d = Decoder::new("record", head);
    let id = decode_id(&mut d)?;
    let kind = match d.u8()? {
        0 => EntryKind::Blank,
        1 => EntryKind::Normal,
        2 => EntryKind::Membership,
        found => return Err(d.unknown(u64::from(found))),
    };
    let head = d.bytes(limits::COMMAND_HEAD_BYTES_MAX)?;
    d.finish()?;
    Ok(LogEntry { id, kind, head, body })
}

fn encode_id(e: &mut Encoder, id: EntryId) {
    e.u64(id.term);
    e.u64(id.leader.0);
    e.u64(id.index);
}

fn decode_id(d: &mut Decoder) -> Result<EntryId, DecodeError> {
    Ok(EntryId { term: d.u64()?, leader: ReplicaId(d.u64()?), index: d.u64()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_records_come_back_as_sent_and_every_cut_is_an_error() {
        let id = EntryId { term: 1, leader: ReplicaId(2), index: 3 };
        for wanted in [Wanted::Row(Bytes::from_static(b"row")), Wanted::Entry(id)] {
            let bytes = encode_wanted(GroupId(7), &wanted);
            assert_eq!(decode_wanted(bytes.clone()), Ok((GroupId(7), wanted)));
            for cut in 0..bytes.len() {
                assert!(decode_wanted(bytes.slice(..cut)).is_err(), "cut at {cut}");
            }
        }
        let head = Bytes::from_static(b"head");
        let entry = LogEntry { id, kind: EntryKind::Normal, head, body: Bytes::from_static(b"body") };
        let bytes = encode_record(&entry);
        assert_eq!(decode_record(bytes.clone(), entry.body.clone()), Ok(entry.clone()));
        for cut in 0..bytes.len() {
            assert!(decode_record(bytes.slice(..cut), entry.body.clone()).is_err(), "cut at {cut}");
        }
    }
}
