//! Answers: what a group says to a query. Bulk bytes travel beside the answer, not in it.

use crate::{
    DecodeError, Decoder, Encoder, PairState, PrincipalId, Revision, SystemRecord, UnixMillis, VersionRef,
    limits,
    query::ListAfter,
    record::{ObjectContent, PartRecord, UploadRecord, VersionRecord, decode_version, encode_version},
};
use bytes::Bytes;

/// A group's answer; bulk bytes travel beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The version, or nothing; the body holds the sealed chunk `chunk` of the part at `part` (from 0), if one was wanted.
    Version {
        /// The version, if there is one.
        record: Option<VersionRecord>,
        /// Position of the body's chunk: index into `parts` and chunk index in that part.
        body: Option<ChunkPosition>,
    },
    /// Lengths of the sealed chunks in the body.
    Chunks(Vec<u32>),
    /// Rows in order, and where to go on if there may be more.
    List {
        /// The rows.
        rows: Vec<ListRow>,
        /// Where to go on; nothing when the listing is complete.
        resume: Option<ListAfter>,
    },
    /// The upload, or nothing.
    Upload(Option<UploadRecord>),
    /// The upload's parts, or nothing if there is no such upload; whether there are more.
    Parts(Option<(Vec<PartRecord>, bool)>),
    /// Uploads with their names; whether there are more.
    Uploads(Vec<(Bytes, UploadRecord)>, bool),
    /// How much of a bucket this group holds.
    BucketUsage(BucketUsage),
    /// The record, or nothing.
    SystemGet(Option<SystemRecord>),
    /// Records in key order; whether there are more.
    SystemScan(Vec<SystemRecord>, bool),
    /// The revision of the last change.
    SystemRevision(Revision),
    /// The group's part in its pair.
    PairState(PairState),
}

/// Where a chunk stands in a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkPosition {
    /// Index into the content's `parts`, from 0.
    pub part: u32,
    /// Index of the chunk in that part, from 0.
    pub chunk: u32,
}

/// How much of a bucket a group holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BucketUsage {
    /// Versions and delete markers.
    pub versions: u64,
    /// Plaintext bytes of all versions.
    pub bytes: u64,
    /// Unfinished uploads.
    pub uploads: u64,
}

/// A row of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "nearly all rows are versions")]
pub enum ListRow {
    /// Names rolled up at the delimiter.
    Prefix(Bytes),
    /// A version.
    Version(ListedVersion),
}

/// A version as listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedVersion {
    /// The object's name.
    pub key: Bytes,
    /// Its place in the order and its identity.
    pub version: VersionRef,
    /// Whether it is the newest of its name.
    pub latest: bool,
    /// Whether clients know it as the null version.
    pub null: bool,
    /// When it was committed.
    pub modified: UnixMillis,
    /// Who wrote it.
    pub owner: PrincipalId,
    /// What it is made of: size, ETag and checksum, and the rest only if asked for. Nothing for a delete marker.
    pub content: Option<ObjectContent>,
}

impl ListRow {
    /// The name that orders the row.
    pub fn name(&self) -> &Bytes {
        match self {
            Self::Prefix(prefix) => prefix,
            Self::Version(version) => &version.key,
        }
    }
}

