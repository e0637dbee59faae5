//! The custody log: which keys were made, who was enrolled and revoked, in the folder of keys as `custody.log`.
//!
//! One line per entry, signed by the service, each with the hash of the line before, so that none can be changed, added or left out in
//! between. Whoever can write the folder can cut its end: every command prints the hash of the last line (`log_head`), to be kept elsewhere.
//! It begins with the key that signs. Keys that were removed from the folder meanwhile are noticed by the next entry, which says so first.

use crate::keys::{KeyFolder, hex};
use crate::manifest::VERSION;
use crate::signed::{self, Kind};
use crate::{PseudoError, clock, files};
use custody::{PublicKey, SigningKey};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;

const FILE: &str = "custody.log";
/// Some ten thousand ceremonies. It is read whole.
const LOG_BYTES_MAX: usize = 16 << 20;

/// What an entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Event {
    /// A domain's key was there that no entry tells of.
    Found,
    /// The key that signs was made, or found.
    Signing,
    /// A domain's key was made.
    DomainKey,
    /// A domain's key is not in the folder any more.
    Gone,
    /// An operator was enrolled.
    Enrolled,
    /// An operator's certificate was there that no entry tells of: they were enrolled before there was a log.
    Adopted,
    /// An operator's second factor was made.
    SecondFactor,
    /// A token sealed the root.
    Token,
    /// An operator's key counts no more.
    Revoked,
    /// Somebody looked from which export a file comes.
    Traced,
    /// From here on two people agree to each policy.
    FourEyes,
    /// From here on nobody has to.
    TwoEyes,
}

impl Event {
    /// The word that entries have.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Signing => "signing",
            Self::DomainKey => "domain-key",
            Self::Gone => "gone",
            Self::Enrolled => "enrolled",
            Self::Adopted => "adopted",
            Self::SecondFactor => "second-factor",
            Self::Token => "token",
            Self::Revoked => "revoked",
            Self::Traced => "traced",
            Self::FourEyes => "four-eyes",
            Self::TwoEyes => "two-eyes",
        }
    }
}

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    pub(crate) version: u32,
    /// From 1, without gaps.
    pub(crate) number: u64,
    pub(crate) time: String,
    /// SHA-256 of the line before; zeros in the first.
    pub(crate) previous: String,
    /// The check value of the root that all of it is under.
    pub(crate) root: String,
    pub(crate) event: Event,
    /// The domain and version, the operator, or nothing.
    pub(crate) subject: String,
    /// The public key that was enrolled, revoked or made to sign.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) key: Option<String>,
    /// Why, in words.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) reason: Option<String>,
    /// SHA-256 of the list of revoked operators from here on.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) sha256: Option<String>,
}

/// What is to be written.
pub(crate) struct Said<'a> {
    pub(crate) event: Event,
    pub(crate) subject: &'a str,
    pub(crate) key: Option<String>,
    pub(crate) reason: Option<&'a str>,
    pub(crate) sha256: Option<String>,
}

impl<'a> Said<'a> {
    /// An event about something, with nothing more to say.
    pub(crate) fn of(event: Event, subject: &'a str) -> Self {
        Self { event, subject, key: None, reason: None, sha256: None }
    }
}

/// The log of a folder, read and checked.
pub(crate) struct CustodyLog {
    path: PathBuf,
    root: String,
    pub(crate) entries: Vec<Entry>,
    head: [u8; 32],
    bytes: u64,
}

