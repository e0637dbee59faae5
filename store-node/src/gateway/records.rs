//! Layouts of the gateway's records in the system group: buckets, principals, access keys, grants, jobs.
//!
//! Each value begins with a format byte. Keys of the records: a bucket's and a principal's name, an access key's id,
//! and for grants the principal's and the bucket's number (so that a bucket made again under the same name starts
//! without grants). It leaves reading and writing them to [`super::directory`] and [`super::keyring`].

use bytes::Bytes;
use wire::{BucketId, DecodeError, Decoder, Encoder, PrincipalId, UnixMillis, VersioningMode};

/// Format byte of every record here.
const FORMAT: u8 = 1;

/// Sealed secret of an access key, bytes: 40 characters, a nonce, a tag and the envelope's frame, generously.
const SEALED_SECRET_BYTES_MAX: usize = 512;

/// What a principal may do with a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rights(u8);

/// Only those who own a bucket have it.
const OWNS_BIT: u8 = 8;

impl Rights {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Read objects.
    pub const READ: Self = Self(1);
    /// Write objects, run multipart uploads.
    pub const WRITE: Self = Self(2);
    /// List objects, versions and uploads, read the bucket's settings.
    pub const LIST: Self = Self(4);
    /// Delete objects and versions.
    pub const DELETE: Self = Self(16);
    /// Change the bucket's settings and delete it; includes all others.
    pub const OWN: Self = Self(31);

    /// Whether `wanted` is part of it.
    pub const fn includes(self, wanted: Self) -> bool {
        // an owner's grant that was written before deleting was a right of its own lacks that bit
        self.0 & OWNS_BIT != 0 || self.0 & wanted.0 == wanted.0
    }

    /// Whether anything is allowed.
    pub const fn any(self) -> bool {
        self.0 != 0
    }

    /// Both together.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is left when `other` is taken away. Without all others nobody owns a bucket.
    pub const fn without(self, other: Self) -> Self {
        let rest = self.0 & !other.0;
        Self(if other.0 == 0 { rest } else { rest & !OWNS_BIT })
    }

    /// Reads `read`, `write`, `delete`, `list`, `own`.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "read" => Some(Self::READ),
            "write" => Some(Self::WRITE),
            "delete" => Some(Self::DELETE),
            "list" => Some(Self::LIST),
            "own" => Some(Self::OWN),
            _ => None,
        }
    }

    /// Their names, the shortest way.
    pub fn names(self) -> Vec<&'static str> {
        if self.includes(Self::OWN) {
            return vec!["own"];
        }
        [(Self::READ, "read"), (Self::WRITE, "write"), (Self::DELETE, "delete"), (Self::LIST, "list")]
            .into_iter()
            .filter_map(|(right, name)| self.includes(right).then_some(name))
            .collect()
    }
}

/// A bucket's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BucketRecord {
    /// Who made it.
    pub owner: PrincipalId,
    /// When.
    pub created: UnixMillis,
    /// Its versioning.
    pub versioning: VersioningMode,
    /// Since when it is being deleted.
    pub deleting: Option<UnixMillis>,
}

/// What a principal may do in the whole region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrincipalRecord {
    /// Every right on every bucket.
    pub admin: bool,
    /// May create buckets.
    pub create_buckets: bool,
    /// When it was registered.
    pub created: UnixMillis,
}

/// An access key: whose, and its sealed secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessKeyRecord {
    /// Whose key.
    pub principal: PrincipalId,
    /// When it was made.
    pub created: UnixMillis,
    /// The secret, sealed under the region's key.
    pub sealed_secret: Bytes,
}

impl BucketRecord {
    /// Its layout.
    pub fn encode(&self) -> Bytes {
        let mut e = Encoder::with_capacity(18);
        e.u8(FORMAT);
        e.u64(self.owner.0);
        e.u64(self.created.0);
        e.u8(match self.versioning {
            VersioningMode::Off => 0,
            VersioningMode::Enabled => 1,
            VersioningMode::Suspended => 2,
        });
        e.option(self.deleting.as_ref(), |e, since| e.u64(since.0));
        e.finish()
    }

    /// Reads its layout.
    pub fn decode(value: Bytes) -> Result<Self, DecodeError> {
        let mut d = begin("bucket record", value)?;
        let (owner, created) = (PrincipalId(d.u64()?), UnixMillis(d.u64()?));
        let versioning = match d.u8()? {
            0 => VersioningMode::Off,
            1 => VersioningMode::Enabled,
            2 => VersioningMode::Suspended,
            found => return Err(d.unknown(u64::from(found))),
        };
        let deleting = d.option(|d| Ok(UnixMillis(d.u64()?)))?;
        d.finish()?;
        Ok(Self { owner, created, versioning, deleting })
    }
}

impl PrincipalRecord {
    /// Its layout.
    pub fn encode(&self) -> Bytes {
        let mut e = Encoder::with_capacity(11);
        e.u8(FORMAT);
        e.flag(self.admin);
        e.flag(self.create_buckets);
        e.u64(self.created.0);
        e.finish()
    }

    /// Reads its layout.
    pub fn decode(value: Bytes) -> Result<Self, DecodeError> {
        let mut d = begin("principal record", value)?;
        let record = Self { admin: d.flag()?, create_buckets: d.flag()?, created: UnixMillis(d.u64()?) };
        d.finish()?;
        Ok(record)
    }
}

