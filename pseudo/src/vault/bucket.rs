//! One bucket of a vault: a file that people are appended to. The layout is in `FORMAT.md`.
//!
//! What a kill or a power cut leaves behind what was flushed is cut off when the file is next written to; a byte that was changed before that is
//! found and nothing of the file is used. Reading needs the memory of one person.

use crate::{PseudoError, files};
use custody::{BucketKey, IDENTITY_BYTES_MAX, Person, VAULT_ID_BYTES, VaultId, WRAPPED_PERSON_BYTES};
use std::fs::{File, OpenOptions};
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

const MAGIC: &[u8; 6] = b"TKPB\x01\x01";
/// Magic, format and suite 6, bucket, zero, version 4, vault 16, checksum 4.
const HEADER_BYTES: usize = 12 + VAULT_ID_BYTES + 4;
/// Length and its checksum, before a person.
const FRAME_HEAD_BYTES: usize = 8;
const CHECKSUM_BYTES: usize = 4;
/// A person with the longest identity and its padding and tag, bytes.
const BODY_BYTES_MAX: usize = WRAPPED_PERSON_BYTES + IDENTITY_BYTES_MAX + 256;

/// What each person and their sealed identity is handed to.
pub(super) type Visit<'a> = dyn FnMut(Person, &[u8]) -> Result<(), PseudoError> + 'a;

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

