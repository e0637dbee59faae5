//! The characters of a format-preserving field: `0-9`, `A-Z0-9` and the like.

use crate::TransformError;

/// The order of the characters is the order of their digits, so it belongs to the key: a policy never changes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alphabet {
    characters: Vec<u8>,
    digits: Box<[u8; 256]>,
}

const NONE: u8 = 0xff;
const TECHNIQUE: &str = "ff1";

impl Alphabet {
    /// From ranges and single characters of printable ASCII, in their order; a `-` first or last stands for itself.
    pub fn new(ranges: &str) -> Result<Self, TransformError> {
        let problem = |problem| TransformError::Parameter { technique: TECHNIQUE, problem };
        let bytes = ranges.as_bytes();
        let mut characters = Vec::new();
        let mut index = 0;
        while index < bytes.len() {
            let first = bytes[index];
            let last = match bytes.get(index + 1..index + 3) {
                Some([b'-', last]) => {
                    index += 3;
                    *last
                }
                _ => {
                    index += 1;
                    first
                }
            };
            if first > last {
                return Err(problem("a range of the alphabet runs backwards"));
            }
            characters.extend(first..=last);
        }
        let mut digits = Box::new([NONE; 256]);
        for (digit, character) in characters.iter().enumerate() {
            if !(0x20..0x7f).contains(character) {
                return Err(problem("an alphabet is of printable ASCII characters"));
            }
            if digits[usize::from(*character)] != NONE {
                return Err(problem("the alphabet names a character twice"));
            }
            digits[usize::from(*character)] = u8::try_from(digit).expect("printable ASCII has 95 characters");
        }
        if characters.len() < 2 {
            return Err(problem("an alphabet has two characters or more"));
        }
        Ok(Self { characters, digits })
    }

    /// Number of characters.
    pub fn radix(&self) -> u32 {
        u32::try_from(self.characters.len()).expect("printable ASCII has 95 characters")
    }

    pub(crate) fn digit(&self, character: u8) -> Option<u8> {
        Some(self.digits[usize::from(character)]).filter(|digit| *digit != NONE)
    }

    pub(crate) fn character(&self, digit: u8) -> u8 {
        self.characters[usize::from(digit)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_in_order() {
        let alphabet = Alphabet::new("A-C0-2-").unwrap();
        assert_eq!(alphabet.characters, b"ABC012-");
        assert_eq!((alphabet.radix(), alphabet.digit(b'0'), alphabet.digit(b'x')), (7, Some(3), None));
    }

    #[test]
    fn what_is_no_alphabet_is_refused() {
        for ranges in ["", "a", "aa", "z-a", "a-cb", "ä-ö", "0-9\n"] {
            assert!(Alphabet::new(ranges).is_err(), "{ranges:?}");
        }
    }
}
