//! Why a key on a token could not be used or made, and what to do about it.

use crate::TokenName;
use std::path::PathBuf;
use thiserror::Error;

/// Why a key on a token could not be used or made.
#[derive(Debug, Error)]
pub enum TokenError {
    /// The token's driver cannot be loaded or does not start.
    #[error("{}: this PKCS#11 driver does not start; a statically linked program can load none", path.display())]
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
        wanted: TokenName,
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
    /// Several keys of that label: which one sealed what is to be opened cannot be told.
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
        "the token already has a key called {label}; it may hold other things together, choose another label"
    )]
    KeyExists {
        /// The label.
        label: String,
    },
    /// The token lacks AES-GCM.
    #[error("the token offers no AES-GCM (CKM_AES_GCM), which sealing keys needs")]
    NoMechanism,
    /// The token opened nothing and does not say why.
    #[error(
        "the sealed key does not open: sealed by another key, under another name, or edited; or the token is failing"
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
