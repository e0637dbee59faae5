//! One pulse for all groups that this node leads.
//!
//! openraft would let each group beat in a phase of its own, and every beat would travel alone. Beating together lets
//! those to one node ride in one frame (`raft/heartbeat.rs`), so what an idle node costs follows its peers, not its groups.

use crate::service::Service;
use std::{sync::Arc, time::Duration};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// Beats every `period` until `stop`.
pub(crate) async fn run(service: Arc<Service>, period: Duration, stop: CancellationToken) {
    let mut pulse = interval(period);
    pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = pulse.tick() => {}
        }
        for replica in service.replicas() {
            if replica.leads() {
                // a Raft that ended has nobody left to keep quiet
                let _ended = replica.raft.trigger().heartbeat().await.is_err();
            }
        }
    }
}
