//! Everything that can go wrong on the operator's side, with the exit code that says which kind it was.

use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;
use wire::admin::{AdminError, AdminErrorCode};

/// Why a command failed.
#[derive(Debug, Error)]
pub enum ClientError {
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
    /// A file holds something else than it should.
    #[error("{}: {problem}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The command cannot be carried out as given.
    #[error("{problem}")]
    Usage {
        /// Why not.
        problem: String,
        /// What to do.
        advice: String,
    },
    /// The state of this machine does not allow it.
    #[error("{problem}")]
    State {
        /// What stands in the way.
        problem: String,
        /// What to do.
        advice: String,
    },
    /// Keys or certificates could not be made or used.
    #[error("{what} failed: {problem}")]
    Crypto {
        /// What was attempted.
        what: &'static str,
        /// Why it failed; never holds secrets.
        problem: String,
    },
    /// No process of the region answered.
    #[error("region {region} does not answer ({tried})")]
    Unreachable {
        /// Which region.
        region: String,
        /// Which addresses were tried and what each said.
        tried: String,
    },
    /// Something answered that is not our region, or in a way this release does not understand.
    #[error("{address}: {problem}")]
    Protocol {
        /// Who answered.
        address: String,
        /// What was wrong.
        problem: String,
    },
    /// The region refused.
    #[error("{}", error.message)]
    Refused {
        /// What it said.
        error: AdminError,
    },
    /// The command did what it should, and found that things do not work.
    #[error("{problem}")]
    Unwell {
        /// What does not work.
        problem: String,
    },
    /// The command did what it should, and found that things are not well.
    #[error("{problem}")]
    Degraded {
        /// What is not well.
        problem: String,
    },
    /// A drill, a comparison or the like ended, and not well; its report was printed.
    #[error("{problem}")]
    Drilled {
        /// Why it did not pass.
        problem: String,
        /// 6 not ready or not to be told, 7 a limit was not kept, 8 aborted.
        exit_code: u8,
    },
}

/// The exit code that says that nobody answered, or nobody who could decide: asking again may help.
pub const EXIT_UNREACHABLE: u8 = 4;

impl ClientError {
    /// An error about a file, as `map_err` wants it.
    pub fn file(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { operation, path, source }
    }

    /// A command that cannot be carried out as given.
    pub fn usage(problem: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::Usage { problem: problem.into(), advice: advice.into() }
    }

    /// A state that does not allow the command.
    pub fn state(problem: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::State { problem: problem.into(), advice: advice.into() }
    }

    /// The process's exit code: 1 failed, 2 usage, 3 degraded, 4 unreachable, 5 denied; of drills 6 not ready, 7 failed, 8 aborted.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage { .. } => 2,
            Self::Degraded { .. } => 3,
            Self::Drilled { exit_code, .. } => *exit_code,
            Self::Unreachable { .. } => EXIT_UNREACHABLE,
            Self::Refused { error } => match error.code {
                AdminErrorCode::Denied => 5,
                AdminErrorCode::Unavailable => EXIT_UNREACHABLE,
                _ => 1,
            },
            _ => 1,
        }
    }

    /// What the operator can do; empty where the message says it all.
    pub fn advice(&self) -> &str {
        match self {
            Self::Usage { advice, .. } | Self::State { advice, .. } => advice,
            Self::Refused { error } => &error.advice,
            Self::Unreachable { .. } => "is it running? `twinkeep check` looks without its help",
            _ => "",
        }
    }

    /// One word for programs.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::File { .. } => "file",
            Self::Content { .. } => "content",
            Self::Usage { .. } => "usage",
            Self::State { .. } => "state",
            Self::Crypto { .. } => "crypto",
            Self::Unreachable { .. } => "unreachable",
            Self::Protocol { .. } => "protocol",
            Self::Refused { .. } => "refused",
            Self::Unwell { .. } => "unwell",
            Self::Degraded { .. } => "degraded",
            Self::Drilled { .. } => "drilled",
        }
    }
}
