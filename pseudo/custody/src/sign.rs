//! Signatures: Ed25519 (RFC 8032). What the service signs with is wrapped under the root as masters are.

use std::fmt;

use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use zeroize::Zeroize;

use crate::CustodyError;
use crate::frame::{self, Frame};
use crate::root::{CHECK_BYTES, RootCheck, RootKey};
use crate::secret::{KEY_BYTES, Secret};

/// A public key, bytes.
pub const PUBLIC_KEY_BYTES: usize = 32;
/// A signature, bytes.
pub const SIGNATURE_BYTES: usize = 64;
const SIV_BYTES: usize = 16;
/// A seed with its synthetic IV.
pub(crate) const SEALED_BYTES: usize = SIV_BYTES + KEY_BYTES;
/// Head 6, zero 2, check 16, public key 32.
const OPEN_BYTES: usize = frame::HEAD_BYTES + 2 + CHECK_BYTES + PUBLIC_KEY_BYTES;
/// A wrapped signing key, bytes.
pub const WRAPPED_SIGNING_BYTES: usize = OPEN_BYTES + SEALED_BYTES + frame::CHECKSUM_BYTES;
const SIGNING: Frame =
    Frame { what: "wrapped signing key", magic: *b"TKPG", bytes_max: WRAPPED_SIGNING_BYTES };

/// What everybody may know of a signing key, and checks signatures with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; PUBLIC_KEY_BYTES]);

/// A key that signs.
pub struct SigningKey {
    seed: Secret<KEY_BYTES>,
    public: PublicKey,
}

impl PublicKey {
    /// The one that a wrapped signing key says in the clear. Only unwrapping proves it.
    pub fn of_wrapped(bytes: &[u8]) -> Result<Self, CustodyError> {
        let fields = fields(bytes)?;
        Ok(Self(*fields[2 + CHECK_BYTES..].first_chunk().expect("the length was checked")))
    }

    /// Whether this key signed the message so.
    pub fn verifies(&self, message: &[u8], signature: &[u8; SIGNATURE_BYTES]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(message, signature).is_ok()
    }
}

impl SigningKey {
    /// A new key, its seed filled by the caller's source of random bytes.
    pub fn generate<E>(random: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Result<Self, E> {
        let seed = Secret::fill(random)?;
        let public =
            PublicKey(*pair(&seed).public_key().as_ref().first_chunk().expect("Ed25519 has 32 bytes"));
        Ok(Self { seed, public })
    }

    /// Its public half.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// Signs a message. The same message always gets the same signature.
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        *pair(&self.seed).sign(message).as_ref().first_chunk().expect("Ed25519 signs with 64 bytes")
    }

    pub(crate) fn seed(&self) -> &[u8; KEY_BYTES] {
        self.seed.bytes()
    }

    /// The key of seed bytes that were unsealed, which are wiped.
    pub(crate) fn of_seed(mut plain: Vec<u8>) -> Self {
        let key = Self::generate(|bytes| {
            bytes.copy_from_slice(&plain);
            Ok::<(), std::convert::Infallible>(())
        });
        plain.zeroize();
        let Ok(key) = key;
        key
    }
}

impl RootKey {
    /// The bytes of a signing key under this root.
    pub fn wrap_signing(&self, key: &SigningKey) -> Vec<u8> {
        let mut bytes = SIGNING.begin();
        bytes.extend_from_slice(&[0; 2]);
        bytes.extend_from_slice(&self.check().0);
        bytes.extend_from_slice(&key.public.0);
        let sealed = self.cipher().encrypt([&bytes], key.seed()).expect("one header is below the limit");
        bytes.extend_from_slice(&sealed);
        SIGNING.finish(bytes)
    }

    /// The signing key in bytes that [`RootKey::wrap_signing`] gave.
    pub fn unwrap_signing(&self, bytes: &[u8]) -> Result<SigningKey, CustodyError> {
        let (what, fields) = (SIGNING.what, fields(bytes)?);
        if RootCheck(*fields[2..].first_chunk().expect("the length was checked")) != self.check() {
            return Err(CustodyError::OtherRoot { what });
        }
        let (associated, sealed) = bytes[..OPEN_BYTES + SEALED_BYTES].split_at(OPEN_BYTES);
        let broken = CustodyError::SealBroken { what };
        let plain = self.cipher().decrypt([associated], sealed).map_err(|_| broken.clone())?;
        let key = SigningKey::of_seed(plain);
        if key.public.0 != associated[OPEN_BYTES - PUBLIC_KEY_BYTES..] {
            return Err(broken);
        }
        Ok(key)
    }
}

/// What stands between the frame of a wrapped signing key.
fn fields(bytes: &[u8]) -> Result<&[u8], CustodyError> {
    let fields = SIGNING.open(bytes)?;
    if fields.len() != WRAPPED_SIGNING_BYTES - frame::HEAD_BYTES - frame::CHECKSUM_BYTES
        || fields[..2] != [0; 2]
    {
        return Err(CustodyError::Damaged { what: SIGNING.what });
    }
    Ok(fields)
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("public", &self.public).finish_non_exhaustive()
    }
}

/// The library's form of the key. It is made for one signature, since it does not wipe itself.
fn pair(seed: &Secret<KEY_BYTES>) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(seed.bytes()).expect("a seed has 32 bytes")
}
