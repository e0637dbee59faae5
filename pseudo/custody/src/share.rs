//! One person's share of a root, as bytes and as text for paper or a password manager.

use std::fmt;

use zeroize::Zeroizing;

use crate::CustodyError;
use crate::frame::{self, Frame};
use crate::root::{CHECK_BYTES, RootCheck, SHARES_MAX, THRESHOLD_MIN};
use crate::secret::{KEY_BYTES, Secret};

/// A share, bytes: head 6, threshold, count, index, zero 3, check 16, share 32, checksum 4.
pub const SHARE_BYTES: usize = frame::HEAD_BYTES + 6 + CHECK_BYTES + KEY_BYTES + frame::CHECKSUM_BYTES;
const SHARE: Frame = Frame { what: "share", magic: *b"TKPS", bytes_max: SHARE_BYTES };
/// Characters of text that are read at all: the digits with as much space between them as anyone types.
const TEXT_BYTES_MAX: usize = 16 * SHARE_BYTES;
/// Digits between two spaces.
const GROUP_DIGITS: usize = 8;

/// One share of a root.
pub struct Share {
    pub(crate) threshold: u8,
    pub(crate) count: u8,
    pub(crate) index: u8,
    pub(crate) check: RootCheck,
    pub(crate) secret: Secret<KEY_BYTES>,
}

impl Share {
    /// Which of the shares this is, from 1.
    pub fn index(&self) -> u8 {
        self.index
    }

    /// How many of them give the root.
    pub fn threshold(&self) -> u8 {
        self.threshold
    }

    /// How many there are.
    pub fn count(&self) -> u8 {
        self.count
    }

    /// The root it belongs to.
    pub fn root(&self) -> RootCheck {
        self.check
    }

    /// The share as bytes.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = SHARE.begin();
        bytes.extend_from_slice(&[self.threshold, self.count, self.index, 0, 0, 0]);
        bytes.extend_from_slice(&self.check.0);
        bytes.extend_from_slice(self.secret.bytes());
        Zeroizing::new(SHARE.finish(bytes))
    }

    /// The share in bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, CustodyError> {
        let fields = SHARE.open(bytes)?;
        let damaged = CustodyError::Damaged { what: SHARE.what };
        let Some((&[threshold, count, index, 0, 0, 0], rest)) = fields.split_first_chunk() else {
            return Err(damaged);
        };
        let Some((check, secret)) = rest.split_first_chunk() else { return Err(damaged) };
        let sane = (THRESHOLD_MIN..=count).contains(&threshold)
            && (1..=count).contains(&index)
            && count <= SHARES_MAX
            && secret.len() == KEY_BYTES;
        if !sane {
            return Err(damaged);
        }
        let secret = Secret::fill(|bytes| {
            bytes.copy_from_slice(secret);
            Ok::<(), CustodyError>(())
        });
        Ok(Self { threshold, count, index, check: RootCheck(*check), secret: secret? })
    }

    /// The bytes in hexadecimal, in groups.
    pub fn to_text(&self) -> Zeroizing<String> {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let bytes = self.encode();
        let mut text = Zeroizing::new(String::with_capacity(3 * SHARE_BYTES));
        for (at, byte) in bytes.iter().enumerate() {
            if at > 0 && at % (GROUP_DIGITS / 2) == 0 {
                text.push(' ');
            }
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        text
    }

    /// The share in text that [`Share::to_text`] gave, white space and case aside.
    pub fn from_text(text: &str) -> Result<Self, CustodyError> {
        let other = CustodyError::NotThisFormat { what: SHARE.what };
        if text.len() > TEXT_BYTES_MAX {
            return Err(other);
        }
        // room for all of it at once: growing would leave parts behind
        let mut bytes = Zeroizing::new(Vec::with_capacity(text.len() / 2 + 1));
        let mut half = None;
        for character in text.chars().filter(|character| !character.is_whitespace()) {
            let Some(digit) = character.to_digit(16).and_then(|digit| u8::try_from(digit).ok()) else {
                return Err(other);
            };
            match half.take() {
                Some(high) => bytes.push(high << 4 | digit),
                None => half = Some(digit),
            }
        }
        if half.is_some() {
            return Err(other);
        }
        Self::decode(&bytes)
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Share").field("index", &self.index).field("root", &self.check).finish_non_exhaustive()
    }
}
