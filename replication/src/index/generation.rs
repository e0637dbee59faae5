//! A count of flushes in a file beside the store, written once the store is durable.
//!
//! sled takes a damaged stretch of its log for the log's end and comes up, silently, as it was before it. The store
//! holds the same count; when it comes up with less than the file says, it went back.

use super::IndexError;
use std::{
    fs::{File, OpenOptions},
    io::ErrorKind,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// Magic and version.
const MAGIC: [u8; 8] = *b"TKINDGE\x01";

/// Magic, count, CRC-32C of both: within one sector, so that it is written whole or not at all.
const LENGTH: usize = 20;

/// The file.
pub(super) struct GenerationFile {
    file: File,
    path: PathBuf,
}

impl GenerationFile {
    /// Opens or makes the file in `directory`; gives the count in it, 0 if it is new.
    pub(super) fn open(directory: &Path) -> Result<(Self, u64), IndexError> {
        let path = directory.join("generation");
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let this = Self { file: opened.map_err(|source| disk("open", &path, source))?, path };
        let mut bytes = [0; LENGTH];
        match this.file.read_exact_at(&mut bytes, 0) {
            Ok(()) => {}
            // made, but never written
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Ok((this, 0)),
            Err(source) => return Err(disk("read", &this.path, source)),
        }
        let (content, crc) = bytes.split_at(LENGTH - 4);
        if content[..8] != MAGIC || crc != crc32c::crc32c(content).to_le_bytes() {
            return Err(IndexError::Damaged { operation: "read the generation", source: None });
        }
        let mut count = [0; 8];
        count.copy_from_slice(&content[8..]);
        Ok((this, u64::from_le_bytes(count)))
    }

    /// Writes the count, durably.
    pub(super) fn write(&self, count: u64) -> Result<(), IndexError> {
        let mut bytes = [0; LENGTH];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..16].copy_from_slice(&count.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..16]);
        bytes[16..].copy_from_slice(&crc.to_le_bytes());
        let written = self.file.write_all_at(&bytes, 0).and_then(|()| self.file.sync_all());
        written.map_err(|source| disk("write", &self.path, source))
    }
}

pub(super) fn disk(operation: &'static str, path: &Path, source: std::io::Error) -> IndexError {
    IndexError::Disk { operation, path: path.to_owned(), source }
}
