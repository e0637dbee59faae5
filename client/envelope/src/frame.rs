//! What all layouts share: magic, format number and suite in front, CRC-32C over all of it behind.
//!
//! The CRC finds accidents; attackers are found by the seals inside.

use bytes::{BufMut, Bytes, BytesMut};
use wire::{DecodeError, Decoder};

use crate::EnvelopeError;
use crate::suite::Suite;

/// Magic, format and suite, bytes.
pub(crate) const HEAD_BYTES: usize = 6;

const CHECKSUM_BYTES: usize = 4;

/// One kind of thing on disk.
pub(crate) struct Frame {
    pub(crate) what: &'static str,
    pub(crate) magic: [u8; 4],
    pub(crate) format: u8,
    pub(crate) bytes_max: usize,
}

impl Frame {
    /// A buffer that begins as this kind of thing does, with room for `body` more bytes and the checksum.
    pub(crate) fn begin(&self, body: usize) -> BytesMut {
        let mut buffer = BytesMut::with_capacity(HEAD_BYTES + body + CHECKSUM_BYTES);
        buffer.put_slice(&self.magic);
        buffer.put_u8(self.format);
        buffer.put_u8(Suite::CURRENT.id());
        buffer
    }

    /// Appends the checksum.
    pub(crate) fn finish(&self, mut buffer: BytesMut) -> Bytes {
        let checksum = crc32c::crc32c(&buffer);
        buffer.put_u32_le(checksum);
        assert!(buffer.len() <= self.bytes_max, "a {} outgrew its own limit", self.what);
        buffer.freeze()
    }

    /// Checks everything around the fields and returns a reader of the fields.
    pub(crate) fn open(&self, mut bytes: Bytes) -> Result<(Suite, Decoder), EnvelopeError> {
        let what = self.what;
        let shared = bytes.len().min(self.magic.len());
        if bytes[..shared] != self.magic[..shared] || bytes.is_empty() {
            return Err(EnvelopeError::NotThisFormat { what });
        }
        if bytes.len() > self.bytes_max {
            let (found, limit) = (bytes.len() as u64, self.bytes_max as u64);
            return Err(self.damaged(DecodeError::OverLimit { what, found, limit }));
        }
        let least = HEAD_BYTES + CHECKSUM_BYTES;
        if bytes.len() < least {
            return Err(self.damaged(DecodeError::Short { what, missing: least - bytes.len() }));
        }
        if bytes[4] != self.format {
            return Err(EnvelopeError::UnknownFormat { what, found: bytes[4] });
        }
        let mut stored = [0; CHECKSUM_BYTES];
        stored.copy_from_slice(&bytes.split_off(bytes.len() - CHECKSUM_BYTES));
        if crc32c::crc32c(&bytes) != u32::from_le_bytes(stored) {
            return Err(self.damaged(DecodeError::Checksum { what }));
        }
        let suite = Suite::from_id(what, bytes[5])?;
        Ok((suite, Decoder::new(what, bytes.split_off(HEAD_BYTES))))
    }

    /// The error for a layout that broke.
    pub(crate) fn damaged(&self, source: DecodeError) -> EnvelopeError {
        EnvelopeError::Damaged { what: self.what, source }
    }
}
