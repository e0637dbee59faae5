//! Where a passphrase or PIN comes from. The configuration names the place, never the secret itself.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use thiserror::Error;
use zeroize::Zeroizing;

/// A passphrase or PIN, bytes; anything longer is the wrong file.
const SECRET_BYTES_MAX: u64 = 4096;

/// Where a secret comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// An environment variable.
    Environment(String),
    /// A file; one line break at its end is not part of the secret.
    File(PathBuf),
    /// A systemd credential (`LoadCredential=`), found through `CREDENTIALS_DIRECTORY`.
    Credential(String),
}

/// Why a secret could not be had.
#[derive(Debug, Error)]
pub enum SecretError {
    /// The environment variable is not set or not text.
    #[error("environment variable {name} is not set; set it or name another source in the configuration")]
    Unset {
        /// The variable.
        name: String,
    },
    /// The process was not started by systemd with credentials.
    #[error(
        "credential {name}: CREDENTIALS_DIRECTORY is not set; add LoadCredential={name}:PATH to the unit"
    )]
    NoCredentials {
        /// The credential.
        name: String,
    },
    /// The file cannot be read.
    #[error("{}: the secret cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is empty, too long, or not text.
    #[error("{}: a secret is 1 to {SECRET_BYTES_MAX} bytes of UTF-8", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
    },
}

impl SecretSource {
    /// Reads the secret.
    pub fn read(&self) -> Result<Zeroizing<String>, SecretError> {
        match self {
            Self::Environment(name) => match std::env::var(name) {
                Ok(secret) if !secret.is_empty() => Ok(Zeroizing::new(secret)),
                _ => Err(SecretError::Unset { name: name.clone() }),
            },
            Self::File(path) => read_file(path.clone()),
            Self::Credential(name) => match std::env::var_os("CREDENTIALS_DIRECTORY") {
                Some(folder) => read_file(PathBuf::from(folder).join(name)),
                None => Err(SecretError::NoCredentials { name: name.clone() }),
            },
        }
    }
}

fn read_file(path: PathBuf) -> Result<Zeroizing<String>, SecretError> {
    let mut secret = Zeroizing::new(Vec::with_capacity(SECRET_BYTES_MAX as usize + 1));
    let read = File::open(&path).and_then(|file| file.take(SECRET_BYTES_MAX + 1).read_to_end(&mut secret));
    if let Err(source) = read {
        return Err(SecretError::Read { path, source });
    }
    let line = secret.strip_suffix(b"\n").unwrap_or(&secret);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    match std::str::from_utf8(line) {
        Ok(text) if !text.is_empty() && secret.len() as u64 <= SECRET_BYTES_MAX => {
            Ok(Zeroizing::new(text.to_owned()))
        }
        _ => Err(SecretError::Shape { path }),
    }
}
