//! What a reconciliation leaves behind: every lost write with what became of it and why, as one object.

use super::Policy;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use wire::UnixMillis;
use wire::admin::LostWrite;

/// Version of the report; fields may be added under one version, never change meaning.
pub const REPORT_VERSION: u32 = 1;

/// One reconciliation, or a preview of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReconcileReport {
    /// Version of this object.
    pub schema_version: u32,
    /// The run: the name of its folder.
    pub run: String,
    /// The deployment.
    pub deployment: String,
    /// The environment.
    pub environment: String,
    /// The region that acknowledged what was lost.
    pub from: String,
    /// The region that takes writes.
    pub to: String,
    /// The epoch that began with the switch.
    pub epoch: u64,
    /// Whether the list of lost writes was whole.
    pub complete: bool,
    /// What was to be done about them.
    pub policy: Policy,
    /// Of this bucket only.
    pub bucket: Option<String>,
    /// Of keys that begin so only.
    pub prefix: Option<String>,
    /// Under whose identity.
    pub operator: String,
    /// The release of the command line.
    pub release: String,
    /// The first step.
    pub began_at: UnixMillis,
    /// The end.
    pub ended_at: UnixMillis,
    /// How many of each.
    pub totals: BTreeMap<Action, u64>,
    /// Lost writes that it was not asked about: of other buckets, or not in the plan.
    #[serde(default)]
    pub left_alone: u64,
    /// Every lost write that it was asked about, in the order of the list.
    pub entries: Vec<Entry>,
    /// How it ended.
    pub verdict: ReconcileVerdict,
    /// What the command ended with.
    pub exit_code: u8,
}

/// One lost write and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What the old primary acknowledged.
    pub write: LostWrite,
    /// What was done, or would be.
    pub action: Action,
    /// Why.
    pub why: String,
    /// The name under which its bytes are, or will be, in the new primary.
    pub name: Option<String>,
    /// The version that was made there.
    pub version: Option<String>,
    /// What of the object could not be kept.
    pub not_kept: Vec<String>,
    /// What went wrong.
    pub error: Option<String>,
}

/// What becomes of a lost write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It is current again.
    PutBack,
    /// It is kept under a name of its own, beside a newer write.
    KeptBeside,
    /// The object or version is deleted in the new primary too.
    DeleteRepeated,
    /// The object or version stays.
    DeleteNotRepeated,
    /// The bucket is made again.
    BucketCreated,
    /// The bucket has the versioning again that it had.
    BucketChanged,
    /// The new primary has it.
    AlreadyThere,
    /// Other lost writes decide: nothing is left of this one.
    Superseded,
    /// An upload that never became an object.
    Unfinished,
    /// Left to a person.
    ByHand,
    /// Given up by decision.
    GivenUp,
    /// It could not be done; asking again may help.
    Failed,
}

/// How a reconciliation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReconcileVerdict {
    /// Nothing was changed: this is what would be done.
    Preview,
    /// Something has become of every write.
    Settled,
    /// Some could not be done.
    Failed,
    /// Given up on the way.
    Aborted,
}

impl Action {
    /// As a table has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::PutBack => "put back",
            Self::KeptBeside => "kept beside",
            Self::DeleteRepeated => "delete repeated",
            Self::DeleteNotRepeated => "delete not repeated",
            Self::BucketCreated => "bucket created",
            Self::BucketChanged => "bucket changed",
            Self::AlreadyThere => "already there",
            Self::Superseded => "superseded",
            Self::Unfinished => "unfinished upload",
            Self::ByHand => "by hand",
            Self::GivenUp => "given up",
            Self::Failed => "failed",
        }
    }
}

impl ReconcileVerdict {
    /// What the command ends with.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Preview | Self::Settled => 0,
            Self::Failed => 7,
            Self::Aborted => 8,
        }
    }

    /// As a page has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Preview => "preview",
            Self::Settled => "settled",
            Self::Failed => "failed",
            Self::Aborted => "aborted",
        }
    }
}

impl ReconcileReport {
    /// Counts the entries and says how it ended.
    pub(super) fn conclude(&mut self, verdict: ReconcileVerdict) {
        self.totals.clear();
        for entry in &self.entries {
            *self.totals.entry(entry.action).or_default() += 1;
        }
        let failed = self.totals.contains_key(&Action::Failed);
        self.verdict = match verdict {
            ReconcileVerdict::Settled if failed => ReconcileVerdict::Failed,
            verdict => verdict,
        };
        self.exit_code = self.verdict.exit_code();
    }
}
