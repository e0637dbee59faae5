//! A pair of regions: the part a group has in it, what changes that part, and a command on its way from one to the other.
//!
//! Both regions count a group's entries the same way: an entry's [`Sequence`] is its number in the pair. The standby applies
//! what the primary agreed on, in that order and under those numbers, so that both come to the same state.

use crate::{DecodeError, Decoder, Encoder, Epoch, Sequence, UnixMillis, limits};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The part a group has in its pair. A region without a pair is a primary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PairRole {
    /// Takes writes.
    #[default]
    Primary,
    /// Takes no more writes under its epoch: the other region is about to.
    Sealed,
    /// Applies what the other region's primary agreed on, and nothing else.
    Standby,
    /// Is taking over the primary's state: what it has is no whole state, and nobody reads it.
    Bootstrap,
}

impl PairRole {
    /// Every part.
    pub const ALL: [Self; 4] = [Self::Primary, Self::Sealed, Self::Standby, Self::Bootstrap];

    /// As figures and pages have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Sealed => "sealed",
            Self::Standby => "standby",
            Self::Bootstrap => "bootstrap",
        }
    }
}

/// A group's part in its pair, as its log has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PairState {
    /// Its part.
    pub role: PairRole,
    /// The reign that it knows; of a standby, the one it follows.
    pub epoch: Epoch,
    /// The last entry of the pair that was applied here.
    pub sequence: Sequence,
    /// The time in the last command that a standby applied.
    pub time: UnixMillis,
    /// The entry under which the present primary began its reign; entries up to it are not shipped.
    pub since: Sequence,
    /// The last entry of the other region that was applied here, also once this one reigns. `since` may lie further on:
    /// what the old primary has in between, it has alone.
    pub followed: Sequence,
}

/// A change of a group's part. Each names the epoch under which its author acts; repeating one does no harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PairStep {
    /// The primary under `epoch` takes no more writes.
    Seal {
        /// Its epoch.
        epoch: Epoch,
    },
    /// The sealed primary under `epoch` goes on.
    Unseal {
        /// Its epoch.
        epoch: Epoch,
    },
    /// A standby becomes primary under `epoch`, which must be newer than any it knows; or what was sealed for a switch, when the region
    /// that has the writes now is lost.
    Promote {
        /// The new epoch.
        epoch: Epoch,
    },
    /// The same, unless the group has heard of its primary within [`crate::lease::WAIT`]: its leader refuses then, before
    /// anything is proposed.
    Relieve {
        /// The new epoch.
        epoch: Epoch,
    },
    /// A sealed primary becomes a standby of the one that was promoted under `epoch`.
    Follow {
        /// The new primary's epoch.
        epoch: Epoch,
        /// The entry under which that one began.
        since: Sequence,
    },
    /// Gives the own state up for that of the primary that was promoted under `epoch`: a fenced primary, or a standby that
    /// the primary's log no longer reaches back to.
    Rejoin {
        /// The primary's epoch.
        epoch: Epoch,
    },
}

/// A command of the primary on its way to the standby; its body is the shipped command's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShippedCommand {
    /// The primary's epoch.
    pub epoch: Epoch,
    /// The entry shipped before this one: nothing may be missing in between.
    pub after: Sequence,
    /// Its own number.
    pub sequence: Sequence,
    /// The command's head as the primary logged it.
    pub head: Bytes,
}

impl PairRole {
    /// Appends its layout.
    pub fn encode(self, e: &mut Encoder) {
        e.u8(self as u8);
    }

    /// Reads its layout.
    pub fn decode(d: &mut Decoder) -> Result<Self, DecodeError> {
        Ok(match d.u8()? {
            0 => Self::Primary,
            1 => Self::Sealed,
            2 => Self::Standby,
            3 => Self::Bootstrap,
            found => return Err(d.unknown(u64::from(found))),
        })
    }
}

impl PairState {
    /// Appends its layout.
    pub fn encode(&self, e: &mut Encoder) {
        self.role.encode(e);
        e.u64(self.epoch.0);
        e.u64(self.sequence.0);
        e.u64(self.time.0);
        e.u64(self.since.0);
        e.u64(self.followed.0);
    }

    /// Reads its layout.
    pub fn decode(d: &mut Decoder) -> Result<Self, DecodeError> {
        Ok(Self {
            role: PairRole::decode(d)?,
            epoch: Epoch(d.u64()?),
            sequence: Sequence(d.u64()?),
            time: UnixMillis(d.u64()?),
            since: Sequence(d.u64()?),
            followed: Sequence(d.u64()?),
        })
    }
}

impl PairStep {
    pub(crate) fn encode(self, e: &mut Encoder) {
        let (number, epoch) = match self {
            Self::Seal { epoch } => (0, epoch),
            Self::Unseal { epoch } => (1, epoch),
            Self::Promote { epoch } => (2, epoch),
            Self::Follow { epoch, .. } => (3, epoch),
            Self::Rejoin { epoch } => (4, epoch),
            Self::Relieve { epoch } => (5, epoch),
        };
        e.u8(number);
        e.u64(epoch.0);
        if let Self::Follow { since, .. } = self {
            e.u64(since.0);
        }
    }

    pub(crate) fn decode(d: &mut Decoder) -> Result<Self, DecodeError> {
        let number = d.u8()?;
        let epoch = Epoch(d.u64()?);
        Ok(match number {
            0 => Self::Seal { epoch },
            1 => Self::Unseal { epoch },
            2 => Self::Promote { epoch },
            3 => Self::Follow { epoch, since: Sequence(d.u64()?) },
            4 => Self::Rejoin { epoch },
            5 => Self::Relieve { epoch },
            found => return Err(d.unknown(u64::from(found))),
        })
    }
}

impl ShippedCommand {
    pub(crate) fn encode(&self, e: &mut Encoder) {
        e.u64(self.epoch.0);
        e.u64(self.after.0);
        e.u64(self.sequence.0);
        e.bytes(&self.head);
    }

    pub(crate) fn decode(d: &mut Decoder) -> Result<Self, DecodeError> {
        Ok(Self {
            epoch: Epoch(d.u64()?),
            after: Sequence(d.u64()?),
            sequence: Sequence(d.u64()?),
            head: d.bytes(limits::COMMAND_HEAD_BYTES_MAX)?,
        })
    }
}
