//! Spellings of one identifier made equal, before a technique sees them.
//!
//! A normaliser has a name and a version, `email@1`; what it gives never changes under one version, because tokens of years
//! would no longer meet. A policy may leave the version out and gets the newest, which goes into the record of its run.

use std::fmt;

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use crate::TransformError;

/// Names of all normalisers, with their newest version; `e164` takes the calling code of numbers without one behind a colon.
pub const NORMALISERS: &[&str] =
    &["nfc@1", "trim@1", "lower@1", "spaces@1", "digits@1", "email@1", "email-base@1", "e164:49@1"];

/// Identifiers are short; what is longer is refused before it is copied.
const INPUT_BYTES_MAX: usize = 64 << 10;

/// One normaliser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Normaliser {
    /// Unicode normalisation form C (tables of Unicode 17).
    Nfc,
    /// Without white space (Unicode `White_Space`) at both ends.
    Trim,
    /// Lower case by Unicode's full mapping, character by character without regard to language or to the end of a word, then
    /// form C again.
    Lower,
    /// Runs of white space made one space each, none at the ends.
    Spaces,
    /// ASCII digits and nothing else.
    Digits,
    /// An e-mail address, trimmed and in lower case. Refuses what has not one `@` with something on both sides.
    Email,
    /// As `email`, without what follows a `+` in the local part.
    EmailBase,
    /// A telephone number as `+` and 7 to 15 digits; a number without calling code gets this one.
    E164 {
        /// Calling code, such as 49.
        calling_code: u16,
    },
}

impl Normaliser {
    /// Reads `email` or `email@1`.
    pub fn parse(name: &str) -> Option<Self> {
        let base = match name.split_once('@') {
            Some((base, "1")) => base,
            Some(_) => return None,
            None => name,
        };
        Some(match base {
            "nfc" => Self::Nfc,
            "trim" => Self::Trim,
            "lower" => Self::Lower,
            "spaces" => Self::Spaces,
            "digits" => Self::Digits,
            "email" => Self::Email,
            "email-base" => Self::EmailBase,
            _ => {
                let code = base.strip_prefix("e164:")?;
                let is_code = (1..=3).contains(&code.len())
                    && !code.starts_with('0')
                    && code.bytes().all(|byte| byte.is_ascii_digit());
                Self::E164 { calling_code: code.parse().ok().filter(|_| is_code)? }
            }
        })
    }

    /// Puts the normal form of `text` in place of what is in `out`.
    pub fn apply(self, text: &str, out: &mut String) -> Result<(), TransformError> {
        out.clear();
        if text.len() > INPUT_BYTES_MAX {
            return Err(TransformError::TooLong { technique: "a normaliser", most: INPUT_BYTES_MAX });
        }
        match self {
            Self::Nfc => nfc(text, out),
            Self::Trim => out.push_str(text.trim()),
            Self::Lower => lower(text, out),
            Self::Spaces => {
                for word in text.split_whitespace() {
                    if !out.is_empty() {
                        out.push(' ');
                    }
                    out.push_str(word);
                }
            }
            Self::Digits => out.extend(text.chars().filter(char::is_ascii_digit)),
            Self::Email => email(text, false, out)?,
            Self::EmailBase => email(text, true, out)?,
            Self::E164 { calling_code } => e164(text, calling_code, out)?,
        }
        Ok(())
    }
}

impl fmt::Display for Normaliser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Nfc => "nfc",
            Self::Trim => "trim",
            Self::Lower => "lower",
            Self::Spaces => "spaces",
            Self::Digits => "digits",
            Self::Email => "email",
            Self::EmailBase => "email-base",
            Self::E164 { calling_code } => return write!(f, "e164:{calling_code}@1"),
        };
        write!(f, "{name}@1")
    }
}

fn nfc(text: &str, out: &mut String) {
    if text.is_ascii() || is_nfc_quick(text.chars()) == IsNormalized::Yes {
        out.push_str(text);
    } else {
        out.extend(text.nfc());
    }
}

/// Appends a text in lower case, composed.
pub(crate) fn lower(text: &str, out: &mut String) {
    if text.is_ascii() {
        out.push_str(text);
        out.make_ascii_lowercase();
    } else {
        out.extend(text.chars().flat_map(char::to_lowercase).nfc());
    }
}

