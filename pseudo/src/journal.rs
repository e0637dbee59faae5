//! The log of an identity vault: who was to be found, erased or reported on, by whom, with whose consent, and what was refused.
//!
//! One line per entry, signed by the service, each with the hash of the line before, so that none can be changed, added or left out in
//! between. A copy lies in every place of the epoch table: the longest counts, all others have to be its beginning, so that no end can be cut
//! off and a vault that is put back from a backup learns what happened since. It names people by nothing: neither values nor tokens nor
//! handles are in it. The layout is in `vault/FORMAT.md`.

use crate::keys::hex;
use crate::manifest::VERSION;
use crate::signed::{self, Kind};
use crate::{PseudoError, clock, files};
use custody::{PublicKey, SigningKey, VaultId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const FILE: &str = "log";
/// A hundred thousand entries of about a kilobyte: decades of requests. It is read whole.
const LOG_BYTES_MAX: usize = 128 << 20;

/// Left for entries about what has happened already, bytes: a full log must not keep the vault from being opened and an erasure from its end.
const RESERVE_BYTES: usize = 64 << 10;

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
    /// A request was shown to who may agree to it.
    Shown,
    /// An erasure begins.
    Erasing,
    /// The table of an erasure is in every place: from here on no older one counts.
    Settled,
    /// An erasure that was interrupted had not happened.
    Dropped,
    /// People were erased.
    Erased,
    /// A report on a person was handed over.
    Reported,
    /// Buckets whose key is destroyed were given up.
    Repaired,
    /// The vault's own copy of the log was shorter than another: cut, or an older copy.
    Restored,
    /// A place of the epoch table was added.
    Placed,
    /// A place of the epoch table was given up, and what lay there is destroyed.
    Forgotten,
    /// A place of the epoch table was given up that did not answer: what lies there is not destroyed.
    Detached,
    /// Something was refused, or failed.
    Refused,
}

impl Event {
    /// Whether it tells of what cannot be left undone any more.
    fn has_happened(self) -> bool {
        matches!(self, Self::Settled | Self::Dropped | Self::Erased | Self::Detached | Self::Restored)
    }
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
    /// The epoch that an erasure leads to; 1 for a new vault.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) epoch: Option<u64>,
    /// People in the buckets of who is erased, who stay.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) rewrapped: Option<u64>,
    /// Tokens and people that were asked for and are not in the vault.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) unknown: Option<u64>,
    /// Places of the epoch table.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub(crate) places: Vec<String>,
}

/// What the log says about the table that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Epochs {
    /// The epoch that was reached.
    pub(crate) done: u64,
    /// The one that an erasure leads to of which the log does not say what became of it.
    pub(crate) begun: Option<u64>,
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
    vault: VaultId,
    copies: Vec<Copy>,
    pub(crate) entries: Vec<Entry>,
    head: [u8; 32],
    bytes: u64,
    /// Entries that the vault's own copy lacks.
    lacking: u64,
    is_broken: bool,
}

/// One copy of the log; the first is the vault's own.
struct Copy {
    path: PathBuf,
    /// Whole lines, until the copy has been made as long as the others.
    content: Vec<u8>,
}

impl Journal {
    /// Reads and checks the whole log. Nothing is written before [`Journal::catch_up`].
    pub(crate) fn open(
        folder: &Path,
        vault: VaultId,
        others: Vec<PathBuf>,
        service: PublicKey,
    ) -> Result<Self, PseudoError> {
        let mut copies = vec![Copy::read(folder.join(FILE))?];
        for path in others {
            copies.push(Copy::read(path)?);
        }
        // of equals the vault's own
        let longest = copies.iter().rev().max_by_key(|copy| copy.content.len()).expect("there is one");
        let (content, path) = (longest.content.clone(), longest.path.clone());
        if let Some(copy) = copies.iter().find(|copy| !content.starts_with(&copy.content)) {
            let problem = format!(
                "it is not how {} begins: in one of them an entry was changed, added or left out",
                path.display()
            );
            return Err(PseudoError::Signed { place: copy.path.display().to_string(), problem });
        }
        let own = copies[0].content.len();
        let bytes = content.len() as u64;
        let mut journal =
            Self { vault, copies, entries: Vec::new(), head: [0; 32], bytes, lacking: 0, is_broken: false };
        let mut end = 0;
        for line in content.split_inclusive(|byte| *byte == b'\n') {
            let entry = journal.checked(&path, line, service)?;
            journal.head = Sha256::digest(line).into();
            journal.entries.push(entry);
            end += line.len();
            journal.lacking += u64::from(end > own);
        }
        Ok(journal)
    }

