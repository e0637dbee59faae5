//! Values that few records have are left out. A first pass counts, a second one decides; only keyed hashes are kept between.

use std::collections::HashMap;

use custody::FieldKey;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::error::within;
use crate::{Clear, Kind, TransformError};

/// Distinct values that are counted: some 100 MB. A field with more is an identifier, for which this is the wrong technique.
pub const RARE_VALUES_MAX: usize = 4_000_000;

const COUNT_MIN_MAX: u64 = 1_000_000;

/// Counts values.
pub struct RareCounter {
    keyed: Hmac<Sha256>,
    counts: HashMap<u64, u32>,
    count_min: u32,
}

/// Knows which values are rare.
#[derive(Clone)]
pub struct RareValues {
    keyed: Hmac<Sha256>,
    counts: HashMap<u64, u32>,
    count_min: u32,
}

impl RareCounter {
    /// Under this key (of purpose [`custody::Purpose::Count`]); a value in fewer than `count_min` records is rare.
    pub fn new(key: &FieldKey, count_min: u32) -> Result<Self, TransformError> {
        within("records of a value that is not rare", u64::from(count_min), 2, COUNT_MIN_MAX)?;
        let keyed = Hmac::new_from_slice(key.expose_half()).expect("HMAC takes keys of any length");
        Ok(Self { keyed, counts: HashMap::new(), count_min })
    }

    /// Counts one record's value.
    pub fn count(&mut self, value: &Clear<'_>) -> Result<(), TransformError> {
        let Some(hash) = hash(&self.keyed, value) else { return Ok(()) };
        let count = self.counts.entry(hash).or_insert(0);
        *count = count.saturating_add(1);
        if self.counts.len() > RARE_VALUES_MAX {
            return Err(TransformError::TooManyValues { most: RARE_VALUES_MAX });
        }
        Ok(())
    }

    /// All has been counted.
    pub fn finish(self) -> RareValues {
        let Self { keyed, mut counts, count_min } = self;
        counts.retain(|_, count| *count >= count_min);
        RareValues { keyed, counts, count_min }
    }
}

impl RareValues {
    /// Appends the value unless it is rare.
    pub fn apply(&self, value: &Clear<'_>, out: &mut Vec<u8>) -> Result<Kind, TransformError> {
        if hash(&self.keyed, value).is_none_or(|hash| !self.counts.contains_key(&hash)) {
            return Ok(Kind::Null);
        }
        crate::technique::keep(value, out)
    }

    /// In how many records a value is for it to be kept.
    pub fn count_min(&self) -> u32 {
        self.count_min
    }
}

fn hash(keyed: &Hmac<Sha256>, value: &Clear<'_>) -> Option<u64> {
    let text = match value {
        Clear::Null => return None,
        Clear::Text(text) | Clear::Number(text) => text,
        Clear::Boolean(true) => "true",
        Clear::Boolean(false) => "false",
    };
    let mut mac = keyed.clone();
    mac.update(text.as_bytes());
    let full = mac.finalize().into_bytes();
    Some(u64::from_le_bytes(*full.first_chunk().expect("an HMAC-SHA-256 has 32 bytes")))
}
