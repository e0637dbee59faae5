//! A root key that stays on its token: region keys are sealed and opened there, with AES-256-GCM.
//!
//! Chosen because SoftHSM2 and hardware alike have it and it authenticates; AES key wrap (RFC 5649) binds no name.
//! The associated data names deployment, region and version, so that the token itself refuses a region key that is
//! presented under another name. Tokens that insist on a nonce of their own write it over ours: what is stored is
//! what the token used.

use super::RootKeyError;
use super::token::{Token, failed};
use super::wrapped::{SEALED_BYTES, TAG_BYTES, WrappedOnToken, associated};
use bytes::Bytes;
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::{Mechanism, aead::GcmParams};
use envelope::{EnvelopeError, KEY_BYTES, KeyLevel, Nonce, RegionKey, RegionKeyName, RootWrap};
use zeroize::Zeroizing;

const TAG_BITS: u64 = TAG_BYTES as u64 * 8;

/// The root key on a token.
pub(super) struct Pkcs11Root {
    token: Token,
    key_label: String,
}

impl Pkcs11Root {
    /// Makes sure that the key is there and fit for use.
    pub(super) fn open(token: Token, key_label: &str) -> Result<Self, RootKeyError> {
        token.session(key_label)?;
        Ok(Self { token, key_label: key_label.to_owned() })
    }

    fn seal(&self, key: &RegionKey, nonce: &Nonce) -> Result<WrappedOnToken, RootKeyError> {
        let (session, root) = self.token.session(&self.key_label)?;
        let mut nonce = *nonce.bytes();
        let associated = associated(key.name());
        let parameters = GcmParams::new(&mut nonce, &associated, TAG_BITS.into());
        let mechanism = Mechanism::AesGcm(parameters.map_err(failed("wrap a region key"))?);
        let sealed = session.encrypt(&mechanism, root, key.expose()).map_err(failed("wrap a region key"))?;
        let sealed: [u8; SEALED_BYTES] = sealed
            .try_into()
            // some tokens append a nonce of their own here; those need a driver setting that turns it off
            .map_err(|_| failed("wrap a region key as nonce, ciphertext and tag")(Error::InvalidValue))?;
        Ok(WrappedOnToken { version: key.name().version, nonce, sealed })
    }

    /// `None` when the token says that the bytes are not what this key sealed under this name.
    fn open_sealed(
        &self,
        name: &RegionKeyName,
        wrapped: &mut WrappedOnToken,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, RootKeyError> {
        let (session, root) = self.token.session(&self.key_label)?;
        let associated = associated(name);
        let parameters = GcmParams::new(&mut wrapped.nonce, &associated, TAG_BITS.into());
        let mechanism = Mechanism::AesGcm(parameters.map_err(failed("unwrap a region key"))?);
        match session.decrypt(&mechanism, root, &wrapped.sealed) {
            Ok(plain) => Ok(Some(Zeroizing::new(plain))),
            Err(Error::Pkcs11(answer, _)) if is_refusal(answer) => Ok(None),
            // SoftHSM2 says so when the tag is wrong, others when they are broken
            Err(source @ Error::Pkcs11(RvError::GeneralError, _)) => Err(RootKeyError::Unopened { source }),
            Err(source) => Err(failed("unwrap a region key")(source)),
        }
    }
}

impl RootWrap for Pkcs11Root {
    fn wrap(&self, key: &RegionKey, nonce: Nonce) -> Result<Bytes, EnvelopeError> {
        self.seal(key, &nonce).map(|wrapped| wrapped.encode()).map_err(root_failed("wrap a region key"))
    }

    fn unwrap(&self, name: &RegionKeyName, wrapped: &[u8]) -> Result<RegionKey, EnvelopeError> {
        let level = KeyLevel::Region;
        let mut wrapped = WrappedOnToken::decode(wrapped)?;
        if wrapped.version != name.version {
            return Err(EnvelopeError::OtherOwner { level });
        }
        let plain = self.open_sealed(name, &mut wrapped).map_err(root_failed("unwrap a region key"))?;
        let plain =
            plain.filter(|plain| plain.len() == KEY_BYTES).ok_or(EnvelopeError::KeyRefused { level })?;
        RegionKey::generate(name.clone(), |key| {
            key.copy_from_slice(&plain);
            Ok(())
        })
    }
}

/// Answers to a decryption that mean "not sealed by this key for this name".
fn is_refusal(answer: RvError) -> bool {
    use RvError::{EncryptedDataInvalid, EncryptedDataLenRange, SignatureInvalid};
    matches!(answer, EncryptedDataInvalid | EncryptedDataLenRange | SignatureInvalid)
}

fn root_failed(operation: &'static str) -> impl Fn(RootKeyError) -> EnvelopeError {
    move |source| EnvelopeError::Root { operation, source: Box::new(source) }
}
