//! Values of index rows. The byte tables are in `index/FORMAT.md`.

use super::{Place, key};
use crate::index::RowBytes;
use bytes::Bytes;
use wire::{
    BucketUsage, DecodeError, Decoder, Encoder, ListedVersion, ObjectContent, PrincipalId, Sequence,
    UnixMillis, VersionId, VersionRecord, VersionRef,
};

/// A version with the place of its body, if that travelled in its own entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VersionRow {
    pub(crate) place: Option<Place>,
    pub(crate) record: VersionRecord,
}

/// What a group knows of a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BucketRow {
    pub(crate) usage: BucketUsage,
    /// Takes no new versions and uploads. Stays when the bucket is forgotten: its id never comes back, but a late
    /// command may.
    pub(crate) frozen: bool,
}

/// A value as shared bytes, without copying it.
pub(crate) fn shared(value: RowBytes) -> Bytes {
    Bytes::from_owner(value)
}

/// What an encoder wrote as a value.
pub(crate) fn value(write: impl FnOnce(&mut Encoder)) -> RowBytes {
    let mut e = Encoder::with_capacity(256);
    write(&mut e);
    RowBytes::from(&*e.finish())
}

/// Reads all of a value.
pub(crate) fn read<T>(
    what: &'static str,
    value: RowBytes,
    read: impl FnOnce(&mut Decoder) -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    let mut d = Decoder::new(what, shared(value));
    let decoded = read(&mut d)?;
    d.finish()?;
    Ok(decoded)
}

impl VersionRow {
    pub(crate) fn encode(&self) -> RowBytes {
        value(|e| {
            // first, where it can be taken out and put in without reading the record
            e.option(self.place.as_ref(), |e, place| place.encode(e));
            self.record.encode(e);
        })
    }

    pub(crate) fn decode(value: RowBytes) -> Result<Self, DecodeError> {
        read("version row", value, |d| {
            Ok(Self { place: d.option(Place::decode)?, record: VersionRecord::decode(d)? })
        })
    }

    /// Plaintext bytes.
    pub(crate) fn size(&self) -> u64 {
        self.record.content.as_ref().map_or(0, |content| content.size)
    }
}

impl BucketRow {
    pub(crate) fn encode(&self) -> RowBytes {
        value(|e| {
            e.u64(self.usage.versions);
            e.u64(self.usage.bytes);
            e.u64(self.usage.uploads);
            e.flag(self.frozen);
        })
    }

    pub(crate) fn decode(value: RowBytes) -> Result<Self, DecodeError> {
        read("bucket row", value, |d| {
            let usage = BucketUsage { versions: d.u64()?, bytes: d.u64()?, uploads: d.u64()? };
            Ok(Self { usage, frozen: d.flag()? })
        })
    }
}

/// A version's row as a listing needs it: fields are found in place, nothing is copied until it is asked for.
pub(crate) struct ListedRow<'a> {
    escaped_name: &'a [u8],
    value: &'a [u8],
    record: usize,
}

/// Offsets in an encoded version record.
mod offset {
    pub(super) const SEQUENCE: usize = 0;
    pub(super) const VERSION: usize = 8;
    pub(super) const NULL: usize = 24;
    pub(super) const MODIFIED: usize = 25;
    pub(super) const OWNER: usize = 33;
    pub(super) const HAS_CONTENT: usize = 41;
    pub(super) const CONTENT: usize = 42;
}

impl<'a> ListedRow<'a> {
    pub(crate) fn new(row_key: &'a [u8], value: &'a [u8]) -> Result<Self, DecodeError> {
        let damaged = DecodeError::Short { what: "version row", missing: 1 };
        let escaped_name = key::escaped_name(row_key, 8).ok_or(damaged.clone())?;
        let record = if value.first() == Some(&1) { 1 + Place::ENCODED_BYTES } else { 1 };
        if value.len() < record + offset::CONTENT {
            return Err(damaged);
        }
        Ok(Self { escaped_name, value, record })
    }

    pub(crate) fn escaped_name(&self) -> &'a [u8] {
        self.escaped_name
    }

    pub(crate) fn is_delete_marker(&self) -> bool {
        self.value[self.record + offset::HAS_CONTENT] == 0
    }

    pub(crate) fn sequence(&self) -> Sequence {
        Sequence(self.u64(offset::SEQUENCE))
    }

    /// The row as listed; with its whole content only if `whole`.
    pub(crate) fn listed(&self, latest: bool, whole: bool) -> Result<ListedVersion, DecodeError> {
        let content = match (self.is_delete_marker(), whole) {
            (true, _) => None,
            (false, true) => {
                let rest = Bytes::copy_from_slice(&self.value[self.record + offset::CONTENT..]);
                Some(ObjectContent::decode(&mut Decoder::new("version row", rest))?)
            }
            (false, false) => Some(self.brief()?),
        };
        let version = &self.value[self.record + offset::VERSION..self.record + offset::NULL];
        Ok(ListedVersion {
            key: key::unescape_bytes(self.escaped_name),
            version: VersionRef {
                sequence: self.sequence(),
                version: VersionId(version.try_into().expect("16 bytes lie between the two offsets")),
            },
            latest,
            null: self.value[self.record + offset::NULL] == 1,
            modified: UnixMillis(self.u64(offset::MODIFIED)),
            owner: PrincipalId(self.u64(offset::OWNER)),
            content,
        })
    }

    /// Size, ETag and checksum; headers, metadata and parts are left out.
    fn brief(&self) -> Result<ObjectContent, DecodeError> {
        let mut rest = Fields(&self.value[self.record + offset::CONTENT..]);
        let size = rest.u64()?;
        let etag =
            std::str::from_utf8(rest.bytes()?).map_err(|_| DecodeError::NotText { what: "version row" })?;
        let checksum = rest.bytes()?;
        rest.bytes()?;
        rest.bytes()?;
        Ok(ObjectContent {
            size,
            etag: etag.to_owned(),
            checksum: Bytes::copy_from_slice(checksum),
            header: Bytes::new(),
            metadata: Bytes::new(),
            multipart: rest.take(1)?[0] == 1,
            parts: Vec::new(),
        })
    }

    fn u64(&self, at: usize) -> u64 {
        let bytes = &self.value[self.record + at..self.record + at + 8];
        u64::from_le_bytes(bytes.try_into().expect("8 bytes were taken"))
    }
}

/// Reads fields in place.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let missing = length.saturating_sub(self.0.len());
        let (taken, rest) =
            self.0.split_at_checked(length).ok_or(DecodeError::Short { what: "version row", missing })?;
        self.0 = rest;
        Ok(taken)
    }

    fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(self.take(8)?.try_into().expect("8 bytes were taken")))
    }

    fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = u32::from_le_bytes(self.take(4)?.try_into().expect("4 bytes were taken"));
        self.take(length as usize)
    }
}
