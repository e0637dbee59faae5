//! Starting the replicas of groups whose log recovery found something wrong with.
//!
//! A rotten entry is fetched from another replica as soon as Raft reads it; while no peer has a good copy to give, the
//! replica waits beside the others and is tried again. A log that lost records is not used at all: starting it could
//! forget a vote, or an entry that was acknowledged.

use super::{Node, ReplicaError};
use std::{sync::Arc, time::Duration};
use tracing::{error, info};
use wire::GroupId;

/// Pause before a replica that did not start is tried again. 5 s: peers start, or come back, in about that time.
const RETRY: Duration = Duration::from_secs(5);

impl Node {
    /// Opens a replica; one whose Raft does not start is tried again in the background, a damaged one is left alone.
    pub(super) async fn open_or_retry(&self, group: GroupId, founding: bool) -> Result<(), ReplicaError> {
        if self.damaged.contains(&group) {
            // what it holds stays, and other replicas may still repair theirs from it
            self.shared.state(group).await?;
            error!(
                %group,
                node = %self.options.node,
                "the log of this replica lost records, it is not started: replace the node's disk with `twinkeep node replace`"
            );
            return Ok(());
        }
        match self.open_replica(group, founding).await {
            Err(ReplicaError::Raft { reason, .. }) => {
                error!(%group, reason, "replica did not start, will be tried again");
                self.retry(group);
                Ok(())
            }
            other => other,
        }
    }

    fn retry(&self, group: GroupId) {
        let (service, stop) = (Arc::clone(&self.service), self.shared.stop.clone());
        let again = async move {
            loop {
                tokio::time::sleep(RETRY).await;
                match service.open_replica(group).await {
                    Ok(_) => {
                        info!(%group, "replica started after all");
                        return;
                    }
                    Err(error) => {
                        error!(%group, error = &error as &dyn std::error::Error, "replica does not start");
                    }
                }
            }
        };
        self.shared.tracker.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = again => {}
            }
        });
    }
}
