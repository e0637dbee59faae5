//! Commands: what goes through a group's log. Applying one reads no clock and draws no randomness: time, ids and
//! epoch are in it. Conditions travel with it and are judged when it is applied.
//!
//! A command is a small encoded head and a bulk body. The body (a sealed chunk, or a small object's only chunk) is
//! never copied into the head: it travels as [`bytes::Bytes`] from socket to segment.

use crate::{
    BucketId, DecodeError, Decoder, Encoder, Epoch, PrincipalId, RequestId, StreamId, UnixMillis, VersionId,
    VersionRef,
    adopt::AdoptStep,
    limits,
    pair::{PairStep, ShippedCommand},
    record::{ObjectContent, ObjectKey, PartContent},
    system::SystemChange,
};
use bytes::Bytes;
use std::fmt;

/// First byte of every encoded command head.
const COMMAND_VERSION: u8 = 1;

/// Who proposed a command, when, on behalf of which request, under which epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommandMeta {
    /// The reign under which it was proposed; another one is refused when applied.
    pub epoch: Epoch,
    /// The proposer's clock: the only time that state ever sees.
    pub time: UnixMillis,
    /// On whose behalf.
    pub principal: PrincipalId,
    /// The request it belongs to; the same id applied twice gives the first outcome again.
    pub request: RequestId,
}

/// One entry's meaning.
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    /// Who, when, which request, which epoch.
    pub meta: CommandMeta,
    /// What to do.
    pub operation: Operation,
    /// Sealed bytes that belong to it, or nothing.
    pub body: Bytes,
}

/// What a command does. All but `System` go to the group that [`crate::group_of`] names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Stores one sealed chunk (the body) of a stream; invisible until a commit or part adopts the stream.
    PutChunk {
        /// The run of chunks it belongs to.
        stream: StreamId,
        /// Its place in the run, from 0.
        index: u32,
    },
    /// Gives up a stream that nothing adopted.
    AbandonStream {
        /// The stream.
        stream: StreamId,
    },
    /// Makes a version visible; the body is its only chunk if the content is inline.
    CommitVersion(CommitVersion),
    /// Deletes: adds a delete marker, or removes one version for good.
    DeleteObject(DeleteObject),
    /// Begins a multipart upload.
    CreateUpload(CreateUpload),
    /// Adds (or replaces) a part.
    PutPart(PutPart),
    /// Turns an upload's parts into a version.
    CompleteUpload(CompleteUpload),
    /// Ends an upload and frees its parts.
    AbortUpload {
        /// The bucket.
        bucket: BucketId,
        /// The object's name.
        key: ObjectKey,
        /// The upload: the id of the version it would have become.
        upload: VersionId,
    },
    /// Frees streams that nothing adopted since before `created_before`.
    ExpireStreams {
        /// Streams begun before this instant go.
        created_before: UnixMillis,
    },
    /// Replaces a version's sealed header (key rotation): the chunks stay as they are.
    Rewrap {
        /// The bucket.
        bucket: BucketId,
        /// The object's name.
        key: ObjectKey,
        /// Which version (of an upload under way: its id with sequence 0).
        version: VersionRef,
        /// The header expected there now.
        expected: Bytes,
        /// The header to put in its place.
        header: Bytes,
    },
    /// Stops accepting new versions and uploads of a bucket that is about to be deleted; answers whether it is empty here.
    FreezeBucket {
        /// The bucket.
        bucket: BucketId,
    },
    /// Takes back a freeze, because the bucket was not empty elsewhere.
    ThawBucket {
        /// The bucket.
        bucket: BucketId,
    },
    /// Frees what a deleted bucket leaves behind here: unfinished uploads and its counters, so many at a time.
    ForgetBucket {
        /// The bucket.
        bucket: BucketId,
    },
    /// Changes records of the system group: all of them or none.
    System(Vec<SystemChange>),
    /// Changes the group's part in its pair.
    PairStep(PairStep),
    /// Applies a command of the pair's primary.
    Shipped(ShippedCommand),
    /// Takes over the state of the pair's primary.
    Adopt(AdoptStep),
}

/// A bucket's versioning at the moment of the request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum VersioningMode {
    /// Never enabled: each key has one version, the null version.
    #[default]
    Off,
    /// Each write adds a version.
    Enabled,
    /// Writes replace the null version; older versions stay.
    Suspended,
}

/// `If-Match` and `If-None-Match` of a write, judged against the key's current version when the command is applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteCondition {
    /// The current version must have one of these ETags.
    pub if_match: Option<EtagMatch>,
    /// The current version must have none of these ETags.
    pub if_none_match: Option<EtagMatch>,
}

