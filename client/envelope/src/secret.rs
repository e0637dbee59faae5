//! Keys in memory: boxed, wiped on drop, one type per level so that levels cannot be mixed up.
//!
//! No key can be cloned, compared, printed or serialized. A key that names its owner carries the name along.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::suite::Cipher;
use crate::{RegionKeyName, TenantKeyName};

/// Every key here, bytes.
pub const KEY_BYTES: usize = 32;

/// Key bytes of any level.
pub(crate) struct Secret(Box<[u8; KEY_BYTES]>);

impl Secret {
    pub(crate) fn zeroed() -> Self {
        Self(Box::new([0; KEY_BYTES]))
    }

    /// Filled in the box itself, so that no copy stays on the stack.
    pub(crate) fn fill<E>(fill: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Result<Self, E> {
        let mut secret = Self::zeroed();
        fill(secret.bytes_mut())?;
        Ok(secret)
    }

    pub(crate) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8; KEY_BYTES] {
        &mut self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.as_mut_slice().zeroize();
    }
}

impl ZeroizeOnDrop for Secret {}

/// The key at the top: wraps region keys and nothing else.
pub struct RootKey(pub(crate) Secret);

/// A region's key-encryption key: wraps its tenant keys and seals the region's own small secrets.
pub struct RegionKey {
    pub(crate) name: RegionKeyName,
    pub(crate) secret: Secret,
}

/// One version of one tenant's key in one region: wraps object keys.
pub struct TenantKey {
    pub(crate) name: TenantKeyName,
    pub(crate) secret: Secret,
    // kept, because every PUT and GET wraps or unwraps with it
    pub(crate) cipher: Cipher,
}

/// The key of one version of one object; everything of that version is sealed under keys derived from it.
pub struct ObjectKey(pub(crate) Secret);

impl RootKey {
    /// A new key, filled by the caller's source of random bytes.
    pub fn generate<E>(random: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Result<Self, E> {
        Secret::fill(random).map(Self)
    }
}

impl RegionKey {
    /// A key of this name, filled by the caller: random bytes for a new one, unwrapped bytes in a [`crate::RootWrap`].
    pub fn generate<E>(
        name: RegionKeyName,
        fill: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<Self, E> {
        Secret::fill(fill).map(|secret| Self { name, secret })
    }

    /// Whose key this is.
    pub fn name(&self) -> &RegionKeyName {
        &self.name
    }

    /// The key itself, for a [`crate::RootWrap`] that hands it to hardware. For nothing else.
    pub fn expose(&self) -> &[u8; KEY_BYTES] {
        self.secret.bytes()
    }
}

impl TenantKey {
    /// A new key of this name, filled by the caller's source of random bytes.
    pub fn generate<E>(
        name: TenantKeyName,
        random: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<Self, E> {
        Secret::fill(random).map(|secret| Self::new(name, secret))
    }

    /// Whose key this is.
    pub fn name(&self) -> &TenantKeyName {
        &self.name
    }

    pub(crate) fn new(name: TenantKeyName, secret: Secret) -> Self {
        let cipher = Cipher::new(&secret);
        Self { name, secret, cipher }
    }
}

impl ObjectKey {
    /// A new key, filled by the caller's source of random bytes. One per version, never used for a second one.
    pub fn generate<E>(random: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Result<Self, E> {
        Secret::fill(random).map(Self)
    }
}

impl fmt::Debug for RootKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RootKey(..)")
    }
}

impl fmt::Debug for RegionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegionKey").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for TenantKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantKey").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ObjectKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{object_key, region_key, root_key, tenant_key};

    #[test]
    fn no_key_shows_itself_in_debug() {
        for shown in [
            format!("{:?}", root_key(0xab)),
            format!("{:?}", object_key(0xab)),
            format!("{:?}", region_key(0xab)),
            format!("{:#?}", tenant_key(0xab)),
        ] {
            for form in ["171", "ab, ", "abab", "0xab"] {
                assert!(!shown.to_lowercase().contains(form), "{shown}");
            }
        }
    }

    #[test]
    fn a_failed_source_of_random_bytes_yields_no_key() {
        assert_eq!(ObjectKey::generate(|_| Err("no entropy")).map(|_| ()), Err("no entropy"));
    }

    #[test]
    fn keys_and_cipher_parts_wipe_themselves() {
        fn wipes<T: ZeroizeOnDrop>() {}
        wipes::<Secret>();
        wipes::<aes::Aes256>();
    }
}
