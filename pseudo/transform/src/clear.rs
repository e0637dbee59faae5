//! Clear values, and where they stand. No `Debug`, no `Display`: a clear value has no way into a log by accident.

/// Bytes of a run's seed.
pub const RUN_SEED_BYTES: usize = 16;

/// Random bytes of one run. Kept with the run, so that a run that is resumed gives the same tokens of scope record.
#[derive(Clone, Copy)]
pub struct RunSeed(pub [u8; RUN_SEED_BYTES]);

/// A value as it came in.
#[derive(Clone, Copy)]
pub enum Clear<'a> {
    /// Nothing.
    Null,
    /// Text, without the quotes and escapes of its format.
    Text(&'a str),
    /// A number as it was written.
    Number(&'a str),
    /// True or false.
    Boolean(bool),
}

/// What a technique wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing: the field is null.
    Null,
    /// Text in UTF-8, without quotes and escapes.
    Text,
    /// A number as JSON writes it.
    Number,
    /// `true` or `false`.
    Boolean,
}

/// Where a value stands.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The seed of the run.
    pub run: &'a RunSeed,
    /// Number of the record in the run.
    pub record: u64,
    /// The identifier of the record's person, for techniques that treat all records of a person alike.
    pub person: Clear<'a>,
}

impl<'a> Clear<'a> {
    /// Whether there is nothing.
    #[inline]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The text form of text and numbers: what tokens are made of, so that `5` and `"5"` are one identifier.
    #[inline]
    pub(crate) fn identifier(&self) -> Option<&'a str> {
        match self {
            Self::Text(text) | Self::Number(text) => Some(text),
            Self::Null | Self::Boolean(_) => None,
        }
    }
}
