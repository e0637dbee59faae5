//! What a witness is at, in a file that it writes and others read.

use super::{Mode, Relief, Standing, WitnessFolder};
use crate::clock::system_now;
use crate::{ClientError, files};
use serde::{Deserialize, Serialize};
use std::fs::OpenOptions;
use wire::UnixMillis;

/// Three times as long as lies between two statuses of one that runs.
const SILENT_MIN_MS: u64 = 15_000;

/// What a witness is at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WitnessStatus {
    /// Version of this object.
    pub schema_version: u32,
    /// Whether it runs; said by who reads this.
    pub is_running: bool,
    /// Its pid.
    pub pid: u32,
    /// What it may do by itself.
    pub mode: Mode,
    /// What it is at.
    pub state: Standing,
    /// Since when.
    pub since: UnixMillis,
    /// Why, or why nothing is done though a region is gone.
    pub reason: Option<String>,
    /// The newest epoch known.
    pub epoch: u64,
    /// The switch that was begun and is not over.
    pub relief: Option<Relief>,
    /// Both regions, in the order in which the witness was made.
    pub regions: Vec<RegionStatus>,
    /// When this was written.
    pub updated_at: UnixMillis,
}

/// One region as its witness sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegionStatus {
    /// Its name.
    pub region: String,
    /// `primary`, `standby`, `mixed`, or `unheard` when not every group is spoken for; `relieved` of one under an older epoch that does
    /// not follow yet.
    pub role: String,
    /// Its storage nodes.
    pub nodes: usize,
    /// Those that answered a moment ago.
    pub answered: usize,
    /// The newest epoch that they said.
    pub epoch: u64,
    /// Leases given since the witness began.
    pub leases: u64,
}

/// Reads what the witness in `folder` is at; what it said last when it does not run.
pub fn status(folder: &WitnessFolder) -> Result<WitnessStatus, ClientError> {
    let path = folder.status();
    if !path.exists() {
        let problem = format!("no witness ever ran in {}", folder.root().display());
        return Err(ClientError::state(problem, "run it with `twinkeep witness run DIR`"));
    }
    let mut status: WitnessStatus = serde_json::from_str(&files::read(&path)?)
        .map_err(|error| ClientError::Content { path: path.clone(), problem: error.to_string() })?;
    let lock = OpenOptions::new().read(true).open(folder.lock());
    status.is_running = lock.is_ok_and(|file| file.try_lock_shared().is_err());
    Ok(status)
}

impl WitnessStatus {
    /// Whether nothing changed but counts and times.
    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        let regions = |status: &Self| -> Vec<(String, usize, u64)> {
            let region = |region: &RegionStatus| (region.role.clone(), region.answered, region.epoch);
            status.regions.iter().map(region).collect()
        };
        let rest = |status: &Self| (status.state, status.reason.clone(), status.epoch, status.relief.clone());
        rest(self) == rest(other) && regions(self) == regions(other)
    }

    /// For how long it has written nothing, ms, when that is longer than it ever takes: it is halted, or its disk does not answer.
    pub fn silent_ms(&self) -> Option<u64> {
        Some(system_now().0.saturating_sub(self.updated_at.0)).filter(|ms| *ms > SILENT_MIN_MS)
    }

    /// For how long it is as it is, ms.
    pub fn lasts_ms(&self) -> u64 {
        system_now().0.saturating_sub(self.since.0)
    }
}
