//! Making groups of the standby equal again: each gives its state up for its primary's, by the way that a standby takes that
//! the primary's log no longer reaches. What both have alike is not sent. The primary is asked for its rows and not changed.
//!
//! One group after another: until it has all of it, a group answers no reads and cannot be promoted.

use super::report::RepairedGroup;
use crate::ClientError;
use crate::failover::Side;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use wire::PairRole;
use wire::admin::{AdminRequest, AdminResponse, PairGroup};

/// How long one group may take. An hour: some hundred GiB over a link of 1 GBit/s.
const GROUP_WAIT: Duration = Duration::from_secs(3_600);

/// Pause between two looks at it.
const LOOK: Duration = Duration::from_millis(200);

/// Lets the groups take over their primaries' state, one after another, and ends with the first that fails.
pub(super) fn carry_out(
    standby: &Side,
    groups: &BTreeSet<u32>,
    stop: &AtomicBool,
    say: &dyn Fn(&str),
) -> Vec<RepairedGroup> {
    let mut repaired = Vec::new();
    for group in groups {
        say(&format!("group {group} of {} takes over its primary's state", standby.region));
        let began = Instant::now();
        let outcome = repair(standby, *group, stop);
        let took_ms = u64::try_from(began.elapsed().as_millis()).ok().filter(|_| outcome.is_ok());
        let error = outcome.err().map(|error| error.to_string());
        let failed = error.is_some();
        repaired.push(RepairedGroup { group: *group, took_ms, error });
        if failed {
            break;
        }
    }
    repaired
}

fn repair(standby: &Side, group: u32, stop: &AtomicBool) -> Result<(), ClientError> {
    let before = look(standby, group)?;
    if before.role != PairRole::Standby {
        let problem = format!("group {group} of {} is no standby: nothing was changed", standby.region);
        return Err(ClientError::state(problem, "`twinkeep lag` shows the parts of both regions"));
    }
    match standby.client().ask(&AdminRequest::PairResync { group, epoch: before.epoch })? {
        AdminResponse::Pair(_) => {}
        other => return Err(standby.client().unexpected(&other)),
    }
    let deadline = Instant::now() + GROUP_WAIT;
    loop {
        // one that has no leader just now has one again soon
        if look(standby, group).is_ok_and(|now| now.role == PairRole::Standby && now.synced.is_some()) {
            return Ok(());
        }
        if stop.load(Ordering::Relaxed) || Instant::now() > deadline {
            let problem = format!("group {group} of {} has not taken over the state yet", standby.region);
            return Err(ClientError::state(
                problem,
                "it goes on by itself; `twinkeep lag` shows when it is done",
            ));
        }
        std::thread::sleep(LOOK);
    }
}

fn look(standby: &Side, group: u32) -> Result<PairGroup, ClientError> {
    let found = standby.report()?.groups.into_iter().find(|found| found.group == group);
    found.ok_or_else(|| {
        let problem = format!("group {group} of {} does not answer", standby.region);
        ClientError::state(problem, "`twinkeep status` shows whether it has a leader")
    })
}
