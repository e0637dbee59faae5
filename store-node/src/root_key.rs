//! The root key of a gateway: opened from a passphrase-sealed file, or used where it is, on a PKCS#11 token.
//!
//! It promises that a root which opens is fit for use: the file is whole and the passphrase right, or the token has
//! exactly one key of that label which can neither be read nor exported. On a token the root key never enters this
//! process: region keys are sent there to be wrapped and unwrapped. Errors name files, labels and reasons, never a
//! PIN, a passphrase or a key.
//!
//! All calls block (argon2 takes a good part of a second, a token a network round trip or more): from async code,
//! call them on a blocking thread. It leaves region keys and everything below them to `envelope` and its callers.

mod error;
mod on_token;
pub(crate) mod wrapped;

pub use error::RootKeyError;

use crate::config::RootKeyConfig;
use envelope::RootWrap;
use pkcs11::Token;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// A sealed root key has 88 bytes; what is longer than this is some other file and not worth reading.
const FILE_BYTES_MAX: u64 = 4096;

/// Opens the root key. Blocks.
pub fn open(config: &RootKeyConfig) -> Result<Box<dyn RootWrap>, RootKeyError> {
    match config {
        RootKeyConfig::File { file, passphrase } => {
            let sealed = read(file)?;
            let passphrase = passphrase.read()?;
            match envelope::open_root(passphrase.as_bytes(), &sealed) {
                Ok(root) => Ok(Box::new(root)),
                Err(source) => Err(RootKeyError::Sealed { path: file.clone(), source }),
            }
        }
        RootKeyConfig::Pkcs11 { module, token, key_label, pin } => {
            let token = Token::load(module, token)?;
            Ok(Box::new(on_token::Pkcs11Root::open(token, key_label, pin)?))
        }
    }
}

/// Makes the root key on the PKCS#11 token that `config` names: AES-256, neither readable nor exportable. Blocks.
///
/// Refuses when a key of that label is already there, so that a second call cannot hide the first key. The key exists
/// on that token only: copying it to a second token is the token's own backup procedure, and losing it loses the data.
pub fn create_on_token(config: &RootKeyConfig) -> Result<(), RootKeyError> {
    match config {
        RootKeyConfig::File { file, .. } => Err(RootKeyError::NotOnToken { path: file.clone() }),
        RootKeyConfig::Pkcs11 { module, token, key_label, pin } => {
            let token = Token::load(module, token)?;
            Ok(token.create_key(&pin.read()?, key_label)?)
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, RootKeyError> {
    let mut sealed = Vec::new();
    match File::open(path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut sealed)) {
        Ok(_) => Ok(sealed),
        Err(source) => Err(RootKeyError::File { path: path.to_owned(), source }),
    }
}
