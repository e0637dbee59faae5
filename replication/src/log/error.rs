//! What can go wrong at the log's border. Cloneable: one failed sync fails everything that waited for it.

use super::types::{Damage, Place, SegmentId};
use std::{io, path::PathBuf, sync::Arc};
use thiserror::Error;
use wire::{DecodeError, GroupId};

/// Why the log did not do something.
#[derive(Clone, Debug, Error)]
pub enum LogError {
    /// A write or sync failed: the disk takes nothing more until the process starts again on a disk that works.
    #[error("disk {} is out of service since {operation} failed", path.display())]
    DiskFailed {
        /// What failed first.
        operation: &'static str,
        /// On which disk.
        path: PathBuf,
        /// Why.
        #[source]
        source: Arc<io::Error>,
    },
    /// Reading or preparing the log at opening failed.
    #[error("{operation} in {} failed", path.display())]
    Io {
        /// What failed.
        operation: &'static str,
        /// On which disk.
        path: PathBuf,
        /// Why.
        #[source]
        source: Arc<io::Error>,
    },
    /// No room for ordinary entries; votes, purges and moves still fit.
    #[error("disk is full")]
    Full,
    /// An entry larger than a record may be.
    #[error("entry of {bytes} bytes is over the limit of {limit_bytes}")]
    TooLarge {
        /// Head and body.
        bytes: usize,
        /// What is allowed.
        limit_bytes: usize,
    },
    /// An append that does not follow the last entry, or one while a truncation is under way.
    #[error("group {group}: entry {index} does not follow the log, which expects {expected:?}")]
    OutOfOrder {
        /// Whose log.
        group: GroupId,
        /// What was to be appended.
        index: u64,
        /// What would follow; nothing does while a truncation is under way.
        expected: Option<u64>,
    },
    /// The group lost records to rot; its replica must be rebuilt from its peers.
    #[error("group {group}: the log is damaged: {damage:?}")]
    Damaged {
        /// Whose log.
        group: GroupId,
        /// What is known.
        damage: Damage,
    },
    /// The group was dropped from this log.
    #[error("group {group} was dropped")]
    Dropped {
        /// Which one.
        group: GroupId,
    },
    /// The entry is not in the log (any more).
    #[error("group {group}: entry {index} is not in the log")]
    NoEntry {
        /// Whose log.
        group: GroupId,
        /// Which one.
        index: u64,
    },
    /// The segment cannot be removed: it is being written, or it holds entries that are not purged.
    #[error("segment {segment} is in use")]
    InUse {
        /// Which one.
        segment: SegmentId,
    },
    /// There is no such segment.
    #[error("no segment {segment}")]
    NoSegment {
        /// Which one.
        segment: SegmentId,
    },
    /// The directory belongs to another deployment, node or incarnation.
    #[error("segment {segment} belongs to another {what}")]
    Foreign {
        /// Which file says so.
        segment: SegmentId,
        /// What differs.
        what: &'static str,
    },
    /// A segment's header is of a version that this program does not know, or an option is out of its range.
    #[error("{what} is not supported: {found}")]
    Unsupported {
        /// What it is about.
        what: &'static str,
        /// What was found.
        found: u64,
    },
    /// The log is closing or closed.
    #[error("log is closed")]
    Closed,
    /// The entry to move could not be read.
    #[error("entry could not be read")]
    Read(#[source] ReadError),
}

/// Why bytes could not be read back.
#[derive(Clone, Debug, Error)]
pub enum ReadError {
    /// What is there is not what was written: fetch it from a peer.
    #[error("rotten bytes in segment {} at {}", place.segment, place.offset)]
    Rotten {
        /// Where.
        place: Place,
    },
    /// The segment was removed, or the entry is not in the log: look the place up again.
    #[error("segment or entry is gone")]
    Gone,
    /// The device failed.
    #[error("reading segment {} at {} failed", place.segment, place.offset)]
    Io {
        /// Where.
        place: Place,
        /// Why.
        #[source]
        source: Arc<io::Error>,
    },
}

pub(super) fn checksum(what: &'static str) -> DecodeError {
    DecodeError::Checksum { what }
}