/// `*` or a list of ETags (without quotes).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EtagMatch {
    /// Any existing object.
    Any,
    /// An object with one of these.
    OneOf(Vec<String>),
}

/// Makes a version visible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitVersion {
    /// The bucket.
    pub bucket: BucketId,
    /// The object's name.
    pub key: ObjectKey,
    /// The version's identity, to which its chunks are bound.
    pub version: VersionId,
    /// The bucket's versioning.
    pub mode: VersioningMode,
    /// What must hold for the current version.
    pub condition: WriteCondition,
    /// What the version is made of.
    pub content: ObjectContent,
}

/// Deletes an object or a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteObject {
    /// The bucket.
    pub bucket: BucketId,
    /// The object's name.
    pub key: ObjectKey,
    /// What exactly.
    pub target: DeleteTarget,
    /// The bucket's versioning.
    pub mode: VersioningMode,
    /// The identity of the delete marker, should one be added.
    pub marker: VersionId,
    /// What must hold for the current version.
    pub condition: WriteCondition,
}

/// What a delete is aimed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteTarget {
    /// No version named: a marker, or the null version when versioning is off.
    Current,
    /// One version, for good.
    Version(VersionRef),
    /// The null version, for good.
    Null,
}

/// Begins a multipart upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateUpload {
    /// The bucket.
    pub bucket: BucketId,
    /// The object's name.
    pub key: ObjectKey,
    /// The upload's id, and the identity of the version it becomes.
    pub upload: VersionId,
    /// The object's sealed header.
    pub header: Bytes,
    /// The object's sealed metadata.
    pub metadata: Bytes,
    /// Which checksum the client announced, as the gateway encodes it.
    pub checksum: Bytes,
}

/// Adds a part to an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutPart {
    /// The bucket.
    pub bucket: BucketId,
    /// The object's name.
    pub key: ObjectKey,
    /// The upload.
    pub upload: VersionId,
    /// The part; the body is its only chunk if it is inline.
    pub part: PartContent,
}

/// Turns parts into a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompleteUpload {
    /// The bucket.
    pub bucket: BucketId,
    /// The object's name.
    pub key: ObjectKey,
    /// The upload.
    pub upload: VersionId,
    /// The bucket's versioning.
    pub mode: VersioningMode,
    /// What must hold for the current version.
    pub condition: WriteCondition,
    /// The version as it will be; its parts must still be the upload's own, attempt for attempt.
    pub content: ObjectContent,
}

impl fmt::Debug for Command {
    /// Shape only: names and bytes stay out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Command({}, request {}, body {} B)",
            self.operation.name(),
            self.meta.request,
            self.body.len()
        )
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl Operation {
    /// The operation's name, for logs and metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::PutChunk { .. } => "put-chunk",
            Self::AbandonStream { .. } => "abandon-stream",
            Self::CommitVersion(_) => "commit-version",
            Self::DeleteObject(_) => "delete-object",
            Self::CreateUpload(_) => "create-upload",
            Self::PutPart(_) => "put-part",
            Self::CompleteUpload(_) => "complete-upload",
            Self::AbortUpload { .. } => "abort-upload",
            Self::ExpireStreams { .. } => "expire-streams",
            Self::Rewrap { .. } => "rewrap",
            Self::FreezeBucket { .. } => "freeze-bucket",
            Self::ThawBucket { .. } => "thaw-bucket",
            Self::ForgetBucket { .. } => "forget-bucket",
            Self::System(_) => "system",
            Self::PairStep(_) => "pair-step",
            Self::Shipped(_) => "shipped",
            Self::Adopt(_) => "adopt",
        }
    }

    /// Whether it frees more than it takes: still accepted when a disk is full.
    pub const fn reclaims(&self) -> bool {
        matches!(
            self,
            Self::AbandonStream { .. }
                | Self::DeleteObject(_)
                | Self::AbortUpload { .. }
                | Self::ExpireStreams { .. }
                | Self::FreezeBucket { .. }
                | Self::ThawBucket { .. }
                | Self::ForgetBucket { .. }
        )
    }
}

impl Command {
    /// The head: everything but the body.
    pub fn encode_head(&self) -> Bytes {
        let mut e = Encoder::with_capacity(256);
        e.u8(COMMAND_VERSION);
        e.u64(self.meta.epoch.0);
        e.u64(self.meta.time.0);
        e.u64(self.meta.principal.0);
        e.fixed(&self.meta.request.0);
        self.operation.encode(&mut e);
        e.finish()
    }

