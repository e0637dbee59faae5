//! Sources of an export: read as they were pinned, their bytes counted and hashed on the way.

use crate::export::spool::Spool;
use crate::keys::hex;
use crate::manifest::Source;
use crate::s3::S3;
use pipeline::Input;
use policy::Format;
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::io::{self, Read};
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What the reader of a format may leave at the end, bytes: white space behind an array. A run that stops reads no more than this.
const DRAIN_BYTES_MAX: u64 = 1 << 20;

/// What was read of each source: bytes, and their hash.
pub(crate) type Seen = Rc<RefCell<Vec<Option<(u64, String)>>>>;

/// Opens sources one after another.
pub(crate) struct Sources<'a> {
    pub(crate) s3: &'a S3,
    pub(crate) sources: &'a [Source],
    pub(crate) format: Format,
    /// Where Parquet, which is read from its end, is kept while it is read; sealed.
    pub(crate) temporary: &'a Path,
    /// Set when reading is to end where it is.
    pub(crate) stop: &'a AtomicBool,
    pub(crate) seen: Seen,
}

impl<'a> Sources<'a> {
    /// All of them, each opened when its turn comes.
    pub(crate) fn inputs(&self) -> impl Iterator<Item = io::Result<Input<'a>>> {
        self.seen.borrow_mut().resize(self.sources.len(), None);
        let (s3, format, temporary, seen) = (self.s3, self.format, self.temporary, self.seen.clone());
        let stop = self.stop;
        self.sources.iter().enumerate().map(move |(place, source)| {
            let numbered =
                |error: io::Error| io::Error::new(error.kind(), format!("source {}: {error}", place + 1));
            let reading = s3.read(&source.bucket, &source.key, &source.pin);
            let reading = reading.map_err(|error| numbered(io::Error::other(error.to_string())))?;
            let hashing = Hashing {
                reading,
                stop,
                place,
                hasher: Sha256::new(),
                bytes: 0,
                seen: seen.clone(),
                failed: false,
            };
            if format != Format::Parquet {
                return Ok(Input::stream(hashing));
            }
            let spool = Spool::new(hashing, temporary).map_err(numbered)?;
            Ok(Input::Random(std::sync::Arc::new(spool)))
        })
    }

    /// The sources with the hashes of what was read; `Err` names the first that was not read whole, from 1.
    pub(crate) fn hashed(&self) -> Result<Vec<Source>, usize> {
        let seen = self.seen.borrow();
        let hashed = |(place, source): (usize, &Source)| match &seen[place] {
            Some((bytes, sha256)) if *bytes == source.pin.bytes => {
                Ok(Source { sha256: Some(sha256.clone()), ..source.clone() })
            }
            _ => Err(place + 1),
        };
        self.sources.iter().enumerate().map(hashed).collect()
    }
}

/// Hashes what passes. What the reader of a format leaves unread at the end is read when it is dropped.
struct Hashing<'a, R: Read> {
    reading: R,
    stop: &'a AtomicBool,
    place: usize,
    hasher: Sha256,
    bytes: u64,
    seen: Seen,
    failed: bool,
}

impl<R: Read> Read for Hashing<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.load(Ordering::Relaxed) {
            self.failed = true;
            return Err(io::Error::other(super::STOPPED));
        }
        match self.reading.read(buffer) {
            Ok(count) => {
                self.hasher.update(&buffer[..count]);
                self.bytes += count as u64;
                Ok(count)
            }
            Err(error) => {
                self.failed |= error.kind() != io::ErrorKind::Interrupted;
                Err(io::Error::new(error.kind(), format!("source {}: {error}", self.place + 1)))
            }
        }
    }
}

impl<R: Read> Drop for Hashing<'_, R> {
    fn drop(&mut self) {
        let drained = io::copy(&mut self.by_ref().take(DRAIN_BYTES_MAX), &mut io::sink());
        if self.failed || drained.is_err() {
            return;
        }
        let hash = std::mem::take(&mut self.hasher).finalize();
        self.seen.borrow_mut()[self.place] = Some((self.bytes, hex(&hash)));
    }
}
