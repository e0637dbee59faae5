//! The one error of the benchmark: what was tried, on what, and how it failed.

use std::path::PathBuf;

/// Why a benchmark command could not go on.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// A file or folder could not be used.
    #[error("cannot {operation} {}", path.display())]
    File {
        /// What was tried.
        operation: &'static str,
        /// Where.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// A file holds something that is not what it should be.
    #[error("{} is not a benchmark report: {detail}", path.display())]
    Report {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// A server or tool process could not be started, or ended when it should not.
    #[error("{program}: {detail}")]
    Process {
        /// The program's name.
        program: String,
        /// What happened.
        detail: String,
    },
    /// A connection or a request failed before an answer came.
    #[error("{operation} failed: {detail}")]
    Transport {
        /// What was tried.
        operation: &'static str,
        /// The transport's words.
        detail: String,
    },
    /// The server answered, but not with success.
    #[error("{operation} was answered {status}: {body}")]
    Answer {
        /// What was asked.
        operation: String,
        /// The HTTP status.
        status: u16,
        /// The beginning of the answer.
        body: String,
    },
    /// An argument cannot be used.
    #[error("{what}: {detail}")]
    Argument {
        /// Which argument.
        what: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// Something did not happen in time.
    #[error("{what} did not happen within {limit_s} s")]
    Late {
        /// What was waited for.
        what: String,
        /// How long.
        limit_s: u64,
    },
    /// The run ended, and its result is not acceptable.
    #[error("{detail}")]
    Verdict {
        /// What is not acceptable.
        detail: String,
    },
}

impl BenchError {
    /// A file error, for use in `map_err`.
    pub fn file(
        operation: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> BenchError {
        let path = path.into();
        move |source| BenchError::File { operation, path, source }
    }

    /// The error and everything beneath it on one line, for the person at the terminal.
    pub fn chain(&self) -> String {
        let mut line = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(inner) = cause {
            line.push_str(": ");
            line.push_str(&inner.to_string());
            cause = inner.source();
        }
        line
    }
}
