//! What is wrong with a record, where, and how often. Positions and paths of the policy; never a value, never a name that came in.

use std::collections::BTreeMap;
use std::fmt;

use transform::TransformError;

/// Positions kept per kind: enough to look into, few enough to read.
pub const POSITIONS_MAX: usize = 20;

/// What is wrong with a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Not in the format that the policy says.
    Malformed,
    /// Not UTF-8.
    NotUtf8,
    /// Longer than a record may be.
    RecordTooLong,
    /// Nested deeper than a record may be.
    TooDeep,
    /// A name written with escapes: it could be another name's twin.
    EscapedName,
    /// A field twice in one record.
    DuplicateField,
    /// A field that no rule names.
    UnknownField,
    /// More or fewer values than the header has.
    ColumnCount,
    /// A value of a type that the rule does not take.
    Type {
        /// Place of the rule among the policy's fields.
        field: usize,
    },
    /// A value longer than the rule allows.
    ValueTooLong {
        /// Place of the rule among the policy's fields.
        field: usize,
    },
    /// Nothing, where the rule wants something.
    Null {
        /// Place of the rule among the policy's fields.
        field: usize,
    },
    /// A value that the technique cannot treat.
    Value {
        /// Place of the rule among the policy's fields.
        field: usize,
        /// Why.
        error: TransformError,
    },
}

/// Kinds of faults, as they are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    /// [`Fault::Malformed`]
    Malformed,
    /// [`Fault::NotUtf8`]
    NotUtf8,
    /// [`Fault::RecordTooLong`]
    RecordTooLong,
    /// [`Fault::TooDeep`]
    TooDeep,
    /// [`Fault::EscapedName`]
    EscapedName,
    /// [`Fault::DuplicateField`]
    DuplicateField,
    /// [`Fault::UnknownField`]
    UnknownField,
    /// [`Fault::ColumnCount`]
    ColumnCount,
    /// [`Fault::Type`]
    Type,
    /// [`Fault::ValueTooLong`]
    ValueTooLong,
    /// [`Fault::Null`]
    Null,
    /// [`Fault::Value`]
    Value,
}

/// Where a fault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Which input, from 1.
    pub input: u32,
    /// Which record of the input, from 1.
    pub record: u64,
    /// Bytes before the record, unpacked; for Parquet 0.
    pub offset: u64,
    /// The field, as its place in the policy, where one is concerned.
    pub field: Option<usize>,
}

/// What a run did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Records read.
    pub records_in: u64,
    /// Records written.
    pub records_out: u64,
    /// Records left out.
    pub records_dropped: u64,
    /// Made-up persons whose rows were planted.
    pub persons_planted: u64,
    /// Rows of theirs, which are no records and counted nowhere else.
    pub rows_planted: u64,
    /// Fields left out because no rule names them.
    pub unknown_fields_dropped: u64,
    /// Values made null because their technique could not treat them.
    pub values_nulled: u64,
    /// Bytes read, unpacked; for Parquet 0.
    pub bytes_in: u64,
    /// Bytes written, before they are packed; for Parquet as written.
    pub bytes_out: u64,
    /// Whether rows went through temporary files.
    pub spilled: bool,
    /// Faults by kind: how many, and where the first ones are.
    pub faults: BTreeMap<FaultKind, (u64, Vec<Position>)>,
}

impl Fault {
    /// Its kind.
    pub fn kind(&self) -> FaultKind {
        match self {
            Self::Malformed => FaultKind::Malformed,
            Self::NotUtf8 => FaultKind::NotUtf8,
            Self::RecordTooLong => FaultKind::RecordTooLong,
            Self::TooDeep => FaultKind::TooDeep,
            Self::EscapedName => FaultKind::EscapedName,
            Self::DuplicateField => FaultKind::DuplicateField,
            Self::UnknownField => FaultKind::UnknownField,
            Self::ColumnCount => FaultKind::ColumnCount,
            Self::Type { .. } => FaultKind::Type,
            Self::ValueTooLong { .. } => FaultKind::ValueTooLong,
            Self::Null { .. } => FaultKind::Null,
            Self::Value { .. } => FaultKind::Value,
        }
    }

    /// The field it concerns.
    pub fn field(&self) -> Option<usize> {
        match self {
            Self::Type { field }
            | Self::ValueTooLong { field }
            | Self::Null { field }
            | Self::Value { field, .. } => Some(*field),
            _ => None,
        }
    }
}

impl FaultKind {
    /// What it is called in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::NotUtf8 => "not UTF-8",
            Self::RecordTooLong => "record too long",
            Self::TooDeep => "nested too deep",
            Self::EscapedName => "field name with escapes",
            Self::DuplicateField => "field twice",
            Self::UnknownField => "field without a rule",
            Self::ColumnCount => "other number of columns than the header",
            Self::Type => "wrong type",
            Self::ValueTooLong => "value too long",
            Self::Null => "null",
            Self::Value => "value that the technique cannot treat",
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "input {}, record {}, byte {}", self.input, self.record, self.offset)
    }
}

impl Report {
    /// Counts a fault.
    pub(crate) fn note(&mut self, kind: FaultKind, position: Position) {
        let (count, positions) = self.faults.entry(kind).or_default();
        *count += 1;
        if positions.len() < POSITIONS_MAX {
            positions.push(position);
        }
    }
}
