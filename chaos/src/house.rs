//! Rules of the source tree that formatter, compiler and linter do not know.
//!
//! Each rule takes a folder or a graph, so that a test can plant a violation in a temporary folder and see it caught.

pub mod graph;
pub mod tree;

use std::fmt::{self, Display, Formatter};

/// A broken rule and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule, in words.
    pub rule: &'static str,
    /// The file, package or link that breaks it.
    pub place: String,
}

impl Display for Finding {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.place, self.rule)
    }
}
