//! Layout of a record: an 80-byte header, the head, the body. `FORMAT.md` has the byte table.
//!
//! The header has its own checksum, so that a record with a rotten head or body still says what it is and where the
//! next one begins.

use super::{
    error::checksum,
    types::{Damage, EntryId, EntryKind, SegmentId, Vote},
};
use bytes::Bytes;
use wire::{DecodeError, Decoder, Encoder, GroupId, ReplicaId};

/// Length of a record's header, bytes.
pub(super) const HEADER_BYTES: usize = 80;

/// Records begin at multiples of this, bytes.
pub(super) const ALIGN_BYTES: usize = 8;

/// Head and body of one record together, bytes. 8 MiB: a command head and a frame body at their limits fit.
pub(super) const PAYLOAD_BYTES_MAX: usize = 8 << 20;

/// The greatest sequence, index or segment number that is read. 2^62: a million a second would take 146,000 years to get
/// there, and up to it no sum of two of them overflows.
pub(super) const POSITION_MAX: u64 = 1 << 62;

const MAGIC: u32 = u32::from_le_bytes(*b"TKR1");
const CRC_AT: usize = 76;

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecordKind {
    /// An entry as Raft appended it.
    Entry(EntryId, EntryKind),
    /// An entry whose record was copied, or written anew after rot.
    Moved(EntryId, EntryKind),
    /// An entry fetched with another replica's state: rows point to it, the own log does not know it.
    Fetched(EntryId, EntryKind),
    /// A replica's vote.
    Vote(Vote),
    /// Entries after this one are void; none: all are.
    Truncate(Option<EntryId>),
    /// Entries up to this one are not needed by Raft any more.
    Purge(EntryId),
    /// Entries up to this one were known committed.
    Committed(Option<EntryId>),
    /// A group's state where a segment begins; the head is a [`Checkpoint`].
    Checkpoint,
    /// The group is gone from this log.
    DropGroup,
    /// The log was closed in order; says that everything before is synced.
    Closed,
}

/// A decoded header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordHeader {
    pub(super) kind: RecordKind,
    pub(super) group: GroupId,
    pub(super) segment: SegmentId,
    /// Counts records over the whole log, from 1.
    pub(super) sequence: u64,
    /// Everything up to this sequence was on stable storage when the record was written.
    pub(super) synced: u64,
    pub(super) head_length: u32,
    pub(super) head_crc: u32,
    pub(super) body_length: u32,
    pub(super) body_crc: u32,
}

impl RecordHeader {
    /// Length of the whole record without padding.
    pub(super) fn record_bytes(&self) -> usize {
        HEADER_BYTES + self.head_length as usize + self.body_length as usize
    }

