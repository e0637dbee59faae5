//! Parts of an export on their way into the bucket: each is made whole in memory and put in one request, where there was none.

use crate::PseudoError;
use crate::keys::hex;
use crate::manifest::File;
use crate::s3::{Place, S3};
use crate::vault::Vault;
use pipeline::Parts;
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::io::{self, Read as _, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A part that has grown beyond this gets no more rows, bytes: what readers like to fetch, and it is in memory once.
const PART_BYTES_MAX: u64 = 64 << 20;
/// Compared at once, bytes.
const COMPARE_BYTES: usize = 64 << 10;

/// Puts parts into a folder.
pub(crate) struct Upload<'a> {
    s3: &'a S3,
    /// The export's folder.
    place: &'a Place,
    suffix: &'static str,
    rows_max: u64,
    /// What an earlier run of this export left.
    there: HashSet<String>,
    /// Who is behind the tokens of a part is in it before the part is put.
    vault: Option<Arc<Vault>>,
    /// Set when no further part is to be put.
    stop: &'a AtomicBool,
    written: Arc<AtomicU64>,
    /// Parts that are in the bucket.
    pub(crate) done: Vec<File>,
}

/// A part being written.
pub(crate) struct Part {
    bytes: Vec<u8>,
    written: Arc<AtomicU64>,
}

impl<'a> Upload<'a> {
    /// Puts parts of so many rows into `data/` of an export's folder.
    pub(crate) fn new(
        s3: &'a S3,
        place: &'a Place,
        suffix: &'static str,
        rows_max: u64,
        there: HashSet<String>,
        vault: Option<Arc<Vault>>,
        stop: &'a AtomicBool,
    ) -> Self {
        Self { s3, place, suffix, rows_max, there, vault, stop, written: Arc::default(), done: Vec::new() }
    }

    fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), PseudoError> {
        if let Some(vault) = &self.vault {
            vault.sync()?;
        }
        let key = self.place.key(name);
        if self.there.contains(&key) {
            return self.compare(&key, &bytes);
        }
        if self.s3.create(&self.place.bucket, &key, bytes.clone())? {
            return Ok(());
        }
        self.compare(&key, &bytes)
    }

    /// A run of one export always makes the same parts, so that what is there has to be the same.
    fn compare(&self, key: &str, bytes: &[u8]) -> Result<(), PseudoError> {
        let other = || PseudoError::Store {
            place: "a part that is there already".to_owned(),
            problem:
                "it is not what this run makes: another program wrote it, or another release of this one"
                    .to_owned(),
        };
        let pin = self.s3.pin(&self.place.bucket, key)?.ok_or_else(other)?;
        if pin.bytes != bytes.len() as u64 {
            return Err(other());
        }
        let mut reading = self.s3.read(&self.place.bucket, key, &pin)?;
        let (mut buffer, mut rest) = (vec![0; COMPARE_BYTES], bytes);
        while !rest.is_empty() {
            let count = reading.read(&mut buffer).map_err(|error| PseudoError::Store {
                place: "a part that is there already".to_owned(),
                problem: error.to_string(),
            })?;
            if count == 0 || !rest.starts_with(&buffer[..count]) {
                return Err(other());
            }
            rest = &rest[count..];
        }
        Ok(())
    }
}

impl Parts for Upload<'_> {
    type Writer = Part;

    fn open(&mut self) -> io::Result<Part> {
        // the part before is counted no more
        self.written = Arc::default();
        Ok(Part { bytes: Vec::new(), written: self.written.clone() })
    }

    fn is_full(&self, rows: u64) -> bool {
        rows >= self.rows_max || self.written.load(Ordering::Relaxed) >= PART_BYTES_MAX
    }

    fn close(&mut self, part: Part, rows: u64) -> io::Result<()> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other(super::STOPPED));
        }
        let name = format!("data/part-{:05}.{}", self.done.len(), self.suffix);
        let (bytes, sha256) = (part.bytes.len() as u64, hex(&Sha256::digest(&part.bytes)));
        self.put(&name, part.bytes).map_err(|error| io::Error::other(error.to_string()))?;
        self.done.push(File { name, bytes, sha256, rows: Some(rows) });
        Ok(())
    }
}

impl Write for Part {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        self.written.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
