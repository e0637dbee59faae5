//! One bucket of a vault: a file that people are appended to. The layout is in `FORMAT.md`.
//!
//! What a kill or a power cut leaves at the end is cut off when the file is next written to; a byte that was changed anywhere else is found
//! and nothing of the file is used. Reading needs the memory of one person.

use crate::{PseudoError, files};
use custody::{
    BucketKey, IDENTITY_BYTES_MAX, PERSON_NONCE_BYTES, Person, VAULT_ID_BYTES, VaultId, WRAPPED_PERSON_BYTES,
};
use std::fs::{File, OpenOptions};
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

const MAGIC: &[u8; 6] = b"TKPB\x01\x01";
/// Magic, format and suite 6, bucket, zero, version 4, vault 16, checksum 4.
const HEADER_BYTES: usize = 12 + VAULT_ID_BYTES + 4;
/// Length and its checksum, before a person.
const FRAME_HEAD_BYTES: usize = 8;
const CHECKSUM_BYTES: usize = 4;
/// A person with the longest identity and its padding and tag, bytes.
const BODY_BYTES_MAX: usize = WRAPPED_PERSON_BYTES + IDENTITY_BYTES_MAX + 256;

/// The beginning of a bucket's file.
pub(super) fn header(vault: VaultId, bucket: u8, version: u32) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&[bucket, 0]);
    bytes.extend_from_slice(&version.to_le_bytes());
    bytes.extend_from_slice(&vault.0);
    let checksum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

/// A person as the file has them at an offset.
pub(super) fn frame(offset: u64, wrapped: &[u8], sealed: &[u8]) -> Vec<u8> {
    let body = wrapped.len() + sealed.len();
    let length = u32::try_from(body).expect("a person is far shorter than 4 GiB").to_le_bytes();
    let mut bytes = Vec::with_capacity(FRAME_HEAD_BYTES + body + CHECKSUM_BYTES);
    bytes.extend_from_slice(&length);
    bytes.extend_from_slice(&head_checksum(length, offset));
    bytes.extend_from_slice(wrapped);
    bytes.extend_from_slice(sealed);
    let checksum = crc32c::crc32c(&bytes[FRAME_HEAD_BYTES..]);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

fn head_checksum(length: [u8; 4], offset: u64) -> [u8; 4] {
    crc32c::crc32c(&[&length[..], &offset.to_le_bytes()].concat()).to_le_bytes()
}

/// Reads a bucket; `visit` gets each person and their sealed identity. How many bytes are whole.
pub(super) fn read(
    path: &Path,
    key: &BucketKey,
    expected: &[u8],
    visit: &mut dyn FnMut(Person, &[u8]) -> Result<(), PseudoError>,
) -> Result<u64, PseudoError> {
    let failed = || PseudoError::file("reading", path);
    let damaged = |offset: u64| PseudoError::table(path, format!("damaged at byte {offset}"));
    let file = File::open(path).map_err(failed())?;
    let bytes = file.metadata().map_err(failed())?.len();
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let mut head = vec![0; HEADER_BYTES];
    if bytes < HEADER_BYTES as u64 {
        return Ok(0);
    }
    reader.read_exact(&mut head).map_err(failed())?;
    if head != expected {
        return Err(PseudoError::table(path, "this is not the bucket that its name says"));
    }
    let (mut offset, mut body) = (HEADER_BYTES as u64, Vec::new());
    while bytes - offset >= FRAME_HEAD_BYTES as u64 {
        let mut head = [0; FRAME_HEAD_BYTES];
        reader.read_exact(&mut head).map_err(failed())?;
        let length = [head[0], head[1], head[2], head[3]];
        if head_checksum(length, offset) != head[4..] {
            // a file that grew before its content was written ends with zeros; anything else was changed
            let mut rest = Vec::new();
            let most = (BODY_BYTES_MAX + 1) as u64;
            reader.take(most).read_to_end(&mut rest).map_err(failed())?;
            let is_empty = rest.len() < BODY_BYTES_MAX && head.iter().chain(&rest).all(|byte| *byte == 0);
            return if is_empty { Ok(offset) } else { Err(damaged(offset)) };
        }
        let length = u32::from_le_bytes(length) as usize;
        if !(WRAPPED_PERSON_BYTES..=BODY_BYTES_MAX).contains(&length) {
            return Err(damaged(offset));
        }
        let whole = (FRAME_HEAD_BYTES + length + CHECKSUM_BYTES) as u64;
        if bytes - offset < whole {
            break;
        }
        body.resize(length + CHECKSUM_BYTES, 0);
        reader.read_exact(&mut body).map_err(failed())?;
        let (content, checksum) = body.split_at(length);
        if crc32c::crc32c(content).to_le_bytes() != checksum {
            return Err(damaged(offset));
        }
        let (wrapped, sealed) = content.split_at(WRAPPED_PERSON_BYTES);
        let place = || format!("{} at byte {offset}", path.display());
        visit(key.unwrap(wrapped).map_err(PseudoError::custody(place()))?, sealed)?;
        offset += whole;
    }
    Ok(offset)
}

/// A bucket that is being appended to.
pub(super) struct Appender {
    file: File,
    offset: u64,
    waiting: Vec<u8>,
    is_dirty: bool,
}

impl Appender {
    /// Opens a file of which so many bytes are whole, or begins one.
    pub(super) fn open(path: &Path, whole: u64, header: &[u8]) -> Result<Self, PseudoError> {
        let failed = || PseudoError::file("opening", path);
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
        let mut file = file.map_err(failed())?;
        file.set_len(whole).and_then(|()| file.seek(SeekFrom::End(0))).map_err(failed())?;
        let waiting = if whole == 0 { header.to_vec() } else { Vec::new() };
        Ok(Self { file, offset: whole + waiting.len() as u64, is_dirty: !waiting.is_empty(), waiting })
    }

    /// Adds a person. How many bytes wait to be written.
    pub(super) fn push(
        &mut self,
        key: &BucketKey,
        person: &Person,
        sealed: &[u8],
    ) -> Result<usize, PseudoError> {
        let mut nonce = [0; PERSON_NONCE_BYTES];
        files::random(&mut nonce)?;
        let frame = frame(self.offset, &key.wrap(person, nonce), sealed);
        self.offset += frame.len() as u64;
        self.waiting.extend_from_slice(&frame);
        self.is_dirty = true;
        Ok(frame.len())
    }

    /// Hands what waits to the system.
    pub(super) fn write(&mut self, path: &Path) -> Result<(), PseudoError> {
        self.file.write_all(&self.waiting).map_err(PseudoError::file("writing", path))?;
        self.waiting.clear();
        Ok(())
    }

    /// Writes and flushes what is not on the disk yet.
    pub(super) fn sync(&mut self, path: &Path) -> Result<(), PseudoError> {
        if !self.is_dirty {
            return Ok(());
        }
        self.write(path)?;
        self.file.sync_all().map_err(PseudoError::file("flushing", path))?;
        self.is_dirty = false;
        Ok(())
    }
}
