//! What is signed about an export: the order before it, the manifest after it, the decision about it. Fields are in
//! `manifest/FORMAT.md`.

use crate::figures::{Figures, Gate};
use crate::s3::Pin;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version of the bodies here.
pub(crate) const VERSION: u32 = 1;
/// The version of bodies about an export that stands for another, or that another stands for.
const VERSION_REKEYED: u32 = 2;
/// The version of bodies about an export in which rows may be planted; it may stand for another, too.
const VERSION_PLANTED: u32 = 3;
/// The version of bodies about an export that was fitted to its gate; it may have what the others have, too.
const VERSION_FITTED: u32 = 4;
/// Anything signed, bytes: [`SOURCES_MAX`] sources with long names, and as many parts.
pub(crate) const SIGNED_BYTES_MAX: u64 = 256 << 20;
/// Sources of one export: each is a few hundred bytes of manifest.
pub(crate) const SOURCES_MAX: usize = 100_000;
/// Names in an export's folder.
pub(crate) const ORDER: &str = "order.json";
pub(crate) const MANIFEST: &str = "manifest.json";
pub(crate) const DECISION: &str = "decision.json";
pub(crate) const RELEASE: &str = "release.json";
pub(crate) const DELETION: &str = "deletion.json";

/// Who may make and release exports, as the service vouches for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Certificate {
    pub(crate) version: u32,
    pub(crate) operator: String,
    pub(crate) key: String,
    pub(crate) enrolled: String,
}

/// Under what an export is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Terms {
    pub(crate) policy: String,
    pub(crate) policy_version: u32,
    pub(crate) policy_sha256: String,
    pub(crate) domain: String,
    pub(crate) dataset: String,
    pub(crate) purpose: String,
    pub(crate) legal_basis: String,
    pub(crate) owner: String,
    pub(crate) recipient: String,
    pub(crate) anonymise_on: String,
    pub(crate) delete_on: String,
    /// Where the policy has exports released to, if it says.
    pub(crate) released_to: Option<String>,
}

/// A key that made tokens; never the key itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyName {
    pub(crate) domain: String,
    pub(crate) version: u32,
    pub(crate) id: String,
}

/// An object that was read, and what it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Source {
    pub(crate) bucket: String,
    pub(crate) key: String,
    pub(crate) pin: Pin,
    /// Of the bytes that were read; not there before they were.
    pub(crate) sha256: Option<String>,
}

/// A file of an export, by its name in the export's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
    /// Of a part of the data.
    pub(crate) rows: Option<u64>,
}

/// The export that another one stands for, since that is made of the same records under a newer key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Replaces {
    pub(crate) export: String,
    pub(crate) manifest_sha256: String,
    /// The key that made its tokens.
    pub(crate) key: KeyName,
}

/// What an export is to be: signed by who begins it, so that a run that was killed is gone on with as it began.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Order {
    pub(crate) version: u32,
    pub(crate) export: String,
    pub(crate) created: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) replaces: Option<Replaces>,
    pub(crate) terms: Terms,
    pub(crate) key: KeyName,
    pub(crate) run: String,
    pub(crate) part_rows_max: u64,
    pub(crate) sources: Vec<Source>,
    pub(crate) maker: String,
    pub(crate) build: String,
}

/// Records that went in and came out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Counts {
    pub(crate) records_in: u64,
    pub(crate) records_out: u64,
    pub(crate) records_left_out: u64,
    pub(crate) faults: BTreeMap<String, u64>,
    pub(crate) unknown_fields_left_out: u64,
    pub(crate) values_made_null: u64,
}

/// Rows of made-up persons in an export. Which they are, only who has the key can tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Planted {
    pub(crate) persons: u64,
    /// Beside the records that came out.
    pub(crate) rows: u64,
    /// The column whose tokens are theirs, and how these are made.
    pub(crate) column: String,
    pub(crate) key_version: u32,
    pub(crate) technique: String,
    pub(crate) class: String,
    pub(crate) scope: String,
    pub(crate) form: String,
}

/// What was done so that the gate lets an export through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fitted {
    /// `generalise` or `suppress`.
    pub(crate) on_fail: String,
    /// The levels of hierarchies that were climbed, by column.
    pub(crate) levels: BTreeMap<String, usize>,
    /// Records that are too rare at these levels, and are in no other count than those that went in.
    pub(crate) records_left_out: u64,
}

/// What an export is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    pub(crate) version: u32,
    pub(crate) export: String,
    pub(crate) created: String,
    pub(crate) completed: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) replaces: Option<Replaces>,
    pub(crate) terms: Terms,
    pub(crate) keys: Vec<KeyName>,
    pub(crate) normalisers: BTreeMap<String, Vec<String>>,
    pub(crate) run: String,
    pub(crate) maker: String,
    pub(crate) build: String,
    pub(crate) sources: Vec<Source>,
    pub(crate) counts: Counts,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) planted: Option<Planted>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) fitted: Option<Fitted>,
    pub(crate) figures: Option<Figures>,
    pub(crate) gate: Option<Gate>,
    pub(crate) format: String,
    pub(crate) outputs: Vec<File>,
    pub(crate) documents: Vec<File>,
}

