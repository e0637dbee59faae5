//! Keys sealed under keys: region keys under the root, tenant keys under a region key, object keys under tenant keys.
//!
//! The associated data names level, deployment, region, tenant and both versions (for an object key also the object),
//! so that a wrapped key opens only as what it was wrapped as. Nonces are random and come from the caller.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use wire::{DecodeError, DeploymentId, TenantId};

use crate::frame::{Frame, HEAD_BYTES};
use crate::secret::{KEY_BYTES, Secret};
use crate::suite::{Cipher, NONCE_BYTES, Nonce, Suite, TAG_BYTES};
use crate::{
    EnvelopeError, KeyVersion, ObjectKey, ObjectPlace, RegionKey, RegionKeyName, RegionName, RootKey,
    TenantKey, TenantKeyName,
};

/// Which level a wrapped key belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum KeyLevel {
    /// A region key under the root.
    Region = 1,
    /// A tenant key under a region key.
    Tenant = 2,
    /// An object key under a tenant key.
    Object = 3,
}

impl fmt::Display for KeyLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Region => "region",
            Self::Tenant => "tenant",
            Self::Object => "object",
        })
    }
}

/// Who holds the root: a key from a passphrase-sealed file ([`RootKey`]), or hardware. What it returns is opaque to
/// everyone else; it must refuse to unwrap a key under another name than it was wrapped for.
pub trait RootWrap: Send + Sync {
    /// Wraps a region key; `nonce` is the caller's randomness, for holders that need some.
    fn wrap(&self, key: &RegionKey, nonce: Nonce) -> Result<Bytes, EnvelopeError>;

    /// Unwraps the region key called `name`.
    fn unwrap(&self, name: &RegionKeyName, wrapped: &[u8]) -> Result<RegionKey, EnvelopeError>;
}

const FRAME: Frame = Frame { what: "wrapped key", magic: *b"TKWK", format: 1, bytes_max: WRAPPED_KEY_BYTES };

/// Head 6, level 1, zero 1, version 4, under 4, sealed key 60, checksum 4.
const WRAPPED_KEY_BYTES: usize = HEAD_BYTES + 2 + 8 + SEALED_KEY_BYTES + 4;

/// A region or tenant key as it is stored: sealed under the key one level up.
#[derive(Clone, PartialEq, Eq)]
pub struct WrappedKey {
    level: KeyLevel,
    version: KeyVersion,
    under: KeyVersion,
    sealed: SealedKey,
}

impl WrappedKey {
    /// Which level of key this is.
    pub fn level(&self) -> KeyLevel {
        self.level
    }

    /// The version of the key inside.
    pub fn version(&self) -> KeyVersion {
        self.version
    }

    /// The version of the key that opens it; 0 when that is the root.
    pub fn under(&self) -> KeyVersion {
        self.under
    }

    /// The bytes to store.
    pub fn encode(&self) -> Bytes {
        let mut buffer = FRAME.begin(WRAPPED_KEY_BYTES - HEAD_BYTES);
        buffer.put_u8(self.level as u8);
        buffer.put_u8(0);
        buffer.put_u32_le(self.version.0);
        buffer.put_u32_le(self.under.0);
        buffer.put_slice(&self.sealed.0);
        FRAME.finish(buffer)
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        let bounded = &bytes[..bytes.len().min(WRAPPED_KEY_BYTES + 1)];
        let (_, mut fields) = FRAME.open(Bytes::copy_from_slice(bounded))?;
        let read = || -> Result<Self, DecodeError> {
            let level = match fields.u8()? {
                1 => KeyLevel::Region,
                2 => KeyLevel::Tenant,
                found => return Err(fields.unknown(u64::from(found))),
            };
            match fields.u8()? {
                0 => {}
                found => return Err(fields.unknown(u64::from(found))),
            }
            let version = KeyVersion(fields.u32()?);
            let under = KeyVersion(fields.u32()?);
            let sealed = SealedKey(fields.array()?);
            fields.finish()?;
            Ok(Self { level, version, under, sealed })
        };
        read().map_err(|source| FRAME.damaged(source))
    }

    fn check(&self, wanted: KeyLevel, version: KeyVersion, under: KeyVersion) -> Result<(), EnvelopeError> {
        if self.level != wanted {
            return Err(EnvelopeError::OtherLevel { wanted, found: self.level });
        }
        if (self.version, self.under) != (version, under) {
            return Err(EnvelopeError::OtherOwner { level: wanted });
        }
        Ok(())
    }
}

impl fmt::Debug for WrappedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WrappedKey")
            .field("level", &self.level)
            .field("version", &self.version)
            .field("under", &self.under)
            .finish_non_exhaustive()
    }
}

impl RootWrap for RootKey {
    fn wrap(&self, key: &RegionKey, nonce: Nonce) -> Result<Bytes, EnvelopeError> {
        let associated = Binding::region(&key.name).associated();
        let sealed = SealedKey::seal(&Cipher::new(&self.0), &associated, &key.secret, nonce);
        let (version, under) = (key.name.version, KeyVersion(0));
        Ok(WrappedKey { level: KeyLevel::Region, version, under, sealed }.encode())
    }

    fn unwrap(&self, name: &RegionKeyName, wrapped: &[u8]) -> Result<RegionKey, EnvelopeError> {
        let wrapped = WrappedKey::decode(wrapped)?;
        wrapped.check(KeyLevel::Region, name.version, KeyVersion(0))?;
        let associated = Binding::region(name).associated();
        let secret = wrapped.sealed.open(&Cipher::new(&self.0), &associated, KeyLevel::Region)?;
        Ok(RegionKey { name: name.clone(), secret })
    }
}

