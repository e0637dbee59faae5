//! The keys of people in an identity vault: one per person, wrapped under the key of its bucket, and what is sealed under it.
//!
//! Everything that leads from a token to a person needs the person's key: the token is made with it and the identity is sealed
//! under it. Once it is destroyed nobody can tell whose the token was, whatever other keys they hold and whatever they guess.

use aes_siv::KeyInit;
use aes_siv::siv::Aes256Siv;
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::{Zeroize, Zeroizing};

use crate::secret::{KEY_BYTES, Secret};
use crate::{ClassName, CustodyError};

/// A vault's name, bytes: random, so that what is sealed for one vault opens in no other.
pub const VAULT_ID_BYTES: usize = 16;
/// A handle, bytes.
pub const HANDLE_BYTES: usize = 16;
/// Buckets of a vault: as many as the values of a handle's first byte.
pub const BUCKETS: usize = 256;
/// Longest value of a person, bytes: as long as a field may be.
pub const IDENTITY_BYTES_MAX: usize = 64 << 10;

const SIV_BYTES: usize = 16;
/// AES-256-SIV takes two keys of 32 bytes.
const SEAL_KEY_BYTES: usize = 64;
/// Handle, key, time.
const PERSON_BYTES: usize = HANDLE_BYTES + KEY_BYTES + 8;
/// A person's key in its bucket, bytes: synthetic IV, sealed.
pub const WRAPPED_PERSON_BYTES: usize = SIV_BYTES + PERSON_BYTES;
/// A sealed identity's length shows how long the value is only in steps of this many bytes.
const PADDING_BYTES: usize = 32;

const HANDLE_LABEL: &[u8] = b"twinkeep pseudo person handle 1";
const WRAP_LABEL: &[u8] = b"twinkeep pseudo person key 1";
const RECORD_LABEL: &[u8] = b"twinkeep pseudo person record 1";
const SEAL_LABEL: &[u8] = b"twinkeep pseudo person seal 1";
const SALT_LABEL: &[u8] = b"twinkeep pseudo person token 1";

/// Which vault something belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VaultId(pub [u8; VAULT_ID_BYTES]);

/// What a vault finds a person by: a keyed hash of the class and the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle(pub [u8; HANDLE_BYTES]);

/// Makes handles; derived from the root for one vault.
pub struct HandleKey(pub(crate) Secret<KEY_BYTES>);

/// The key of one person.
pub struct PersonKey(Secret<KEY_BYTES>);

/// What a person's tokens are made with, beside the key of the domain.
pub struct PersonSalt(Secret<KEY_BYTES>);

/// A person as a bucket keeps them.
pub struct Person {
    /// What they are found by.
    pub handle: Handle,
    /// Their key.
    pub key: PersonKey,
    /// Seconds since 1970 at which they came into the vault.
    pub created: u64,
}

/// Whose key it was: a class and a value of it.
pub struct Identity {
    /// What kind of identifier the value is.
    pub class: ClassName,
    /// The value after its normalisers, in the clear.
    pub value: Zeroizing<String>,
}

/// The key that people of one bucket are wrapped under, ready to use.
pub struct BucketKey {
    key: Secret<SEAL_KEY_BYTES>,
    vault: VaultId,
    bucket: u8,
    version: u32,
}

impl Handle {
    /// The bucket a person is in.
    pub fn bucket(self) -> u8 {
        self.0[0]
    }
}

impl HandleKey {
    /// What a person is found by.
    pub fn handle(&self, class: &ClassName, value: &str) -> Handle {
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(self.0.bytes()).expect("HMAC takes any key");
        mac.update(HANDLE_LABEL);
        let name = class.as_str();
        mac.update(&[u8::try_from(name.len()).expect("a name has at most 63 bytes")]);
        mac.update(name.as_bytes());
        mac.update(value.as_bytes());
        Handle(*mac.finalize().into_bytes().first_chunk().expect("an HMAC-SHA-256 has 32 bytes"))
    }
}

impl PersonKey {
    /// A new key, filled by the caller's source of random bytes.
    pub fn generate<E>(random: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Result<Self, E> {
        Secret::fill(random).map(Self)
    }

    /// What the person's tokens are made with.
    pub fn salt(&self) -> PersonSalt {
        PersonSalt(expanded(self.0.bytes(), &[SALT_LABEL]))
    }

    fn cipher(&self) -> Aes256Siv {
        cipher(&expanded(self.0.bytes(), &[SEAL_LABEL]))
    }
}

impl PersonSalt {
    /// Its bytes.
    pub fn expose(&self) -> &[u8; KEY_BYTES] {
        self.0.bytes()
    }
}

impl Person {
    /// The bytes of an identity under the person's key. A normaliser may have made a value longer than a vault keeps.
    pub fn seal(&self, vault: VaultId, identity: &Identity) -> Result<Vec<u8>, CustodyError> {
        let (class, value) = (identity.class.as_str().as_bytes(), identity.value.as_bytes());
        if value.len() > IDENTITY_BYTES_MAX {
            let (found, most) = (value.len() as u64, IDENTITY_BYTES_MAX as u64);
            return Err(CustodyError::OutsideLimits { what: "bytes of an identity", found, least: 0, most });
        }
        let length = (1 + class.len() + value.len() + 1).next_multiple_of(PADDING_BYTES);
        let mut plain = Zeroizing::new(Vec::with_capacity(length));
        plain.push(u8::try_from(class.len()).expect("a name has at most 63 bytes"));
        plain.extend_from_slice(class);
        plain.extend_from_slice(value);
        plain.push(0x80);
        plain.resize(length, 0);
        let associated = self.associated(vault);
        Ok(self.key.cipher().encrypt([&associated], &plain).expect("one header is below the limit"))
    }

