//! Numbers as JSON writes them (RFC 8259, section 6).

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

#[cfg(test)]
mod tests {
    use super::*;

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
