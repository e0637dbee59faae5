//! Why a root key could not be opened or made, and what to do about it.

use crate::config::{Pkcs11Token, SecretError};
use envelope::EnvelopeError;
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
    /// The token's driver cannot be loaded or does not start.
    #[error("{}: this PKCS#11 driver does not start; a statically linked store-node can load none", path.display())]
    Module {
        /// The driver.
        path: PathBuf,
        /// Why.
        #[source]
        source: cryptoki::error::Error,
    },
    /// The driver shows no such token.
    #[error("no token {wanted}; the driver shows {}", list(found))]
    NoToken {
        /// The token asked for.
        wanted: Pkcs11Token,
        /// Labels of the tokens there are.
        found: Vec<String>,
    },
    /// Two tokens have the same label.
    #[error("{count} tokens are called {label}; name the slot instead")]
    ManyTokens {
        /// The label.
        label: String,
        /// How many have it.
        count: usize,
    },
    /// The token refuses the PIN.
    #[error("the token refuses the PIN; a few more wrong ones lock it")]
    WrongPin,
    /// Too many wrong PINs.
    #[error("the token's user PIN is locked; its security officer can set a new one")]
    PinLocked,
    /// No key of that label.
    #[error("the token has no secret key called {label}")]
    NoKey {
        /// The label.
        label: String,
    },
    /// Several keys of that label: which one wrapped the region's key cannot be told.
    #[error("the token has {count} secret keys called {label}; rename all but the right one")]
    ManyKeys {
        /// The label.
        label: String,
        /// How many have it.
        count: usize,
    },
    /// A key that must not be, or cannot be, a root key.
    #[error("the key {label} cannot be a root key: {problem}")]
    UnfitKey {
        /// The label.
        label: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A key of that label is there already.
    #[error(
        "the token already has a key called {label}; it may hold a region together, choose another label"
    )]
    KeyExists {
        /// The label.
        label: String,
    },
    /// The token lacks AES-GCM.
    #[error("the token offers no AES-GCM (CKM_AES_GCM), which wrapping keys needs")]
    NoMechanism,
    /// The token opened nothing and does not say why.
    #[error(
        "the wrapped region key does not open: sealed by another key, for another region, or edited; or the token is failing"
    )]
    Unopened {
        /// What it answered.
        #[source]
        source: cryptoki::error::Error,
    },
    /// The token failed.
    #[error("the token failed to {operation}")]
    Token {
        /// What it was asked to do.
        operation: &'static str,
        /// What it answered.
        #[source]
        source: cryptoki::error::Error,
    },
}

fn list(labels: &[String]) -> String {
    if labels.is_empty() { "none".to_owned() } else { labels.join(", ") }
}
