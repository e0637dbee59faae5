//! Free text that people write and others read: no character in it may move, hide or reorder what stands around it.

use std::borrow::Cow;

/// Whether every character of a text shows as itself.
pub(crate) fn is_plain(text: &str) -> bool {
    !text.chars().any(is_hidden)
}

/// A text with everything that does not show as itself written as what it is.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    if is_plain(text) {
        return Cow::Borrowed(text);
    }
    let shown = |character: char| {
        if is_hidden(character) { character.escape_unicode().to_string() } else { character.to_string() }
    };
    Cow::Owned(text.chars().map(shown).collect())
}

/// Controls, line and paragraph separators, and what Unicode has for direction, joining, variation and tags.
fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
                | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_or_hides_text_is_not_plain_and_is_shown_as_what_it_is() {
        for text in ["", "Ticket INC-7; „für Ümit“ 日本 — ½", "a\u{a0}b"] {
            assert!(is_plain(text), "{text}");
            assert_eq!(escaped(text), text);
        }
        for hidden in ["\n", "\r", "\x1b[2K", "\t", "\u{85}", "\u{2028}", "\u{202e}", "\u{2066}", "\u{feff}"]
        {
            assert!(!is_plain(hidden), "{hidden:?}");
            assert!(is_plain(&escaped(hidden)), "{hidden:?}");
        }
        assert_eq!(escaped("a\nb"), "a\\u{a}b");
    }
}
