//! The one error of the harness: a sentence that says what could not be done, and what to do about it.
//!
//! Callers are tests: they print it and fail. Nothing branches on it, so it carries no variants.

use std::fmt::{self, Display, Formatter};
use std::path::Path;

/// Why a step of the harness failed, written for the person who reads the test's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble(String);

/// The result of a step of the harness.
pub type Outcome<T> = Result<T, Trouble>;

impl Trouble {
    /// A trouble with this sentence.
    pub fn new(message: impl Into<String>) -> Self {
        Trouble(message.into())
    }

    /// A file operation that failed: which one, where, and why.
    pub fn file(operation: &str, path: &Path, error: &std::io::Error) -> Self {
        Trouble(format!("cannot {operation} {}: {error}", path.display()))
    }
}

impl Display for Trouble {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Trouble {}
