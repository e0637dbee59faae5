//! Text of which only an end or a beginning is left. What is hidden shows nothing of its length.

use crate::error::within;
use crate::{Clear, Kind, TransformError};

/// Characters that may stay visible at either end: a mask that shows more hides too little.
const KEEP_MAX: u64 = 8;
const HIDDEN: &[u8] = b"***";

/// The first and last characters, and `***` for all between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mask {
    keep_first: usize,
    keep_last: usize,
}

/// The first characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextPrefix {
    characters: usize,
}

impl Mask {
    /// Leaves so many characters at each end.
    pub fn new(keep_first: usize, keep_last: usize) -> Result<Self, TransformError> {
        within("characters a mask keeps in front", keep_first as u64, 0, KEEP_MAX)?;
        within("characters a mask keeps behind", keep_last as u64, 0, KEEP_MAX)?;
        Ok(Self { keep_first, keep_last })
    }

    /// Appends the masked value. Of a value with fewer characters to hide than to show, nothing is shown.
    pub fn apply(&self, value: &Clear<'_>, out: &mut Vec<u8>) -> Result<Kind, TransformError> {
        if value.is_null() {
            return Ok(Kind::Null);
        }
        let text = value.identifier().ok_or(TransformError::Type { technique: "mask" })?;
        let shown = self.keep_first + self.keep_last;
        if text.chars().count() < 2 * shown.max(1) {
            out.extend_from_slice(HIDDEN);
            return Ok(Kind::Text);
        }
        out.extend_from_slice(&text.as_bytes()[..end_of(text, self.keep_first)]);
        out.extend_from_slice(HIDDEN);
        let from =
            text.char_indices().rev().take(self.keep_last).last().map_or(text.len(), |(index, _)| index);
        out.extend_from_slice(&text.as_bytes()[from..]);
        Ok(Kind::Text)
    }
}

impl TextPrefix {
    /// Keeps so many characters.
    pub fn new(characters: usize) -> Result<Self, TransformError> {
        within("characters kept", characters as u64, 1, KEEP_MAX)?;
        Ok(Self { characters })
    }

    /// Appends the first characters. A value that has no more than these would pass whole: it is refused.
    pub fn apply(&self, value: &Clear<'_>, out: &mut Vec<u8>) -> Result<Kind, TransformError> {
        if value.is_null() {
            return Ok(Kind::Null);
        }
        let text = value.identifier().ok_or(TransformError::Type { technique: "truncate" })?;
        let end = end_of(text, self.characters);
        if end == text.len() {
            return Err(TransformError::Form { wanted: "longer than what is kept of it" });
        }
        out.extend_from_slice(&text.as_bytes()[..end]);
        Ok(Kind::Text)
    }
}

/// Where so many characters end.
fn end_of(text: &str, characters: usize) -> usize {
    text.char_indices().nth(characters).map_or(text.len(), |(index, _)| index)
}
