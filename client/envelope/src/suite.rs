//! The cipher: AES-256-GCM-SIV (RFC 8452). The only file that touches it.
//!
//! A repeated nonce under one key shows only that two messages are equal; nothing here relies on that, every
//! key–nonce pair is used once. A second suite gets the next number and its own arm in [`Suite`].

use std::fmt;

use aes_gcm_siv::aead::AeadInOut;
use aes_gcm_siv::aead::inout::InOutBuf;
use aes_gcm_siv::{Aes256GcmSiv, KeyInit};

use crate::EnvelopeError;
use crate::secret::Secret;

/// Nonce, bytes.
pub const NONCE_BYTES: usize = 12;

/// What sealing adds to a message, bytes.
pub const TAG_BYTES: usize = wire::limits::SEAL_OVERHEAD_BYTES;

/// How something is sealed; its number is in every layout and in the associated data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Suite {
    /// AES-256-GCM-SIV, keys derived by HKDF-SHA-256.
    Aes256GcmSiv = 1,
}

impl Suite {
    /// The suite new things are sealed with; so far also the only one that is opened.
    pub const CURRENT: Self = Self::Aes256GcmSiv;

    /// Its number on disk.
    pub const fn id(self) -> u8 {
        self as u8
    }

    pub(crate) fn from_id(what: &'static str, id: u8) -> Result<Self, EnvelopeError> {
        match id {
            1 => Ok(Self::Aes256GcmSiv),
            found => Err(EnvelopeError::UnknownSuite { what, found }),
        }
    }
}

/// Twelve random bytes, used once per key.
#[derive(PartialEq, Eq)]
pub struct Nonce(pub(crate) [u8; NONCE_BYTES]);

impl Nonce {
    /// A nonce filled by the caller's source of random bytes.
    pub fn generate<E>(random: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Result<Self, E> {
        let mut bytes = [0; NONCE_BYTES];
        random(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// The bytes, for a holder of the root that seals by itself.
    pub fn bytes(&self) -> &[u8; NONCE_BYTES] {
        &self.0
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nonce(..)")
    }
}

/// The tag does not match: changed bytes, changed place, or another key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Forged;

/// A key with its schedule built once. Wiped on drop by the cipher crates' `zeroize` features.
pub(crate) struct Cipher(Box<Aes256GcmSiv>);

impl Cipher {
    pub(crate) fn new(key: &Secret) -> Self {
        Self(Box::new(Aes256GcmSiv::new(key.bytes().into())))
    }

    /// Turns `message` into ciphertext where it lies and returns the tag.
    pub(crate) fn seal(
        &self,
        nonce: &[u8; NONCE_BYTES],
        associated: &[u8],
        message: &mut [u8],
    ) -> [u8; TAG_BYTES] {
        self.0
            .encrypt_inout_detached(nonce.into(), associated, InOutBuf::from(message))
            .expect("messages here stay far below the cipher's 64 GiB")
            .into()
    }

    /// Turns `message` back into plaintext where it lies. On failure it is ciphertext again.
    pub(crate) fn open(
        &self,
        nonce: &[u8; NONCE_BYTES],
        associated: &[u8],
        message: &mut [u8],
        tag: &[u8; TAG_BYTES],
    ) -> Result<(), Forged> {
        self.0
            .decrypt_inout_detached(nonce.into(), associated, InOutBuf::from(message), tag.into())
            .map_err(|_| Forged)
    }
}

#[cfg(test)]
mod tests;