impl CustodyLog {
    /// Reads and checks all of it; one that is not there has no entries.
    pub(crate) fn read(folder: &KeyFolder, service: PublicKey) -> Result<Self, PseudoError> {
        let path = folder.path().join(FILE);
        let mut log =
            Self { path, root: hex(&folder.root().0), entries: Vec::new(), head: [0; 32], bytes: 0 };
        if !files::own::is_there(&log.path) {
            return Ok(log);
        }
        let mut content = files::own::read_signed(&log.path, LOG_BYTES_MAX)?;
        // what a kill left without its line end was never an entry
        content.truncate(content.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1));
        for line in content.split_inclusive(|byte| *byte == b'\n') {
            let number = log.entries.len() as u64 + 1;
            let place = || format!("{}, entry {number}", log.path.display());
            let entry: Entry =
                signed::open_by(Kind::Custody, line, service).map_err(PseudoError::signed(place()))?;
            let follows = entry.previous == hex(&log.head) && entry.number == number;
            if !follows || entry.root != log.root || entry.version != VERSION {
                let problem = "it does not follow the entry before: one was changed, added or left out";
                return Err(PseudoError::Signed { place: place(), problem: problem.to_owned() });
            }
            log.head = Sha256::digest(line).into();
            log.bytes += line.len() as u64;
            log.entries.push(entry);
        }
        Ok(log)
    }

    /// The hash of the last line.
    pub(crate) fn head(&self) -> String {
        hex(&self.head)
    }

    /// The hash that the list of revoked operators has to have; `None` if nobody was revoked.
    pub(crate) fn revoked(&self) -> Option<&str> {
        self.entries.iter().rev().find_map(|entry| entry.sha256.as_deref())
    }

    /// Whether two people have to agree to each policy under which something is made with the keys of this folder: a policy names its domain
    /// itself, so that asking for it domain by domain would ask nothing of who names another one.
    pub(crate) fn needs_four_eyes(&self) -> bool {
        // an entry about one domain, as there were before, asks for all of them and ends nothing
        let is_about = |entry: &&Entry| match entry.event {
            Event::FourEyes => true,
            Event::TwoEyes => entry.subject.is_empty(),
            _ => false,
        };
        self.entries.iter().rfind(is_about).is_some_and(|entry| entry.event == Event::FourEyes)
    }

    /// Keys that were enrolled under a name, or found enrolled.
    pub(crate) fn keys_of(&self, operator: &str) -> BTreeSet<String> {
        let is_theirs = |entry: &&Entry| {
            matches!(entry.event, Event::Enrolled | Event::Adopted) && entry.subject == operator
        };
        self.entries.iter().filter(is_theirs).filter_map(|entry| entry.key.clone()).collect()
    }

    /// Keys that were revoked.
    pub(crate) fn revoked_keys(&self) -> BTreeSet<String> {
        let revoked = self.entries.iter().filter(|entry| entry.event == Event::Revoked);
        revoked.filter_map(|entry| entry.key.clone()).collect()
    }

    /// Domain keys that are in the folder, as far as the log knows.
    fn domain_keys(&self) -> BTreeSet<String> {
        let mut keys = BTreeSet::new();
        for Entry { event, subject, .. } in &self.entries {
            match event {
                Event::Found | Event::DomainKey => {
                    keys.insert(subject.clone());
                }
                Event::Gone => {
                    keys.remove(subject);
                }
                _ => {}
            }
        }
        keys
    }

    fn push(&mut self, service: &SigningKey, said: Said<'_>) -> Result<(), PseudoError> {
        let entry = Entry {
            version: VERSION,
            number: self.entries.len() as u64 + 1,
            time: clock::text(clock::now()),
            previous: hex(&self.head),
            root: self.root.clone(),
            event: said.event,
            subject: said.subject.to_owned(),
            key: said.key,
            reason: said.reason.map(str::to_owned),
            sha256: said.sha256,
        };
        let line = signed::seal(Kind::Custody, &entry, service);
        if self.bytes + line.len() as u64 > LOG_BYTES_MAX as u64 {
            let problem = format!("{}: the custody log is full", self.path.display());
            return Err(PseudoError::usage(problem, "make another folder of keys"));
        }
        files::append(&self.path, self.bytes, &line)?;
        self.bytes += line.len() as u64;
        self.head = Sha256::digest(&line).into();
        self.entries.push(entry);
        Ok(())
    }
}

/// One ceremony at a time, until this is dropped: the second would write over the first.
pub(crate) struct Ceremony(#[expect(dead_code, reason = "it holds the lock")] File);

impl Ceremony {
    /// Waits for the one under way in a folder.
    pub(crate) fn begin(folder: &KeyFolder) -> Result<Self, PseudoError> {
        let path = folder.path();
        let lock = File::open(path).map_err(PseudoError::file("opening", path))?;
        flock(&lock, FlockOperation::LockExclusive)
            .map_err(|error| PseudoError::file("locking", path)(error.into()))?;
        Ok(Self(lock))
    }
}

/// Writes an entry, and before it what happened without one. The hash of the last line.
pub(crate) fn note(folder: &KeyFolder, service: &SigningKey, said: Said<'_>) -> Result<String, PseudoError> {
    note_within(&Ceremony::begin(folder)?, folder, service, said)
}

/// The same within a ceremony that does more than this.
pub(crate) fn note_within(
    _: &Ceremony,
    folder: &KeyFolder,
    service: &SigningKey,
    said: Said<'_>,
) -> Result<String, PseudoError> {
    let mut log = CustodyLog::read(folder, service.public())?;
    let named = folder.list()?;
    let there: BTreeSet<String> =
        named.iter().map(|name| format!("{}.{}", name.domain, name.version)).collect();
    let known = log.domain_keys();
    let is_new = |key: &&String| said.event != Event::DomainKey || **key != said.subject;
    for key in there.difference(&known).filter(is_new) {
        log.push(service, Said::of(Event::Found, key))?;
    }
    for key in known.difference(&there) {
        log.push(service, Said::of(Event::Gone, key))?;
    }
    log.push(service, said)?;
    Ok(log.head())
}
