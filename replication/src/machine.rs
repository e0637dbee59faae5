//! The state machine of one group: what its log means.
//!
//! Applying an entry is a function of the entry and of the rows: no clock, no randomness, no I/O but the index. All
//! entries of one call, the applied position and the membership become visible in one index write. Replicas that
//! applied the same log hold the same rows, but for the places, which are each replica's own.
//!
//! It leaves to others: when an entry may be applied (its record must be flushed here, `group`), where bodies lie
//! (`log`), sealing (the gateways).
//!
//! After an error the machine must not be used again: reopen it, or wipe the index and learn anew. The exception is an
//! index without room ([`MachineError::is_for_want_of_room`]): nothing was changed, and the same call can be repeated.

mod adopt;
mod apply;
mod buckets;
mod compare;
mod key;
mod listing;
mod objects;
mod pair;
mod place;
mod query;
mod row;
mod snapshot;
mod space;
mod streams;
mod system;
mod transaction;
mod uploads;
mod versions;
mod window;

pub(crate) use adopt::{ADOPTED_END, is_shared, to_adopted};
pub(crate) use compare::{LeavesWalk, RowSource, SumsWalk, Walk, entries_at};
pub use pair::Verdict;
pub(crate) use pair::is_local;
pub use place::Place;
pub use snapshot::{InstalledRow, SnapshotId, SnapshotPage, SnapshotRow};
pub(crate) use space::body_row;
pub use space::{LiveBody, Move};

use crate::index::{Batch, Index, IndexError, RowBytes};
use bytes::Bytes;
use pair::Pair;
use snapshot::OpenSnapshot;
use std::collections::BTreeMap;
use thiserror::Error;
use transaction::Changes;
use window::Window;
use wire::{Command, DecodeError, Decoder, Encoder, Epoch, GroupId, PairRole, ReplicaId, Revision, Sequence};

/// The row that every index with a whole state has: magic and version.
const FORMAT_VALUE: [u8; 8] = *b"TKINDEX\x01";

/// A membership as the engine encodes it, bytes. 64 KiB: far above three replicas and a learner.
const MEMBERSHIP_BYTES_MAX: usize = 64 << 10;

/// Why a machine stopped. It must not be used any longer, unless it was for want of room.
#[derive(Debug, Error)]
pub enum MachineError {
    /// The index failed.
    #[error("the index failed")]
    Index {
        /// How.
        #[source]
        source: IndexError,
    },
    /// A row does not read as what it should be.
    #[error("a row of the index cannot be read")]
    Decode {
        /// What is wrong with it.
        #[from]
        source: DecodeError,
    },
    /// A row contradicts another, or is missing.
    #[error("the index contradicts itself: {row}")]
    Row {
        /// Which kind of row.
        row: &'static str,
    },
    /// The index has a format that this version does not know.
    #[error("the index has an unknown format")]
    Format,
    /// The state is being replaced by a copy of another replica's.
    #[error("the state is being replaced")]
    Installing,
    /// Entries came out of order.
    #[error("entry {found} came after entry {applied}")]
    Order {
        /// The last one applied.
        applied: u64,
        /// The one that came.
        found: u64,
    },
}

impl MachineError {
    /// Whether nothing was changed because the disk is too full: the same can be tried again.
    pub fn is_for_want_of_room(&self) -> bool {
        matches!(self, Self::Index { source } if source.is_for_want_of_room())
    }
}

/// An entry's place in its group's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The term in which it was proposed.
    pub term: u64,
    /// The leader that proposed it.
    pub leader: ReplicaId,
    /// Its index.
    pub index: u64,
}

/// An entry to apply.
#[derive(Clone, Debug)]
pub struct AppliedEntry {
    /// Where it stands in the log.
    pub position: Position,
    /// What it carries.
    pub payload: Payload,
}

/// What an entry carries.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all entries are commands")]
pub enum Payload {
    /// Nothing: a new leader's first entry.
    Blank,
    /// A membership, as the engine encodes it.
    Membership(Bytes),
    /// A command. Its body is not looked at.
    Command {
        /// The command.
        command: Command,
        /// Where its record lies on this replica.
        place: Place,
    },
}

/// A membership and the entry that brought it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMembership {
    /// The entry.
    pub position: Position,
    /// The membership, as the engine encodes it.
    pub membership: Bytes,
}

/// One group's state on one replica.
pub struct Machine<I> {
    group: GroupId,
    index: I,
    state: State,
    snapshot: Option<OpenSnapshot>,
    snapshots_begun: u64,
    installing: bool,
    /// The part of a group whose part never changed.
    initial: PairRole,
}

/// What is kept in memory of the rows.
#[derive(Default)]
struct State {
    applied: Option<Position>,
    membership: Option<StoredMembership>,
    epoch: Epoch,
    revision: Revision,
    shared: Sequence,
    pair: Pair,
    liveness: BTreeMap<u32, u64>,
    window: Window,
}

impl<I: Index> Machine<I> {
    /// Takes up the state that `index` holds of `group`, or begins an empty one. What an interrupted copy left is removed.
    pub fn open(group: GroupId, index: I) -> Result<Self, MachineError> {
        Self::open_as(PairRole::Primary, group, index)
    }

