//! One pulse for all groups of this node.
//!
//! openraft would let each group beat in a phase of its own, and every beat would travel alone. Beating together lets
//! those to one node ride in one frame (`raft/heartbeat.rs`), so what an idle node costs follows its peers, not its groups.
//!
//! The election clock of a replica is openraft's too, one timer per group. It stands while it could not bring about
//! anything: while the replica leads, and while its leader beats. It runs again at most two periods after the last beat, long
//! before an election is due.

use crate::service::Service;
use std::{sync::Arc, time::Duration};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// Beats every `period` until `stop`.
pub(crate) async fn run(service: Arc<Service>, period: Duration, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        // side by side: a Raft that does not take its beat must not keep the others' clocks from running
        _ = async { tokio::join!(beat(&service, every(period)), settle_clocks(&service, every(period))) } => {}
    }
}

fn every(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

async fn beat(service: &Service, mut pulse: Interval) {
    loop {
        pulse.tick().await;
        for replica in service.replicas() {
            if replica.leads() {
                // a Raft that ended has nobody left to keep quiet
                let _ended = replica.raft.trigger().heartbeat().await.is_err();
            }
        }
    }
}

async fn settle_clocks(service: &Service, mut pulse: Interval) {
    loop {
        pulse.tick().await;
        for replica in service.replicas() {
            replica.settle_clock();
        }
    }
}
