//! What was acknowledged, and therefore what must be there after a crash: nothing lost, nothing phantom, every byte right.
//!
//! Each key has one writer, so its acknowledgements have an order. Contents name their key and serial and repeat from
//! them, so any bytes read back say which write they came from. A write without an answer may be there whole, now or
//! later, or never; a mixture of two writes is always a violation.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display, Formatter};

use crate::random::Random;
use crate::s3::{Failure, Written};

/// Which write of a key, counted from one; zero is the absent key.
pub type Serial = u64;

/// What a check found wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The key or version.
    pub place: String,
    /// What was wrong.
    pub kind: ViolationKind,
}

/// The kinds of wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ViolationKind {
    /// Acknowledged and not there: an older write or nothing was read.
    Lost {
        /// The serials that would have been right.
        allowed: Vec<Serial>,
        /// The serial that was read; zero when the key was absent.
        seen: Serial,
    },
    /// Bytes that no write of this key made.
    WrongBytes,
    /// A version or key that no write made.
    Phantom,
}

impl Display for Violation {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {:?}", self.place, self.kind)
    }
}

#[derive(Debug, Default, Clone)]
struct Track {
    next: Serial,
    acknowledged: Serial,
    unknown: BTreeSet<Serial>,
    lengths: BTreeMap<Serial, usize>,
    versions: BTreeMap<String, Serial>,
    markers: BTreeSet<String>,
}

/// The ledger of one writer and its keys.
#[derive(Debug, Default, Clone)]
pub struct Ledger {
    keys: BTreeMap<String, Track>,
    acknowledged_count: u64,
    unknown_count: u64,
    reasons: BTreeMap<String, u64>,
}

impl Ledger {
    /// An empty ledger.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a write: its serial, and the contents to write.
    pub fn begin_write(&mut self, key: &str, length: usize) -> (Serial, Vec<u8>) {
        let serial = self.begin(key);
        let body = content(key, serial, length);
        self.track(key).lengths.insert(serial, body.len());
        (serial, body)
    }

    /// Begins a delete.
    pub fn begin_delete(&mut self, key: &str) -> Serial {
        self.begin(key)
    }

    /// Notes how a write or delete ended.
    pub fn end(&mut self, key: &str, serial: Serial, result: &Result<Written, Failure>) {
        match result {
            Ok(written) => {
                self.acknowledged_count += 1;
                let track = self.track(key);
                track.acknowledged = serial;
                let is_write = track.lengths.contains_key(&serial);
                match &written.version {
                    Some(version) if is_write => drop(track.versions.insert(version.clone(), serial)),
                    Some(version) => drop(track.markers.insert(version.clone())),
                    None => {}
                }
            }
            Err(Failure::Unknown { reason }) => {
                self.unknown_count += 1;
                *self.reasons.entry(summary(reason)).or_default() += 1;
                self.track(key).unknown.insert(serial);
            }
            Err(Failure::Refused { .. }) => {}
        }
    }

    /// Every key ever written.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.keys().map(String::as_str)
    }

    /// Every acknowledged version: key and version id.
    pub fn versions(&self) -> impl Iterator<Item = (&str, &str)> {
        self.keys.iter().flat_map(|(key, track)| {
            track.versions.keys().map(move |version| (key.as_str(), version.as_str()))
        })
    }

    /// How many writes and deletes were acknowledged, and how many ended unknown.
    pub fn counts(&self) -> (u64, u64) {
        (self.acknowledged_count, self.unknown_count)
    }

    /// Why writes have no answer, and how many have none for this reason.
    pub fn reasons(&self) -> &BTreeMap<String, u64> {
        &self.reasons
    }

    /// Checks what a read of a key's current object saw.
    pub fn check_current(&self, key: &str, seen: Option<&[u8]>) -> Result<(), Violation> {
        let violation = |kind| Err(Violation { place: key.to_owned(), kind });
        let Some(track) = self.keys.get(key) else {
            return if seen.is_none() { Ok(()) } else { violation(ViolationKind::Phantom) };
        };
        let mut allowed: Vec<Serial> = track.unknown.iter().copied().chain([track.acknowledged]).collect();
        allowed.sort_unstable();
        let serial = match seen {
            None => 0,
            Some(bytes) => match self.serial_of(key, bytes) {
                Some(serial) => serial,
                None => return violation(ViolationKind::WrongBytes),
            },
        };
        let explains = |candidate: &Serial| match seen {
            Some(_) => *candidate == serial,
            None => !track.lengths.contains_key(candidate),
        };
        if allowed.iter().any(explains) {
            Ok(())
        } else {
            violation(ViolationKind::Lost { allowed, seen: serial })
        }
    }

    /// Checks what a read of one acknowledged version saw.
    pub fn check_version(&self, key: &str, version: &str, seen: Option<&[u8]>) -> Result<(), Violation> {
        let violation = |kind| Err(Violation { place: format!("{key} version {version}"), kind });
        let Some(wanted) = self.keys.get(key).and_then(|track| track.versions.get(version)) else {
            return violation(ViolationKind::Phantom);
        };
        match seen.map(|bytes| self.serial_of(key, bytes)) {
            Some(Some(serial)) if serial == *wanted => Ok(()),
            Some(Some(seen)) => violation(ViolationKind::Lost { allowed: vec![*wanted], seen }),
            Some(None) => violation(ViolationKind::WrongBytes),
            None => violation(ViolationKind::Lost { allowed: vec![*wanted], seen: 0 }),
        }
    }

    /// Checks a listing of all versions: every acknowledged one is in it, and no more others than writes without an answer.
    pub fn check_version_list(&self, listed: &[crate::s3::Entry]) -> Vec<Violation> {
        let mut violations = Vec::new();
        for (key, track) in &self.keys {
            let of_key: Vec<_> = listed.iter().filter(|entry| &entry.key == key).collect();
            let known = track.versions.keys().chain(&track.markers);
            for version in known.filter(|version| !of_key.iter().any(|entry| &&entry.version == version)) {
                let allowed = track.versions.get(version).copied().into_iter().collect();
                let place = format!("{key} version {version} in the listing");
                violations.push(Violation { place, kind: ViolationKind::Lost { allowed, seen: 0 } });
            }
            let extra = of_key.len().saturating_sub(track.versions.len() + track.markers.len());
            if extra > track.unknown.len() {
                violations.push(Violation { place: key.clone(), kind: ViolationKind::Phantom });
            }
        }
        let strangers = listed.iter().filter(|entry| !self.keys.contains_key(&entry.key));
        violations.extend(
            strangers.map(|entry| Violation { place: entry.key.clone(), kind: ViolationKind::Phantom }),
        );
        violations
    }

    fn begin(&mut self, key: &str) -> Serial {
        let track = self.track(key);
        track.next += 1;
        track.next
    }

    fn track(&mut self, key: &str) -> &mut Track {
        self.keys.entry(key.to_owned()).or_default()
    }

    /// Which write of this key made these bytes, if one did and every byte is right.
    fn serial_of(&self, key: &str, bytes: &[u8]) -> Option<Serial> {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let head = std::str::from_utf8(&bytes[..end]).ok()?;
        let serial = head.strip_prefix(key)?.strip_prefix('#')?.parse().ok()?;
        let length = *self.keys.get(key)?.lengths.get(&serial)?;
        (content(key, serial, length) == bytes).then_some(serial)
    }
}