impl RegionKey {
    /// Wraps a tenant key of this region.
    pub fn wrap_tenant_key(&self, key: &TenantKey, nonce: Nonce) -> Result<WrappedKey, EnvelopeError> {
        if (key.name.deployment, &key.name.region) != (self.name.deployment, &self.name.region) {
            return Err(EnvelopeError::OtherOwner { level: KeyLevel::Tenant });
        }
        let (version, under) = (key.name.version, self.name.version);
        let associated = Binding::tenant(&key.name, under).associated();
        let sealed = SealedKey::seal(&Cipher::new(&self.secret), &associated, &key.secret, nonce);
        Ok(WrappedKey { level: KeyLevel::Tenant, version, under, sealed })
    }

    /// Unwraps a key of `tenant` in this region.
    pub fn unwrap_tenant_key(
        &self,
        tenant: TenantId,
        wrapped: &WrappedKey,
    ) -> Result<TenantKey, EnvelopeError> {
        wrapped.check(KeyLevel::Tenant, wrapped.version, self.name.version)?;
        let name = TenantKeyName {
            deployment: self.name.deployment,
            region: self.name.region.clone(),
            tenant,
            version: wrapped.version,
        };
        let associated = Binding::tenant(&name, self.name.version).associated();
        let secret = wrapped.sealed.open(&Cipher::new(&self.secret), &associated, KeyLevel::Tenant)?;
        Ok(TenantKey::new(name, secret))
    }
}

impl TenantKey {
    pub(crate) fn wrap_object_key(&self, place: &ObjectPlace, key: &ObjectKey, nonce: Nonce) -> SealedKey {
        let associated = Binding::object(&self.name, place).associated();
        SealedKey::seal(&self.cipher, &associated, &key.0, nonce)
    }

    pub(crate) fn unwrap_object_key(
        &self,
        place: &ObjectPlace,
        sealed: &SealedKey,
    ) -> Result<ObjectKey, EnvelopeError> {
        let associated = Binding::object(&self.name, place).associated();
        sealed.open(&self.cipher, &associated, KeyLevel::Object).map(ObjectKey)
    }
}

/// A sealed key, bytes: nonce, ciphertext, tag.
pub(crate) const SEALED_KEY_BYTES: usize = NONCE_BYTES + KEY_BYTES + TAG_BYTES;

#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SealedKey(pub(crate) [u8; SEALED_KEY_BYTES]);

impl SealedKey {
    pub(crate) fn seal(cipher: &Cipher, associated: &[u8], key: &Secret, nonce: Nonce) -> Self {
        let mut bytes = [0; SEALED_KEY_BYTES];
        bytes[..NONCE_BYTES].copy_from_slice(&nonce.0);
        let (body, tag) = bytes[NONCE_BYTES..].split_at_mut(KEY_BYTES);
        body.copy_from_slice(key.bytes());
        tag.copy_from_slice(&cipher.seal(&nonce.0, associated, body));
        Self(bytes)
    }

    pub(crate) fn open(
        &self,
        cipher: &Cipher,
        associated: &[u8],
        level: KeyLevel,
    ) -> Result<Secret, EnvelopeError> {
        let (mut nonce, mut tag) = ([0; NONCE_BYTES], [0; TAG_BYTES]);
        nonce.copy_from_slice(&self.0[..NONCE_BYTES]);
        tag.copy_from_slice(&self.0[NONCE_BYTES + KEY_BYTES..]);
        let mut key = Secret::zeroed();
        key.bytes_mut().copy_from_slice(&self.0[NONCE_BYTES..NONCE_BYTES + KEY_BYTES]);
        match cipher.open(&nonce, associated, key.bytes_mut(), &tag) {
            Ok(()) => Ok(key),
            Err(_) => Err(EnvelopeError::KeyRefused { level }),
        }
    }
}

/// What a wrapped key is bound to; `FORMAT.md` has the table.
struct Binding<'a> {
    level: KeyLevel,
    deployment: DeploymentId,
    region: &'a RegionName,
    version: KeyVersion,
    under: KeyVersion,
    tenant: TenantId,
    object: Option<&'a ObjectPlace>,
}

impl<'a> Binding<'a> {
    fn region(name: &'a RegionKeyName) -> Self {
        Self {
            level: KeyLevel::Region,
            deployment: name.deployment,
            region: &name.region,
            version: name.version,
            under: KeyVersion(0),
            tenant: TenantId(0),
            object: None,
        }
    }

    fn tenant(name: &'a TenantKeyName, under: KeyVersion) -> Self {
        Self {
            level: KeyLevel::Tenant,
            deployment: name.deployment,
            region: &name.region,
            version: name.version,
            under,
            tenant: name.tenant,
            object: None,
        }
    }

    fn object(name: &'a TenantKeyName, place: &'a ObjectPlace) -> Self {
        let under = Self::tenant(name, name.version);
        // an object key has no versions of its own
        Self { level: KeyLevel::Object, version: KeyVersion(0), object: Some(place), ..under }
    }

    fn associated(&self) -> BytesMut {
        let mut data = BytesMut::with_capacity(192);
        data.put_slice(b"twinkeep-wrap-01");
        data.put_u8(Suite::CURRENT.id());
        data.put_u8(self.level as u8);
        data.put_slice(&self.deployment.0);
        data.put_u32_le(self.version.0);
        data.put_u32_le(self.under.0);
        data.put_u64_le(self.tenant.0);
        data.put_u8(self.region.length());
        data.put_slice(self.region.as_str().as_bytes());
        if let Some(place) = self.object {
            data.put_u64_le(place.bucket.0);
            data.put_slice(&place.name_hash);
            data.put_slice(&place.version.0);
        }
        data
    }
}