    /// The identity in bytes that [`Person::seal`] gave.
    pub fn open(&self, vault: VaultId, sealed: &[u8]) -> Result<Identity, CustodyError> {
        let broken = || CustodyError::SealBroken { what: "identity" };
        let associated = self.associated(vault);
        let plain = self.key.cipher().decrypt([&associated], sealed).map_err(|_| broken())?;
        let plain = Zeroizing::new(plain);
        let (length, rest) = plain.split_first().ok_or_else(broken)?;
        let (class, rest) = rest.split_at_checked(usize::from(*length)).ok_or_else(broken)?;
        let end = rest.iter().rposition(|byte| *byte != 0).filter(|end| rest[*end] == 0x80);
        let value = std::str::from_utf8(&rest[..end.ok_or_else(broken)?]).map_err(|_| broken())?;
        let class = ClassName::new(std::str::from_utf8(class).map_err(|_| broken())?)?;
        Ok(Identity { class, value: Zeroizing::new(value.to_owned()) })
    }

    fn associated(&self, vault: VaultId) -> Vec<u8> {
        [RECORD_LABEL, &vault.0, &self.handle.0].concat()
    }
}

impl BucketKey {
    pub(crate) fn new(key: &[u8; KEY_BYTES], vault: VaultId, bucket: u8, version: u32) -> Self {
        let key = expanded(key, &[WRAP_LABEL, &vault.0, &[bucket], &version.to_le_bytes()]);
        Self { key, vault, bucket, version }
    }

    /// Which of the bucket's keys this is.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The bytes of a person's key under this one.
    pub fn wrap(&self, person: &Person) -> Vec<u8> {
        let mut plain = Zeroizing::new([0; PERSON_BYTES]);
        plain[..HANDLE_BYTES].copy_from_slice(&person.handle.0);
        plain[HANDLE_BYTES..HANDLE_BYTES + KEY_BYTES].copy_from_slice(person.key.0.bytes());
        plain[HANDLE_BYTES + KEY_BYTES..].copy_from_slice(&person.created.to_le_bytes());
        let associated = self.associated();
        cipher(&self.key).encrypt([&associated], &*plain).expect("one header is below the limit")
    }

    /// The person in bytes that [`BucketKey::wrap`] gave.
    pub fn unwrap(&self, wrapped: &[u8]) -> Result<Person, CustodyError> {
        let broken = || CustodyError::SealBroken { what: "person's key" };
        let associated = self.associated();
        let mut plain = cipher(&self.key).decrypt([&associated], wrapped).map_err(|_| broken())?;
        let opened = plain.first_chunk::<PERSON_BYTES>().filter(|_| plain.len() == PERSON_BYTES);
        let person = opened.ok_or_else(broken).and_then(|plain| {
            let handle = Handle(*plain.first_chunk().expect("the length was checked"));
            let key = PersonKey::generate(|bytes| {
                bytes.copy_from_slice(&plain[HANDLE_BYTES..HANDLE_BYTES + KEY_BYTES]);
                Ok::<(), CustodyError>(())
            })?;
            let created = u64::from_le_bytes(*plain.last_chunk().expect("the length was checked"));
            if handle.bucket() == self.bucket { Ok(Person { handle, key, created }) } else { Err(broken()) }
        });
        plain.zeroize();
        person
    }

    fn associated(&self) -> Vec<u8> {
        [WRAP_LABEL, &self.vault.0, &[self.bucket], &self.version.to_le_bytes()].concat()
    }
}

fn cipher(key: &Secret<SEAL_KEY_BYTES>) -> Aes256Siv {
    Aes256Siv::new(key.bytes().into())
}

fn expanded<const N: usize>(key: &[u8; KEY_BYTES], info: &[&[u8]]) -> Secret<N> {
    let mut out = Secret::zeroed();
    Hkdf::<Sha256>::from_prk(key)
        .expect("a key is as long as the hash")
        .expand_multi_info(info, out.bytes_mut())
        .expect("two blocks of output are far below the limit");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_sealed_up_to_the_limit_and_refused_beyond() {
        let key = PersonKey::generate(|bytes| {
            bytes.fill(7);
            Ok::<(), ()>(())
        });
        let person = Person { handle: Handle([1; HANDLE_BYTES]), key: key.unwrap(), created: 1 };
        let identity = |bytes: usize| Identity {
            class: ClassName::new("person.email").unwrap(),
            value: Zeroizing::new("x".repeat(bytes)),
        };
        let vault = VaultId([2; VAULT_ID_BYTES]);
        let sealed = person.seal(vault, &identity(IDENTITY_BYTES_MAX)).unwrap();
        assert_eq!(person.open(vault, &sealed).unwrap().value.len(), IDENTITY_BYTES_MAX);
        assert!(person.seal(vault, &identity(IDENTITY_BYTES_MAX + 1)).is_err());
    }
}