/// A reason without what differs from request to request: the status and S3 code when there are some.
fn summary(reason: &str) -> String {
    match (reason.split(' ').next(), crate::s3::first(reason, "Code"), crate::s3::first(reason, "Message")) {
        (Some(status), Some(code), message) => format!("{status} {code}: {}", message.unwrap_or_default()),
        _ => reason.chars().take(80).collect(),
    }
}

/// The contents of one write: a line that names it, then bytes that repeat from it, at least `length` in all unless the line is longer.
pub fn content(key: &str, serial: Serial, length: usize) -> Vec<u8> {
    let mut body = format!("{key}#{serial}\n").into_bytes();
    let seed = key.bytes().fold(serial, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3));
    let rest = length.saturating_sub(body.len());
    body.extend(Random::from_seed(seed).bytes(rest));
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::Entry;

    fn acknowledged(version: &str) -> Result<Written, Failure> {
        Ok(Written { version: Some(version.to_owned()), etag: String::new() })
    }

    fn unknown() -> Result<Written, Failure> {
        Err(Failure::Unknown { reason: "cut".into() })
    }

    #[test]
    fn the_last_acknowledged_write_must_be_read() {
        let mut ledger = Ledger::new();
        let (first, old) = ledger.begin_write("key", 100);
        ledger.end("key", first, &acknowledged("a"));
        let (second, new) = ledger.begin_write("key", 200);
        ledger.end("key", second, &acknowledged("b"));
        assert_eq!(ledger.check_current("key", Some(&new)), Ok(()));
        assert!(matches!(
            ledger.check_current("key", Some(&old)).unwrap_err().kind,
            ViolationKind::Lost { .. }
        ));
        assert!(matches!(ledger.check_current("key", None).unwrap_err().kind, ViolationKind::Lost { .. }));
        assert!(ledger.check_version("key", "a", Some(&old)).is_ok());
        assert!(ledger.check_version("key", "a", Some(&new)).is_err());
    }

    #[test]
    fn a_write_without_an_answer_may_be_there_whole_but_not_in_part() {
        let mut ledger = Ledger::new();
        let (serial, mut body) = ledger.begin_write("key", 100);
        ledger.end("key", serial, &unknown());
        assert_eq!(ledger.check_current("key", Some(&body)), Ok(()));
        assert_eq!(ledger.check_current("key", None), Ok(()));
        body[50] ^= 1;
        assert_eq!(ledger.check_current("key", Some(&body)).unwrap_err().kind, ViolationKind::WrongBytes);
        assert_eq!(
            ledger.check_current("key", Some(&body[..60])).unwrap_err().kind,
            ViolationKind::WrongBytes
        );
    }

    #[test]
    fn a_deleted_key_that_comes_back_is_caught() {
        let mut ledger = Ledger::new();
        let (serial, body) = ledger.begin_write("key", 10);
        ledger.end("key", serial, &acknowledged("a"));
        let gone = ledger.begin_delete("key");
        ledger.end("key", gone, &acknowledged("marker"));
        assert_eq!(ledger.check_current("key", None), Ok(()));
        assert!(ledger.check_current("key", Some(&body)).is_err());
    }

    #[test]
    fn a_listing_without_an_acknowledged_version_or_with_a_phantom_is_caught() {
        let mut ledger = Ledger::new();
        let (serial, _) = ledger.begin_write("key", 10);
        ledger.end("key", serial, &acknowledged("a"));
        let entry = |key: &str, version: &str| Entry {
            key: key.into(),
            version: version.into(),
            is_delete_marker: false,
            size: Some(1),
        };
        assert!(ledger.check_version_list(&[entry("key", "a")]).is_empty());
        assert_eq!(ledger.check_version_list(&[]).len(), 1);
        assert_eq!(ledger.check_version_list(&[entry("key", "a"), entry("key", "b")]).len(), 1);
        assert_eq!(ledger.check_version_list(&[entry("key", "a"), entry("other", "b")]).len(), 1);
    }
}
