//! Queries: how a gateway reads a group's state.

use crate::{
    BucketId, DecodeError, Decoder, Encoder, Sequence, StreamId, SystemTable, VersionId, VersionRef, limits,
    record::{ObjectKey, decode_version, encode_version},
};
use bytes::Bytes;

/// A question to one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// One version of an object, with the first chunk of what is wanted of it.
    Version {
        /// The bucket.
        bucket: BucketId,
        /// The object's name.
        key: ObjectKey,
        /// Which one.
        which: WhichVersion,
        /// What the answer's body shall begin with.
        body: BodyWanted,
    },
    /// Sealed chunks of a stream; the answer's body holds them one after another.
    Chunks {
        /// The stream.
        stream: StreamId,
        /// The first chunk.
        first: u32,
        /// How many; the answer may hold fewer, at least one.
        count: u32,
    },
    /// A page of a bucket's objects or versions that this group holds.
    List(ListQuery),
    /// An upload under way.
    Upload {
        /// The bucket.
        bucket: BucketId,
        /// The object's name.
        key: ObjectKey,
        /// The upload.
        upload: VersionId,
    },
    /// A page of an upload's parts.
    Parts {
        /// The bucket.
        bucket: BucketId,
        /// The object's name.
        key: ObjectKey,
        /// The upload.
        upload: VersionId,
        /// Parts numbered above this.
        after: u16,
        /// How many at the most.
        limit: u32,
    },
    /// A page of a bucket's uploads that this group holds.
    Uploads {
        /// The bucket.
        bucket: BucketId,
        /// Names that begin so.
        prefix: Bytes,
        /// After this name and upload.
        after: Option<(Bytes, VersionId)>,
        /// How many at the most.
        limit: u32,
    },
    /// How much of a bucket this group holds.
    BucketUsage {
        /// The bucket.
        bucket: BucketId,
    },
    /// One record of the system group.
    SystemGet {
        /// The table.
        table: SystemTable,
        /// The key.
        key: Bytes,
    },
    /// A page of a system table.
    SystemScan {
        /// The table.
        table: SystemTable,
        /// Keys that begin so.
        prefix: Bytes,
        /// After this key.
        after: Option<Bytes>,
        /// How many at the most.
        limit: u32,
    },
    /// The revision of the system group's last change.
    SystemRevision,
    /// The group's part in its pair.
    PairState,
}

/// Which version of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhichVersion {
    /// The newest, be it a delete marker.
    Current,
    /// The null version.
    Null,
    /// This one.
    Exactly(VersionRef),
}

/// What the body of a version's answer begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyWanted {
    /// Nothing: the record is enough.
    Nothing,
    /// The chunk that holds this byte of the object.
    At(u64),
    /// The chunk that holds the first of the object's last bytes.
    Last(u64),
    /// The first chunk of the part with this number.
    Part(u16),
}

/// A page of objects (`versions` false: current versions that are not delete markers) or of all versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListQuery {
    /// The bucket.
    pub bucket: BucketId,
    /// Names that begin so.
    pub prefix: Bytes,
    /// Names that go on after the prefix up to and including this are rolled up into one row.
    pub delimiter: Option<Bytes>,
    /// Where to go on.
    pub after: ListAfter,
    /// How many rows at the most.
    pub limit: u32,
    /// Whether all versions and delete markers are asked for.
    pub versions: bool,
    /// Whether rows carry their whole content (headers, parts).
    pub content: bool,
}

/// Where a listing goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListAfter {
    /// From the start.
    Start,
    /// After every version of this name.
    Key(Bytes),
    /// After every name that begins so.
    Prefix(Bytes),
    /// After this version of this name (older ones come next).
    Version(Bytes, Sequence),
}

