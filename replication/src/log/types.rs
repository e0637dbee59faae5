//! What the log's callers hand in and get back.

use crate::disk::{Disk, RealDisk};
use bytes::Bytes;
use std::{fmt, io, path::Path, sync::Arc};
use wire::{DeploymentId, GroupId, Incarnation, NodeId, ReplicaId};

/// One file of the log; later ones have greater numbers, and a number is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId(pub u64);

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// Identity of an entry of a group: the Raft log id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId {
    /// Term of the leader that proposed it.
    pub term: u64,
    /// That leader.
    pub leader: ReplicaId,
    /// Position in the group's log.
    pub index: u64,
}

/// What an entry is to Raft.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A new leader's first entry.
    Blank,
    /// A command.
    Normal,
    /// A change of members.
    Membership,
}

/// One entry: a small encoded head and a bulk body, neither of which the log looks into.
#[derive(Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Which one it is.
    pub id: EntryId,
    /// What it is to Raft.
    pub kind: EntryKind,
    /// The encoded command.
    pub head: Bytes,
    /// Its bulk bytes.
    pub body: Bytes,
}

// lengths only: payloads do not belong in messages
impl fmt::Debug for LogEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogEntry")
            .field("id", &self.id)
            .field("kind", &self.kind)
            .field("head_bytes", &self.head.len())
            .field("body_bytes", &self.body.len())
            .finish()
    }
}

/// A replica's vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vote {
    /// The term it is for.
    pub term: u64,
    /// Whom it is for.
    pub node: ReplicaId,
    /// Whether a majority granted it.
    pub committed: bool,
}

/// Where an entry's record lies on this node's disk. It means nothing on another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The file.
    pub segment: SegmentId,
    /// Where the record's header begins in it, bytes.
    pub offset: u32,
    /// Length of the head, bytes.
    pub head_length: u32,
    /// Length of the body, bytes.
    pub body_length: u32,
    /// crc32c of the body.
    pub body_crc: u32,
}

impl Place {
    /// Length of [`Place::to_bytes`].
    pub const ENCODED_BYTES: usize = 24;

    /// The layout in an index: segment u64, offset, head length, body length, body crc32c as u32, little-endian.
    pub fn to_bytes(self) -> [u8; Self::ENCODED_BYTES] {
        let mut bytes = [0; Self::ENCODED_BYTES];
        bytes[..8].copy_from_slice(&self.segment.0.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.offset.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.head_length.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.body_length.to_le_bytes());
        bytes[20..].copy_from_slice(&self.body_crc.to_le_bytes());
        bytes
    }

    /// Reads [`Place::to_bytes`]; every input is some place, and reading from it checks what is there.
    pub fn from_bytes(bytes: [u8; Self::ENCODED_BYTES]) -> Self {
        let [s0, s1, s2, s3, s4, s5, s6, s7, o0, o1, o2, o3, h0, h1, h2, h3, b0, b1, b2, b3, c0, c1, c2, c3] =
            bytes;
        Self {
            segment: SegmentId(u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7])),
            offset: u32::from_le_bytes([o0, o1, o2, o3]),
            head_length: u32::from_le_bytes([h0, h1, h2, h3]),
            body_length: u32::from_le_bytes([b0, b1, b2, b3]),
            body_crc: u32::from_le_bytes([c0, c1, c2, c3]),
        }
    }
}

/// Why a replica's log must not be used for Raft any more; only dropping the group clears it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// Entries that were durable are lost: `first` to `last`.
    Gap {
        /// The first one lost.
        first: u64,
        /// The last one lost.
        last: u64,
    },
    /// Records were lost that cannot be told to belong to another group: its vote and its last entries are in doubt.
    Unknown,
}

/// What a group's log holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupState {
    /// The last vote that is durable.
    pub vote: Option<Vote>,
    /// The last entry purged.
    pub purged: Option<EntryId>,
    /// The last entry known committed; may be older than what was saved last after a crash.
    pub committed: Option<EntryId>,
    /// The first entry held.
    pub first: Option<EntryId>,
    /// The last entry held, or the last one purged when none is.
    pub last: Option<EntryId>,
    /// Set when the log must not be used for Raft.
    pub damage: Option<Damage>,
}

/// An entry as a scan of a segment meets it: everything but the body.
#[derive(Clone, Debug)]
pub struct ScannedEntry {
    /// Where it lies.
    pub place: Place,
    /// Whose it is.
    pub group: GroupId,
    /// Which one it is.
    pub id: EntryId,
    /// What it is to Raft.
    pub kind: EntryKind,
    /// The encoded command.
    pub head: Bytes,
}

/// Which entries still fit when the disk is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// Those that only add.
    Ordinary,
    /// Those that help to free room. They may use a part of the reserve.
    Reclaim,
    /// Those that were let in while there was room for them ([`super::Promise`]): their group must take them, and cannot
    /// purge anything as long as it has not. They may use what is left for moves.
    Accepted,
    /// Moves out of segments that go then. They may use what deletes leave, or deletes could fill the disk for good.
    Move,
}

/// How to open a log.
#[derive(Clone)]
pub struct LogOptions {
    /// The directory that holds the segments.
    pub disk: Arc<dyn Disk>,
    /// The deployment it belongs to.
    pub deployment: DeploymentId,
    /// The node it belongs to.
    pub node: NodeId,
    /// The incarnation it belongs to.
    pub incarnation: Incarnation,
    /// Size of a segment; a multiple of 4 KiB, 64 KiB to 2 GiB.
    pub segment_bytes: u64,
    /// Most bytes that all segments together may take; none: what the file system has.
    pub total_bytes_max: Option<u64>,
    /// Spare segments kept for votes, purges and moves when the disk is full.
    pub reserve_segments: usize,
    /// Flushed entries kept in memory, bytes.
    pub cache_bytes_max: usize,
    /// Entries accepted but not yet flushed, bytes; beyond it appends wait.
    pub queue_bytes_max: usize,
    /// Checks the bodies of all segments that are replayed at opening, not only the newest one's.
    pub verify_all: bool,
}

impl LogOptions {
    /// 64 MiB: large enough that making one is rare, small enough that freeing one by moving its live rest is quick.
    pub const SEGMENT_BYTES: u64 = 64 << 20;
    /// 3: one for votes and purges, one for moves to make room, one for deletes that make room for moves.
    pub const RESERVE_SEGMENTS: usize = 3;
    /// 32 MiB: some seconds of writes, so that followers and apply find them in memory.
    pub const CACHE_BYTES_MAX: usize = 32 << 20;
    /// 32 MiB: several batches, so that the disk is never idle while callers wait.
    pub const QUEUE_BYTES_MAX: usize = 32 << 20;

    /// The defaults, in `directory` of the operating system.
    pub fn new(
        directory: &Path,
        deployment: DeploymentId,
        node: NodeId,
        incarnation: Incarnation,
    ) -> io::Result<Self> {
        Ok(Self::on(Arc::new(RealDisk::open(directory)?), deployment, node, incarnation))
    }

    /// The defaults, on `disk`.
    pub fn on(disk: Arc<dyn Disk>, deployment: DeploymentId, node: NodeId, incarnation: Incarnation) -> Self {
        Self {
            disk,
            deployment,
            node,
            incarnation,
            segment_bytes: Self::SEGMENT_BYTES,
            total_bytes_max: None,
            reserve_segments: Self::RESERVE_SEGMENTS,
            cache_bytes_max: Self::CACHE_BYTES_MAX,
            queue_bytes_max: Self::QUEUE_BYTES_MAX,
            verify_all: false,
        }
    }
}
