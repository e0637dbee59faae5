//! Records: what the index keeps of objects, versions, uploads and parts, without their places on a disk
//! (those are each replica's own).

use crate::{
    DecodeError, Decoder, Encoder, PrincipalId, StreamId, UnixMillis, VersionId, VersionRef, limits,
};
use bytes::Bytes;
use std::fmt;

/// An object's name: 1 to 1,024 bytes of UTF-8. `Debug` shows its length only: names may hold personal data.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey(Bytes);

impl ObjectKey {
    /// A name, if its length is allowed.
    pub fn new(name: impl Into<Bytes>) -> Option<Self> {
        let name = name.into();
        (!name.is_empty() && name.len() <= limits::KEY_BYTES_MAX && std::str::from_utf8(&name).is_ok())
            .then_some(Self(name))
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("checked when it was made")
    }

    pub(crate) fn decode(d: &mut Decoder) -> Result<Self, DecodeError> {
        let bytes = d.bytes(limits::KEY_BYTES_MAX)?;
        Self::new(bytes).ok_or(DecodeError::NotText { what: "object key" })
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectKey({} B)", self.0.len())
    }
}

/// What a version is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectContent {
    /// Plaintext length, bytes.
    pub size: u64,
    /// The ETag without quotes: MD5 in hexadecimal, with `-N` after a multipart upload of N parts.
    pub etag: String,
    /// The S3 checksum as the gateway encodes it, or nothing.
    pub checksum: Bytes,
    /// Sealed object header: wrapped keys and commitment. Opaque to the engine.
    pub header: Bytes,
    /// Sealed system and user metadata. Opaque to the engine.
    pub metadata: Bytes,
    /// Whether a multipart upload made it.
    pub multipart: bool,
    /// Its parts in order; a plain PUT has one, numbered 1.
    pub parts: Vec<PartContent>,
}

/// One run of sealed chunks within a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartContent {
    /// 1 to 10,000.
    pub number: u16,
    /// The attempt whose chunks these are.
    pub stream: StreamId,
    /// Plaintext length, bytes.
    pub size: u64,
    /// How many chunks; an inline part has one, in the body of the entry that holds this record.
    pub chunks: u32,
    /// Whether its only chunk is that entry's body.
    pub inline: bool,
    /// MD5 in hexadecimal.
    pub etag: String,
    /// The S3 checksum as the gateway encodes it, or nothing.
    pub checksum: Bytes,
}

/// A version of an object, as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionRecord {
    /// Its place in the order and its identity.
    pub version: VersionRef,
    /// Whether clients know it as the null version.
    pub null: bool,
    /// When it was committed.
    pub modified: UnixMillis,
    /// Who wrote it.
    pub owner: PrincipalId,
    /// What it is made of; a delete marker is made of nothing.
    pub content: Option<ObjectContent>,
}

/// A multipart upload under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadRecord {
    /// Its id, and the identity of the version it becomes.
    pub upload: VersionId,
    /// When it began.
    pub initiated: UnixMillis,
    /// Who began it.
    pub owner: PrincipalId,
    /// The object's sealed header.
    pub header: Bytes,
    /// The object's sealed metadata.
    pub metadata: Bytes,
    /// Which checksum was announced.
    pub checksum: Bytes,
}

/// A part of an upload under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartRecord {
    /// What it is.
    pub part: PartContent,
    /// When it was stored.
    pub modified: UnixMillis,
}

impl ObjectContent {
    /// Appends its layout.
    pub fn encode(&self, e: &mut Encoder) {
        e.u64(self.size);
        e.text(&self.etag);
        e.bytes(&self.checksum);
        e.bytes(&self.header);
        e.bytes(&self.metadata);
        e.flag(self.multipart);
        e.list(&self.parts, |e, part| part.encode(e));
    }

    /// Reads its layout.
    pub fn decode(d: &mut Decoder) -> Result<Self, DecodeError> {
        Ok(Self {
            size: d.u64()?,
            etag: d.text(64)?,
            checksum: d.bytes(128)?,
            header: d.bytes(limits::OBJECT_HEADER_BYTES_MAX)?,
            metadata: d.bytes(limits::METADATA_BYTES_MAX)?,
            multipart: d.flag()?,
            parts: d.list(usize::from(limits::PART_NUMBER_MAX), PartContent::decode)?,
        })
    }
}

impl PartContent {
    /// Appends its layout.
    pub fn encode(&self, e: &mut Encoder) {
        e.u16(self.number);
        e.fixed(&self.stream.0);
        e.u64(self.size);
        e.u32(self.chunks);
        e.flag(self.inline);
        e.text(&self.etag);
        e.bytes(&self.checksum);
    }

    /// Reads its layout.
    pub fn decode(d: &mut Decoder) -> Result<Self, DecodeError> {
        Ok(Self {
            number: d.u16()?,
            stream: StreamId(d.array()?),
            size: d.u64()?,
            chunks: d.u32()?,
            inline: d.flag()?,
            etag: d.text(64)?,
            checksum: d.bytes(128)?,
        })
    }
}

impl VersionRecord {
    /// Whether it is a delete marker.
    pub const fn is_delete_marker(&self) -> bool {
        self.content.is_none()
    }

    /// Appends its layout.
    pub fn encode(&self, e: &mut Encoder) {
        encode_version(e, self.version);
        e.flag(self.null);
        e.u64(self.modified.0);
        e.u64(self.owner.0);
        e.option(self.content.as_ref(), |e, content| content.encode(e));
    }

    /// Reads its layout.
    pub fn decode(d: &mut Decoder) -> Result<Self, DecodeError> {
        Ok(Self {
            version: decode_version(d)?,
            null: d.flag()?,
            modified: UnixMillis(d.u64()?),
            owner: PrincipalId(d.u64()?),
            content: d.option(ObjectContent::decode)?,
        })
    }
}

impl UploadRecord {
    /// Appends its layout.
    pub fn encode(&self, e: &mut Encoder) {
        e.fixed(&self.upload.0);
        e.u64(self.initiated.0);
        e.u64(self.owner.0);
        e.bytes(&self.header);
        e.bytes(&self.metadata);
        e.bytes(&self.checksum);
    }

    /// Reads its layout.
    pub fn decode(d: &mut Decoder) -> Result<Self, DecodeError> {
        Ok(Self {
            upload: VersionId(d.array()?),
            initiated: UnixMillis(d.u64()?),
            owner: PrincipalId(d.u64()?),
            header: d.bytes(limits::OBJECT_HEADER_BYTES_MAX)?,
            metadata: d.bytes(limits::METADATA_BYTES_MAX)?,
            checksum: d.bytes(128)?,
        })
    }
}

impl PartRecord {
    /// Appends its layout.
    pub fn encode(&self, e: &mut Encoder) {
        self.part.encode(e);
        e.u64(self.modified.0);
    }

    /// Reads its layout.
    pub fn decode(d: &mut Decoder) -> Result<Self, DecodeError> {
        Ok(Self { part: PartContent::decode(d)?, modified: UnixMillis(d.u64()?) })
    }
}

pub(crate) fn encode_version(e: &mut Encoder, version: VersionRef) {
    e.u64(version.sequence.0);
    e.fixed(&version.version.0);
}

pub(crate) fn decode_version(d: &mut Decoder) -> Result<VersionRef, DecodeError> {
    Ok(VersionRef { sequence: crate::Sequence(d.u64()?), version: VersionId(d.array()?) })
}
