//! What recovery and verification tell: what was found, and what of it is not as it should be.

use super::{
    replay::entry_of,
    scan::Scanned,
    types::{EntryId, GroupState, SegmentId},
};
use std::time::Duration;
use wire::GroupId;

/// What is wrong with a part of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindingKind {
    /// The end of the newest segment was being written when the process or the power went: cut, nothing is lost that was
    /// acknowledged.
    TornTail,
    /// A segment whose first write never finished: removed, nothing was in it.
    TornSegment,
    /// The segment's header does not match its checksum.
    RottenHeader,
    /// A record whose header is intact but whose head or body is not.
    RottenRecord,
    /// Bytes that belong to no record that could be read.
    Unreadable,
    /// Records that must have been there are not.
    LostRecords,
}

/// One thing that is wrong with a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub kind: FindingKind,
    /// In which segment.
    pub segment: SegmentId,
    /// Where in it, bytes.
    pub offset: u64,
    /// Whose record, when its header can be read.
    pub group: Option<GroupId>,
    /// Which entry, when the record is one.
    pub entry: Option<EntryId>,
    /// How many records are missing here.
    pub records_lost: u64,
}

impl Finding {
    pub(super) fn at(kind: FindingKind, segment: SegmentId, offset: u64) -> Self {
        Self { kind, segment, offset, group: None, entry: None, records_lost: 0 }
    }
}

/// What recovery found of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRecovery {
    /// Which one.
    pub group: GroupId,
    /// What its log holds; `damage` says whether it may be used.
    pub state: GroupState,
    /// Entries whose place is known but whose bytes are rotten: to be written again as a peer has them.
    pub rotten: Vec<EntryId>,
}

/// What opening a log found.
#[derive(Clone, Debug, Default)]
pub struct Recovery {
    /// All groups, by number.
    pub groups: Vec<GroupRecovery>,
    /// Everything odd.
    pub findings: Vec<Finding>,
    /// Segments there are.
    pub segments: usize,
    /// Segments that were read.
    pub segments_replayed: usize,
    /// Records that were read.
    pub records: u64,
    /// How long it took.
    pub elapsed: Duration,
}

/// What is wrong with something a scanner met after the record with sequence `before` (0: nothing is known of it).
pub(super) fn findings_of(segment: SegmentId, before: u64, scanned: &Scanned) -> Vec<Finding> {
    let record = match scanned {
        Scanned::Unreadable { from } => return vec![Finding::at(FindingKind::Unreadable, segment, *from)],
        Scanned::Record(record) => record,
    };
    let mut findings = Vec::new();
    let records_lost = record.header.sequence.saturating_sub(before + 1);
    if before > 0 && records_lost > 0 {
        let lost = Finding::at(FindingKind::LostRecords, segment, record.offset);
        findings.push(Finding { records_lost, ..lost });
    }
    if !record.intact {
        findings.push(Finding {
            group: Some(record.header.group),
            entry: entry_of(record.header.kind).map(|(id, _)| id),
            ..Finding::at(FindingKind::RottenRecord, segment, record.offset)
        });
    }
    findings
}
