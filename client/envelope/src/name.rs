//! Names of keys and places of objects: what every seal is bound to. Nothing here is secret.

use std::fmt;

use sha2::{Digest, Sha256};
use wire::{BucketId, DeploymentId, StreamId, TenantId, VersionId};

/// A region's name, bytes: one DNS label.
pub const REGION_NAME_BYTES_MAX: usize = 63;

/// A region's name: 1 to 63 of `a-z`, `0-9` and `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegionName(Box<str>);

impl RegionName {
    /// Checks and takes the name.
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let fits = (1..=REGION_NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(allowed);
        fits.then(|| Self(text.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn length(&self) -> u8 {
        u8::try_from(self.0.len()).expect("a region's name is at most 63 bytes")
    }
}

impl fmt::Display for RegionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which version of a region key or tenant key; counts up with each rotation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyVersion(pub u32);

impl fmt::Display for KeyVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Whose region key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RegionKeyName {
    /// The deployment it belongs to.
    pub deployment: DeploymentId,
    /// The region it belongs to.
    pub region: RegionName,
    /// Which version.
    pub version: KeyVersion,
}

/// Whose tenant key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TenantKeyName {
    /// The deployment it belongs to.
    pub deployment: DeploymentId,
    /// The region it belongs to.
    pub region: RegionName,
    /// The tenant it belongs to.
    pub tenant: TenantId,
    /// Which version.
    pub version: KeyVersion,
}

/// One version of one object: what its key, metadata and chunks are bound to.
#[derive(Clone, PartialEq, Eq)]
pub struct ObjectPlace {
    /// Whose object.
    pub tenant: TenantId,
    /// In which bucket.
    pub bucket: BucketId,
    /// Which version.
    pub version: VersionId,
    pub(crate) name_hash: [u8; 32],
}

impl ObjectPlace {
    /// The place of the version `version` of the object that is called `name` in `bucket`.
    pub fn new(tenant: TenantId, bucket: BucketId, name: &[u8], version: VersionId) -> Self {
        Self { tenant, bucket, version, name_hash: Sha256::digest(name).into() }
    }
}

// the hash of a name would let a reader of logs test guesses, so it stays out
impl fmt::Debug for ObjectPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectPlace")
            .field("tenant", &self.tenant)
            .field("bucket", &self.bucket)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// One run of chunks of an object: the body of a PUT, or one attempt at one part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamPlace {
    /// Whose chunks.
    pub object: ObjectPlace,
    /// Which part: 1 to 10,000, or 0 for the body of a PUT.
    pub part: u16,
    /// Which attempt; random, so that a repeated upload of a part never meets its predecessor's keys.
    pub stream: StreamId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_name_is_one_lowercase_label() {
        let longest = "r".repeat(REGION_NAME_BYTES_MAX);
        for right in ["here-1", "a", longest.as_str()] {
            assert_eq!(RegionName::parse(right).map(|name| name.to_string()).as_deref(), Some(right));
        }
        let too_long = "r".repeat(REGION_NAME_BYTES_MAX + 1);
        for wrong in ["", "Here", "a b", "a/b", "é", too_long.as_str()] {
            assert_eq!(RegionName::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_place_shows_no_trace_of_the_name() {
        let place = ObjectPlace::new(TenantId(1), BucketId(2), b"anna", VersionId([3; 16]));
        assert!(!format!("{place:?}").contains("hash"));
    }
}
