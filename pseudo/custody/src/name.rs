//! Names of domains, field classes and data sets, and versions of keys: all that a derivation binds.

use std::fmt;

use crate::CustodyError;

/// Any name here, bytes: a derivation stores its length in one byte, and nobody reads longer names.
pub const NAME_BYTES_MAX: usize = 63;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// A name within its alphabet and length.
            pub fn new(text: &str) -> Result<Self, CustodyError> {
                check($what, text)?;
                Ok(Self(text.to_owned()))
            }

            /// The name.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// A pseudonymisation domain: whoever holds exports of one domain can join them, and no others.
    DomainName, "domain name"
}
name! {
    /// What kind of identifier a field holds; fields of one class in one domain get equal tokens for equal values.
    ClassName, "field class"
}
name! {
    /// A data set within a domain, for fields that are not to be joined with other data sets.
    DatasetName, "data set name"
}
name! {
    /// A person who makes exports or releases them.
    OperatorName, "operator name"
}

/// Version of a domain master; the first is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyVersion(u32);

impl KeyVersion {
    /// The first version of every domain.
    pub const FIRST: Self = Self(1);
    /// 16,383: a version takes 14 bits of a token in UUID form; one rotation a day lasts 44 years.
    pub const MAX: Self = Self(16_383);

    /// A version within the limits.
    pub fn new(number: u32) -> Result<Self, CustodyError> {
        if (Self::FIRST.0..=Self::MAX.0).contains(&number) {
            return Ok(Self(number));
        }
        let (least, most) = (u64::from(Self::FIRST.0), u64::from(Self::MAX.0));
        Err(CustodyError::OutsideLimits { what: "key version", found: u64::from(number), least, most })
    }

    /// The number.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for KeyVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

fn check(what: &'static str, text: &str) -> Result<(), CustodyError> {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    let begins = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if begins && text.len() <= NAME_BYTES_MAX && text.bytes().all(inner) {
        return Ok(());
    }
    Err(CustodyError::Name { what, most: NAME_BYTES_MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_to_their_alphabet_and_length() {
        for good in ["a", "team-usage", "person.email", "0_x", &"a".repeat(63)] {
            assert!(DomainName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "A", "-a", ".a", "a/b", "ä", "a b", &"a".repeat(64)] {
            assert!(DomainName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn versions_begin_at_one_and_fit_fourteen_bits() {
        assert!(KeyVersion::new(0).is_err() && KeyVersion::new(16_384).is_err());
        assert_eq!(KeyVersion::new(16_383), Ok(KeyVersion::MAX));
    }
}
