//! Why a run ends before its end. No error carries a value, a name that came in, or a key.

use std::io;

use thiserror::Error;
use transform::TransformError;

use crate::{FaultKind, Position};

/// Why a run ends before its end.
#[derive(Debug, Error)]
pub enum PipelineError {
    /// Reading, writing or unpacking failed.
    #[error("{operation} failed")]
    Io {
        /// What was attempted.
        operation: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A fault at which the policy stops.
    #[error("{}: {}{}", position, kind.name(), field.as_deref().map(|field| format!(" at {field}")).unwrap_or_default())]
    Stopped {
        /// What is wrong.
        kind: FaultKind,
        /// Where.
        position: Position,
        /// The field, by its path in the policy.
        field: Option<String>,
        /// What the technique says.
        #[source]
        source: Option<TransformError>,
    },
    /// More bad records than the policy allows.
    #[error("more than {most} records are bad")]
    TooManyBadRecords {
        /// The limit.
        most: u64,
    },
    /// A header that does not go with the policy.
    #[error("input {input}: {problem}")]
    Header {
        /// Which input, from 1.
        input: u32,
        /// What is wrong.
        problem: String,
    },
    /// A policy that cannot be followed value by value.
    #[error("{what}: {problem}")]
    NoFunction {
        /// What in it.
        what: String,
        /// Why not.
        problem: String,
    },
    /// A technique that cannot be set up.
    #[error("{path}")]
    Technique {
        /// The field, by its path in the policy.
        path: String,
        /// Why.
        #[source]
        source: TransformError,
    },
}

impl PipelineError {
    /// The input that it is about, from 1.
    pub fn input(&self) -> Option<u32> {
        match self {
            Self::Stopped { position, .. } => Some(position.input),
            Self::Header { input, .. } => Some(*input),
            _ => None,
        }
    }

    pub(crate) fn io(operation: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { operation, source }
    }
}