    pub(super) fn encode(&self) -> [u8; HEADER_BYTES] {
        let none = EntryId { term: 0, leader: ReplicaId(0), index: 0 };
        let (kind, detail, id) = match self.kind {
            RecordKind::Entry(id, kind) => (1, entry_kind_byte(kind), id),
            RecordKind::Moved(id, kind) => (2, entry_kind_byte(kind), id),
            RecordKind::Vote(vote) => {
                (3, u8::from(vote.committed), EntryId { term: vote.term, leader: vote.node, index: 0 })
            }
            RecordKind::Truncate(after) => (4, u8::from(after.is_some()), after.unwrap_or(none)),
            RecordKind::Purge(upto) => (5, 0, upto),
            RecordKind::Committed(upto) => (6, u8::from(upto.is_some()), upto.unwrap_or(none)),
            RecordKind::Checkpoint => (7, 0, none),
            RecordKind::DropGroup => (8, 0, none),
            RecordKind::Closed => (9, 0, none),
            RecordKind::Fetched(id, kind) => (10, entry_kind_byte(kind), id),
        };
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[4] = kind;
        bytes[5] = detail;
        bytes[8..12].copy_from_slice(&self.group.0.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.head_length.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.segment.0.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.synced.to_le_bytes());
        bytes[40..48].copy_from_slice(&id.term.to_le_bytes());
        bytes[48..56].copy_from_slice(&id.leader.0.to_le_bytes());
        bytes[56..64].copy_from_slice(&id.index.to_le_bytes());
        bytes[64..68].copy_from_slice(&self.body_length.to_le_bytes());
        bytes[68..72].copy_from_slice(&self.body_crc.to_le_bytes());
        bytes[72..76].copy_from_slice(&self.head_crc.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..CRC_AT]);
        bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Whether `bytes` begin like a header: a cheap test before [`RecordHeader::decode`].
    pub(super) fn looks_like_one(bytes: &[u8]) -> bool {
        bytes.starts_with(&MAGIC.to_le_bytes())
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "log record";
        let Some(bytes) = bytes.get(..HEADER_BYTES) else {
            return Err(DecodeError::Short { what: WHAT, missing: HEADER_BYTES - bytes.len() });
        };
        if crc32c::crc32c(&bytes[..CRC_AT]).to_le_bytes() != bytes[CRC_AT..] {
            return Err(checksum(WHAT));
        }
        let mut d = Decoder::new(WHAT, Bytes::copy_from_slice(bytes));
        let magic = d.u32()?;
        if magic != MAGIC {
            return Err(d.unknown(u64::from(magic)));
        }
        let (kind, detail, _reserved) = (d.u8()?, d.u8()?, d.u16()?);
        let group = GroupId(d.u32()?);
        let head_length = d.u32()?;
        let segment = SegmentId(d.u64()?);
        let (sequence, synced) = (d.u64()?, d.u64()?);
        let id = EntryId { term: d.u64()?, leader: ReplicaId(d.u64()?), index: d.u64()? };
        let (body_length, body_crc, head_crc) = (d.u32()?, d.u32()?, d.u32()?);
        let payload = u64::from(head_length) + u64::from(body_length);
        if payload > PAYLOAD_BYTES_MAX as u64 {
            return Err(DecodeError::OverLimit {
                what: WHAT,
                found: payload,
                limit: PAYLOAD_BYTES_MAX as u64,
            });
        }
        for position in [segment.0, sequence, id.index] {
            check_position(WHAT, position)?;
        }
        // a record is counted, and written before it is synced
        if synced >= sequence {
            return Err(d.unknown(synced));
        }
        let present = |d: &Decoder| match detail {
            0 => Ok(None),
            1 => Ok(Some(id)),
            other => Err(d.unknown(u64::from(other))),
        };
        let kind = match kind {
            1 => RecordKind::Entry(id, entry_kind(detail)?),
            2 => RecordKind::Moved(id, entry_kind(detail)?),
            3 => {
                let committed = present(&d)?.is_some();
                RecordKind::Vote(Vote { term: id.term, node: id.leader, committed })
            }
            4 => RecordKind::Truncate(present(&d)?),
            5 => RecordKind::Purge(id),
            6 => RecordKind::Committed(present(&d)?),
            7 => RecordKind::Checkpoint,
            8 => RecordKind::DropGroup,
            9 => RecordKind::Closed,
            10 => RecordKind::Fetched(id, entry_kind(detail)?),
            other => return Err(d.unknown(u64::from(other))),
        };
        Ok(Self { kind, group, segment, sequence, synced, head_length, head_crc, body_length, body_crc })
    }
}

/// A group's state where a segment begins, so that recovery needs nothing older than the segment's floor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Checkpoint {
    pub(super) vote: Option<Vote>,
    pub(super) purged: Option<EntryId>,
    pub(super) committed: Option<EntryId>,
    /// The first and the last entry that are not purged.
    pub(super) held: Option<(u64, EntryId)>,
    pub(super) damage: Option<Damage>,
}

impl Checkpoint {
    pub(super) fn encode(&self) -> Bytes {
        let mut e = Encoder::with_capacity(128);
        e.option(self.vote.as_ref(), |e, vote| {
            e.u64(vote.term);
            e.u64(vote.node.0);
            e.flag(vote.committed);
        });
        e.option(self.purged.as_ref(), write_id);
        e.option(self.committed.as_ref(), write_id);
        e.option(self.held.as_ref(), |e, (first, last)| {
            e.u64(*first);
            write_id(e, last);
        });
        e.option(self.damage.as_ref(), |e, damage| match damage {
            Damage::Unknown => e.u8(0),
            Damage::Gap { first, last } => {
                e.u8(1);
                e.u64(*first);
                e.u64(*last);
            }
        });
        e.finish()
    }

    pub(super) fn decode(head: Bytes) -> Result<Self, DecodeError> {
        let mut d = Decoder::new("log checkpoint", head);
        let vote =
            d.option(|d| Ok(Vote { term: d.u64()?, node: ReplicaId(d.u64()?), committed: d.flag()? }))?;
        let purged = d.option(read_id)?;
        let committed = d.option(read_id)?;
        let held = d.option(|d| Ok((d.u64()?, read_id(d)?)))?;
        let damage = d.option(|d| match d.u8()? {
            0 => Ok(Damage::Unknown),
            1 => Ok(Damage::Gap { first: d.u64()?, last: d.u64()? }),
            other => Err(d.unknown(u64::from(other))),
        })?;
        if let Some((first, last)) = held
            && first > last.index
        {
            return Err(d.unknown(first));
        }
        d.finish()?;
        Ok(Self { vote, purged, committed, held, damage })
    }
}

fn write_id(e: &mut Encoder, id: &EntryId) {
    e.u64(id.term);
    e.u64(id.leader.0);
    e.u64(id.index);
}

fn read_id(d: &mut Decoder) -> Result<EntryId, DecodeError> {
    let id = EntryId { term: d.u64()?, leader: ReplicaId(d.u64()?), index: d.u64()? };
    check_position("log checkpoint", id.index)?;
    Ok(id)
}