    /// Reads a head and joins it with its body.
    pub fn decode(head: Bytes, body: Bytes) -> Result<Self, DecodeError> {
        let mut d = Decoder::new("command", head);
        match d.u8()? {
            COMMAND_VERSION => {}
            found => return Err(d.unknown(u64::from(found))),
        }
        let meta = CommandMeta {
            epoch: Epoch(d.u64()?),
            time: UnixMillis(d.u64()?),
            principal: PrincipalId(d.u64()?),
            request: RequestId(d.array()?),
        };
        let operation = Operation::decode(&mut d)?;
        d.finish()?;
        Ok(Self { meta, operation, body })
    }
}

impl Operation {
    /// Appends its layout, which begins with the operation's number.
    pub fn encode(&self, e: &mut Encoder) {
        match self {
            Self::PutChunk { stream, index } => {
                e.u8(1);
                e.fixed(&stream.0);
                e.u32(*index);
            }
            Self::AbandonStream { stream } => {
                e.u8(2);
                e.fixed(&stream.0);
            }
            Self::CommitVersion(commit) => {
                e.u8(3);
                encode_place(e, commit.bucket, &commit.key, commit.version);
                encode_mode(e, commit.mode);
                commit.condition.encode(e);
                commit.content.encode(e);
            }
            Self::DeleteObject(delete) => {
                e.u8(4);
                encode_place(e, delete.bucket, &delete.key, delete.marker);
                encode_mode(e, delete.mode);
                delete.condition.encode(e);
                delete.target.encode(e);
            }
            Self::CreateUpload(create) => {
                e.u8(5);
                encode_place(e, create.bucket, &create.key, create.upload);
                e.bytes(&create.header);
                e.bytes(&create.metadata);
                e.bytes(&create.checksum);
            }
            Self::PutPart(put) => {
                e.u8(6);
                encode_place(e, put.bucket, &put.key, put.upload);
                put.part.encode(e);
            }
            Self::CompleteUpload(complete) => {
                e.u8(7);
                encode_place(e, complete.bucket, &complete.key, complete.upload);
                encode_mode(e, complete.mode);
                complete.condition.encode(e);
                complete.content.encode(e);
            }
            Self::AbortUpload { bucket, key, upload } => {
                e.u8(8);
                encode_place(e, *bucket, key, *upload);
            }
            Self::ExpireStreams { created_before } => {
                e.u8(9);
                e.u64(created_before.0);
            }
            Self::Rewrap { bucket, key, version, expected, header } => {
                e.u8(10);
                encode_place(e, *bucket, key, version.version);
                e.u64(version.sequence.0);
                e.bytes(expected);
                e.bytes(header);
            }
            Self::FreezeBucket { bucket } => {
                e.u8(11);
                e.u64(bucket.0);
            }
            Self::ThawBucket { bucket } => {
                e.u8(12);
                e.u64(bucket.0);
            }
            Self::ForgetBucket { bucket } => {
                e.u8(13);
                e.u64(bucket.0);
            }
            Self::System(changes) => {
                e.u8(14);
                e.list(changes, |e, change| change.encode(e));
            }
            Self::PairStep(step) => {
                e.u8(15);
                step.encode(e);
            }
            Self::Shipped(shipped) => {
                e.u8(16);
                shipped.encode(e);
            }
            Self::Adopt(step) => {
                e.u8(17);
                step.encode(e);
            }
        }
    }

