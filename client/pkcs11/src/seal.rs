//! Sealing and opening on a token.
//!
//! Tokens that insist on a nonce of their own write it over ours: what is to be stored is what the token used.

use crate::TokenError;
use crate::token::{Token, failed};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::{Mechanism, aead::GcmParams};
use zeroize::Zeroizing;

/// Nonce of AES-256-GCM, bytes. It is random: a key on a token seals a handful of keys in its life, far from the 2^32 messages
/// where random nonces of 96 bits become a worry.
pub const NONCE_BYTES: usize = 12;
/// Tag of AES-256-GCM, bytes; it follows the ciphertext.
pub const TAG_BYTES: usize = 16;
const TAG_BITS: u64 = TAG_BYTES as u64 * 8;

/// What a token sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// As the token used it.
    pub nonce: [u8; NONCE_BYTES],
    /// Ciphertext and tag.
    pub bytes: Vec<u8>,
}

impl Token {
    /// Seals with the key of this label.
    pub fn seal(
        &self,
        pin: &str,
        label: &str,
        nonce: [u8; NONCE_BYTES],
        associated: &[u8],
        plain: &[u8],
    ) -> Result<Sealed, TokenError> {
        const OPERATION: &str = "seal a key";
        let (session, key) = self.session(pin, label)?;
        let mut nonce = nonce;
        let parameters = GcmParams::new(&mut nonce, associated, TAG_BITS.into());
        let mechanism = Mechanism::AesGcm(parameters.map_err(failed(OPERATION))?);
        let bytes = session.encrypt(&mechanism, key, plain).map_err(failed(OPERATION))?;
        if bytes.len() == plain.len() + TAG_BYTES {
            return Ok(Sealed { nonce, bytes });
        }
        // some tokens append a nonce of their own here; those need a driver setting that turns it off
        Err(failed("seal a key as nonce, ciphertext and tag")(Error::InvalidValue))
    }

    /// Opens what the key of this label sealed; `None` when the token says that it is not that, or not under this associated data.
    pub fn open(
        &self,
        pin: &str,
        label: &str,
        sealed: &Sealed,
        associated: &[u8],
    ) -> Result<Option<Zeroizing<Vec<u8>>>, TokenError> {
        const OPERATION: &str = "open a sealed key";
        let (session, key) = self.session(pin, label)?;
        let mut nonce = sealed.nonce;
        let parameters = GcmParams::new(&mut nonce, associated, TAG_BITS.into());
        let mechanism = Mechanism::AesGcm(parameters.map_err(failed(OPERATION))?);
        match session.decrypt(&mechanism, key, &sealed.bytes) {
            Ok(plain) => Ok(Some(Zeroizing::new(plain))),
            Err(Error::Pkcs11(answer, _)) if is_refusal(answer) => Ok(None),
            // SoftHSM2 says so when the tag is wrong, others when they are broken
            Err(source @ Error::Pkcs11(RvError::GeneralError, _)) => Err(TokenError::Unopened { source }),
            Err(source) => Err(failed(OPERATION)(source)),
        }
    }
}

/// Answers to a decryption that mean "not sealed by this key under this associated data".
fn is_refusal(answer: RvError) -> bool {
    use RvError::{EncryptedDataInvalid, EncryptedDataLenRange, SignatureInvalid};
    matches!(answer, EncryptedDataInvalid | EncryptedDataLenRange | SignatureInvalid)
}
