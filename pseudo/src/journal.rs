//! The log of an identity vault: who was to be found, erased or reported on, by whom, with whose consent, and what was refused.
//!
//! One line per entry, signed by the service, each with the hash of the line before, so that none can be changed, added or left out in between; how far the log
//! had come also lies with the epoch table, so that its end cannot be cut off either. Handles, counts and hashes of tokens are in it, never a
//! clear value. The layout is in `vault/FORMAT.md`.

use crate::keys::{hex, unhex};
use crate::manifest::VERSION;
use crate::signed::{self, Kind};
use crate::vault::Places;
use crate::{PseudoError, clock, files};
use custody::{PublicKey, SigningKey, VaultId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

const FILE: &str = "log";
/// A hundred thousand entries of about a kilobyte: decades of requests. It is read whole.
const LOG_BYTES_MAX: usize = 128 << 20;
const HEAD_BYTES_MAX: usize = 256;

/// What acts where nobody acts in person.
pub(crate) const SERVICE: &str = "service";

/// What an entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Event {
    /// The vault was made.
    Made,
    /// People came into it.
    Grown,
    /// Somebody asked.
    Requested,
    /// Another person agreed.
    Approved,
    /// A grant was used, whatever came of it.
    Used,
    /// Identities were handed over.
    Identified,
    /// A grant was ended, since it looked like guessing.
    Frozen,
    /// An erasure begins.
    Erasing,
    /// People were erased.
    Erased,
    /// A report on a person was handed over.
    Reported,
    /// Buckets whose key is destroyed were given up.
    Repaired,
    /// Something was refused.
    Refused,
}

/// What an entry says beside who and when.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Said {
    /// Which grant.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) grant: Option<String>,
    /// What was attempted, or what for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) action: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) purpose: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) ticket: Option<String>,
    /// Which rule stood against it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) problem: Option<String>,
    /// The step of the code that was taken.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) code_step: Option<u64>,
    /// Tokens or people asked for, found or erased.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) rows: Option<u64>,
    /// SHA-256 of the request, the certificate or the report.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) sha256: Option<String>,
    /// People in the vault from here on.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) people: Option<u64>,
}

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    pub(crate) version: u32,
    /// From 1, without gaps.
    pub(crate) number: u64,
    /// Seconds since 1970.
    pub(crate) at: i64,
    /// The same for people.
    pub(crate) time: String,
    /// SHA-256 of the line before; zeros in the first.
    pub(crate) previous: String,
    pub(crate) vault: String,
    pub(crate) event: Event,
    /// The operator; the service where nobody acts in person.
    pub(crate) who: String,
    pub(crate) said: Said,
}

/// The log, read and open. The vault's lock is held meanwhile.
pub(crate) struct Journal {
    path: PathBuf,
    vault: VaultId,
    heads: Vec<PathBuf>,
    pub(crate) entries: Vec<Entry>,
    head: [u8; 32],
    bytes: u64,
}

impl Journal {
    /// Reads and checks the whole log.
    pub(crate) fn open(
        folder: &Path,
        vault: VaultId,
        places: &Places,
        service: PublicKey,
    ) -> Result<Self, PseudoError> {
        let path = folder.join(FILE);
        let heads = places.0.iter().map(|place| place.join(format!("{}.log-head", hex(&vault.0)))).collect();
        let bytes = if path.exists() { files::read_signed(&path, LOG_BYTES_MAX)? } else { Vec::new() };
        // what a kill left without its line end was never an entry
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let mut journal =
            Self { path, vault, heads, entries: Vec::new(), head: [0; 32], bytes: whole as u64 };
        let mut hashes = Vec::new();
        for line in bytes[..whole].split_inclusive(|byte| *byte == b'\n') {
            let entry = journal.checked(line, service)?;
            journal.head = Sha256::digest(line).into();
            hashes.push(journal.head);
            journal.entries.push(entry);
        }
        for head in &journal.heads {
            journal.compare(head, &hashes)?;
        }
        Ok(journal)
    }

    /// The hash of the last line.
    pub(crate) fn head(&self) -> String {
        hex(&self.head)
    }

    /// Writes an entry; it is on the disk when this returns.
    pub(crate) fn append(
        &mut self,
        service: &SigningKey,
        who: &str,
        event: Event,
        said: Said,
    ) -> Result<(), PseudoError> {
        let at = clock::now();
        let entry = Entry {
            version: VERSION,
            number: self.entries.len() as u64 + 1,
            at,
            time: clock::text(at),
            previous: hex(&self.head),
            vault: hex(&self.vault.0),
            event,
            who: who.to_owned(),
            said,
        };
        let line = signed::seal(Kind::Entry, &entry, service);
        if self.bytes + line.len() as u64 > LOG_BYTES_MAX as u64 {
            let problem = "the log is full, and nothing is done that is not in it".to_owned();
            return Err(PseudoError::Memory { problem });
        }
        let failed = || PseudoError::file("writing", &self.path);
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&self.path);
        let mut file = file.map_err(failed())?;
        file.set_len(self.bytes).map_err(failed())?;
        std::io::Seek::seek(&mut file, std::io::SeekFrom::End(0)).map_err(failed())?;
        file.write_all(&line).and_then(|()| file.sync_all()).map_err(failed())?;
        files::sync_folder(self.path.parent().unwrap_or(Path::new("")))?;
        self.bytes += line.len() as u64;
        self.head = Sha256::digest(&line).into();
        self.entries.push(entry);
        let head = format!("{} {}\n", self.entries.len(), self.head());
        self.heads.iter().try_for_each(|path| files::replace(path, head.as_bytes()))
    }

    /// How many people the vault had when the log last said it.
    pub(crate) fn people(&self) -> u64 {
        self.entries.iter().rev().find_map(|entry| entry.said.people).unwrap_or_default()
    }

    fn checked(&self, line: &[u8], service: PublicKey) -> Result<Entry, PseudoError> {
        let number = self.entries.len() as u64 + 1;
        let place = || format!("{}, entry {number}", self.path.display());
        let wrong = |problem: &str| PseudoError::Signed { place: place(), problem: problem.to_owned() };
        let entry: Entry =
            signed::open_by(Kind::Entry, line, service).map_err(PseudoError::signed(place()))?;
        if entry.version != VERSION {
            return Err(wrong("it is of a form that this release does not know"));
        }
        if entry.previous != hex(&self.head) || entry.number != number || entry.vault != hex(&self.vault.0) {
            return Err(wrong("it does not follow the entry before: one was changed, added or left out"));
        }
        Ok(entry)
    }

    fn compare(&self, path: &Path, hashes: &[[u8; 32]]) -> Result<(), PseudoError> {
        if !path.exists() {
            return Ok(());
        }
        let text = files::read_text(path, HEAD_BYTES_MAX)?;
        let parts = text
            .trim()
            .split_once(' ')
            .and_then(|(number, hash)| Some((number.parse::<usize>().ok()?, unhex::<32>(hash)?)));
        let (number, hash) = parts.ok_or_else(|| PseudoError::table(path, "not the head of a log"))?;
        if number > 0 && hashes.get(number - 1) != Some(&hash) {
            let problem = format!(
                "the log has {} entries and had {number} at least: its end was cut off, or it is an older copy",
                hashes.len()
            );
            return Err(PseudoError::Signed { place: self.path.display().to_string(), problem });
        }
        Ok(())
    }
}
