//! The object header: an object key wrapped once per region, and the commitment to it.
//!
//! The store keeps it beside the version and does not look inside. AES-256-GCM-SIV does not commit to its key: bytes
//! can be crafted that open under two keys. So the header names the one key, by a value only that key yields, and it
//! is compared before anything is opened.

use std::fmt;
use std::ops::Deref;

use bytes::{BufMut, Bytes};
use subtle::ConstantTimeEq;
use wire::limits::OBJECT_HEADER_BYTES_MAX;
use wire::{DecodeError, Decoder, TenantId};

use crate::derive::{Purpose, derive};
use crate::frame::Frame;
use crate::suite::{Nonce, Suite};
use crate::wrap::{SEALED_KEY_BYTES, SealedKey};
use crate::{EnvelopeError, KeyLevel, KeyVersion, ObjectKey, ObjectPlace, RegionName, TenantKey};

/// Wrapped copies of one object key: one per region of a pair.
pub const COPIES_MAX: usize = 2;

const COMMITMENT_BYTES: usize = 32;

const FRAME: Frame =
    Frame { what: "object header", magic: *b"TKOH", format: 1, bytes_max: OBJECT_HEADER_BYTES_MAX };

/// The sealed header of one version of an object.
#[derive(Clone, PartialEq, Eq)]
pub struct ObjectHeader {
    tenant: TenantId,
    commitment: [u8; COMMITMENT_BYTES],
    // by region, ascending: one encoding per header
    copies: Vec<WrappedCopy>,
}

#[derive(Clone, PartialEq, Eq)]
struct WrappedCopy {
    region: RegionName,
    version: KeyVersion,
    sealed: SealedKey,
}

impl ObjectHeader {
    /// Wraps `key` for `place` under each region's tenant key.
    pub fn seal(
        place: &ObjectPlace,
        key: &ObjectKey,
        under: Vec<(&TenantKey, Nonce)>,
    ) -> Result<Self, EnvelopeError> {
        if under.is_empty() || under.len() > COPIES_MAX {
            return Err(EnvelopeError::OutsideLimits {
                what: "wrapped copies of an object key",
                found: under.len() as u64,
                least: 1,
                most: COPIES_MAX as u64,
            });
        }
        let mut copies = Vec::with_capacity(under.len());
        for (tenant_key, nonce) in under {
            copies.push(WrappedCopy::seal(place, key, tenant_key, nonce)?);
        }
        copies.sort_by(|a, b| a.region.cmp(&b.region));
        if copies.windows(2).any(|pair| pair[0].region == pair[1].region) {
            return Err(EnvelopeError::OtherOwner { level: KeyLevel::Tenant });
        }
        Ok(Self { tenant: place.tenant, commitment: commitment(key), copies })
    }

    /// The object key, by the first copy for which `lookup` has the tenant key; verified against the commitment.
    ///
    /// `lookup` should know only keys of its own region: a key it does have must open its copy.
    pub fn open<K: Deref<Target = TenantKey>>(
        &self,
        place: &ObjectPlace,
        lookup: impl Fn(&RegionName, TenantId, KeyVersion) -> Option<K>,
    ) -> Result<ObjectKey, EnvelopeError> {
        for copy in &self.copies {
            if let Some(tenant_key) = lookup(&copy.region, place.tenant, copy.version) {
                return self.open_copy(place, copy, &tenant_key);
            }
        }
        Err(EnvelopeError::KeyMissing { tenant: place.tenant })
    }

    /// The same header with the copy of one region wrapped under `new` instead of `old`; nothing else changes, so
    /// chunks and metadata stay as they are. Both keys are of the same tenant and region.
    pub fn rewrap(
        &self,
        place: &ObjectPlace,
        old: &TenantKey,
        new: &TenantKey,
        nonce: Nonce,
    ) -> Result<Self, EnvelopeError> {
        let found = self.copies.iter().position(|copy| copy.is_under(old));
        let (Some(index), true) = (found, old.name.region == new.name.region) else {
            return Err(EnvelopeError::OtherOwner { level: KeyLevel::Tenant });
        };
        let key = self.open_copy(place, &self.copies[index], old)?;
        let mut rewrapped = self.clone();
        rewrapped.copies[index] = WrappedCopy::seal(place, &key, new, nonce)?;
        Ok(rewrapped)
    }

