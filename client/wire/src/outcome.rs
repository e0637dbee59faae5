//! Outcomes: what applying a command gave. A refusal is an outcome too: every replica comes to the same one.

use crate::{
    DecodeError, Decoder, Encoder, Epoch, PairRole, PairState, Revision, Sequence, VersionRef,
    record::{decode_version, encode_version},
};

/// What applying a command gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is done; there is nothing to tell.
    Done,
    /// A version is visible.
    Committed(VersionRef),
    /// Something was deleted.
    Deleted(Deleted),
    /// A bucket is frozen here; is it empty here?
    Frozen {
        /// No version or delete marker of the bucket is left in this group.
        empty: bool,
    },
    /// A deleted bucket's uploads were freed here; are these all of them?
    Forgotten {
        /// Nothing of the bucket is left in this group. Otherwise the same is asked for again.
        whole: bool,
    },
    /// The system group changed at this revision.
    Changed(Revision),
    /// The group's part in its pair is this now.
    Pair(PairState),
    /// It was not done, and why.
    Refused(Refusal),
}

/// What a delete did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deleted {
    /// The delete marker that was added, or that was removed for good.
    pub marker: Option<VersionRef>,
    /// Whether the marker (or what was removed) is known as the null version.
    pub null: bool,
    /// Whether anything was there to delete.
    pub existed: bool,
}

/// Why a command was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A condition on the current version does not hold.
    PreconditionFailed,
    /// A condition asks for a current version and there is none.
    NoSuchKey,
    /// There is no such version.
    NoSuchVersion,
    /// There is no such upload.
    NoSuchUpload,
    /// A part named for completion is not (or no longer) the upload's.
    InvalidPart {
        /// Its number.
        number: u16,
    },
    /// Chunks of the stream are missing: it was abandoned meanwhile.
    MissingChunks,
    /// The bucket is being deleted.
    BucketFrozen,
    /// Another epoch reigns.
    StaleEpoch {
        /// The one that does.
        current: Epoch,
    },
    /// A system record is not as expected.
    Conflict {
        /// Which of the changes (from 0) found it so.
        change: u32,
    },
    /// The operation does not belong to this kind of group.
    WrongGroup,
    /// The group's part in its pair does not allow it.
    PairRole {
        /// Its part.
        role: PairRole,
        /// The reign it knows.
        epoch: Epoch,
    },
    /// A shipped command does not follow the last one applied.
    OutOfOrder {
        /// The last one applied.
        applied: Sequence,
    },
}

impl Outcome {
    /// Its layout.
    pub fn encode(&self, e: &mut Encoder) {
        match self {
            Self::Done => e.u8(0),
            Self::Committed(version) => {
                e.u8(1);
                encode_version(e, *version);
            }
            Self::Deleted(deleted) => {
                e.u8(2);
                e.option(deleted.marker.as_ref(), |e, version| encode_version(e, *version));
                e.flag(deleted.null);
                e.flag(deleted.existed);
            }
            Self::Frozen { empty } => {
                e.u8(3);
                e.flag(*empty);
            }
            Self::Forgotten { whole } => {
                e.u8(7);
                e.flag(*whole);
            }
            Self::Changed(revision) => {
                e.u8(4);
                e.u64(revision.0);
            }
            Self::Pair(state) => {
                e.u8(6);
                state.encode(e);
            }
            Self::Refused(refusal) => {
                e.u8(5);
                refusal.encode(e);
            }
        }
    }

    /// Reads its layout.
    pub fn decode(d: &mut Decoder) -> Result<Self, DecodeError> {
        Ok(match d.u8()? {
            0 => Self::Done,
            1 => Self::Committed(decode_version(d)?),
            2 => Self::Deleted(Deleted {
                marker: d.option(decode_version)?,
                null: d.flag()?,
                existed: d.flag()?,
            }),
            3 => Self::Frozen { empty: d.flag()? },
            4 => Self::Changed(Revision(d.u64()?)),
            5 => Self::Refused(Refusal::decode(d)?),
            6 => Self::Pair(PairState::decode(d)?),
            7 => Self::Forgotten { whole: d.flag()? },
            found => return Err(d.unknown(u64::from(found))),
        })
    }
}

impl Refusal {
    fn encode(&self, e: &mut Encoder) {
        match self {
            Self::PreconditionFailed => e.u8(0),
            Self::NoSuchKey => e.u8(1),
            Self::NoSuchVersion => e.u8(2),
            Self::NoSuchUpload => e.u8(3),
            Self::InvalidPart { number } => {
                e.u8(4);
                e.u16(*number);
            }
            Self::MissingChunks => e.u8(5),
            Self::BucketFrozen => e.u8(6),
            Self::StaleEpoch { current } => {
                e.u8(7);
                e.u64(current.0);
            }
            Self::Conflict { change } => {
                e.u8(8);
                e.u32(*change);
            }
            Self::WrongGroup => e.u8(9),
            Self::PairRole { role, epoch } => {
                e.u8(10);
                role.encode(e);
                e.u64(epoch.0);
            }
            Self::OutOfOrder { applied } => {
                e.u8(11);
                e.u64(applied.0);
            }
        }
    }

    fn decode(d: &mut Decoder) -> Result<Self, DecodeError> {
        Ok(match d.u8()? {
            0 => Self::PreconditionFailed,
            1 => Self::NoSuchKey,
            2 => Self::NoSuchVersion,
            3 => Self::NoSuchUpload,
            4 => Self::InvalidPart { number: d.u16()? },
            5 => Self::MissingChunks,
            6 => Self::BucketFrozen,
            7 => Self::StaleEpoch { current: Epoch(d.u64()?) },
            8 => Self::Conflict { change: d.u32()? },
            9 => Self::WrongGroup,
            10 => Self::PairRole { role: PairRole::decode(d)?, epoch: Epoch(d.u64()?) },
            11 => Self::OutOfOrder { applied: Sequence(d.u64()?) },
            found => return Err(d.unknown(u64::from(found))),
        })
    }
}
