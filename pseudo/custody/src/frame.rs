//! What all layouts share: magic, format and suite in front, CRC-32C over all of it behind.
//!
//! The CRC finds accidents; attackers are found by seals and check values.

use crate::CustodyError;

/// Magic, format and suite, bytes.
pub(crate) const HEAD_BYTES: usize = 6;
pub(crate) const CHECKSUM_BYTES: usize = 4;

const FORMAT: u8 = 1;
/// HKDF-SHA-256, AES-256-SIV.
const SUITE: u8 = 1;

/// One kind of thing on disk or paper.
pub(crate) struct Frame {
    pub(crate) what: &'static str,
    pub(crate) magic: [u8; 4],
    pub(crate) bytes_max: usize,
}

impl Frame {
    /// A buffer that begins as this kind of thing does, with room for all that follows: growing would leave secrets behind.
    pub(crate) fn begin(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.bytes_max);
        bytes.extend_from_slice(&self.magic);
        bytes.extend_from_slice(&[FORMAT, SUITE]);
        bytes
    }

    /// Appends the checksum.
    pub(crate) fn finish(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        let checksum = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        assert!(bytes.len() <= self.bytes_max, "a {} outgrew its own limit", self.what);
        bytes
    }

    /// Checks everything around the fields and returns the fields.
    pub(crate) fn open<'a>(&self, bytes: &'a [u8]) -> Result<&'a [u8], CustodyError> {
        let what = self.what;
        let damaged = CustodyError::Damaged { what };
        if !bytes.starts_with(&self.magic) {
            return Err(CustodyError::NotThisFormat { what });
        }
        if bytes.len() > self.bytes_max || bytes.len() < HEAD_BYTES + CHECKSUM_BYTES {
            return Err(damaged);
        }
        let (content, checksum) = bytes.split_at(bytes.len() - CHECKSUM_BYTES);
        if crc32c::crc32c(content).to_le_bytes() != checksum {
            return Err(damaged);
        }
        if let Some(found) =
            [(content[4], FORMAT), (content[5], SUITE)].iter().find(|(found, known)| found != known)
        {
            return Err(CustodyError::UnknownFormat { what, found: found.0 });
        }
        Ok(&content[HEAD_BYTES..])
    }
}