    fn decode(d: &mut Decoder) -> Result<Self, DecodeError> {
        Ok(match d.u8()? {
            1 => Self::PutChunk { stream: StreamId(d.array()?), index: d.u32()? },
            2 => Self::AbandonStream { stream: StreamId(d.array()?) },
            3 => {
                let (bucket, key, version) = decode_place(d)?;
                let (mode, condition) = (decode_mode(d)?, WriteCondition::decode(d)?);
                let content = ObjectContent::decode(d)?;
                Self::CommitVersion(CommitVersion { bucket, key, version, mode, condition, content })
            }
            4 => {
                let (bucket, key, marker) = decode_place(d)?;
                let (mode, condition) = (decode_mode(d)?, WriteCondition::decode(d)?);
                let target = DeleteTarget::decode(d)?;
                Self::DeleteObject(DeleteObject { bucket, key, target, mode, marker, condition })
            }
            5 => {
                let (bucket, key, upload) = decode_place(d)?;
                let header = d.bytes(limits::OBJECT_HEADER_BYTES_MAX)?;
                let metadata = d.bytes(limits::METADATA_BYTES_MAX)?;
                let checksum = d.bytes(64)?;
                Self::CreateUpload(CreateUpload { bucket, key, upload, header, metadata, checksum })
            }
            6 => {
                let (bucket, key, upload) = decode_place(d)?;
                Self::PutPart(PutPart { bucket, key, upload, part: PartContent::decode(d)? })
            }
            7 => {
                let (bucket, key, upload) = decode_place(d)?;
                let (mode, condition) = (decode_mode(d)?, WriteCondition::decode(d)?);
                let content = ObjectContent::decode(d)?;
                Self::CompleteUpload(CompleteUpload { bucket, key, upload, mode, condition, content })
            }
            8 => {
                let (bucket, key, upload) = decode_place(d)?;
                Self::AbortUpload { bucket, key, upload }
            }
            9 => Self::ExpireStreams { created_before: UnixMillis(d.u64()?) },
            10 => {
                let (bucket, key, version) = decode_place(d)?;
                Self::Rewrap {
                    bucket,
                    key,
                    version: VersionRef { sequence: crate::Sequence(d.u64()?), version },
                    expected: d.bytes(limits::OBJECT_HEADER_BYTES_MAX)?,
                    header: d.bytes(limits::OBJECT_HEADER_BYTES_MAX)?,
                }
            }
            11 => Self::FreezeBucket { bucket: BucketId(d.u64()?) },
            12 => Self::ThawBucket { bucket: BucketId(d.u64()?) },
            13 => Self::ForgetBucket { bucket: BucketId(d.u64()?) },
            14 => Self::System(d.list(limits::SYSTEM_CHANGES_MAX, SystemChange::decode)?),
            15 => Self::PairStep(PairStep::decode(d)?),
            16 => Self::Shipped(ShippedCommand::decode(d)?),
            17 => Self::Adopt(AdoptStep::decode(d)?),
            found => return Err(d.unknown(u64::from(found))),
        })
    }
}

impl DeleteTarget {
    fn encode(self, e: &mut Encoder) {
        match self {
            Self::Current => e.u8(0),
            Self::Version(version) => {
                e.u8(1);
                e.u64(version.sequence.0);
                e.fixed(&version.version.0);
            }
            Self::Null => e.u8(2),
        }
    }

    fn decode(d: &mut Decoder) -> Result<Self, DecodeError> {
        Ok(match d.u8()? {
            0 => Self::Current,
            1 => Self::Version(VersionRef {
                sequence: crate::Sequence(d.u64()?),
                version: VersionId(d.array()?),
            }),
            2 => Self::Null,
            found => return Err(d.unknown(u64::from(found))),
        })
    }
}

impl WriteCondition {
    /// Whether there is nothing to judge.
    pub const fn is_empty(&self) -> bool {
        self.if_match.is_none() && self.if_none_match.is_none()
    }

    fn encode(&self, e: &mut Encoder) {
        e.option(self.if_match.as_ref(), |e, m| m.encode(e));
        e.option(self.if_none_match.as_ref(), |e, m| m.encode(e));
    }

    fn decode(d: &mut Decoder) -> Result<Self, DecodeError> {
        Ok(Self { if_match: d.option(EtagMatch::decode)?, if_none_match: d.option(EtagMatch::decode)? })
    }
}

impl EtagMatch {
    /// Whether an object with `etag` is meant.
    pub fn matches(&self, etag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(etags) => etags.iter().any(|candidate| candidate == etag),
        }
    }

    fn encode(&self, e: &mut Encoder) {
        match self {
            Self::Any => e.u8(0),
            Self::OneOf(etags) => {
                e.u8(1);
                e.list(etags, |e, etag| e.text(etag));
            }
        }
    }

    fn decode(d: &mut Decoder) -> Result<Self, DecodeError> {
        match d.u8()? {
            0 => Ok(Self::Any),
            1 => Ok(Self::OneOf(d.list(64, |d| d.text(256))?)),
            found => Err(d.unknown(u64::from(found))),
        }
    }
}

fn encode_place(e: &mut Encoder, bucket: BucketId, key: &ObjectKey, version: VersionId) {
    e.u64(bucket.0);
    e.bytes(key.as_bytes());
    e.fixed(&version.0);
}

fn decode_place(d: &mut Decoder) -> Result<(BucketId, ObjectKey, VersionId), DecodeError> {
    Ok((BucketId(d.u64()?), ObjectKey::decode(d)?, VersionId(d.array()?)))
}

fn encode_mode(e: &mut Encoder, mode: VersioningMode) {
    e.u8(mode as u8);
}

fn decode_mode(d: &mut Decoder) -> Result<VersioningMode, DecodeError> {
    Ok(match d.u8()? {
        0 => VersioningMode::Off,
        1 => VersioningMode::Enabled,
        2 => VersioningMode::Suspended,
        found => return Err(d.unknown(u64::from(found))),
    })
}