/// Refuses a number that no log reaches.
pub(super) fn check_position(what: &'static str, position: u64) -> Result<(), DecodeError> {
    if position > POSITION_MAX {
        return Err(DecodeError::OverLimit { what, found: position, limit: POSITION_MAX });
    }
    Ok(())
}

fn entry_kind_byte(kind: EntryKind) -> u8 {
    match kind {
        EntryKind::Blank => 1,
        EntryKind::Normal => 2,
        EntryKind::Membership => 3,
    }
}

fn entry_kind(byte: u8) -> Result<EntryKind, DecodeError> {
    match byte {
        1 => Ok(EntryKind::Blank),
        2 => Ok(EntryKind::Normal),
        3 => Ok(EntryKind::Membership),
        found => Err(DecodeError::Unknown { what: "entry kind", found: u64::from(found) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> RecordHeader {
        let id = EntryId { term: 7, leader: ReplicaId(0x1_0002), index: 9 };
        RecordHeader {
            kind: RecordKind::Entry(id, EntryKind::Normal),
            group: GroupId(3),
            segment: SegmentId(5),
            sequence: 11,
            synced: 10,
            head_length: 4,
            head_crc: crc32c::crc32c(b"head"),
            body_length: 5,
            body_crc: crc32c::crc32c(b"body!"),
        }
    }

    #[test]
    fn a_record_header_has_its_golden_bytes() {
        let hex: String = sample().encode().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, GOLDEN);
    }

    // made by a second implementation of FORMAT.md
    const GOLDEN: &str = concat!(
        "544b523101020000030000000400000005000000000000000b000000000000000a00000000000000",
        "0700000000000000020001000000000009000000000000000500000096bba8d1e8977cea29c69ae3"
    );

    #[test]
    fn every_kind_survives_its_layout() {
        let id = EntryId { term: 1, leader: ReplicaId(2), index: 3 };
        let kinds = [
            RecordKind::Entry(id, EntryKind::Blank),
            RecordKind::Moved(id, EntryKind::Membership),
            RecordKind::Vote(Vote { term: 4, node: ReplicaId(5), committed: true }),
            RecordKind::Vote(Vote { term: 4, node: ReplicaId(5), committed: false }),
            RecordKind::Truncate(None),
            RecordKind::Truncate(Some(id)),
            RecordKind::Purge(id),
            RecordKind::Committed(None),
            RecordKind::Committed(Some(id)),
            RecordKind::Checkpoint,
            RecordKind::DropGroup,
            RecordKind::Closed,
            RecordKind::Fetched(id, EntryKind::Normal),
        ];
        for kind in kinds {
            let header = RecordHeader { kind, ..sample() };
            assert_eq!(RecordHeader::decode(&header.encode()), Ok(header));
        }
    }

    #[test]
    fn no_flipped_bit_and_no_cut_parses() {
        let good = sample().encode();
        for bit in 0..HEADER_BYTES * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(RecordHeader::decode(&bad).is_err(), "bit {bit}");
        }
        for cut in 0..HEADER_BYTES {
            assert!(RecordHeader::decode(&good[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn unknown_kinds_and_lying_lengths_are_refused_though_the_checksum_is_right() {
        let with = |at: usize, bytes: &[u8]| {
            let mut header = sample().encode();
            header[at..at + bytes.len()].copy_from_slice(bytes);
            let crc = crc32c::crc32c(&header[..CRC_AT]);
            header[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
            RecordHeader::decode(&header)
        };
        let beyond = (POSITION_MAX + 1).to_le_bytes();
        for (at, bytes) in [
            (4, &[0][..]),
            (4, &[11]),
            (5, &[0]),
            (5, &[4]),
            (64, &[255, 255, 255, 255]),
            (0, b"TKR2"),
            // segment, sequence and index that no log reaches
            (16, &beyond),
            (24, &beyond),
            (56, &beyond),
            // sequence 0; synced before it was written
            (24, &[0]),
            (32, &[11]),
        ] {
            assert!(with(at, bytes).is_err(), "{bytes:?} at {at}");
        }
    }

    #[test]
    fn a_checkpoint_survives_its_layout_and_no_cut_of_it_parses() {
        let id = EntryId { term: 1, leader: ReplicaId(2), index: 3 };
        let full = Checkpoint {
            vote: Some(Vote { term: 4, node: ReplicaId(5), committed: true }),
            purged: Some(id),
            committed: Some(id),
            held: Some((4, EntryId { index: 8, ..id })),
            damage: Some(Damage::Gap { first: 5, last: 6 }),
        };
        for checkpoint in [Checkpoint::default(), full] {
            let bytes = checkpoint.encode();
            assert_eq!(Checkpoint::decode(bytes.clone()), Ok(checkpoint));
            for cut in 0..bytes.len() {
                assert!(Checkpoint::decode(bytes.slice(..cut)).is_err(), "cut at {cut}");
            }
        }
    }
}
