//! Why a technique or normaliser cannot treat a value, or cannot be set up. No error carries a value.

use thiserror::Error;

/// Why a technique or normaliser cannot treat a value, or cannot be set up.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum TransformError {
    /// Text, a number or a boolean where the technique takes another of them.
    #[error("{technique} does not take a value of this type")]
    Type {
        /// The technique.
        technique: &'static str,
    },
    /// A value that is not what the technique or normaliser reads.
    #[error("the value is not {wanted}")]
    Form {
        /// What it should have been.
        wanted: &'static str,
    },
    /// A value longer than the technique takes.
    #[error("the value is longer than {technique} takes ({most})")]
    TooLong {
        /// The technique.
        technique: &'static str,
        /// The limit.
        most: usize,
    },
    /// A value with so few possible others of its length that encryption would not hide it.
    #[error("the value is too short: fewer than {least} values of its length are possible")]
    Domain {
        /// Least number of possible values.
        least: u64,
    },
    /// A value that the hierarchy does not list.
    #[error("the hierarchy does not list the value")]
    Unlisted,
    /// A record without the identifier of its person.
    #[error("the record does not say whose it is")]
    NoPerson,
    /// A number outside its limits.
    #[error("{what}: {found} is not from {least} to {most}")]
    OutsideLimits {
        /// What was counted.
        what: &'static str,
        /// What was found.
        found: u64,
        /// Least value allowed.
        least: u64,
        /// Most allowed.
        most: u64,
    },
    /// A parameter of a technique that makes no sense.
    #[error("{technique}: {problem}")]
    Parameter {
        /// The technique.
        technique: &'static str,
        /// What is wrong.
        problem: &'static str,
    },
    /// A token that was not made under this key, or was changed.
    #[error("the token was not made under this key, or was changed")]
    SealBroken,
    /// A vault that cannot keep a person.
    #[error("the vault: {problem}")]
    Vault {
        /// Why not.
        problem: String,
    },
    /// More distinct values than are counted.
    #[error("more than {most} distinct values: too many to tell which are rare")]
    TooManyValues {
        /// The limit.
        most: usize,
    },
}

pub(crate) fn within(what: &'static str, found: u64, least: u64, most: u64) -> Result<(), TransformError> {
    if (least..=most).contains(&found) {
        return Ok(());
    }
    Err(TransformError::OutsideLimits { what, found, least, most })
}
