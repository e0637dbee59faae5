//! Where an entry's record lies in this replica's segment log.

use wire::{DecodeError, Decoder, Encoder};

/// Where a record lies: this replica's own business, never sent to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The segment.
    pub segment: u32,
    /// Where the record begins in it, bytes.
    pub offset: u64,
    /// Length of the command's head, bytes.
    pub head_length: u32,
    /// Length of the body, bytes.
    pub body_length: u32,
    /// CRC-32C of the body.
    pub body_crc: u32,
}

impl Place {
    /// Its length in encoded form, bytes.
    pub(crate) const ENCODED_BYTES: usize = 24;

    /// What it keeps alive of its segment, bytes.
    pub fn live_bytes(&self) -> u64 {
        u64::from(self.head_length) + u64::from(self.body_length)
    }

    pub(crate) fn encode(&self, e: &mut Encoder) {
        e.u32(self.segment);
        e.u64(self.offset);
        e.u32(self.head_length);
        e.u32(self.body_length);
        e.u32(self.body_crc);
    }

    pub(crate) fn decode(d: &mut Decoder) -> Result<Self, DecodeError> {
        Ok(Self {
            segment: d.u32()?,
            offset: d.u64()?,
            head_length: d.u32()?,
            body_length: d.u32()?,
            body_crc: d.u32()?,
        })
    }
}

impl From<crate::log::Place> for Place {
    fn from(place: crate::log::Place) -> Self {
        let segment = u32::try_from(place.segment.0).expect("2^32 segments of 64 MiB are 256 PiB of writes");
        let crate::log::Place { offset, head_length, body_length, body_crc, .. } = place;
        Self { segment, offset: u64::from(offset), head_length, body_length, body_crc }
    }
}

impl From<Place> for crate::log::Place {
    fn from(place: Place) -> Self {
        let Place { segment, offset, head_length, body_length, body_crc } = place;
        let offset = u32::try_from(offset).expect("a segment is at most 2 GiB");
        Self {
            segment: crate::log::SegmentId(u64::from(segment)),
            offset,
            head_length,
            body_length,
            body_crc,
        }
    }
}
