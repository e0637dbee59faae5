//! All runs of a folder, and how their figures go.

use super::report::Measured;
use super::{DrillKind, Verdict};
use crate::ClientError;
use crate::evidence::read;
use serde::{Deserialize, Serialize};
use std::path::Path;
use wire::UnixMillis;

/// Runs that are read, at most, the newest: a drill every day for ten years.
const RUNS_MAX: usize = 3_650;

/// The runs of a folder, oldest first, and the course of each kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct History {
    /// Runs, oldest first.
    pub runs: Vec<HistoryEntry>,
    /// Each kind that was drilled.
    pub trends: Vec<Trend>,
    /// Folders whose report cannot be read.
    pub unreadable: Vec<String>,
}

/// One run, in short. Nothing is verified: `drill verify` does that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Head")]
pub struct HistoryEntry {
    /// Its name.
    pub run: String,
    /// What was drilled.
    pub kind: DrillKind,
    /// When it began.
    pub began_at: UnixMillis,
    /// The recovery time, ms.
    pub rto_ms: Option<u64>,
    /// The recovery point, ms.
    pub rpo_ms: Option<u64>,
    /// Acknowledged probes that were lost.
    pub probes_lost: u64,
    /// How it ended.
    pub verdict: Verdict,
}

/// What is read of a report.
#[derive(Deserialize)]
struct Head {
    run: String,
    kind: DrillKind,
    began_at: UnixMillis,
    measured: Measured,
    verdict: Verdict,
}

impl From<Head> for HistoryEntry {
    fn from(head: Head) -> Self {
        let Head { run, kind, began_at, measured, verdict } = head;
        let Measured { rto_ms, rpo_ms, probes_lost, .. } = measured;
        Self { run, kind, began_at, rto_ms, rpo_ms, probes_lost, verdict }
    }
}

/// How the runs of one kind went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trend {
    /// The kind.
    pub kind: DrillKind,
    /// Runs.
    pub runs: usize,
    /// Of these, passed.
    pub passed: usize,
    /// The middle one of their recovery times, ms.
    pub rto_median_ms: Option<u64>,
    /// The last of their recovery times, ms.
    pub rto_last_ms: Option<u64>,
    /// The longest of their recovery points, ms.
    pub rpo_max_ms: Option<u64>,
}

/// Reads every run of a folder; one that is not there has none.
pub fn history(folder: &Path) -> Result<History, ClientError> {
    let mut names = Vec::new();
    if folder.exists() {
        let entries = std::fs::read_dir(folder).map_err(ClientError::file("listing", folder))?;
        names.extend(entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()));
    }
    // names begin with the time
    names.sort();
    names.drain(..names.len().saturating_sub(RUNS_MAX));
    let (mut runs, mut unreadable) = (Vec::new(), Vec::new());
    for name in names {
        let found = read(&folder.join(&name).join("report.json")).ok();
        match found.and_then(|bytes| serde_json::from_slice::<HistoryEntry>(&bytes).ok()) {
            Some(run) => runs.push(run),
            None => unreadable.push(name),
        }
    }
    let trends = DrillKind::ALL.iter().filter_map(|kind| trend(*kind, &runs)).collect();
    Ok(History { runs, trends, unreadable })
}

fn trend(kind: DrillKind, runs: &[HistoryEntry]) -> Option<Trend> {
    let of: Vec<&HistoryEntry> = runs.iter().filter(|run| run.kind == kind).collect();
    let times: Vec<u64> = of.iter().filter_map(|run| run.rto_ms).collect();
    let mut sorted = times.clone();
    sorted.sort_unstable();
    (!of.is_empty()).then(|| Trend {
        kind,
        runs: of.len(),
        passed: of.iter().filter(|run| run.verdict == Verdict::Passed).count(),
        rto_median_ms: sorted.get(sorted.len() / 2).copied(),
        rto_last_ms: times.last().copied(),
        rpo_max_ms: of.iter().filter_map(|run| run.rpo_ms).max(),
    })
}

#[cfg(test)]
#[path = "history/tests.rs"]
mod tests;
