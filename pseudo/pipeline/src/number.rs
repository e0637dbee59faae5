//! Numbers as JSON writes them (RFC 8259, section 6).

/// Digits that every number of double precision keeps.
const EXACT_DIGITS_MAX: usize = 15;

/// How many bytes of the beginning are a number; 0 if none.
pub(crate) fn length(text: &[u8]) -> usize {
    let digits =
        |from: usize| text[from.min(text.len())..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut at = usize::from(text.first() == Some(&b'-'));
    let whole = digits(at);
    if whole == 0 || (text[at] == b'0' && whole > 1) {
        return 0;
    }
    at += whole;
    if text.get(at) == Some(&b'.') {
        let part = digits(at + 1);
        if part == 0 {
            return 0;
        }
        at += 1 + part;
    }
    if matches!(text.get(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(text.get(at + 1), Some(b'+' | b'-')));
        let exponent = digits(at + 1 + sign);
        if exponent == 0 {
            return 0;
        }
        at += 1 + sign + exponent;
    }
    at
}

/// Whether all of it is a number.
pub(crate) fn is_number(text: &[u8]) -> bool {
    !text.is_empty() && length(text) == text.len()
}

/// Whether a whole number is written without a plus sign, leading zeros and a minus before zero.
pub(crate) fn is_canonical(whole: &[u8]) -> bool {
    match whole {
        [b'0'] => true,
        [b'-', first, ..] | [first, ..] => matches!(first, b'1'..=b'9'),
        [] => false,
    }
}

/// The whole number that a number is, written the one way: `12`, `12.0` and `1.2e1` are one. `None` for one with a part; and for one in floating
/// form that has more digits than such a number keeps, since another may have been meant.
pub(crate) fn whole<'a>(number: &'a str, room: &'a mut String) -> Option<&'a str> {
    let (sign, unsigned) = number.strip_prefix('-').map_or(("", number), |unsigned| ("-", unsigned));
    if unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(if unsigned == "0" { unsigned } else { number });
    }
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let point = i32::try_from(before.len()).ok()?.checked_add(exponent.parse().ok()?)?;
    let (mut at, mut digits) = (0, String::new());
    for digit in before.chars().chain(after.chars()) {
        let is_leading = digits.is_empty() && digit == '0';
        if at < point && !is_leading {
            digits.push(digit);
        } else if at >= point && digit != '0' {
            return None;
        }
        at += 1;
    }
    while at < point && !digits.is_empty() && digits.len() <= EXACT_DIGITS_MAX {
        digits.push('0');
        at += 1;
    }
    if digits.is_empty() {
        return Some("0");
    }
    room.clear();
    room.push_str(sign);
    room.push_str(&digits);
    (digits.len() <= EXACT_DIGITS_MAX).then_some(room)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_number_is_written_one_way_and_what_is_none_or_not_exact_is_refused() {
        for (text, expected) in [
            ("4930123456", Some("4930123456")),
            ("4930123456.0", Some("4930123456")),
            ("4.930123456e9", Some("4930123456")),
            ("4930123456000E-3", Some("4930123456")),
            ("-12.00", Some("-12")),
            ("1e+3", Some("1000")),
            ("0.0", Some("0")),
            ("-0", Some("0")),
            ("0e999999", Some("0")),
            ("0.05e2", Some("5")),
            ("123456789012345.0", Some("123456789012345")),
            ("18446744073709551615", Some("18446744073709551615")),
            ("1234567890123456.0", None),
            ("1e15", None),
            ("1e300", None),
            ("1e99999999999", None),
            ("1e-400", None),
            ("0.5", None),
            ("12.25", None),
        ] {
            assert_eq!(whole(text, &mut String::new()), expected, "{text}");
        }
    }

    #[test]
    fn one_way_to_write_a_whole_number_is_canonical() {
        for number in [0, 1, -1, 10, -10, 907, i64::MAX, i64::MIN] {
            assert!(is_canonical(number.to_string().as_bytes()), "{number}");
        }
        for other in ["+1", "01", "-0", "-01", "00", "+0", "-", ""] {
            assert!(!is_canonical(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn numbers_end_where_their_grammar_does() {
        for (text, expected) in [
            ("0", 1),
            ("-0", 2),
            ("12.5e-3,", 7),
            ("1E+9}", 4),
            ("01", 0),
            ("-", 0),
            ("+1", 0),
            ("1.", 0),
            (".5", 0),
            ("1e", 0),
            ("1e+", 0),
            ("", 0),
            ("5x", 1),
        ] {
            assert_eq!(length(text.as_bytes()), expected, "{text}");
        }
    }
}
