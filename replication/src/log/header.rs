//! Layout of the block that begins a segment, and the names of segment files. `FORMAT.md` has the byte table.

use super::{error::checksum, record::check_position, types::SegmentId};
use crate::disk::BLOCK_BYTES;
use bytes::Bytes;
use wire::{DecodeError, Decoder, DeploymentId, Incarnation, NodeId};

/// The layout written here.
pub(super) const VERSION: u32 = 1;

const MAGIC: [u8; 8] = *b"TKSEGMNT";
const CRC_AT: usize = 72;
const WHAT: &str = "segment header";

/// First block of a segment. The prologue (a checkpoint per group) follows it in the same write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) version: u32,
    /// How many checkpoints begin the segment.
    pub(super) prologue_records: u32,
    pub(super) deployment: DeploymentId,
    pub(super) node: NodeId,
    pub(super) incarnation: Incarnation,
    pub(super) segment: SegmentId,
    /// Sequence of the segment's first record; everything before it was synced when this was written.
    pub(super) first_sequence: u64,
    /// No segment before this one held an entry that was not purged.
    pub(super) floor: SegmentId,
    pub(super) segment_bytes: u64,
}

impl SegmentHeader {
    /// The whole block.
    pub(super) fn encode(&self) -> [u8; BLOCK_BYTES] {
        let mut bytes = [0; BLOCK_BYTES];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&self.version.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.prologue_records.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.deployment.0);
        bytes[32..34].copy_from_slice(&self.node.0.to_le_bytes());
        bytes[34..36].copy_from_slice(&self.incarnation.0.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.segment.0.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.first_sequence.to_le_bytes());
        bytes[56..64].copy_from_slice(&self.floor.0.to_le_bytes());
        bytes[64..72].copy_from_slice(&self.segment_bytes.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..CRC_AT]);
        bytes[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a block; the version is the caller's to judge.
    pub(super) fn decode(block: &[u8]) -> Result<Self, DecodeError> {
        let Some(fields) = block.get(..CRC_AT + 4) else {
            return Err(DecodeError::Short { what: WHAT, missing: CRC_AT + 4 - block.len() });
        };
        if crc32c::crc32c(&fields[..CRC_AT]).to_le_bytes() != fields[CRC_AT..] {
            return Err(checksum(WHAT));
        }
        let mut d = Decoder::new(WHAT, Bytes::copy_from_slice(fields));
        if d.array()? != MAGIC {
            return Err(d.unknown(u64::from(fields[0])));
        }
        let (version, prologue_records) = (d.u32()?, d.u32()?);
        let deployment = DeploymentId(d.array()?);
        let (node, incarnation) = (NodeId(d.u16()?), Incarnation(d.u16()?));
        let _reserved = d.u32()?;
        let (segment, first_sequence) = (SegmentId(d.u64()?), d.u64()?);
        check_position(WHAT, segment.0)?;
        check_position(WHAT, first_sequence)?;
        Ok(Self {
            version,
            prologue_records,
            deployment,
            node,
            incarnation,
            segment,
            first_sequence,
            floor: SegmentId(d.u64()?),
            segment_bytes: d.u64()?,
        })
    }
}

/// Name of a segment's file.
pub(super) fn file_name(segment: SegmentId) -> String {
    format!("{segment}.segment")
}

/// The segment whose file is called `name`; none when it is no segment's.
pub(super) fn parse_file_name(name: &str) -> Option<SegmentId> {
    let digits = name.strip_suffix(".segment")?;
    let segment = SegmentId(u64::from_str_radix(digits, 16).ok()?);
    (file_name(segment) == name).then_some(segment)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> SegmentHeader {
        SegmentHeader {
            version: VERSION,
            prologue_records: 2,
            deployment: DeploymentId([0xab; 16]),
            node: NodeId(3),
            incarnation: Incarnation(1),
            segment: SegmentId(17),
            first_sequence: 1000,
            floor: SegmentId(12),
            segment_bytes: 64 << 20,
        }
    }

    #[test]
    fn a_segment_header_has_its_golden_bytes() {
        let block = sample().encode();
        let hex: String = block[..80].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, GOLDEN);
        assert!(block[80..].iter().all(|byte| *byte == 0));
    }

    // made by a second implementation of FORMAT.md
    const GOLDEN: &str = concat!(
        "544b5345474d4e540100000002000000abababababababababababababababab0300010000000000",
        "1100000000000000e8030000000000000c0000000000000000000004000000006c6e099f00000000"
    );

    #[test]
    fn a_segment_header_survives_its_layout_and_no_flipped_bit_parses() {
        let block = sample().encode();
        assert_eq!(SegmentHeader::decode(&block), Ok(sample()));
        for bit in 0..(CRC_AT + 4) * 8 {
            let mut bad = block;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::decode(&bad).is_err(), "bit {bit}");
        }
        for cut in 0..CRC_AT + 4 {
            assert!(SegmentHeader::decode(&block[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn only_exact_file_names_are_segments() {
        assert_eq!(parse_file_name("0000001f.segment"), Some(SegmentId(31)));
        assert_eq!(parse_file_name(&file_name(SegmentId(u64::MAX))), Some(SegmentId(u64::MAX)));
        for name in
            ["1f.segment", "0000001F.segment", "+000001f.segment", "0000001f", "probe.tmp", ".segment"]
        {
            assert_eq!(parse_file_name(name), None, "{name}");
        }
    }
}