impl AccessKeyRecord {
    /// Its layout.
    pub fn encode(&self) -> Bytes {
        let mut e = Encoder::with_capacity(160);
        e.u8(FORMAT);
        e.u64(self.principal.0);
        e.u64(self.created.0);
        e.bytes(&self.sealed_secret);
        e.finish()
    }

    /// Reads its layout.
    pub fn decode(value: Bytes) -> Result<Self, DecodeError> {
        let mut d = begin("access key record", value)?;
        let record = Self {
            principal: PrincipalId(d.u64()?),
            created: UnixMillis(d.u64()?),
            sealed_secret: d.bytes(SEALED_SECRET_BYTES_MAX)?,
        };
        d.finish()?;
        Ok(record)
    }
}

/// Key of a grant's record: principal, then bucket, most significant byte first so that a principal's grants stand together.
pub fn grant_key(principal: PrincipalId, bucket: BucketId) -> Bytes {
    let mut key = Vec::with_capacity(16);
    key.extend_from_slice(&principal.0.to_be_bytes());
    key.extend_from_slice(&bucket.0.to_be_bytes());
    key.into()
}

/// Reads a grant record's key.
pub fn parse_grant_key(key: &[u8]) -> Option<(PrincipalId, BucketId)> {
    let (principal, bucket) = key.split_at_checked(8)?;
    Some((
        PrincipalId(u64::from_be_bytes(principal.try_into().ok()?)),
        BucketId(u64::from_be_bytes(bucket.try_into().ok()?)),
    ))
}

/// Layout of a grant's value.
pub fn encode_grant(rights: Rights) -> Bytes {
    let mut e = Encoder::with_capacity(2);
    e.u8(FORMAT);
    e.u8(rights.0);
    e.finish()
}

/// Reads a grant's value.
pub fn decode_grant(value: Bytes) -> Result<Rights, DecodeError> {
    let mut d = begin("grant record", value)?;
    let bits = d.u8()?;
    if bits & !Rights::OWN.0 != 0 {
        return Err(d.unknown(u64::from(bits)));
    }
    d.finish()?;
    Ok(Rights(bits))
}

fn begin(what: &'static str, value: Bytes) -> Result<Decoder, DecodeError> {
    let mut d = Decoder::new(what, value);
    match d.u8()? {
        FORMAT => Ok(d),
        found => Err(d.unknown(u64::from(found))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn records_keep_their_layout() {
        let bucket = BucketRecord {
            owner: PrincipalId(7),
            created: UnixMillis(9),
            versioning: VersioningMode::Suspended,
            deleting: None,
        };
        assert_eq!(hex(&bucket.encode()), "01070000000000000009000000000000000200");
        assert_eq!(BucketRecord::decode(bucket.encode()), Ok(bucket));
        let principal = PrincipalRecord { admin: false, create_buckets: true, created: UnixMillis(3) };
        assert_eq!(hex(&principal.encode()), "0100010300000000000000");
        assert_eq!(PrincipalRecord::decode(principal.encode()), Ok(principal));
        let key = AccessKeyRecord {
            principal: PrincipalId(1),
            created: UnixMillis(2),
            sealed_secret: Bytes::from_static(b"abc"),
        };
        assert_eq!(hex(&key.encode()), "010100000000000000020000000000000003000000616263");
        assert_eq!(AccessKeyRecord::decode(key.encode()), Ok(key));
        assert_eq!(hex(&encode_grant(Rights::OWN)), "011f");
        assert_eq!(decode_grant(encode_grant(Rights::DELETE)), Ok(Rights::DELETE));
    }

    #[test]
    fn who_owned_a_bucket_before_deleting_was_a_right_of_its_own_still_does() {
        let owner = decode_grant(Bytes::from_static(&[1, 0x0f])).unwrap();
        assert!(owner.includes(Rights::OWN) && owner.includes(Rights::DELETE));
        assert_eq!(owner.names(), ["own"]);
        assert_eq!(decode_grant(Bytes::from_static(&[1, 0x07])).unwrap().names(), ["read", "write", "list"]);
    }

    #[test]
    fn every_cut_of_a_record_is_an_error() {
        let whole = BucketRecord {
            owner: PrincipalId(7),
            created: UnixMillis(9),
            versioning: VersioningMode::Off,
            deleting: Some(UnixMillis(1)),
        }
        .encode();
        for cut in 0..whole.len() {
            assert!(BucketRecord::decode(whole.slice(..cut)).is_err(), "{cut}");
        }
    }

    #[test]
    fn owning_includes_the_rest_and_revoking_any_part_ends_it() {
        assert!(Rights::OWN.includes(Rights::READ.with(Rights::WRITE).with(Rights::LIST)));
        assert_eq!(Rights::OWN.names(), ["own"]);
        let rest = Rights::OWN.without(Rights::WRITE);
        assert_eq!(rest.names(), ["read", "delete", "list"]);
        assert!(!rest.includes(Rights::OWN));
        assert_eq!(Rights::OWN.without(Rights::OWN), Rights::NONE);
    }

    #[test]
    fn a_grant_key_names_principal_and_bucket() {
        let key = grant_key(PrincipalId(2), BucketId(3));
        assert_eq!(parse_grant_key(&key), Some((PrincipalId(2), BucketId(3))));
        assert_eq!(parse_grant_key(&key[..15]), None);
    }
}