impl Answer {
    /// Its layout.
    pub fn encode(&self) -> Bytes {
        let mut e = Encoder::with_capacity(512);
        match self {
            Self::Version { record, body } => {
                e.u8(1);
                e.option(record.as_ref(), |e, record| record.encode(e));
                e.option(body.as_ref(), |e, position| {
                    e.u32(position.part);
                    e.u32(position.chunk);
                });
            }
            Self::Chunks(lengths) => {
                e.u8(2);
                e.list(lengths, |e, length| e.u32(*length));
            }
            Self::List { rows, resume } => {
                e.u8(3);
                e.list(rows, |e, row| row.encode(e));
                e.option(resume.as_ref(), |e, after| after.encode(e));
            }
            Self::Upload(upload) => {
                e.u8(4);
                e.option(upload.as_ref(), |e, upload| upload.encode(e));
            }
            Self::Parts(parts) => {
                e.u8(5);
                e.option(parts.as_ref(), |e, (parts, more)| {
                    e.list(parts, |e, part| part.encode(e));
                    e.flag(*more);
                });
            }
            Self::Uploads(uploads, more) => {
                e.u8(6);
                e.list(uploads, |e, (key, upload)| {
                    e.bytes(key);
                    upload.encode(e);
                });
                e.flag(*more);
            }
            Self::BucketUsage(usage) => {
                e.u8(7);
                e.u64(usage.versions);
                e.u64(usage.bytes);
                e.u64(usage.uploads);
            }
            Self::SystemGet(record) => {
                e.u8(8);
                e.option(record.as_ref(), |e, record| record.encode(e));
            }
            Self::SystemScan(records, more) => {
                e.u8(9);
                e.list(records, |e, record| record.encode(e));
                e.flag(*more);
            }
            Self::SystemRevision(revision) => {
                e.u8(10);
                e.u64(revision.0);
            }
            Self::PairState(state) => {
                e.u8(11);
                state.encode(&mut e);
            }
        }
        e.finish()
    }

    /// Reads its layout.
    pub fn decode(input: Bytes) -> Result<Self, DecodeError> {
        let mut d = Decoder::new("answer", input);
        let answer = match d.u8()? {
            1 => Self::Version {
                record: d.option(VersionRecord::decode)?,
                body: d.option(|d| Ok(ChunkPosition { part: d.u32()?, chunk: d.u32()? }))?,
            },
            2 => Self::Chunks(d.list(1024, Decoder::u32)?),
            3 => Self::List {
                rows: d.list(limits::LIST_ROWS_MAX, ListRow::decode)?,
                resume: d.option(ListAfter::decode)?,
            },
            4 => Self::Upload(d.option(UploadRecord::decode)?),
            5 => Self::Parts(d.option(|d| {
                Ok((d.list(usize::from(limits::PART_NUMBER_MAX), PartRecord::decode)?, d.flag()?))
            })?),
            6 => Self::Uploads(
                d.list(limits::LIST_ROWS_MAX, |d| {
                    Ok((d.bytes(limits::KEY_BYTES_MAX)?, UploadRecord::decode(d)?))
                })?,
                d.flag()?,
            ),
            7 => Self::BucketUsage(BucketUsage { versions: d.u64()?, bytes: d.u64()?, uploads: d.u64()? }),
            8 => Self::SystemGet(d.option(SystemRecord::decode)?),
            9 => Self::SystemScan(d.list(limits::LIST_ROWS_MAX, SystemRecord::decode)?, d.flag()?),
            10 => Self::SystemRevision(Revision(d.u64()?)),
            11 => Self::PairState(PairState::decode(&mut d)?),
            found => return Err(d.unknown(u64::from(found))),
        };
        d.finish()?;
        Ok(answer)
    }
}

impl ListRow {
    fn encode(&self, e: &mut Encoder) {
        match self {
            Self::Prefix(prefix) => {
                e.u8(0);
                e.bytes(prefix);
            }
            Self::Version(version) => {
                e.u8(1);
                e.bytes(&version.key);
                encode_version(e, version.version);
                e.flag(version.latest);
                e.flag(version.null);
                e.u64(version.modified.0);
                e.u64(version.owner.0);
                e.option(version.content.as_ref(), |e, content| content.encode(e));
            }
        }
    }

    fn decode(d: &mut Decoder) -> Result<Self, DecodeError> {
        Ok(match d.u8()? {
            0 => Self::Prefix(d.bytes(limits::KEY_BYTES_MAX)?),
            1 => Self::Version(ListedVersion {
                key: d.bytes(limits::KEY_BYTES_MAX)?,
                version: decode_version(d)?,
                latest: d.flag()?,
                null: d.flag()?,
                modified: UnixMillis(d.u64()?),
                owner: PrincipalId(d.u64()?),
                content: d.option(ObjectContent::decode)?,
            }),
            found => return Err(d.unknown(u64::from(found))),
        })
    }
}
