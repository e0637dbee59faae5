//! Background work of a node: purges what every replica of a group has, so that start-up reads little and segments can
//! be freed.

use crate::{replica::Replica, service::Service};
use openraft::async_runtime::watch::WatchReceiver;
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// How often each group is looked at.
const INTERVAL: Duration = Duration::from_secs(5);

/// Entries kept beyond what every replica has: a follower that was away for a moment finds them without a snapshot.
const KEEP_ENTRIES: u64 = 1_024;

/// Entries that are kept for a follower that is away; past it, it gets a snapshot.
const KEEP_FOR_ABSENT_ENTRIES: u64 = 100_000;

/// Purging is worth an index flush from this many entries on.
const PURGE_ENTRIES_MIN: u64 = 1_024;

/// How often the disk's room is looked at: at 1 GB/s a quarter of a second fills a few segments, which the reserve holds.
const DISK_INTERVAL: Duration = Duration::from_millis(250);

/// Runs until `stop`.
pub(crate) async fn run(service: Arc<Service>, stop: CancellationToken) {
    let mut rounds = 0_u32;
    let rounds_per_interval = u32::try_from(INTERVAL.as_millis() / DISK_INTERVAL.as_millis()).unwrap_or(1);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(DISK_INTERVAL) => {}
        }
        service.look_at_disk();
        rounds += 1;
        if rounds.is_multiple_of(rounds_per_interval) {
            service.expire_transfers();
            for replica in service.replicas() {
                purge(&replica).await;
            }
        }
    }
}

/// Purges the part of a group's log that nobody needs from this replica any more.
async fn purge(replica: &Replica) {
    let group = replica.address.group;
    let Some(upto) = purgeable(replica) else { return };
    if let Err(error) = replica.raft.trigger().snapshot().await {
        warn!(%group, %error, "index flush for purging was refused");
        return;
    }
    // the snapshot is made by the state machine's own task: purge what the last one covers
    let covered = replica.raft.data_metrics().borrow_watched().snapshot.map_or(0, |id| id.index);
    if covered == 0 {
        return;
    }
    if let Err(error) = replica.raft.trigger().purge_log(upto.min(covered)).await {
        warn!(%group, %error, "purge was refused");
    }
}

fn purgeable(replica: &Replica) -> Option<u64> {
    let metrics = replica.raft.metrics();
    let metrics = metrics.borrow_watched();
    let applied = metrics.last_applied?.index;
    let first = metrics.purged.map_or(0, |id| id.index);
    let needed = match &metrics.replication {
        // only the leader knows how far the others are
        Some(progress) => {
            let slowest =
                progress.values().map(|matched| matched.map_or(0, |id| id.index)).min().unwrap_or(applied);
            slowest.max(applied.saturating_sub(KEEP_FOR_ABSENT_ENTRIES))
        }
        None => applied,
    };
    let upto = needed.min(applied).saturating_sub(KEEP_ENTRIES);
    (upto > first + PURGE_ENTRIES_MIN).then_some(upto)
}
