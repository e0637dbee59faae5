//! One field's technique, ready to use: keys derived, parameters checked.

use crate::{
    Bucket, Clamp, Clear, DateShift, FormatPreserving, Hierarchy, IpPrefix, Kind, Mask, Place, RareValues,
    SivToken, TextPrefix, TimeUnit, Title, Token, TransformError, VaultToken,
};

/// One field's technique.
pub enum Technique {
    /// A token that cannot be turned back.
    Token(Box<Token>),
    /// A token that leads to a person through a vault alone.
    Vault(Box<VaultToken>),
    /// A token that the key's holder can read.
    Siv(SivToken),
    /// The same form, encrypted.
    FormatPreserving(Box<FormatPreserving>),
    /// A date, moved.
    DateShift(Box<DateShift>),
    /// A date or time, coarser.
    TruncateTime(TimeUnit),
    /// The beginning of a text.
    TruncateText(TextPrefix),
    /// The range of a number.
    Bucket(Bucket),
    /// A number within limits.
    Clamp(Clamp),
    /// The network of an address.
    IpPrefix(IpPrefix),
    /// The ends of a text.
    Mask(Mask),
    /// Always this text, whatever comes, even nothing.
    Constant(String),
    /// A name for a group of values.
    Hierarchy(Box<Hierarchy>),
    /// What can be said of a document's title.
    Title(Box<Title>),
    /// The value, if it is not rare.
    NullIfRare(Box<RareValues>),
    /// The value as it is.
    Keep,
}

impl Technique {
    /// Appends what becomes of a value. Nothing is appended on an error, nor for [`Kind::Null`].
    pub fn apply(
        &self,
        value: &Clear<'_>,
        place: &Place<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Kind, TransformError> {
        match self {
            Self::Token(token) => token.apply(value, place, out),
            Self::Vault(token) => token.apply(value, out),
            Self::Siv(token) => token.apply(value, out),
            Self::FormatPreserving(ff1) => ff1.apply(value, out),
            Self::DateShift(shift) => shift.apply(value, place, out),
            Self::TruncateTime(unit) => unit.apply(value, out),
            Self::TruncateText(prefix) => prefix.apply(value, out),
            Self::Bucket(bucket) => bucket.apply(value, out),
            Self::Clamp(clamp) => clamp.apply(value, out),
            Self::IpPrefix(prefix) => prefix.apply(value, out),
            Self::Mask(mask) => mask.apply(value, out),
            Self::Hierarchy(hierarchy) => hierarchy.apply(value, out),
            Self::Title(title) => title.apply(value, out),
            Self::NullIfRare(rare) => rare.apply(value, out),
            Self::Keep => keep(value, out),
            Self::Constant(text) => {
                out.extend_from_slice(text.as_bytes());
                Ok(Kind::Text)
            }
        }
    }

    /// Whether it needs to know whose record a value is in.
    pub fn needs_person(&self) -> bool {
        matches!(self, Self::DateShift(_))
    }
}

pub(crate) fn keep(value: &Clear<'_>, out: &mut Vec<u8>) -> Result<Kind, TransformError> {
    let (text, kind) = match value {
        Clear::Null => return Ok(Kind::Null),
        Clear::Text(text) => (*text, Kind::Text),
        Clear::Number(text) => (*text, Kind::Number),
        Clear::Boolean(true) => ("true", Kind::Boolean),
        Clear::Boolean(false) => ("false", Kind::Boolean),
    };
    out.extend_from_slice(text.as_bytes());
    Ok(kind)
}
