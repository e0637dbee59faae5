//! Everything that can go wrong, with the exit code that says which kind it was. No message holds a value of a table.

use crate::signed::Refused;
use custody::CustodyError;
use pipeline::PipelineError;
use pkcs11::TokenError;
use policy::PolicyError;
use risk::HierarchyError;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why a command failed.
#[derive(Debug, Error)]
pub enum PseudoError {
    /// A file or folder could not be read or written.
    #[error("{}: {operation} failed", path.display())]
    File {
        /// What was attempted.
        operation: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A secret that others may read.
    #[error("{}: {problem}", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Who may.
        problem: String,
        /// The command that mends it.
        advice: String,
    },
    /// A table is not what it should be.
    #[error("{}: {problem}", path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// What is wrong and where, by column, line or row.
        problem: String,
    },
    /// A hierarchy is not what it should be.
    #[error("{}: this hierarchy cannot be used", path.display())]
    Hierarchy {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: HierarchyError,
    },
    /// The command cannot be carried out as given.
    #[error("{problem}")]
    Usage {
        /// Why not.
        problem: String,
        /// What to do.
        advice: String,
    },
    /// The work does not fit the memory that was allowed.
    #[error("{problem}")]
    Memory {
        /// What does not fit.
        problem: String,
    },
    /// A policy cannot be read.
    #[error("{}: this policy cannot be used", path.display())]
    Policy {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: PolicyError,
    },
    /// A policy can be read, and nothing runs under it.
    #[error("{}: {errors} errors", path.display())]
    Unsound {
        /// The file.
        path: PathBuf,
        /// How many.
        errors: usize,
    },
    /// Shares, roots or wrapped keys are not what they should be.
    #[error("{place}")]
    Custody {
        /// Which key, share or file.
        place: String,
        /// What is wrong.
        #[source]
        source: CustodyError,
    },
    /// The token that seals the root did not do what was asked of it.
    #[error("the root on its token")]
    Token {
        /// Why not.
        #[source]
        source: TokenError,
    },
    /// A run ended before its end.
    #[error("the run stopped and left no output")]
    Run {
        /// Why.
        #[source]
        source: PipelineError,
    },
    /// An export ended before its end.
    #[error("the export stopped and has no manifest")]
    Export {
        /// Why.
        #[source]
        source: Box<PipelineError>,
        /// What to do; it may name an object, and so a person: for who asked, not for logs.
        advice: String,
    },
    /// What was asked for would hold nothing, and nobody said that it may.
    #[error("{problem}")]
    Empty {
        /// What there is nothing of.
        problem: String,
        /// What to do.
        advice: String,
    },
    /// A server did not do what was asked of it.
    #[error("{place}: {problem}")]
    Store {
        /// What was attempted.
        place: String,
        /// Why not.
        problem: String,
    },
    /// Something signed is not what it should be.
    #[error("{place}: {problem}")]
    Signed {
        /// What was looked at.
        place: String,
        /// What is wrong.
        problem: String,
    },
    /// A rule about who may release what stands against it.
    #[error("{problem}")]
    Gate {
        /// Which one.
        problem: String,
        /// What to do.
        advice: String,
    },
    /// The command did what it should, and found that the table cannot be made what was asked for.
    #[error("{problem}")]
    Unreachable {
        /// What cannot be reached.
        problem: String,
        /// What might help.
        advice: String,
    },
}

impl PseudoError {
    /// An error about a file, as `map_err` wants it.
    pub fn file(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { operation, path, source }
    }

    /// A table that is not what it should be.
    pub fn table(path: &Path, problem: impl Into<String>) -> Self {
        Self::Table { path: path.to_owned(), problem: problem.into() }
    }

    /// A command that cannot be carried out as given.
    pub fn usage(problem: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::Usage { problem: problem.into(), advice: advice.into() }
    }

    /// An error about keys, as `map_err` wants it.
    pub fn custody(place: impl Into<String>) -> impl FnOnce(CustodyError) -> Self {
        let place = place.into();
        move |source| Self::Custody { place, source }
    }

    /// Something signed that is refused.
    pub(crate) fn signed(place: impl Into<String>) -> impl FnOnce(Refused) -> Self {
        let place = place.into();
        move |refused| Self::Signed { place, problem: refused.to_string() }
    }

    /// The process's exit code: 1 failed, 2 usage.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage { .. } => 2,
            _ => 1,
        }
    }

    /// What can be done; empty where the message says it all.
    pub fn advice(&self) -> &str {
        match self {
            Self::Usage { advice, .. }
            | Self::Empty { advice, .. }
            | Self::Exposed { advice, .. }
            | Self::Unreachable { advice, .. }
            | Self::Gate { advice, .. } => advice,
            Self::File { source, .. } if source.kind() == io::ErrorKind::AlreadyExists => {
                "what is there is left alone: name another, or move it away first"
            }
            Self::Export { advice, .. } => advice,
            Self::Memory { .. } => "allow more with --memory",
            Self::Unsound { .. } => "`pseudo lint` says which; nothing runs before they are mended",
            _ => "",
        }
    }

    /// The error and its causes, one line.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            text.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        text
    }

    /// One word for programs.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::File { .. } => "file",
            Self::Exposed { .. } => "exposed",
            Self::Table { .. } => "table",
            Self::Hierarchy { .. } => "hierarchy",
            Self::Usage { .. } => "usage",
            Self::Memory { .. } => "memory",
            Self::Unreachable { .. } => "unreachable",
            Self::Policy { .. } | Self::Unsound { .. } => "policy",
            Self::Custody { .. } => "custody",
            Self::Token { .. } => "token",
            Self::Run { .. } => "run",
            Self::Export { .. } => "export",
            Self::Empty { .. } => "empty",
            Self::Store { .. } => "store",
            Self::Signed { .. } => "signed",
            Self::Gate { .. } => "gate",
        }
    }
}
