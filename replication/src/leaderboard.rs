//! Who leads which group, as this node's replicas know it; wakes those who wait for a change.

use crate::message::Leadership;
use std::{collections::BTreeMap, sync::Mutex, time::Duration};
use tokio::{sync::watch, time::timeout};
use wire::GroupId;

/// This node's view of leaders, with a version that grows at each change.
pub(crate) struct Leaderboard {
    rows: Mutex<BTreeMap<GroupId, Leadership>>,
    version: watch::Sender<u64>,
}

impl Leaderboard {
    pub(crate) fn new() -> Self {
        // 1: a poll that has seen nothing (0) is answered at once
        Self { rows: Mutex::default(), version: watch::channel(1).0 }
    }

    /// Notes what a replica knows now.
    pub(crate) fn note(&self, leadership: Leadership) {
        let previous =
            self.rows.lock().expect("no holder of this lock panics").insert(leadership.group, leadership);
        if previous != Some(leadership) {
            self.version.send_modify(|version| *version += 1);
        }
    }

    /// Forgets a group that has no replica here any more.
    pub(crate) fn forget(&self, group: GroupId) {
        if self.rows.lock().expect("no holder of this lock panics").remove(&group).is_some() {
            self.version.send_modify(|version| *version += 1);
        }
    }

    /// All rows and their version.
    pub(crate) fn rows(&self) -> (u64, Vec<Leadership>) {
        // the version first: a change in between is then told again, never missed
        let version = *self.version.borrow();
        let rows = self.rows.lock().expect("no holder of this lock panics").values().copied().collect();
        (version, rows)
    }

    /// Waits until the version differs from `seen`, or `wait` has passed.
    pub(crate) async fn changed_since(&self, seen: u64, wait: Duration) {
        let mut version = self.version.subscribe();
        // on time-out the rows are told as they are
        let _changed_or_time_passed =
            timeout(wait, version.wait_for(|version| *version != seen)).await.is_ok();
    }
}
