//! How records look to clients: times, owners, version ids, checksums.

use std::time::{Duration, UNIX_EPOCH};

use s3s::dto::{self, ETag, Timestamp};
use s3s::{S3Error, S3Result};
use wire::{PrincipalId, UnixMillis, VersionRef, VersioningMode, WhichVersion};

use crate::gateway::Core;
use crate::gateway::checksum::{Algorithm, Checksum};
use crate::gateway::directory::account_id;
use crate::gateway::errors::invalid_argument;

/// How the null version is called.
pub(super) const NULL_VERSION: &str = "null";

pub(super) fn timestamp(instant: UnixMillis) -> Timestamp {
    // years beyond what the type holds cannot come from a clock
    let since = Duration::from_millis(instant.0.min(253_402_300_799_000));
    Timestamp::from(UNIX_EPOCH + since)
}

pub(super) fn etag(value: &str) -> ETag {
    ETag::Strong(value.to_owned())
}

pub(super) fn size(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

pub(super) fn owner(core: &Core, principal: PrincipalId) -> dto::Owner {
    dto::Owner {
        display_name: core.directory.name_of(principal).map(|name| name.to_string()),
        id: Some(account_id(principal)),
    }
}

pub(super) fn initiator(core: &Core, principal: PrincipalId) -> dto::Initiator {
    let dto::Owner { display_name, id } = owner(core, principal);
    dto::Initiator { display_name, id }
}

/// The version id header of an answer: none in a bucket that never had versioning.
pub(super) fn version_id(mode: VersioningMode, null: bool, version: VersionRef) -> Option<String> {
    match (mode, null) {
        (VersioningMode::Off, _) => None,
        (_, true) => Some(NULL_VERSION.to_owned()),
        (_, false) => Some(version.to_string()),
    }
}

/// A version id in a listing, where every version has one.
pub(super) fn listed_version_id(null: bool, version: VersionRef) -> String {
    if null { NULL_VERSION.to_owned() } else { version.to_string() }
}

/// Reads a version id that a client named.
pub(super) fn which_version(version_id: Option<&str>) -> S3Result<WhichVersion> {
    match version_id {
        None => Ok(WhichVersion::Current),
        Some(NULL_VERSION) => Ok(WhichVersion::Null),
        Some(text) => VersionRef::parse(text).map(WhichVersion::Exactly).ok_or_else(invalid_version_id),
    }
}

pub(super) fn invalid_version_id() -> S3Error {
    invalid_argument("Invalid version id specified")
}

/// A checksum in the five fields that outputs have for it.
#[derive(Default)]
pub(super) struct ShownChecksum {
    pub(super) crc32: Option<String>,
    pub(super) crc32c: Option<String>,
    pub(super) crc64nvme: Option<String>,
    pub(super) sha1: Option<String>,
    pub(super) sha256: Option<String>,
    pub(super) kind: Option<dto::ChecksumType>,
}

impl ShownChecksum {
    pub(super) fn of(checksum: Option<&Checksum>) -> Self {
        let mut shown = Self::default();
        let Some(checksum) = checksum else { return shown };
        *shown.slot(checksum.algorithm) = Some(checksum.shown());
        shown.kind = Some(checksum.kind.shown());
        shown
    }

    fn slot(&mut self, algorithm: Algorithm) -> &mut Option<String> {
        match algorithm {
            Algorithm::Crc32 => &mut self.crc32,
            Algorithm::Crc32c => &mut self.crc32c,
            Algorithm::Crc64Nvme => &mut self.crc64nvme,
            Algorithm::Sha1 => &mut self.sha1,
            Algorithm::Sha256 => &mut self.sha256,
        }
    }
}

pub(super) fn algorithm(algorithm: Algorithm) -> dto::ChecksumAlgorithm {
    dto::ChecksumAlgorithm::from_static(algorithm.name())
}