    /// The same; a group whose part in a pair never changed is `initial`.
    pub fn open_as(initial: PairRole, group: GroupId, index: I) -> Result<Self, MachineError> {
        match index.get(&key::FORMAT)? {
            Some(value) if *value == FORMAT_VALUE => {}
            Some(_) => return Err(MachineError::Format),
            None => {
                index.clear()?;
                write_format(&index)?;
            }
        }
        let state = State::open(&index, initial)?;
        Ok(Self { group, index, state, snapshot: None, snapshots_begun: 0, installing: false, initial })
    }

    /// The group.
    pub fn group(&self) -> GroupId {
        self.group
    }

    /// The index.
    pub fn index(&self) -> &I {
        &self.index
    }

    /// The index, for another machine to take up.
    pub fn into_index(self) -> I {
        self.index
    }

    /// The last entry applied, and the last membership.
    pub fn applied(&self) -> (Option<Position>, Option<StoredMembership>) {
        (self.state.applied, self.state.membership.clone())
    }

    /// The epoch that reigns here.
    pub fn epoch(&self) -> Epoch {
        self.state.epoch
    }

    /// The last change of the system group's records.
    pub fn revision(&self) -> Revision {
        self.state.revision
    }

    /// The last change of those of the system group's records that both regions of a pair have.
    pub fn shared_upto(&self) -> Sequence {
        self.state.shared
    }

    /// When it returns, everything applied before survives a power cut.
    pub fn flush(&self) -> Result<(), MachineError> {
        Ok(self.index.flush()?)
    }

    /// Writes changes, with the liveness rows they entail.
    fn write(&mut self, mut changes: Changes) -> Result<(), MachineError> {
        if let Some(snapshot) = &mut self.snapshot
            && !snapshot.keep(&self.index, &changes)?
        {
            self.snapshot = None;
        }
        let mut live = Vec::with_capacity(changes.liveness.len());
        for (segment, change) in std::mem::take(&mut changes.liveness) {
            let before = self.state.liveness.get(&segment).copied().unwrap_or(0);
            let after = before.checked_add_signed(change).ok_or(MachineError::Row { row: "liveness" })?;
            let value = (after > 0).then(|| RowBytes::from(&after.to_le_bytes()));
            changes.rows.insert(key::liveness(segment).as_slice().into(), value);
            live.push((segment, after));
        }
        self.index.write(changes.into_batch())?;
        for (segment, bytes) in live {
            if bytes == 0 {
                self.state.liveness.remove(&segment);
            } else {
                self.state.liveness.insert(segment, bytes);
            }
        }
        Ok(())
    }
}

impl State {
    fn open(index: &impl Index, initial: PairRole) -> Result<Self, MachineError> {
        let applied = match index.get(&key::APPLIED)? {
            Some(value) => Some(row::read("applied row", value, Position::decode)?),
            None => None,
        };
        let membership = match index.get(&key::MEMBERSHIP)? {
            Some(value) => Some(row::read("membership row", value, StoredMembership::decode)?),
            None => None,
        };
        let mut liveness = BTreeMap::new();
        for found in index.scan(&[key::table::LIVENESS]..&key::table_end(key::table::LIVENESS), true) {
            let (row_key, value) = found?;
            let segment = key::last_u32(&row_key).ok_or(MachineError::Row { row: "liveness key" })?;
            liveness.insert(segment, row::read("liveness row", value, Decoder::u64)?);
        }
        Ok(Self {
            applied,
            membership,
            epoch: Epoch(number(index, &key::EPOCH)?),
            revision: Revision(number(index, &key::REVISION)?),
            shared: Sequence(number(index, &key::SHARED)?),
            pair: Pair::open(index, initial)?,
            liveness,
            window: Window::open(index)?,
        })
    }
}

/// Marks the index as one that holds a whole state.
fn write_format(index: &impl Index) -> Result<(), IndexError> {
    let mut batch = Batch::default();
    batch.put(&key::FORMAT, &FORMAT_VALUE);
    index.write(batch)
}

/// A meta row that holds a number; 0 when there is none.
fn number(index: &impl Index, key: &[u8]) -> Result<u64, MachineError> {
    Ok(match index.get(key)? {
        Some(value) => row::read("meta row", value, Decoder::u64)?,
        None => 0,
    })
}

impl Position {
    fn encode(&self, e: &mut Encoder) {
        e.u64(self.term);
        e.u64(self.leader.0);
        e.u64(self.index);
    }

    fn decode(d: &mut Decoder) -> Result<Self, DecodeError> {
        Ok(Self { term: d.u64()?, leader: ReplicaId(d.u64()?), index: d.u64()? })
    }
}

impl StoredMembership {
    fn encode(&self, e: &mut Encoder) {
        self.position.encode(e);
        e.bytes(&self.membership);
    }

    fn decode(d: &mut Decoder) -> Result<Self, DecodeError> {
        Ok(Self { position: Position::decode(d)?, membership: d.bytes(MEMBERSHIP_BYTES_MAX)? })
    }
}

#[cfg(test)]
mod tests;
