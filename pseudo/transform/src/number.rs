//! Decimal numbers, exactly: what buckets and limits compare. Floating point would put a value on the wrong side of an edge.

use std::fmt;

use crate::TransformError;

const WANTED: &str = "a decimal number below 10^18";
/// Decimal places kept; further ones are cut off, towards minus infinity.
const PLACES: u32 = 9;
const SCALE: i128 = 10_i128.pow(PLACES);
/// Digits before the point.
const WHOLE_DIGITS_MAX: i32 = 18;
/// 400: longer than any number of double precision is written.
const TEXT_BYTES_MAX: usize = 400;

/// A number with nine decimal places, below 10^18.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Decimal(i128);

impl Decimal {
    /// Reads a number as JSON writes it; a leading `+`, leading zeros and a missing digit beside the point are allowed too.
    pub fn parse(text: &str) -> Result<Self, TransformError> {
        parse(text.as_bytes()).map(Self).ok_or(TransformError::Form { wanted: WANTED })
    }

    /// The greatest multiple of `width` not above it.
    pub(crate) fn floor_to(self, width: Self) -> Self {
        Self(self.0.div_euclid(width.0) * width.0)
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    pub(crate) fn is_positive(self) -> bool {
        self.0 > 0
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) =
            (self.0.unsigned_abs() / SCALE.unsigned_abs(), self.0.unsigned_abs() % SCALE.unsigned_abs());
        let sign = if self.0 < 0 { "-" } else { "" };
        if part == 0 {
            return write!(f, "{sign}{whole}");
        }
        let part = format!("{part:09}");
        write!(f, "{sign}{whole}.{}", part.trim_end_matches('0'))
    }
}

fn parse(text: &[u8]) -> Option<i128> {
    if text.len() > TEXT_BYTES_MAX {
        return None;
    }
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let exponent_at = text.iter().position(|byte| matches!(byte, b'e' | b'E')).unwrap_or(text.len());
    let (digits, exponent) = text.split_at(exponent_at);
    let exponent = if exponent.is_empty() { 0 } else { exponent_of(&exponent[1..])? };
    let point = digits.iter().position(|byte| *byte == b'.').unwrap_or(digits.len());
    let part = digits.get(point + 1..).unwrap_or_default();
    let whole = &digits[..point];
    let all = || whole.iter().chain(part);
    if all().next().is_none() || !all().all(u8::is_ascii_digit) {
        return None;
    }
    // place of the first digit that is not zero, as a power of ten
    let zeros = all().take_while(|digit| **digit == b'0').count();
    let mut power = i32::try_from(whole.len()).ok()? - i32::try_from(zeros).ok()? + exponent;
    if zeros == whole.len() + part.len() {
        return Some(0);
    }
    if power > WHOLE_DIGITS_MAX {
        return None;
    }
    let (mut value, mut is_cut) = (0_i128, false);
    for digit in all().skip(zeros) {
        power -= 1;
        let place = power + i32::try_from(PLACES).ok()?;
        if place >= 0 {
            value += i128::from(digit - b'0') * 10_i128.pow(u32::try_from(place).ok()?);
        } else {
            is_cut |= *digit != b'0';
        }
    }
    Some(if negative { -value - i128::from(is_cut) } else { value })
}

fn exponent_of(text: &[u8]) -> Option<i32> {
    let (sign, digits) = match text {
        [b'-', rest @ ..] => (-1, rest),
        [b'+', rest @ ..] => (1, rest),
        _ => (1, text),
    };
    // four digits are far beyond what can count
    if digits.is_empty() || digits.len() > 4 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(sign * digits.iter().fold(0, |number, digit| number * 10 + i32::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        Decimal::parse(text).unwrap().to_string()
    }

    #[test]
    fn numbers_are_read_as_they_are_meant() {
        for (text, expected) in [
            ("0", "0"),
            ("-0", "0"),
            ("007", "7"),
            ("+1.50", "1.5"),
            ("1e3", "1000"),
            ("12.5E-1", "1.25"),
            (".5", "0.5"),
            ("5.", "5"),
            ("-0.0000000001", "-0.000000001"),
            ("0.0000000019", "0.000000001"),
            ("1e-400", "0"),
            ("999999999999999999", "999999999999999999"),
            ("0e9999", "0"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        let long = "1".repeat(401);
        for text in [
            "",
            "-",
            ".",
            "e5",
            "1e",
            "1e+",
            "1e99999",
            "1e18",
            "1000000000000000000",
            "1,5",
            "NaN",
            "0x1",
            "1 ",
            &long,
        ] {
            assert!(Decimal::parse(text).is_err(), "{text}");
        }
    }
}