/// Reads a bucket of which so many bytes were flushed; `visit` gets each person and their sealed identity. How many bytes are whole: at least
/// those that were flushed, or it is an error. Behind them it ends where something is not as it was written.
pub(super) fn read(
    path: &Path,
    key: &BucketKey,
    expected: &[u8],
    flushed: u64,
    visit: &mut Visit<'_>,
) -> Result<u64, PseudoError> {
    let failed = || PseudoError::file("reading", path);
    let ends = |offset: u64| {
        let damaged =
            || PseudoError::table(path, format!("damaged at byte {offset}, of {flushed} that were flushed"));
        if offset < flushed { Err(damaged()) } else { Ok(offset) }
    };
    let file = files::own::open(path, OpenOptions::new().read(true)).map_err(failed())?;
    let bytes = file.metadata().map_err(failed())?.len();
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let mut head = vec![0; HEADER_BYTES];
    if bytes < HEADER_BYTES as u64 {
        return ends(0);
    }
    reader.read_exact(&mut head).map_err(failed())?;
    if head != expected {
        let (content, checksum) = head.split_at(HEADER_BYTES - CHECKSUM_BYTES);
        if crc32c::crc32c(content).to_le_bytes() != checksum && flushed == 0 {
            return Ok(0);
        }
        return Err(PseudoError::table(path, "this is not the bucket that its name says"));
    }
    let (mut offset, mut body) = (HEADER_BYTES as u64, Vec::new());
    while bytes - offset >= FRAME_HEAD_BYTES as u64 {
        let mut head = [0; FRAME_HEAD_BYTES];
        reader.read_exact(&mut head).map_err(failed())?;
        let length = [head[0], head[1], head[2], head[3]];
        if head_checksum(length, offset) != head[4..] {
            return ends(offset);
        }
        let length = u32::from_le_bytes(length) as usize;
        let whole = (FRAME_HEAD_BYTES + length + CHECKSUM_BYTES) as u64;
        if !(WRAPPED_PERSON_BYTES..=BODY_BYTES_MAX).contains(&length) || bytes - offset < whole {
            return ends(offset);
        }
        body.resize(length + CHECKSUM_BYTES, 0);
        reader.read_exact(&mut body).map_err(failed())?;
        let (content, checksum) = body.split_at(length);
        if crc32c::crc32c(content).to_le_bytes() != checksum {
            return ends(offset);
        }
        let (wrapped, sealed) = content.split_at(WRAPPED_PERSON_BYTES);
        let place = || format!("{} at byte {offset}", path.display());
        match key.unwrap(wrapped) {
            Ok(person) => visit(person, sealed)?,
            // whole in itself, and of another file that had these blocks before
            Err(_) if offset >= flushed => return Ok(offset),
            Err(error) => return Err(PseudoError::custody(place())(error)),
        }
        offset += whole;
    }
    ends(offset)
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
        files::step().map_err(failed())?;
        let file = files::own::open(path, OpenOptions::new().write(true).create(true).truncate(false));
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
        let frame = frame(self.offset, &key.wrap(person), sealed);
        self.offset += frame.len() as u64;
        self.waiting.extend_from_slice(&frame);
        self.is_dirty = true;
        Ok(frame.len())
    }

    /// Hands what waits to the system.
    pub(super) fn write(&mut self, path: &Path) -> Result<(), PseudoError> {
        files::write_all(&self.file, &self.waiting).map_err(PseudoError::file("writing", path))?;
        self.waiting.clear();
        Ok(())
    }

    /// Writes and flushes what is not on the disk yet. How long the file is then.
    pub(super) fn sync(&mut self, path: &Path) -> Result<u64, PseudoError> {
        if self.is_dirty {
            self.write(path)?;
            files::step().and_then(|()| self.file.sync_all()).map_err(PseudoError::file("flushing", path))?;
            self.is_dirty = false;
        }
        Ok(self.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files;
    use custody::{ClassName, EpochTable, Handle, Identity, PersonKey, RootKey};
    use zeroize::Zeroizing;

    const GOLDEN: &str = include_str!("../../tests/fixtures/vault.txt");
    const VAULT: VaultId = VaultId([0x77; VAULT_ID_BYTES]);

    fn golden(name: &str) -> Vec<u8> {
        let line = GOLDEN.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap();
        let digit = |byte: u8| u8::try_from(char::from(byte).to_digit(16).unwrap()).unwrap();
        line.as_bytes().chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
    }

    fn filled(byte: u8) -> impl Fn(&mut [u8]) -> Result<(), PseudoError> {
        move |bytes| {
            bytes.fill(byte);
            Ok(())
        }
    }

    fn identity() -> Identity {
        let value = Zeroizing::new("ada.lovelace@example.org".to_owned());
        Identity { class: ClassName::new("person.email").unwrap(), value }
    }

    #[test]
    fn a_vault_is_what_it_was() {
        let root = RootKey::generate(|bytes| {
            (0..).zip(bytes).for_each(|(value, byte)| *byte = value);
            Ok::<(), ()>(())
        });
        let root = root.unwrap();
        let table = EpochTable::generate(VAULT, filled(0x11)).unwrap();
        let table = table.next(&[0x5c], filled(0x22)).unwrap();
        assert_eq!(root.wrap_table(&table), golden("table"));
        let opened = root.unwrap_table(&golden("table")).unwrap();
        assert_eq!((opened.epoch(), opened.version(0x5c), opened.version(0)), (2, 2, 1));
        let handle = root.handle_key(VAULT).handle(&identity().class, &identity().value);
        assert_eq!(handle.0[..], golden("handle"));
        let mut handle = handle;
        handle.0[0] = 0x5c;
        let key = opened.bucket(0x5c);
        let person =
            Person { handle, key: PersonKey::generate(filled(0x33)).unwrap(), created: 1_795_327_200 };
        assert_eq!(person.key.salt().expose()[..], golden("salt"));
        let (wrapped, sealed) = (key.wrap(&person), person.seal(VAULT, &identity()).unwrap());
        let mut file = header(VAULT, 0x5c, 2);
        let offset = file.len() as u64;
        file.extend_from_slice(&frame(offset, &wrapped, &sealed));
        assert_eq!(file, golden("bucket"));
    }

    #[test]
    fn what_was_flushed_is_whole_or_damaged_and_what_was_not_ends_anywhere() {
        let table = EpochTable::generate(VAULT, files::random).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("00.1.bucket");
        let (key, head) = (table.bucket(0), header(VAULT, 0, 1));
        let mut appender = Appender::open(&path, 0, &head).unwrap();
        let mut ends = vec![head.len() as u64];
        for number in 0..3 {
            let handle = Handle([0, number, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
            let person = Person { handle, key: PersonKey::generate(files::random).unwrap(), created: 5 };
            let sealed = person.seal(VAULT, &identity()).unwrap();
            let bytes = appender.push(&key, &person, &sealed).unwrap();
            ends.push(ends.last().unwrap() + bytes as u64);
        }
        appender.sync(&path).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let count = |bytes: &[u8], flushed: usize| {
            std::fs::write(&path, bytes).unwrap();
            let mut people = 0;
            let read = read(&path, &key, &head, flushed as u64, &mut |person, sealed| {
                assert_eq!(*person.open(VAULT, sealed).unwrap().value, *identity().value);
                people += 1;
                Ok(())
            });
            read.map(|end| (end, people))
        };
        assert_eq!(count(&whole, whole.len()).unwrap(), (whole.len() as u64, 3));
        for at in 0..whole.len() {
            let people = ends.iter().skip(1).filter(|end| **end <= at as u64).count();
            let end = if at < head.len() { 0 } else { ends[people] };
            let mut changed = whole.clone();
            changed[at] ^= 1;
            // before the last flush it is damage, behind it the end
            assert!(
                count(&changed, whole.len()).is_err() && count(&whole[..at], whole.len()).is_err(),
                "byte {at}"
            );
            for tail in [&changed[..], &whole[..at]] {
                assert_eq!(count(tail, end as usize).unwrap(), (end, people), "byte {at}");
            }
        }
        // whatever a power cut leaves, and however much: zeros, other files' blocks, zeros with the end behind them
        let garbage: Vec<u8> =
            (0..200_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for tail in [&[0; 500][..], &[0; 300_000], &garbage, &[&[0; 4096], &whole[..]].concat()] {
            assert_eq!(count(&[&whole, tail].concat(), whole.len()).unwrap(), (whole.len() as u64, 3));
            assert_eq!(count(tail, 0).unwrap(), (0, 0), "nothing was flushed");
        }
        // a person of an older file of this bucket, whole and at the right offset, under a key that is gone
        let older = EpochTable::generate(VAULT, files::random).unwrap().bucket(0);
        let person =
            Person { handle: Handle([0; 16]), key: PersonKey::generate(files::random).unwrap(), created: 4 };
        let sealed = person.seal(VAULT, &identity()).unwrap();
        let tail = frame(whole.len() as u64, &older.wrap(&person), &sealed);
        let longer = [&whole[..], &tail].concat();
        assert_eq!(count(&longer, whole.len()).unwrap(), (whole.len() as u64, 3));
        assert!(count(&longer, longer.len()).is_err(), "what was flushed opens, or it is damage");
        // and what is appended after a cut is whole again
        std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        let person =
            Person { handle: Handle([0; 16]), key: PersonKey::generate(files::random).unwrap(), created: 6 };
        let sealed = person.seal(VAULT, &identity()).unwrap();
        let mut appender = Appender::open(&path, ends[2], &head).unwrap();
        appender.push(&key, &person, &sealed).unwrap();
        appender.sync(&path).unwrap();
        let (bytes, flushed) = (std::fs::read(&path).unwrap(), appender.sync(&path).unwrap());
        assert_eq!(count(&bytes, flushed as usize).unwrap(), (bytes.len() as u64, 3));
    }

    #[test]
    fn people_of_another_bucket_version_vault_or_epoch_do_not_open() {
        let table = EpochTable::generate(VAULT, files::random).unwrap();
        let other = EpochTable::generate(VaultId([1; 16]), files::random).unwrap();
        let person =
            Person { handle: Handle([7; 16]), key: PersonKey::generate(files::random).unwrap(), created: 5 };
        let wrapped = table.bucket(7).wrap(&person);
        assert_eq!(table.bucket(7).unwrap(&wrapped).unwrap().created, 5);
        let next = table.next(&[7], files::random).unwrap();
        for key in [table.bucket(8), other.bucket(7), next.bucket(7)] {
            assert!(key.unwrap(&wrapped).is_err());
        }
        assert!(next.bucket(8).unwrap(&table.bucket(8).wrap(&person)).is_err(), "the wrong bucket");
        let sealed = person.seal(VAULT, &identity()).unwrap();
        assert!(person.open(VaultId([1; 16]), &sealed).is_err());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 0x80;
            assert!(person.open(VAULT, &changed).is_err());
        }
    }
}