    /// Which version of the tenant's key in `region` opens this header; what rotation asks.
    pub fn key_version(&self, region: &RegionName) -> Option<KeyVersion> {
        self.copies.iter().find(|copy| copy.region == *region).map(|copy| copy.version)
    }

    /// The tenant named by the header.
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// The bytes to store.
    pub fn encode(&self) -> Bytes {
        let mut buffer = FRAME.begin(320);
        buffer.put_u8(self.copies.len() as u8);
        buffer.put_u8(0);
        buffer.put_u64_le(self.tenant.0);
        buffer.put_slice(&self.commitment);
        for copy in &self.copies {
            buffer.put_u8(copy.region.length());
            buffer.put_slice(copy.region.as_str().as_bytes());
            buffer.put_u32_le(copy.version.0);
            buffer.put_slice(&copy.sealed.0);
        }
        FRAME.finish(buffer)
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: Bytes) -> Result<Self, EnvelopeError> {
        let (_, fields) = FRAME.open(bytes)?;
        read(fields).map_err(|source| FRAME.damaged(source))
    }

    fn open_copy(
        &self,
        place: &ObjectPlace,
        copy: &WrappedCopy,
        tenant_key: &TenantKey,
    ) -> Result<ObjectKey, EnvelopeError> {
        if self.tenant != place.tenant {
            return Err(EnvelopeError::OtherTenant { wanted: place.tenant, found: self.tenant });
        }
        if tenant_key.name.tenant != place.tenant || !copy.is_under(tenant_key) {
            return Err(EnvelopeError::OtherOwner { level: KeyLevel::Tenant });
        }
        let key = tenant_key.unwrap_object_key(place, &copy.sealed)?;
        if bool::from(commitment(&key).ct_eq(&self.commitment)) {
            Ok(key)
        } else {
            Err(EnvelopeError::Commitment)
        }
    }
}

impl WrappedCopy {
    fn seal(
        place: &ObjectPlace,
        key: &ObjectKey,
        tenant_key: &TenantKey,
        nonce: Nonce,
    ) -> Result<Self, EnvelopeError> {
        if tenant_key.name.tenant != place.tenant {
            return Err(EnvelopeError::OtherOwner { level: KeyLevel::Tenant });
        }
        Ok(Self {
            region: tenant_key.name.region.clone(),
            version: tenant_key.name.version,
            sealed: tenant_key.wrap_object_key(place, key, nonce),
        })
    }

    fn is_under(&self, key: &TenantKey) -> bool {
        (&self.region, self.version) == (&key.name.region, key.name.version)
    }
}

impl fmt::Debug for ObjectHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let copies: Vec<_> = self.copies.iter().map(|copy| (&copy.region, copy.version)).collect();
        f.debug_struct("ObjectHeader")
            .field("tenant", &self.tenant)
            .field("copies", &copies)
            .finish_non_exhaustive()
    }
}

fn commitment(key: &ObjectKey) -> [u8; COMMITMENT_BYTES] {
    *derive(&key.0, Purpose::Commitment, Suite::CURRENT, &[]).bytes()
}

fn read(mut fields: Decoder) -> Result<ObjectHeader, DecodeError> {
    let what = FRAME.what;
    let count = usize::from(fields.u8()?);
    if count == 0 || count > COPIES_MAX {
        return Err(DecodeError::OverLimit { what, found: count as u64, limit: COPIES_MAX as u64 });
    }
    let zero = fields.u8()?;
    if zero != 0 {
        return Err(fields.unknown(u64::from(zero)));
    }
    let tenant = TenantId(fields.u64()?);
    let commitment = fields.array()?;
    let mut copies: Vec<WrappedCopy> = Vec::with_capacity(count);
    for _ in 0..count {
        let length = usize::from(fields.u8()?);
        let text = fields.fixed(length)?;
        let region = std::str::from_utf8(&text).ok().and_then(RegionName::parse);
        let region = region.ok_or(DecodeError::NotText { what })?;
        if copies.last().is_some_and(|before| before.region >= region) {
            return Err(fields.unknown(length as u64));
        }
        let version = KeyVersion(fields.u32()?);
        let sealed = SealedKey(fields.array::<SEALED_KEY_BYTES>()?);
        copies.push(WrappedCopy { region, version, sealed });
    }
    fields.finish()?;
    Ok(ObjectHeader { tenant, commitment, copies })
}