fn email(text: &str, base: bool, out: &mut String) -> Result<(), TransformError> {
    const WANTED: &str = "an e-mail address";
    let text = text.trim();
    let refused = TransformError::Form { wanted: WANTED };
    let Some((local, domain)) = text.split_once('@') else { return Err(refused) };
    let local = if base { local.split('+').next().unwrap_or_default() } else { local };
    let hostile = |character: char| character.is_whitespace() || character.is_control();
    if local.is_empty() || domain.is_empty() || domain.contains('@') || text.contains(hostile) {
        return Err(refused);
    }
    lower(local, out);
    out.push('@');
    let mut lowered = String::new();
    lower(domain, &mut lowered);
    out.push_str(&lowered);
    Ok(())
}

/// E.164 has 15 digits at most; numbers of fewer than 7 digits are no numbers of persons.
const E164_DIGITS: std::ops::RangeInclusive<usize> = 7..=15;

fn e164(text: &str, calling_code: u16, out: &mut String) -> Result<(), TransformError> {
    const WANTED: &str = "a telephone number";
    let is_separator =
        |character: char| character.is_whitespace() || "-./()\u{2010}\u{2011}\u{2013}".contains(character);
    let text = text.trim();
    // a trunk zero in brackets belongs to neither form of the number
    let text = text.replace("(0)", "");
    let (has_code, rest) = match text.strip_prefix('+').or_else(|| text.strip_prefix("00")) {
        Some(rest) => (true, rest),
        None => (false, text.as_str()),
    };
    let mut digits = String::new();
    for character in rest.chars().filter(|character| !is_separator(*character)) {
        if !character.is_ascii_digit() {
            return Err(TransformError::Form { wanted: WANTED });
        }
        digits.push(character);
    }
    if !has_code {
        let own = digits.strip_prefix('0').unwrap_or(&digits);
        digits = format!("{calling_code}{own}");
    }
    if !E164_DIGITS.contains(&digits.len()) || digits.starts_with('0') {
        return Err(TransformError::Form { wanted: WANTED });
    }
    out.push('+');
    out.push_str(&digits);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(name: &str, text: &str) -> Result<String, TransformError> {
        let mut out = "left over".to_owned();
        Normaliser::parse(name).unwrap().apply(text, &mut out).map(|()| out)
    }

    #[test]
    fn names_have_versions() {
        for name in NORMALISERS {
            assert_eq!(Normaliser::parse(name).unwrap().to_string(), *name);
        }
        assert_eq!(Normaliser::parse("email"), Some(Normaliser::Email));
        for name in [
            "email@2",
            "email@",
            "",
            "@1",
            "e164",
            "e164:",
            "e164:0",
            "e164:049",
            "e164:1234",
            "e164:+49",
            "NFC",
        ] {
            assert_eq!(Normaliser::parse(name), None, "{name}");
        }
    }

    #[test]
    fn spellings_of_one_identifier_meet() {
        for (name, spellings, expected) in [
            ("nfc", &["M\u{fc}ller", "Mu\u{308}ller"][..], "M\u{fc}ller"),
            ("trim", &[" a b\t", "a b\u{a0}"], "a b"),
            ("lower", &["MU\u{308}LLER", "M\u{dc}LLER"], "m\u{fc}ller"),
            ("spaces", &["  Ada \t Lovelace\n", "Ada Lovelace"], "Ada Lovelace"),
            ("digits", &["DE-12 34", "1234"], "1234"),
            ("email", &[" Ada@Example.ORG", "ada@example.org "], "ada@example.org"),
            ("email-base", &["Ada+shop@Example.org", "ada@example.org"], "ada@example.org"),
            (
                "e164:49",
                &["+49 (0)30 123-456", "0049 30 123456", "030/123456", "030 123 456", "+4930123456"],
                "+4930123456",
            ),
        ] {
            for spelling in spellings {
                assert_eq!(normal(name, spelling).unwrap(), expected, "{name}: {spelling}");
            }
        }
    }

    #[test]
    fn what_is_no_address_or_number_is_refused() {
        for text in ["", "ada", "@example.org", "ada@", "a@b@c", "a b@c", "a\u{7}@c"] {
            assert!(normal("email", text).is_err(), "{text}");
        }
        assert!(normal("email-base", "+tag@example.org").is_err());
        for text in ["", "12", "+", "030 12a456", "+0123456789", "+1234567890123456", "extension 5"] {
            assert!(normal("e164:49", text).is_err(), "{text}");
        }
        assert!(normal("trim", &"a".repeat(INPUT_BYTES_MAX + 1)).is_err());
    }
}
