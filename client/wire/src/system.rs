//! The system group's state: small records in named tables, each with the revision that made it and the one that
//! changed it last. What the values mean is between those who write and those who read them.

use crate::{DecodeError, Decoder, Encoder, Revision, limits};
use bytes::Bytes;
use std::fmt;

/// A table of the system group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SystemTable {
    /// Bucket name → settings. A bucket's id is the revision that created its record.
    Bucket = 1,
    /// Principal name → what it is.
    Principal = 2,
    /// Access key id → principal and sealed secret.
    AccessKey = 3,
    /// Principal and bucket → rights.
    Grant = 4,
    /// Key name and version → wrapped key.
    WrappedKey = 5,
    /// Node id → address, zone, state.
    Node = 6,
    /// Group id → its replicas.
    Placement = 7,
    /// Jobs that go on over restarts (drain, re-wrap), with their progress.
    Job = 8,
    /// Settings of the region.
    Setting = 9,
}

/// What must hold for a record before it is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SystemExpect {
    /// Anything.
    Any,
    /// There is no such record.
    Absent,
    /// There is one.
    Present,
    /// It was last changed at this revision.
    At(Revision),
}

/// A change of one record.
#[derive(Clone, PartialEq, Eq)]
pub struct SystemChange {
    /// The table.
    pub table: SystemTable,
    /// The record's key.
    pub key: Bytes,
    /// What must hold.
    pub expect: SystemExpect,
    /// The new value, or nothing to remove the record.
    pub value: Option<Bytes>,
}

/// A record as read.
#[derive(Clone, PartialEq, Eq)]
pub struct SystemRecord {
    /// Its key.
    pub key: Bytes,
    /// Its value.
    pub value: Bytes,
    /// The revision that created it.
    pub created: Revision,
    /// The revision that changed it last.
    pub changed: Revision,
}

impl SystemTable {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Bucket,
        Self::Principal,
        Self::AccessKey,
        Self::Grant,
        Self::WrappedKey,
        Self::Node,
        Self::Placement,
        Self::Job,
        Self::Setting,
    ];

    /// The table's number in encoded form.
    pub const fn number(self) -> u8 {
        self as u8
    }

    pub(crate) fn decode(d: &mut Decoder) -> Result<Self, DecodeError> {
        let found = d.u8()?;
        Self::ALL.into_iter().find(|table| table.number() == found).ok_or_else(|| d.unknown(u64::from(found)))
    }
}

impl fmt::Debug for SystemChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SystemChange({:?}, {:?}, {})", self.table, self.expect, self.value.is_some())
    }
}

impl fmt::Debug for SystemRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SystemRecord(created {}, changed {}, {} B)", self.created, self.changed, self.value.len())
    }
}

impl SystemChange {
    pub(crate) fn encode(&self, e: &mut Encoder) {
        e.u8(self.table.number());
        e.bytes(&self.key);
        match self.expect {
            SystemExpect::Any => e.u8(0),
            SystemExpect::Absent => e.u8(1),
            SystemExpect::Present => e.u8(2),
            SystemExpect::At(revision) => {
                e.u8(3);
                e.u64(revision.0);
            }
        }
        e.option(self.value.as_ref(), |e, value| e.bytes(value));
    }

    pub(crate) fn decode(d: &mut Decoder) -> Result<Self, DecodeError> {
        let table = SystemTable::decode(d)?;
        let key = d.bytes(limits::SYSTEM_KEY_BYTES_MAX)?;
        let expect = match d.u8()? {
            0 => SystemExpect::Any,
            1 => SystemExpect::Absent,
            2 => SystemExpect::Present,
            3 => SystemExpect::At(Revision(d.u64()?)),
            found => return Err(d.unknown(u64::from(found))),
        };
        let value = d.option(|d| d.bytes(limits::SYSTEM_VALUE_BYTES_MAX))?;
        Ok(Self { table, key, expect, value })
    }
}

impl SystemRecord {
    /// Appends its layout.
    pub fn encode(&self, e: &mut Encoder) {
        e.bytes(&self.key);
        e.bytes(&self.value);
        e.u64(self.created.0);
        e.u64(self.changed.0);
    }

    /// Reads its layout.
    pub fn decode(d: &mut Decoder) -> Result<Self, DecodeError> {
        Ok(Self {
            key: d.bytes(limits::SYSTEM_KEY_BYTES_MAX)?,
            value: d.bytes(limits::SYSTEM_VALUE_BYTES_MAX)?,
            created: Revision(d.u64()?),
            changed: Revision(d.u64()?),
        })
    }
}
