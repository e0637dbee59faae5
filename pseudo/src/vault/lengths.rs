//! How far each bucket is on the disk for good: everything up to there has to be whole, what comes after was promised to nobody.
//!
//! A power cut may leave anything behind the last flush, or the file shorter than it was written. Without this a reader could not tell
//! that from a bucket that somebody changed or cut. The layout is in `FORMAT.md`.

use crate::{PseudoError, files};
use custody::{BUCKETS, VAULT_ID_BYTES, VaultId};
use std::path::Path;

const MAGIC: &[u8; 8] = b"TKPL\x01\x01\0\0";
/// Version 4, length 8.
const ENTRY_BYTES: usize = 12;
const HEAD_BYTES: usize = MAGIC.len() + VAULT_ID_BYTES;
const BYTES: usize = HEAD_BYTES + BUCKETS * ENTRY_BYTES + 4;

/// Which version of each bucket is flushed up to which length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lengths([(u32, u64); BUCKETS]);

impl Lengths {
    /// Of a vault without people.
    pub(super) fn new() -> Self {
        Self([(1, 0); BUCKETS])
    }

    /// Reads them.
    pub(super) fn read(path: &Path, vault: VaultId) -> Result<Self, PseudoError> {
        let bytes = files::own::read_signed(path, BYTES)?;
        Self::parsed(&bytes, vault)
            .ok_or_else(|| PseudoError::table(path, "damaged, or the lengths of another vault's buckets"))
    }

    /// Puts them in the place of the ones before.
    pub(super) fn write(&self, path: &Path, vault: VaultId) -> Result<(), PseudoError> {
        files::replace(path, &self.bytes(vault))
    }

    /// The length of a bucket in this version; `None` when another version was flushed last.
    pub(super) fn get(&self, bucket: u8, version: u32) -> Option<u64> {
        let (known, length) = self.0[usize::from(bucket)];
        (known == version).then_some(length)
    }

    pub(super) fn set(&mut self, bucket: u8, version: u32, length: u64) {
        self.0[usize::from(bucket)] = (version, length);
    }

    fn bytes(&self, vault: VaultId) -> Vec<u8> {
        let mut bytes = [&MAGIC[..], &vault.0].concat();
        for (version, length) in self.0 {
            bytes.extend_from_slice(&version.to_le_bytes());
            bytes.extend_from_slice(&length.to_le_bytes());
        }
        let checksum = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes
    }

    fn parsed(bytes: &[u8], vault: VaultId) -> Option<Self> {
        let (content, checksum) = bytes.split_last_chunk::<4>().filter(|_| bytes.len() == BYTES)?;
        let (head, entries) = content.split_at(HEAD_BYTES);
        if crc32c::crc32c(content).to_le_bytes() != *checksum || head != [&MAGIC[..], &vault.0].concat() {
            return None;
        }
        let mut lengths = Self::new();
        for (place, entry) in lengths.0.iter_mut().zip(entries.as_chunks::<ENTRY_BYTES>().0) {
            let (version, length) = entry.split_first_chunk::<4>()?;
            *place = (u32::from_le_bytes(*version), u64::from_le_bytes(*length.first_chunk()?));
        }
        Some(lengths)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VAULT: VaultId = VaultId([0x77; VAULT_ID_BYTES]);

    #[test]
    fn lengths_are_what_they_were_and_any_changed_byte_is_found() {
        let mut lengths = Lengths::new();
        lengths.set(0x5c, 2, 196);
        let bytes = lengths.bytes(VAULT);
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let golden = include_str!("../../tests/fixtures/vault.txt");
        assert!(golden.lines().any(|line| line == format!("lengths {text}")));
        assert_eq!(Lengths::parsed(&bytes, VAULT), Some(lengths));
        assert_eq!(Lengths::parsed(&bytes, VaultId([1; VAULT_ID_BYTES])), None);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_eq!(Lengths::parsed(&changed, VAULT), None, "byte {at}");
            assert_eq!(Lengths::parsed(&bytes[..at], VAULT), None, "cut at {at}");
        }
    }
}
