//! How a node's engine is set up: timings and limits, each with its reason.

use openraft::SnapshotPolicy;
use wire::GroupId;

/// Raft's clocks. All replicas of a region use the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RaftTimings {
    /// A leader tells its followers so often that it lives, ms.
    pub heartbeat_ms: u64,
    /// A follower waits at least this long beyond the leader's lease before it stands for election, ms.
    pub election_min_ms: u64,
    /// The leader's lease, and the longest wait beyond it, ms.
    pub election_max_ms: u64,
}

impl Default for RaftTimings {
    /// 40/100/200 ms: a dead leader is replaced in 300 to 400 ms; on two busy cores a heartbeat is never four late.
    fn default() -> Self {
        Self { heartbeat_ms: 40, election_min_ms: 100, election_max_ms: 200 }
    }
}

impl RaftTimings {
    /// openraft's settings for `group`.
    pub(crate) fn to_config(self, group: GroupId) -> Result<openraft::Config, String> {
        let config = openraft::Config {
            cluster_name: format!("group-{group}"),
            heartbeat_interval: self.heartbeat_ms,
            election_timeout_min: self.election_min_ms,
            election_timeout_max: self.election_max_ms,
            enable_pre_vote: Some(true),
            enable_leader_restore: Some(false),
            // all groups beat together: `pulse`
            enable_heartbeat: false,
            max_payload_entries: 256,
            max_append_entries: Some(256),
            // snapshots and purging are driven by maintenance, which knows what followers still need
            snapshot_policy: SnapshotPolicy::Never,
            max_in_snapshot_log_to_keep: u64::MAX,
            purge_batch_size: 1,
            // ten minutes: moving a group's bodies over a slow link
            install_snapshot_timeout: 600_000,
            // a replica that comes back is served again within half a second
            backoff: "20ms 40ms 80ms ..500ms".to_owned(),
            ..openraft::Config::default()
        };
        config.validate().map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_timings_are_usable() {
        RaftTimings::default().to_config(GroupId(1)).unwrap();
    }
}
