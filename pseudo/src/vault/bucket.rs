//! One bucket of a vault: a file that people are appended to. The layout is in `FORMAT.md`.
//!
//! What a kill or a power cut leaves at the end is cut off when the file is next written to; a byte that was changed anywhere else is found
//! and nothing of the file is used. Reading needs the memory of one person.

use crate::PseudoError;
use custody::{BucketKey, IDENTITY_BYTES_MAX, Person, VAULT_ID_BYTES, VaultId, WRAPPED_PERSON_BYTES};
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

/// Reads a bucket; `visit` gets each person and their sealed identity. How many bytes are whole.
pub(super) fn read(
    path: &Path,
    key: &BucketKey,
    expected: &[u8],
    visit: &mut Visit<'_>,
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
        let frame = frame(self.offset, &key.wrap(person), sealed);
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
        let (wrapped, sealed) = (key.wrap(&person), person.seal(VAULT, &identity()));
        let mut file = header(VAULT, 0x5c, 2);
        let offset = file.len() as u64;
        file.extend_from_slice(&frame(offset, &wrapped, &sealed));
        assert_eq!(file, golden("bucket"));
    }

    #[test]
    fn any_changed_byte_is_found_and_any_cut_leaves_whole_people() {
        let table = EpochTable::generate(VAULT, files::random).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("00.1.bucket");
        let (key, head) = (table.bucket(0), header(VAULT, 0, 1));
        let mut appender = Appender::open(&path, 0, &head).unwrap();
        let mut ends = vec![head.len() as u64];
        for number in 0..3 {
            let handle = Handle([0, number, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
            let person = Person { handle, key: PersonKey::generate(files::random).unwrap(), created: 5 };
            let sealed = person.seal(VAULT, &identity());
            let bytes = appender.push(&key, &person, &sealed).unwrap();
            ends.push(ends.last().unwrap() + bytes as u64);
        }
        appender.sync(&path).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let count = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            let mut people = 0;
            let read = read(&path, &key, &head, &mut |person, sealed| {
                assert_eq!(*person.open(VAULT, sealed).unwrap().value, *identity().value);
                people += 1;
                Ok(())
            });
            read.map(|end| (end, people))
        };
        assert_eq!(count(&whole).unwrap(), (whole.len() as u64, 3));
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert!(count(&changed).is_err(), "byte {at}");
            let people = ends.iter().skip(1).filter(|end| **end <= at as u64).count();
            let end = if at < head.len() { 0 } else { ends[people] };
            assert_eq!(count(&whole[..at]).unwrap(), (end, people), "cut at {at}");
        }
        // a power cut may leave zeros where something was to be
        assert_eq!(count(&[&whole[..], &[0; 500]].concat()).unwrap(), (whole.len() as u64, 3));
        // and what is appended after a cut is whole again
        std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        let person =
            Person { handle: Handle([0; 16]), key: PersonKey::generate(files::random).unwrap(), created: 6 };
        let sealed = person.seal(VAULT, &identity());
        let mut appender = Appender::open(&path, ends[2], &head).unwrap();
        appender.push(&key, &person, &sealed).unwrap();
        appender.sync(&path).unwrap();
        assert_eq!(count(&std::fs::read(&path).unwrap()).unwrap().1, 3);
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
        let sealed = person.seal(VAULT, &identity());
        assert!(person.open(VaultId([1; 16]), &sealed).is_err());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 0x80;
            assert!(person.open(VAULT, &changed).is_err());
        }
    }
}
