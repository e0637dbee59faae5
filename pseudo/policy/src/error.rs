//! Why a policy cannot be read.

use thiserror::Error;

/// Why a policy cannot be read.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum PolicyError {
    /// More text than a policy has.
    #[error("the policy is longer than {most} bytes")]
    TooLong {
        /// The limit.
        most: usize,
    },
    /// Not TOML, or not the keys of a policy. The line itself is not shown: it might hold what does not belong there.
    #[error("line {line}: {problem}")]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// A value that makes no sense where it is.
    #[error("{place}: {problem}")]
    Value {
        /// The section or the field's path.
        place: String,
        /// What is wrong.
        problem: String,
    },
}

impl PolicyError {
    pub(crate) fn value(place: &str, problem: impl ToString) -> Self {
        Self::Value { place: place.to_owned(), problem: problem.to_string() }
    }
}
