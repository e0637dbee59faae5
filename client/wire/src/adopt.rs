//! Taking over a group's whole state from the other region of a pair, through the own log: rows as the primary's machine
//! has them, range by range, until the group is a standby at one entry of the pair.
//!
//! A row that points to a record goes with the record's length and checksum. The record itself travels only if the group
//! does not hold it already, in an entry of its own before the range that the row lies in.

use crate::{DecodeError, Decoder, Encoder, Epoch, Revision, Sequence, UnixMillis, limits};
use bytes::Bytes;

/// A row's key, bytes: the longest name, escaped, and what surrounds it.
const ROW_KEY_BYTES_MAX: usize = 4 << 10;

/// Rows in one entry.
pub const ADOPTED_ROWS_MAX: usize = 16 << 10;

/// A step of taking over the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdoptStep {
    /// Begins anew; the entry's own index names the session that the other steps belong to.
    Begin {
        /// The primary's epoch.
        epoch: Epoch,
    },
    /// Puts a row that points to this entry's body.
    Record {
        /// The session.
        session: u64,
        /// The row's key.
        key: Bytes,
        /// Its value without the place.
        value: Bytes,
    },
    /// Makes the rows after those of the entry before, up to `through`, be these and no others.
    Rows {
        /// The session.
        session: u64,
        /// Where the range ends, included.
        through: Bytes,
        /// In order.
        rows: Vec<AdoptedRow>,
    },
    /// All rows are there: the group is a standby.
    End {
        /// The session.
        session: u64,
        /// Where it stands.
        state: AdoptedState,
    },
}

/// A row of the primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdoptedRow {
    /// Its key.
    pub key: Bytes,
    /// Its value without the place.
    pub value: Bytes,
    /// The record that it points to, which must be held already.
    pub record: Option<RecordSum>,
}

/// What a record's body is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordSum {
    /// Its length, bytes.
    pub length: u32,
    /// Its CRC-32C.
    pub crc: u32,
}

/// Where the rows stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdoptedState {
    /// The last entry of the pair in them.
    pub sequence: Sequence,
    /// The time in the last command.
    pub time: UnixMillis,
    /// The entry under which the primary's reign began.
    pub since: Sequence,
    /// The system group's revision.
    pub revision: Revision,
}

impl AdoptStep {
    pub(crate) fn encode(&self, e: &mut Encoder) {
        match self {
            Self::Begin { epoch } => {
                e.u8(0);
                e.u64(epoch.0);
            }
            Self::Record { session, key, value } => {
                e.u8(1);
                e.u64(*session);
                e.bytes(key);
                e.bytes(value);
            }
            Self::Rows { session, through, rows } => {
                e.u8(2);
                e.u64(*session);
                e.bytes(through);
                e.list(rows, |e, row| row.encode(e));
            }
            Self::End { session, state } => {
                e.u8(3);
                e.u64(*session);
                e.u64(state.sequence.0);
                e.u64(state.time.0);
                e.u64(state.since.0);
                e.u64(state.revision.0);
            }
        }
    }

    pub(crate) fn decode(d: &mut Decoder) -> Result<Self, DecodeError> {
        Ok(match d.u8()? {
            0 => Self::Begin { epoch: Epoch(d.u64()?) },
            1 => Self::Record {
                session: d.u64()?,
                key: d.bytes(ROW_KEY_BYTES_MAX)?,
                value: d.bytes(limits::COMMAND_HEAD_BYTES_MAX)?,
            },
            2 => Self::Rows {
                session: d.u64()?,
                through: d.bytes(ROW_KEY_BYTES_MAX)?,
                rows: d.list(ADOPTED_ROWS_MAX, AdoptedRow::decode)?,
            },
            3 => Self::End {
                session: d.u64()?,
                state: AdoptedState {
                    sequence: Sequence(d.u64()?),
                    time: UnixMillis(d.u64()?),
                    since: Sequence(d.u64()?),
                    revision: Revision(d.u64()?),
                },
            },
            found => return Err(d.unknown(u64::from(found))),
        })
    }
}

impl AdoptedRow {
    /// Appends its layout.
    pub fn encode(&self, e: &mut Encoder) {
        e.bytes(&self.key);
        e.bytes(&self.value);
        e.option(self.record.as_ref(), |e, record| record.encode(e));
    }

    /// Reads its layout.
    pub fn decode(d: &mut Decoder) -> Result<Self, DecodeError> {
        Ok(Self {
            key: d.bytes(ROW_KEY_BYTES_MAX)?,
            value: d.bytes(limits::COMMAND_HEAD_BYTES_MAX)?,
            record: d.option(RecordSum::decode)?,
        })
    }
}

impl RecordSum {
    fn encode(self, e: &mut Encoder) {
        e.u32(self.length);
        e.u32(self.crc);
    }

    fn decode(d: &mut Decoder) -> Result<Self, DecodeError> {
        Ok(Self { length: d.u32()?, crc: d.u32()? })
    }
}
