//! Why a root key could not be opened or made, and what to do about it.

use crate::config::SecretError;
use envelope::EnvelopeError;
use pkcs11::TokenError;
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Why a root key could not be opened or made.
#[derive(Debug, Error)]
pub enum RootKeyError {
    /// The passphrase or PIN could not be had.
    #[error("the secret that opens the root key is not there")]
    Secret(#[from] SecretError),
    /// The sealed file cannot be read.
    #[error("{}: the root key cannot be read", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The sealed file does not open.
    #[error("{}: the root key does not open", path.display())]
    Sealed {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: EnvelopeError,
    },
    /// Keys are made on tokens only; a file is made by `twinkeep init`.
    #[error("{}: the configuration names a file, not a token; add [root_key.pkcs11]", path.display())]
    NotOnToken {
        /// The file.
        path: PathBuf,
    },
    /// The token, or the key on it.
    #[error(transparent)]
    Token(#[from] TokenError),
}