impl Query {
    /// The query's name, for logs and metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Version { .. } => "version",
            Self::Chunks { .. } => "chunks",
            Self::List(_) => "list",
            Self::Upload { .. } => "upload",
            Self::Parts { .. } => "parts",
            Self::Uploads { .. } => "uploads",
            Self::BucketUsage { .. } => "bucket-usage",
            Self::SystemGet { .. } => "system-get",
            Self::SystemScan { .. } => "system-scan",
            Self::SystemRevision => "system-revision",
            Self::PairState => "pair-state",
        }
    }

    /// Its layout.
    pub fn encode(&self) -> Bytes {
        let mut e = Encoder::with_capacity(160);
        match self {
            Self::Version { bucket, key, which, body } => {
                e.u8(1);
                e.u64(bucket.0);
                e.bytes(key.as_bytes());
                which.encode(&mut e);
                body.encode(&mut e);
            }
            Self::Chunks { stream, first, count } => {
                e.u8(2);
                e.fixed(&stream.0);
                e.u32(*first);
                e.u32(*count);
            }
            Self::List(list) => {
                e.u8(3);
                list.encode(&mut e);
            }
            Self::Upload { bucket, key, upload } => {
                e.u8(4);
                e.u64(bucket.0);
                e.bytes(key.as_bytes());
                e.fixed(&upload.0);
            }
            Self::Parts { bucket, key, upload, after, limit } => {
                e.u8(5);
                e.u64(bucket.0);
                e.bytes(key.as_bytes());
                e.fixed(&upload.0);
                e.u16(*after);
                e.u32(*limit);
            }
            Self::Uploads { bucket, prefix, after, limit } => {
                e.u8(6);
                e.u64(bucket.0);
                e.bytes(prefix);
                e.option(after.as_ref(), |e, (key, upload)| {
                    e.bytes(key);
                    e.fixed(&upload.0);
                });
                e.u32(*limit);
            }
            Self::BucketUsage { bucket } => {
                e.u8(7);
                e.u64(bucket.0);
            }
            Self::SystemGet { table, key } => {
                e.u8(8);
                e.u8(table.number());
                e.bytes(key);
            }
            Self::SystemScan { table, prefix, after, limit } => {
                e.u8(9);
                e.u8(table.number());
                e.bytes(prefix);
                e.option(after.as_ref(), |e, key| e.bytes(key));
                e.u32(*limit);
            }
            Self::SystemRevision => e.u8(10),
            Self::PairState => e.u8(11),
        }
        e.finish()
    }

    /// Reads its layout.
    pub fn decode(input: Bytes) -> Result<Self, DecodeError> {
        let mut d = Decoder::new("query", input);
        let query = match d.u8()? {
            1 => Self::Version {
                bucket: BucketId(d.u64()?),
                key: ObjectKey::decode(&mut d)?,
                which: WhichVersion::decode(&mut d)?,
                body: BodyWanted::decode(&mut d)?,
            },
            2 => Self::Chunks { stream: StreamId(d.array()?), first: d.u32()?, count: d.u32()? },
            3 => Self::List(ListQuery::decode(&mut d)?),
            4 => Self::Upload {
                bucket: BucketId(d.u64()?),
                key: ObjectKey::decode(&mut d)?,
                upload: VersionId(d.array()?),
            },
            5 => Self::Parts {
                bucket: BucketId(d.u64()?),
                key: ObjectKey::decode(&mut d)?,
                upload: VersionId(d.array()?),
                after: d.u16()?,
                limit: d.u32()?,
            },
            6 => Self::Uploads {
                bucket: BucketId(d.u64()?),
                prefix: d.bytes(limits::KEY_BYTES_MAX)?,
                after: d.option(|d| Ok((d.bytes(limits::KEY_BYTES_MAX)?, VersionId(d.array()?))))?,
                limit: d.u32()?,
            },
            7 => Self::BucketUsage { bucket: BucketId(d.u64()?) },
            8 => Self::SystemGet {
                table: SystemTable::decode(&mut d)?,
                key: d.bytes(limits::SYSTEM_KEY_BYTES_MAX)?,
            },
            9 => Self::SystemScan {
                table: SystemTable::decode(&mut d)?,
                prefix: d.bytes(limits::SYSTEM_KEY_BYTES_MAX)?,
                after: d.option(|d| d.bytes(limits::SYSTEM_KEY_BYTES_MAX))?,
                limit: d.u32()?,
            },
            10 => Self::SystemRevision,
            11 => Self::PairState,
            found => return Err(d.unknown(u64::from(found))),
        };
        d.finish()?;
        Ok(query)
    }
}

impl WhichVersion {
    fn encode(self, e: &mut Encoder) {
        match self {
            Self::Current => e.u8(0),
            Self::Null => e.u8(1),
            Self::Exactly(version) => {
                e.u8(2);
                encode_version(e, version);
            }
        }
    }

    fn decode(d: &mut Decoder) -> Result<Self, DecodeError> {
        Ok(match d.u8()? {
            0 => Self::Current,
            1 => Self::Null,
            2 => Self::Exactly(decode_version(d)?),
            found => return Err(d.unknown(u64::from(found))),
        })
    }
}

impl BodyWanted {
    fn encode(self, e: &mut Encoder) {
        match self {
            Self::Nothing => e.u8(0),
            Self::At(offset) => {
                e.u8(1);
                e.u64(offset);
            }
            Self::Last(length) => {
                e.u8(2);
                e.u64(length);
            }
            Self::Part(number) => {
                e.u8(3);
                e.u16(number);
            }
        }
    }

    fn decode(d: &mut Decoder) -> Result<Self, DecodeError> {
        Ok(match d.u8()? {
            0 => Self::Nothing,
            1 => Self::At(d.u64()?),
            2 => Self::Last(d.u64()?),
            3 => Self::Part(d.u16()?),
            found => return Err(d.unknown(u64::from(found))),
        })
    }
}

impl ListQuery {
    fn encode(&self, e: &mut Encoder) {
        e.u64(self.bucket.0);
        e.bytes(&self.prefix);
        e.option(self.delimiter.as_ref(), |e, delimiter| e.bytes(delimiter));
        self.after.encode(e);
        e.u32(self.limit);
        e.flag(self.versions);
        e.flag(self.content);
    }

    fn decode(d: &mut Decoder) -> Result<Self, DecodeError> {
        Ok(Self {
            bucket: BucketId(d.u64()?),
            prefix: d.bytes(limits::KEY_BYTES_MAX)?,
            delimiter: d.option(|d| d.bytes(limits::KEY_BYTES_MAX))?,
            after: ListAfter::decode(d)?,
            limit: d.u32()?,
            versions: d.flag()?,
            content: d.flag()?,
        })
    }
}

impl ListAfter {
    pub(crate) fn encode(&self, e: &mut Encoder) {
        match self {
            Self::Start => e.u8(0),
            Self::Key(key) => {
                e.u8(1);
                e.bytes(key);
            }
            Self::Prefix(prefix) => {
                e.u8(2);
                e.bytes(prefix);
            }
            Self::Version(key, sequence) => {
                e.u8(3);
                e.bytes(key);
                e.u64(sequence.0);
            }
        }
    }

    pub(crate) fn decode(d: &mut Decoder) -> Result<Self, DecodeError> {
        Ok(match d.u8()? {
            0 => Self::Start,
            1 => Self::Key(d.bytes(limits::KEY_BYTES_MAX)?),
            2 => Self::Prefix(d.bytes(limits::KEY_BYTES_MAX)?),
            3 => Self::Version(d.bytes(limits::KEY_BYTES_MAX)?, Sequence(d.u64()?)),
            found => return Err(d.unknown(u64::from(found))),
        })
    }
}
