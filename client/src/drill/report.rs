//! What a run leaves behind: everything that was looked at, done, measured and judged, as one object.
//!
//! Times are the clock's of the machine that ran the drill, unless a field says otherwise.

use super::DrillKind;
use super::readiness::Readiness;
use crate::compare::ComparedBucket;
use crate::failover::LossManifest;
use serde::{Deserialize, Serialize};
use wire::UnixMillis;
use wire::admin::PairReport;

/// Version of the report; fields may be added under one version, never change meaning.
pub const REPORT_VERSION: u32 = 1;

/// One run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrillReport {
    /// Version of this object.
    pub schema_version: u32,
    /// The run: the name of its folder.
    pub run: String,
    /// What was drilled.
    pub kind: DrillKind,
    /// The deployment.
    pub deployment: String,
    /// The environment.
    pub environment: String,
    /// Which regions took part, the one that took writes first.
    pub regions: Vec<String>,
    /// Under whose identity.
    pub operator: String,
    /// The release of the command line.
    pub release: String,
    /// The first step.
    pub began_at: UnixMillis,
    /// The end.
    pub ended_at: UnixMillis,
    /// What the run is held against.
    pub limits: Limits,
    /// What was looked at before.
    pub readiness: Readiness,
    /// What was done, step by step.
    pub timeline: Vec<Step>,
    /// The figures.
    pub measured: Measured,
    /// Every probe that was begun.
    pub probes: Vec<Probe>,
    /// Of a forced drill: what the old primary acknowledged alone, of everybody.
    pub losses: Option<LossManifest>,
    /// Of a switch to and fro: the probes in both regions at its end, by what is in their rows, with the Merkle roots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compared: Option<ComparedBucket>,
    /// Where every group of each region stood before.
    pub before: Vec<PairReport>,
    /// Where every group of each region stood at the end.
    pub after: Vec<PairReport>,
    /// What was undone after a step had failed.
    pub undone: Vec<String>,
    /// What is left to a person.
    pub left_to_do: Vec<String>,
    /// How it ended.
    pub verdict: Verdict,
    /// Why it did not pass; empty when it did.
    pub reasons: Vec<String>,
    /// What the command ended with.
    pub exit_code: u8,
}

/// What a run is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// The longest time without an acknowledged write, ms.
    pub rto_max_ms: u64,
    /// The longest stretch of acknowledged writes that may be missing, ms; 0: none may.
    pub rpo_max_ms: u64,
    /// How far the standby may be behind before the start, ms.
    pub lag_max_ms: u64,
    /// For how many days every certificate must last.
    pub certificate_days_min: u64,
    /// How long the run may take before it is given up and undone, s.
    pub timeout_s: u64,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What was done.
    pub name: String,
    /// When it began.
    pub began_at: UnixMillis,
    /// How long it took, ms.
    pub took_ms: u64,
    /// What went wrong, if something did.
    pub error: Option<String>,
    /// What each region's own clock said right after.
    pub region_times: Vec<RegionTime>,
    /// What came out.
    pub detail: serde_json::Value,
}

/// A region's clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegionTime {
    /// The region.
    pub region: String,
    /// Its clock; none when it did not answer.
    pub now: Option<UnixMillis>,
}

/// The figures of a run. Those that could not be measured are absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    /// The recovery time: the longest time without an acknowledged write, or from a forced switch to the first one after, ms.
    pub rto_ms: Option<u64>,
    /// The recovery point: over how long acknowledged probes are missing, ms; 0 when none is.
    pub rpo_ms: Option<u64>,
    /// The longest time without an acknowledged write, ms.
    pub longest_pause_ms: Option<u64>,
    /// From a forced switch, or a kill, to the first acknowledged write after it in the region that was to take it, ms.
    pub first_write_ms: Option<u64>,
    /// Of a restore: from the kill of the node until every copy of everything was there again, ms.
    pub restored_ms: Option<u64>,
    /// For how long neither region took writes, by the planned switches themselves, ms.
    pub switch_paused_ms: Vec<u64>,
    /// What a forced switch named: everything acknowledged by then, by the old primary's clock, is in the new one.
    pub recovery_point: Option<UnixMillis>,
    /// Probes begun.
    pub probes_begun: u64,
    /// Probes acknowledged.
    pub probes_acknowledged: u64,
    /// Attempts that were not acknowledged: refused by a region that takes no writes, or without an answer.
    pub attempts_refused: u64,
    /// Probes acknowledged and gone.
    pub probes_lost: u64,
    /// The slowest acknowledged write, ms.
    pub slowest_write_ms: Option<u64>,
}

/// One probe: a small object, written until it is acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Its number among those of its region: the key is `RUN/ID` in the drill's bucket.
    pub id: String,
    /// The region whose endpoint it was written through.
    pub region: String,
    /// How often it was tried.
    pub attempts: u64,
    /// When the last try began.
    pub sent_at: UnixMillis,
    /// When it was acknowledged; none if it never was.
    pub acknowledged_at: Option<UnixMillis>,
    /// When it was read back first from a region that had taken over.
    pub read_at: Option<UnixMillis>,
    /// It was acknowledged, and is not there or not the same.
    pub lost: bool,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Within every limit, and all is as it was.
    Passed,
    /// Carried out, and a limit was not kept.
    Failed,
    /// Given up on the way.
    Aborted,
    /// Not begun: something was not ready.
    NotReady,
}

impl Verdict {
    /// What the command ends with.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Passed => 0,
            Self::NotReady => 6,
            Self::Failed => 7,
            Self::Aborted => 8,
        }
    }

    /// As a table has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Aborted => "aborted",
            Self::NotReady => "not ready",
        }
    }
}