    /// Makes every copy as long as the longest. How many entries the vault's own lacked.
    pub(crate) fn catch_up(&mut self) -> Result<u64, PseudoError> {
        let whole = self.copies.iter().map(|copy| &copy.content).max_by_key(|content| content.len());
        let whole = whole.cloned().unwrap_or_default();
        for copy in &mut self.copies {
            if copy.content.len() < whole.len() {
                files::append(&copy.path, copy.content.len() as u64, &whole[copy.content.len()..])?;
            }
            copy.content = Vec::new();
        }
        Ok(std::mem::take(&mut self.lacking))
    }

    /// The hash of the last line.
    pub(crate) fn head(&self) -> String {
        hex(&self.head)
    }

    /// Writes an entry; it is on the disk in every copy when this returns.
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
        let most = if event.has_happened() { LOG_BYTES_MAX } else { LOG_BYTES_MAX - RESERVE_BYTES };
        if self.is_broken || self.bytes + line.len() as u64 > most as u64 {
            let problem = "the log is full or could not be written, and nothing is done that is not in it";
            return Err(PseudoError::Memory { problem: problem.to_owned() });
        }
        for copy in &self.copies {
            // what was written of it elsewhere stays: the next program makes the copies equal
            files::append(&copy.path, self.bytes, &line).inspect_err(|_| self.is_broken = true)?;
        }
        self.bytes += line.len() as u64;
        self.head = Sha256::digest(&line).into();
        self.entries.push(entry);
        Ok(())
    }

    /// Writes no more into the copy in this folder.
    pub(crate) fn leave(&mut self, folder: &Path) {
        self.copies.retain(|copy| copy.path.parent() != Some(folder));
    }

    /// How many people the vault had when the log last said it.
    pub(crate) fn people(&self) -> u64 {
        self.entries.iter().rev().find_map(|entry| entry.said.people).unwrap_or_default()
    }

    /// The places of the epoch table.
    pub(crate) fn places(&self) -> BTreeSet<String> {
        let mut places = BTreeSet::new();
        for Entry { event, said, .. } in &self.entries {
            match event {
                Event::Made | Event::Placed => places.extend(said.places.iter().cloned()),
                Event::Forgotten | Event::Detached => places.retain(|place| !said.places.contains(place)),
                _ => {}
            }
        }
        places
    }

    /// The entries of places that were given up.
    pub(crate) fn given_up(&self) -> impl Iterator<Item = &Entry> {
        let is = |entry: &&Entry| matches!(entry.event, Event::Forgotten | Event::Detached);
        self.entries.iter().filter(is)
    }

    /// Which epoch was reached, and which was begun.
    pub(crate) fn epochs(&self) -> Epochs {
        let mut epochs = Epochs { done: 0, begun: None };
        for Entry { event, said, .. } in &self.entries {
            let epoch = said.epoch.unwrap_or_default();
            match event {
                Event::Erasing => epochs.begun = Some(epoch),
                Event::Dropped => epochs.begun = None,
                Event::Made | Event::Settled | Event::Erased => {
                    epochs.done = epochs.done.max(epoch);
                    epochs.begun = epochs.begun.filter(|begun| *begun > epochs.done);
                }
                _ => {}
            }
        }
        epochs
    }

    fn checked(&self, path: &Path, line: &[u8], service: PublicKey) -> Result<Entry, PseudoError> {
        let number = self.entries.len() as u64 + 1;
        let place = || format!("{}, entry {number}", path.display());
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
}

impl Copy {
    fn read(path: PathBuf) -> Result<Self, PseudoError> {
        let is_there = files::own::is_there(&path);
        let mut content = if is_there { files::own::read_signed(&path, LOG_BYTES_MAX)? } else { Vec::new() };
        // what a kill left without its line end was never an entry
        content.truncate(content.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1));
        // nor was a last line with zeros in it, which a power cut leaves; JSON has none
        let last = content.split_inclusive(|byte| *byte == b'\n').next_back().unwrap_or_default();
        if last.contains(&0) {
            content.truncate(content.len() - last.len());
        }
        Ok(Self { path, content })
    }
}

#[cfg(test)]
mod tests;
