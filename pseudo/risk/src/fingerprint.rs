//! A class's name: a keyed 128-bit hash of the values of its quasi-identifiers.
//!
//! Two records are in one class when their fingerprints agree. Under a key that the data's author does not know, two
//! different combinations of values agree with probability 2^-128 per pair: below 2^-60 for ten billion combinations.
//! SipHash-2-4 is a keyed pseudorandom function: without the key nobody can tell from a fingerprint what it stands for,
//! which matters because sorted fingerprints may go to disk, and values never do.

use crate::entry::ClassKey;
use siphasher::sip128::{Hasher128, SipHasher24};
use std::hash::Hasher;

/// Bytes of the key.
pub const KEY_BYTES: usize = 16;

/// Takes the values of one record after another and names its class.
#[derive(Clone)]
pub struct Fingerprinter {
    keyed: SipHasher24,
    row: Vec<u8>,
}

/// What a cell begins with; with it its end is known, so that no two different rows give the same bytes.
const NULL: u8 = 0;
const LEVEL: u8 = 1;
/// A value whose length comes next, in eight bytes.
const LONG: u8 = 2;
/// A value of this byte less [`SHORT`] bytes.
const SHORT: u8 = 3;
/// The longest value that begins with one byte alone.
const SHORT_BYTES_MAX: usize = (u8::MAX - SHORT) as usize;

impl Fingerprinter {
    /// A fingerprinter under this key.
    pub fn new(key: &[u8; KEY_BYTES]) -> Self {
        Self { keyed: SipHasher24::new_with_key(key), row: Vec::new() }
    }

    /// Adds a cell with a value.
    pub fn value(&mut self, value: &[u8]) {
        match u8::try_from(value.len()) {
            Ok(bytes) if value.len() <= SHORT_BYTES_MAX => self.row.push(SHORT + bytes),
            _ => {
                self.row.push(LONG);
                self.row.extend_from_slice(&(value.len() as u64).to_le_bytes());
            }
        }
        self.row.extend_from_slice(value);
    }

    /// Adds a cell without a value, which is not the same as an empty value.
    pub fn null(&mut self) {
        self.row.push(NULL);
    }

    /// Adds a cell that a hierarchy made coarser, by the code that its level gives it.
    pub fn level(&mut self, code: u32) {
        self.row.push(LEVEL);
        self.row.extend_from_slice(&code.to_le_bytes());
    }

    /// The class of the record whose cells were added, and makes ready for the next record.
    pub fn finish(&mut self) -> ClassKey {
        let mut hasher = self.keyed;
        hasher.write(&self.row);
        self.row.clear();
        let hash = hasher.finish128();
        ClassKey { high: hash.h1, low: hash.h2 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(key: u8, cells: &[Option<&[u8]>]) -> ClassKey {
        let mut fingerprinter = Fingerprinter::new(&[key; KEY_BYTES]);
        for cell in cells {
            match cell {
                Some(value) => fingerprinter.value(value),
                None => fingerprinter.null(),
            }
        }
        fingerprinter.finish()
    }

    #[test]
    fn rows_agree_exactly_when_all_their_cells_do() {
        assert_eq!(of(1, &[Some(b"ab"), Some(b"c")]), of(1, &[Some(b"ab"), Some(b"c")]));
        let different: [&[Option<&[u8]>]; 6] = [
            &[Some(b"ab"), Some(b"c")],
            &[Some(b"a"), Some(b"bc")],
            &[Some(b"abc"), Some(b"")],
            &[Some(b"abc"), None],
            &[None, Some(b"abc")],
            &[Some(b"abc")],
        ];
        for (index, left) in different.iter().enumerate() {
            for right in &different[index + 1..] {
                assert_ne!(of(1, left), of(1, right));
            }
        }
    }

    #[test]
    fn values_of_every_length_keep_apart() {
        let long = [b'x'; 3 * SHORT_BYTES_MAX];
        let mut seen = std::collections::HashSet::new();
        for length in 0..long.len() {
            assert!(seen.insert(of(1, &[Some(&long[..length])])));
            assert!(seen.insert(of(1, &[Some(&long[..length]), Some(&long[length..])])));
        }
    }

    #[test]
    fn another_key_names_classes_differently() {
        assert_ne!(of(1, &[Some(b"ab")]), of(2, &[Some(b"ab")]));
    }

    #[test]
    fn a_fingerprinter_forgets_the_record_it_finished() {
        let mut fingerprinter = Fingerprinter::new(&[1; KEY_BYTES]);
        fingerprinter.value(b"first");
        fingerprinter.finish();
        fingerprinter.value(b"ab");
        assert_eq!(fingerprinter.finish(), of(1, &[Some(b"ab")]));
    }
}
