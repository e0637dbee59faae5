//! What a comparison leaves behind: every tree with both regions' roots and figures, every difference, and what was made of it.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use wire::{ComparePosition, CompareTree, ComparedKind, Digest, RowKey, UnixMillis};

/// Version of the report; fields may be added under one version, never change meaning.
pub const REPORT_VERSION: u32 = 1;

/// One comparison.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompareReport {
    /// Version of this object.
    pub schema_version: u32,
    /// The run: the name of its folder.
    pub run: String,
    /// The deployment.
    pub deployment: String,
    /// The environment.
    pub environment: String,
    /// The region that takes writes, if it was known.
    pub primary: Option<String>,
    /// The region that was held against it.
    pub standby: Option<String>,
    /// Of this bucket only.
    pub bucket: Option<String>,
    /// Under whose identity.
    pub operator: String,
    /// The release of the command line.
    pub release: String,
    /// The first step.
    pub began_at: UnixMillis,
    /// The end.
    pub ended_at: UnixMillis,
    /// What was compared, and how it came out.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// What was done about it, or would be.
    pub repair: Option<Repair>,
    /// How it ended.
    pub verdict: CompareVerdict,
    /// Why it is not `same`; empty when it is.
    pub reasons: Vec<String>,
    /// What the command ended with.
    pub exit_code: u8,
}

/// What was compared, and how it came out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Every group, by number.
    pub groups: Vec<ComparedGroup>,
    /// Every bucket, and each table of the system group, over all groups.
    pub trees: Vec<TreeReport>,
    /// Entries that the primary had, over all trees.
    pub entries: u64,
    /// Plaintext bytes of the versions among them.
    pub bytes: u64,
    /// Entries that were on their way at the first look, and the same at a later one.
    pub settled: u64,
    /// Bucket counters that never stood still while they were looked at; they are no difference.
    pub figures_moving: u64,
    /// How many entries differ.
    pub differing: u64,
    /// How many of each kind.
    pub totals: BTreeMap<DifferenceKind, u64>,
    /// Which; at most 10,000 of them.
    pub differences: Vec<Difference>,
    /// Leaves that differ and were not gone down into, because their tree had more differences than a list is good for.
    pub leaves_left: u64,
    /// How many entries could not be decided.
    pub undecided: u64,
    /// Which; at most 10,000 of them.
    pub undecided_entries: Vec<Difference>,
}

/// One group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComparedGroup {
    /// Its number.
    pub group: u32,
    /// Where the primary's was read: by its leader, between which entries of the pair.
    pub primary: Option<ComparePosition>,
    /// The same of the standby's.
    pub standby: Option<ComparePosition>,
    /// How many of its entries differ.
    pub differing: u64,
    /// Why it could not be compared to the end.
    pub error: Option<String>,
}

/// One bucket or table in both regions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeReport {
    /// What it is.
    #[serde(flatten)]
    pub tree: CompareTree,
    /// The bucket's or table's name; none of a bucket that is gone.
    pub name: Option<String>,
    /// The primary's side.
    pub primary: TreeSide,
    /// The standby's side.
    pub standby: TreeSide,
    /// How many entries differ.
    pub differing: u64,
}

/// One region's side of a bucket or table, at the first look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeSide {
    /// SHA-256 over the Merkle roots of all groups that have some of it.
    pub root: Digest,
    /// Its entries.
    pub entries: u64,
    /// Plaintext bytes of the versions among them.
    pub bytes: u64,
}

/// A bucket in both regions, for a report of something else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComparedBucket {
    /// Its name.
    pub bucket: String,
    /// How it came out.
    pub verdict: CompareVerdict,
    /// Why it is not `same`; empty when it is.
    pub reasons: Vec<String>,
    /// The primary's side, at the first look.
    pub primary: TreeSide,
    /// The standby's side, at the first look.
    pub standby: TreeSide,
}

