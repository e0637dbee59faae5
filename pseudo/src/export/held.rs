//! What exports hold already: their sources by place and content, so that an incremental export has each of them once.

use crate::PseudoError;
use crate::manifest::Source;
use sha2::{Digest, Sha256};
use std::collections::HashSet;

/// Bytes of a fingerprint: two of ten million are the same by chance once in 10^24.
const FINGERPRINT_BYTES: usize = 16;
/// Sources that the exports of one job hold together, at most: some hundred MiB while an export begins.
pub(crate) const HELD_MAX: usize = 4_000_000;

/// What a source is told by: where it lies, and its content. The same content put there again is the same source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Fingerprint(pub(crate) [u8; FINGERPRINT_BYTES]);

/// Fingerprints of sources that are held.
#[derive(Debug, Default)]
pub(crate) struct Held(HashSet<Fingerprint>);

impl Fingerprint {
    pub(crate) fn of(bucket: &str, key: &str, etag: &str, bytes: u64) -> Self {
        let mut hasher = Sha256::new();
        for part in [bucket, key, etag] {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        hasher.update(bytes.to_le_bytes());
        let hash = hasher.finalize();
        let mut print = [0; FINGERPRINT_BYTES];
        print.copy_from_slice(&hash[..FINGERPRINT_BYTES]);
        Self(print)
    }

    /// Of a source that was pinned.
    pub(crate) fn of_source(source: &Source) -> Self {
        let etag = source.pin.etag.as_deref().unwrap_or_default();
        Self::of(&source.bucket, &source.key, etag, source.pin.bytes)
    }
}

impl Held {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn has(&self, print: &Fingerprint) -> bool {
        self.0.contains(print)
    }

    /// Adds what an export holds.
    pub(crate) fn add(&mut self, prints: &[Fingerprint]) -> Result<(), PseudoError> {
        self.0.extend(prints);
        if self.0.len() > HELD_MAX {
            let problem = format!("the exports of this job hold more than {HELD_MAX} sources");
            let advice = "give the job another name, and sources that no export of it holds";
            return Err(PseudoError::usage(problem, advice));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_told_by_its_place_and_its_content() {
        let print = Fingerprint::of("b", "a/c", "\"1\"", 7);
        let others = [
            Fingerprint::of("ba", "/c", "\"1\"", 7),
            Fingerprint::of("b", "a/c", "\"2\"", 7),
            Fingerprint::of("b", "a/c", "\"1\"", 8),
        ];
        let mut held = Held::default();
        held.add(&[print]).unwrap();
        assert!(held.has(&Fingerprint::of("b", "a/c", "\"1\"", 7)));
        assert!(others.iter().all(|other| !held.has(other)));
    }
}