/// That people were erased: signed by the service, without anything that says who.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Erasure {
    pub(crate) version: u32,
    pub(crate) grant: String,
    pub(crate) vault: String,
    pub(crate) completed: String,
    pub(crate) requester: String,
    pub(crate) approvers: Vec<String>,
    pub(crate) purpose: String,
    pub(crate) reason: String,
    pub(crate) ticket: String,
    pub(crate) request_sha256: String,
    pub(crate) asked: u64,
    pub(crate) erased: u64,
    /// Asked for and not in the vault, or erased before.
    pub(crate) unknown: u64,
    /// Others in the same buckets, whose keys were wrapped anew.
    pub(crate) rewrapped: u64,
    pub(crate) epoch_before: u64,
    pub(crate) epoch_after: u64,
    /// Places of the vault when this was signed: each was looked at then, and held the newest table and no older one.
    pub(crate) places: u64,
    /// Places that were given up before, with their tables destroyed then.
    pub(crate) places_given_up: u64,
    /// Places that were given up before and did not answer: their tables are not destroyed.
    pub(crate) places_not_destroyed: Vec<Detached>,
    /// How far the log had come before the entry of this certificate.
    pub(crate) log_entries: u64,
    pub(crate) log_head: String,
    pub(crate) build: String,
}

/// A place whose table an erasure did not reach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Detached {
    pub(crate) place: String,
    /// When it was given up.
    pub(crate) detached: String,
}

impl Erasure {
    /// What a reader has to know of places that were not reached; nothing if there are none.
    pub(crate) fn not_destroyed(&self) -> String {
        let line = |place: &Detached| {
            format!("  not destroyed: the table in place {}, detached at {}\n", place.place, place.detached)
        };
        self.places_not_destroyed.iter().map(line).collect()
    }
}

/// What was decided about an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    /// It goes to its readers.
    Approved,
    /// It never does.
    Refused,
}

/// A second person's decision. Readers get this and not the manifest: it names no source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Decision {
    pub(crate) version: u32,
    pub(crate) export: String,
    pub(crate) verdict: Verdict,
    pub(crate) decided: String,
    pub(crate) reason: String,
    pub(crate) manifest_sha256: String,
    pub(crate) maker: String,
    /// The certificate of who decided.
    pub(crate) approver: String,
    pub(crate) released_to: Option<String>,
    /// Readers learn that tokens of the two do not meet.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) replaces: Option<Replaces>,
    pub(crate) terms: Terms,
    pub(crate) records: u64,
    /// Readers learn how many rows are of nobody, so that they know how far their counts are off.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) planted: Option<Planted>,
    /// Readers learn what was made coarser or left out more than the policy says.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) fitted: Option<Fitted>,
    pub(crate) figures: Option<Figures>,
    pub(crate) format: String,
    pub(crate) outputs: Vec<File>,
    pub(crate) documents: Vec<File>,
}

/// That an export is deleted since its day has come, or another stands for it: signed by the service, and all that stays of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Deletion {
    pub(crate) version: u32,
    pub(crate) export: String,
    /// When it began; it is over when nothing but this is left.
    pub(crate) begun: String,
    /// What had been decided, if anything.
    pub(crate) verdict: Option<Verdict>,
    /// Where it had been released to, or was to be.
    pub(crate) released_to: Option<String>,
    pub(crate) manifest_sha256: String,
    /// The export that stands for it, if it was deleted for that.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) replaced_by: Option<String>,
    pub(crate) created: String,
    pub(crate) terms: Terms,
    pub(crate) records: u64,
    /// What is left of who was planted: a leak may come to light later.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) planted: Option<Planted>,
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    /// Fingerprints of its sources: an incremental job does not export them again. No name is kept.
    pub(crate) sources: Vec<String>,
    pub(crate) build: String,
}

impl Fitted {
    /// What was done, a line each.
    pub(crate) fn in_words(&self) -> String {
        let mut text: String = self
            .levels
            .iter()
            .map(|(column, level)| {
                format!("  {column} is at level {level} of its hierarchy, coarser than the policy has it\n")
            })
            .collect();
        if self.records_left_out > 0 {
            text.push_str(&format!("  {} records were too rare and are left out\n", self.records_left_out));
        }
        text
    }
}

impl Decision {
    /// All files that are released.
    pub(crate) fn files(&self) -> impl Iterator<Item = &File> {
        self.outputs.iter().chain(&self.documents)
    }
}

impl Manifest {
    /// All files of the export.
    pub(crate) fn files(&self) -> impl Iterator<Item = &File> {
        self.outputs.iter().chain(&self.documents)
    }
}

/// The version of a body that has, or has not, what only re-keyed exports have, what only those have in which rows may be planted, and
/// what only fitted ones have.
pub(crate) fn version_of<T>(rekeyed: &Option<T>, planted: &Option<Planted>, fitted: &Option<Fitted>) -> u32 {
    match (rekeyed, planted, fitted) {
        (_, _, Some(_)) => VERSION_FITTED,
        (_, Some(_), None) => VERSION_PLANTED,
        (Some(_), None, None) => VERSION_REKEYED,
        (None, None, None) => VERSION,
    }
}

/// Whether an export may be called so: it becomes part of the names of objects.
pub(crate) fn is_export_name(text: &str) -> bool {
    let is_known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    (1..=128).contains(&text.len())
        && text.bytes().all(is_known)
        && text.as_bytes()[0].is_ascii_alphanumeric()
}