/// An entry that both regions do not have alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// How.
    pub difference: DifferenceKind,
    /// What it is.
    pub kind: ComparedKind,
    /// Its group.
    pub group: u32,
    /// The bucket's name, or its number if it has none.
    pub bucket: Option<String>,
    /// Of a record of the system group: its table.
    pub table: Option<String>,
    /// The object's name, or the record's.
    pub key: Option<String>,
    /// The version's id as S3 clients know it.
    pub version: Option<String>,
    /// As the primary has it.
    pub primary: Option<EntryFigures>,
    /// As the standby has it.
    pub standby: Option<EntryFigures>,
    /// The row it lies in: the same in both regions.
    pub row: RowKey,
}

/// An entry as one region has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryFigures {
    /// Plaintext bytes.
    pub size: Option<u64>,
    /// The ETag.
    pub etag: Option<String>,
    /// When it was written.
    pub modified: Option<UnixMillis>,
    /// SHA-256 of what is said of it.
    pub record: Digest,
    /// SHA-256 of lengths and checksums of its sealed bodies.
    pub content: Digest,
}

/// How an entry differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DifferenceKind {
    /// The standby does not have it.
    Missing,
    /// The standby has it and the primary does not.
    Surplus,
    /// Its bodies are others.
    Content,
    /// What is said of it is something else.
    Metadata,
    /// Not known yet: it changed at every look, or the standby did not catch up.
    Undecided,
}

/// What was done about the differences, or would be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repair {
    /// Whether it was carried out.
    pub carried_out: bool,
    /// The groups of the standby that take over their primaries' state.
    pub groups: Vec<RepairedGroup>,
    /// What had been found before.
    pub before: Option<Box<Outcome>>,
}

/// One group of the standby.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepairedGroup {
    /// Its number.
    pub group: u32,
    /// How long it took to take over the state, ms.
    pub took_ms: Option<u64>,
    /// Why it is not done.
    pub error: Option<String>,
}

/// How a comparison ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CompareVerdict {
    /// Both regions hold the same.
    Same,
    /// They do not.
    Differing,
    /// It cannot be told.
    Undecided,
    /// Given up on the way, without a difference so far.
    Aborted,
}

impl CompareVerdict {
    /// What the command ends with.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Same => 0,
            Self::Undecided => 6,
            Self::Differing => 7,
            Self::Aborted => 8,
        }
    }

    /// As a page has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Differing => "differing",
            Self::Undecided => "undecided",
            Self::Aborted => "aborted",
        }
    }
}

impl DifferenceKind {
    /// As a table has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing in the standby",
            Self::Surplus => "surplus in the standby",
            Self::Content => "other content",
            Self::Metadata => "other metadata",
            Self::Undecided => "undecided",
        }
    }
}

impl Outcome {
    /// The groups in which something differs.
    pub(super) fn differing_groups(&self) -> BTreeSet<u32> {
        self.groups.iter().filter(|group| group.differing > 0).map(|group| group.group).collect()
    }

    /// What it comes to, and why it is not the same.
    pub(super) fn conclude(&self, was_stopped: bool) -> (CompareVerdict, Vec<String>) {
        let mut reasons = Vec::new();
        if self.differing > 0 {
            let kinds: Vec<String> =
                self.totals.iter().map(|(kind, count)| format!("{count} {}", kind.name())).collect();
            reasons.push(format!("{} entries differ: {}", self.differing, kinds.join(", ")));
        }
        if self.leaves_left > 0 {
            reasons.push(format!("{} leaves more differ and were not gone down into", self.leaves_left));
        }
        if self.undecided > 0 {
            reasons.push(format!(
                "{} entries changed at every look, or the standby did not catch up",
                self.undecided
            ));
        }
        for group in &self.groups {
            if let Some(error) = &group.error {
                reasons.push(format!("group {}: {error}", group.group));
            }
        }
        let is_whole = self.undecided == 0 && self.groups.iter().all(|group| group.error.is_none());
        let verdict = match self.differing > 0 {
            true => CompareVerdict::Differing,
            false if was_stopped => CompareVerdict::Aborted,
            false if is_whole => CompareVerdict::Same,
            false => CompareVerdict::Undecided,
        };
        (verdict, reasons)
    }
}
