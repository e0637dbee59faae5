//! Dates moved by a number of days per person: distances between a person's dates stay, the dates do not.

use custody::FieldKey;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::error::within;
use crate::{Clear, Kind, Moment, Place, TimeUnit, TransformError};

/// A year to either side: more would mix generations of data and hides no better.
pub const SHIFT_DAYS_MAX: u32 = 366;

const TECHNIQUE: &str = "date-shift";

/// A shift of at most so many days to either side.
pub struct DateShift {
    keyed: Hmac<Sha256>,
    days_max: u32,
    unit: TimeUnit,
}

impl DateShift {
    /// Under this key (of purpose [`custody::Purpose::DateShift`]); what comes out is no more exact than `unit`.
    pub fn new(key: &FieldKey, days_max: u32, unit: TimeUnit) -> Result<Self, TransformError> {
        within("date-shift days", u64::from(days_max), 1, u64::from(SHIFT_DAYS_MAX))?;
        let keyed = Hmac::new_from_slice(key.expose_half()).expect("HMAC takes keys of any length");
        Ok(Self { keyed, days_max, unit })
    }

    /// The days of a person, evenly from `-days_max` to `days_max`.
    pub fn days(&self, person: &[u8]) -> i64 {
        let mut mac = self.keyed.clone();
        mac.update(person);
        let full = mac.finalize().into_bytes();
        let random = u64::from_be_bytes(*full.first_chunk().expect("an HMAC-SHA-256 has 32 bytes"));
        // 64 bits spread over some hundred days: no day is likelier than another by more than 2^-54
        let spread = u128::from(random) * u128::from(2 * self.days_max + 1);
        i64::try_from(spread >> 64).expect("below the number of days") - i64::from(self.days_max)
    }

    /// Appends the moved date.
    pub fn apply(
        &self,
        value: &Clear<'_>,
        place: &Place<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Kind, TransformError> {
        match value {
            Clear::Null => Ok(Kind::Null),
            Clear::Text(text) => {
                let person = place.person.identifier().ok_or(TransformError::NoPerson)?;
                Moment::parse(text)?.plus_days(self.days(person.as_bytes()))?.write(self.unit, out);
                Ok(Kind::Text)
            }
            _ => Err(TransformError::Type { technique: TECHNIQUE }),
        }
    }
}
