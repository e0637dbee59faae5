//! A root key that stays on its token: region keys are sealed and opened there.
//!
//! The associated data names deployment, region and version, so that the token itself refuses a region key that is
//! presented under another name. The PIN is read from its source for each use and wiped after it.

use super::RootKeyError;
use super::wrapped::{SEALED_BYTES, WrappedOnToken, associated};
use crate::config::SecretSource;
use bytes::Bytes;
use envelope::{EnvelopeError, KEY_BYTES, KeyLevel, Nonce, RegionKey, RegionKeyName, RootWrap};
use pkcs11::{Sealed, Token};
use zeroize::Zeroizing;

/// The root key on a token.
pub(super) struct Pkcs11Root {
    token: Token,
    key_label: String,
    pin: SecretSource,
}

impl Pkcs11Root {
    /// Makes sure that the key is there and fit for use.
    pub(super) fn open(token: Token, key_label: &str, pin: &SecretSource) -> Result<Self, RootKeyError> {
        token.check_key(&pin.read()?, key_label)?;
        Ok(Self { token, key_label: key_label.to_owned(), pin: pin.clone() })
    }

    fn seal(&self, key: &RegionKey, nonce: &Nonce) -> Result<WrappedOnToken, RootKeyError> {
        let (pin, associated) = (self.pin.read()?, associated(key.name()));
        let sealed = self.token.seal(&pin, &self.key_label, *nonce.bytes(), &associated, key.expose())?;
        let bytes: [u8; SEALED_BYTES] = sealed.bytes.try_into().expect("a key and a tag have this length");
        Ok(WrappedOnToken { version: key.name().version, nonce: sealed.nonce, sealed: bytes })
    }

    /// `None` when the token says that the bytes are not what this key sealed under this name.
    fn open_sealed(
        &self,
        name: &RegionKeyName,
        wrapped: &WrappedOnToken,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, RootKeyError> {
        let sealed = Sealed { nonce: wrapped.nonce, bytes: wrapped.sealed.to_vec() };
        let opened = self.token.open(&self.pin.read()?, &self.key_label, &sealed, &associated(name));
        opened.map_err(RootKeyError::from)
    }
}

impl RootWrap for Pkcs11Root {
    fn wrap(&self, key: &RegionKey, nonce: Nonce) -> Result<Bytes, EnvelopeError> {
        self.seal(key, &nonce).map(|wrapped| wrapped.encode()).map_err(root_failed("wrap a region key"))
    }

    fn unwrap(&self, name: &RegionKeyName, wrapped: &[u8]) -> Result<RegionKey, EnvelopeError> {
        let level = KeyLevel::Region;
        let wrapped = WrappedOnToken::decode(wrapped)?;
        if wrapped.version != name.version {
            return Err(EnvelopeError::OtherOwner { level });
        }
        let plain = self.open_sealed(name, &wrapped).map_err(root_failed("unwrap a region key"))?;
        let plain =
            plain.filter(|plain| plain.len() == KEY_BYTES).ok_or(EnvelopeError::KeyRefused { level })?;
        RegionKey::generate(name.clone(), |key| {
            key.copy_from_slice(&plain);
            Ok(())
        })
    }
}

fn root_failed(operation: &'static str) -> impl Fn(RootKeyError) -> EnvelopeError {
    move |source| EnvelopeError::Root { operation, source: Box::new(source) }
}
