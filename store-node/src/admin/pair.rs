//! The pair on an operator's behalf: where every group stands, and changing the part of all of them together.

use super::{Admin, Answer, invalid};
use crate::{gateway::Gateway, random, server};
use bytes::Bytes;
use futures_util::{StreamExt, future::join_all, stream::FuturesUnordered};
use replication::{
    message::kind,
    pair::{GroupLag, decode_lags},
    peer::PeerClass,
    region::{Consistency, Region},
};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wire::{
    Command, CommandMeta, Epoch, GroupId, Operation, Outcome, PairRole, PairState, PairStep, PrincipalId,
    Query, RequestId, Sequence, UnixMillis,
    admin::{AdminError, AdminResponse, LeaseReport, PAIR_HEARD_MAX_MS, PairChange, PairGroup, PairReport},
};

/// How long a node may take to say what it knows.
const REPORT_WAIT: Duration = Duration::from_secs(3);

/// How long a group may take to say where it stands or to change it: an election and then some.
const GROUP_WAIT: Duration = Duration::from_secs(5);

/// How often a standby's gateway asks how far it is behind.
const SYNC_LOOK: Duration = Duration::from_secs(1);

/// How long a node may take to say which part its groups play: requests wait for it during a switch.
const LOOK_WAIT: Duration = Duration::from_secs(1);

/// How often a region that is no standby is asked whether it became one.
const ROLE_LOOK: Duration = Duration::from_secs(3);

/// Pause between two looks, however often requests want one.
const LOOK_PAUSE_MIN: Duration = Duration::from_millis(20);

impl Admin {
    /// Keeps `gateway` told how far this region has what its primary acknowledged, until `stop`.
    pub(crate) async fn follow_sync_time(&self, gateway: &Gateway, stop: CancellationToken) {
        loop {
            let look = gateway.begin_look();
            let lags = self.lags(LOOK_WAIT).await;
            let synced = self.synced(&lags);
            gateway.set_sync_time(synced);
            // nodes that say nothing change nothing
            gateway.end_look(&look, (!lags.is_empty()).then(|| role(&lags)));
            let pause = if synced.is_some() { SYNC_LOOK } else { ROLE_LOOK };
            let wanted = async {
                tokio::time::sleep(LOOK_PAUSE_MIN).await;
                gateway.role_is_wanted().await;
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
                () = wanted => {}
            }
        }
    }

    /// Everything acknowledged by then is in every group here; nothing unless all of them are standbys that know it.
    fn synced(&self, lags: &BTreeMap<GroupId, GroupLag>) -> Option<UnixMillis> {
        let standbys = lags.values().filter(|lag| lag.own.role == PairRole::Standby);
        let synced: Option<Vec<UnixMillis>> = standbys.map(|lag| lag.synced).collect();
        synced.filter(|synced| synced.len() as u32 == self.router.groups() + 1)?.into_iter().min()
    }

    /// Where every group stands.
    pub(super) async fn pair_report(&self) -> Answer {
        let states = join_all(self.groups().map(|group| self.pair_state(group))).await;
        self.answer_with(states.into_iter().flatten().collect()).await
    }

    /// Changes every group's part, all at once; says where those stand that answered.
    pub(super) async fn pair_step(&self, change: PairChange, epoch: u64) -> Answer {
        let epoch = Epoch(epoch);
        let steps: Result<Vec<_>, AdminError> = self
            .groups()
            .map(|group| {
                let step = match &change {
                    PairChange::Seal => PairStep::Seal { epoch },
                    PairChange::Unseal => PairStep::Unseal { epoch },
                    PairChange::Promote => PairStep::Promote { epoch },
                    PairChange::Relieve => PairStep::Relieve { epoch },
                    PairChange::Rejoin => PairStep::Rejoin { epoch },
                    PairChange::Follow { since } => {
                        let missing = || invalid("a group is missing in `since`", "name every group");
                        let found = since.iter().find(|(number, _)| *number == group.0);
                        PairStep::Follow { epoch, since: Sequence(found.ok_or_else(missing)?.1) }
                    }
                };
                Ok((group, step))
            })
            .collect();
        let changed = join_all(steps?.into_iter().map(|(group, step)| async move {
            if let PairStep::Rejoin { epoch } = step
                && let Some((group, state)) = self.pair_state(group).await
                && matches!(state.role, PairRole::Standby | PairRole::Bootstrap)
                && state.epoch >= epoch
            {
                // it was let in before; the standby itself begins anew where it must
                return Some((group, state));
            }
            self.change_part(group, step).await
        }))
        .await;
        self.answer_with(changed.into_iter().flatten().collect()).await
    }

    /// Takes a witness's lease for this node and says what the node leads.
    pub(super) async fn lease(&self, epoch: u64, stamp: Option<u64>) -> Answer {
        let Some(node) = self.state.node() else {
            return Err(AdminError::not_available("a lease", "ask storage nodes: gateways lead no groups"));
        };
        let service = node.service();
        // last: groups that are led are counted before the stamp is given
        let led = service.led().await;
        let leases = service.leases();
        Ok(AdminResponse::Lease(LeaseReport {
            region: self.state.region(),
            stamp: leases.map_or(0, |leases| leases.of_witness(Epoch(epoch), stamp)),
            is_needed: leases.is_some(),
            groups_total: self.router.groups() + 1,
            primaries: led.primaries,
            standbys: led.standbys,
            others: led.others,
            epoch: led.epoch.0,
            unheard_ms: led.unheard.map(|unheard| u64::try_from(unheard.as_millis()).unwrap_or(u64::MAX)),
        }))
    }

    fn groups(&self) -> impl Iterator<Item = GroupId> + use<> {
        (0..=self.router.groups()).map(GroupId)
    }

    pub(super) async fn answer_with(&self, states: BTreeMap<GroupId, PairState>) -> Answer {
        let lags = self.lags(REPORT_WAIT).await;
        let groups = states.into_iter().map(|(group, state)| {
            let lag = lags.get(&group);
            PairGroup {
                group: group.0,
                role: state.role,
                epoch: state.epoch.0,
                sequence: state.sequence.0,
                since: state.since.0,
                followed: Some(state.followed.0),
                other_sequence: lag.and_then(|lag| lag.other).map(|other| other.sequence.0),
                other_epoch: lag.and_then(|lag| lag.other).map(|other| other.epoch.0),
                synced: lag.and_then(|lag| lag.synced),
                heard_ms: lag.and_then(|lag| lag.heard_ms),
                gone: lag.is_some_and(|lag| lag.gone),
                shipped: lag.and_then(|lag| lag.unshipped).map(|unshipped| unshipped.after.0),
                unshipped_operations: lag.and_then(|lag| lag.unshipped).map(|unshipped| unshipped.operations),
                unshipped_bytes: lag.and_then(|lag| lag.unshipped).map(|unshipped| unshipped.bytes),
                blocked: lag.and_then(|lag| lag.blocked.clone()),
            }
        });
        Ok(AdminResponse::Pair(PairReport {
            region: self.state.region(),
            now: server::now(),
            groups: groups.collect(),
            groups_total: self.router.groups() + 1,
        }))
    }

    pub(super) async fn pair_state(&self, group: GroupId) -> Option<(GroupId, PairState)> {
        let deadline = Instant::now() + GROUP_WAIT;
        let asked = self.router.query(group, Query::PairState, Consistency::Linearizable, deadline).await;
        match asked.ok()?.0 {
            wire::Answer::PairState(state) => Some((group, state)),
            _ => None,
        }
    }

    /// Where the group stands then, whether it took the change or not; nothing when it did not answer in time.
    pub(super) async fn change_part(&self, group: GroupId, step: PairStep) -> Option<(GroupId, PairState)> {
        let meta = CommandMeta {
            epoch: self.router.epoch(),
            time: server::now(),
            principal: PrincipalId(0),
            request: RequestId(random::id()),
        };
        let command = Command { meta, operation: Operation::PairStep(step), body: Bytes::new() };
        let outcome = self.router.propose(group, command, Instant::now() + GROUP_WAIT).await.ok()?;
        match outcome {
            Outcome::Pair(state) => Some((group, state)),
            _ => self.pair_state(group).await,
        }
    }

    /// Whether every group's leader has said all that it can know.
    fn is_whole(&self, lags: &BTreeMap<GroupId, GroupLag>) -> bool {
        let says_all = |lag: &GroupLag| lag.own.role != PairRole::Standby || lag.synced.is_some();
        lags.len() as u32 == self.router.groups() + 1 && lags.values().all(says_all)
    }

    /// What the groups' leaders know of the other region.
    pub(super) async fn lags(&self, wait: Duration) -> BTreeMap<GroupId, GroupLag> {
        let mut reports: FuturesUnordered<_> = self
            .nodes()
            .into_keys()
            .map(|node| async move {
                let called = self.state.peers.call(
                    node,
                    PeerClass::Bulk,
                    kind::PAIR_REPORT,
                    Bytes::new(),
                    Vec::new(),
                    wait,
                );
                decode_lags(called.await.ok()?.head).ok()
            })
            .collect();
        let (mut lags, mut thens) = (BTreeMap::new(), Vec::new());
        while let Some(report) = reports.next().await {
            let Some((led, then)) = report else { continue };
            for lag in led {
                // one that was relieved a moment ago may still say that it leads
                if lags.get(&lag.group).is_none_or(|known: &GroupLag| known.own.epoch <= lag.own.epoch) {
                    lags.insert(lag.group, lag);
                }
            }
            thens.extend(then);
            if self.is_whole(&lags) {
                // a node that is halted is not waited for
                break;
            }
        }
        // who led a group before under the same epoch may know what its new leader does not
        for then in thens {
            if let Some(lag) = lags.get_mut(&then.group)
                && (lag.own.role, lag.own.epoch) == (PairRole::Standby, then.epoch)
            {
                lag.synced = lag.synced.max(Some(then.synced));
            }
        }
        lags
    }
}

/// What is not in order with the pair, as far as this region knows, which plays the part `role` and whose gateway is `up` for so long.
pub(super) fn trouble(role: PairRole, lags: &BTreeMap<GroupId, GroupLag>, up: Duration) -> Option<String> {
    match role {
        PairRole::Primary => lags.values().find_map(|lag| lag.blocked.clone()),
        PairRole::Sealed => {
            let is_relieved = |lag: &GroupLag| lag.other.is_some_and(|other| other.epoch > lag.own.epoch);
            let relieved = "the other region takes the writes, and this one does not follow it yet";
            let begun = "it was sealed for a switch that has not ended";
            Some(if lags.values().any(is_relieved) { relieved } else { begun }.to_owned())
        }
        PairRole::Standby => {
            let follow = || lags.values().filter(|lag| lag.own.role == PairRole::Standby);
            let is_sealed = |other: PairState| other.role == PairRole::Sealed;
            if follow().any(|lag| lag.other.is_some_and(is_sealed)) {
                let sealed = "its primary was sealed for a switch that has not ended: nobody takes writes";
                return Some(sealed.to_owned());
            }
            // a group whose leader is new has not heard of it yet; the others tell
            let silent_ms = follow().filter_map(|lag| lag.heard_ms).max();
            match silent_ms {
                Some(ms) if ms > PAIR_HEARD_MAX_MS => {
                    Some(format!("its primary was not heard of for {} s", ms / 1000))
                }
                Some(_) => None,
                // what takes the state over forgets with each try when it heard of whom
                None if follow().next().is_none() || up < Duration::from_millis(PAIR_HEARD_MAX_MS) => None,
                None => Some("its primary was not heard of since this region started".to_owned()),
            }
        }
        PairRole::Bootstrap => None,
    }
}

/// The part that the region plays: it takes writes when all groups do, and has all that was acknowledged when none is behind.
pub(super) fn role(lags: &BTreeMap<GroupId, GroupLag>) -> PairRole {
    let any = |role| lags.values().any(|lag| lag.own.role == role);
    if any(PairRole::Standby) || any(PairRole::Bootstrap) {
        PairRole::Standby
    } else if any(PairRole::Sealed) {
        PairRole::Sealed
    } else {
        PairRole::Primary
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lag(role: PairRole, epoch: u64, other: Option<(PairRole, u64)>, heard_ms: Option<u64>) -> GroupLag {
        let state = |role, epoch| PairState { role, epoch: Epoch(epoch), ..PairState::default() };
        GroupLag {
            group: GroupId(0),
            own: state(role, epoch),
            other: other.map(|(role, epoch)| state(role, epoch)),
            synced: None,
            heard_ms,
            gone: false,
            unshipped: None,
            blocked: None,
        }
    }

    #[test]
    fn a_pair_that_takes_no_writes_or_is_not_heard_of_is_in_trouble_and_no_other() {
        use PairRole::{Bootstrap, Primary, Sealed, Standby};
        let long = Duration::from_secs(3_600);
        let of = |lags: Vec<GroupLag>, up| {
            let lags = (0..).map(GroupId).zip(lags).collect();
            trouble(role(&lags), &lags, up)
        };
        let follows = |heard_ms| lag(Standby, 3, Some((Primary, 3)), heard_ms);
        assert_eq!(of(vec![], long), None);
        assert_eq!(of(vec![lag(Primary, 3, None, None)], long), None);
        assert_eq!(of(vec![follows(Some(5)), follows(None)], long), None, "its leader is new");
        assert_eq!(of(vec![lag(Bootstrap, 3, None, None)], long), None, "it forgets with each try");
        assert!(of(vec![follows(Some(5)), follows(Some(60_000))], long).unwrap().contains("for 60 s"));
        assert!(of(vec![follows(None), follows(None)], long).unwrap().contains("since this region started"));
        assert_eq!(of(vec![follows(None)], Duration::from_secs(1)), None, "it has just started");
        let cut_off = GroupLag { blocked: Some("why".to_owned()), ..lag(Primary, 3, None, None) };
        assert_eq!(of(vec![lag(Primary, 3, None, None), cut_off], long), Some("why".to_owned()));
        let sealed = of(vec![lag(Sealed, 3, Some((Standby, 3)), None)], long).unwrap();
        assert!(sealed.contains("has not ended"), "{sealed}");
        let relieved = of(vec![lag(Sealed, 3, Some((Primary, 4)), None)], long).unwrap();
        assert!(relieved.contains("the other region takes the writes"), "{relieved}");
        let waits = of(vec![lag(Standby, 3, Some((Sealed, 3)), Some(5))], long).unwrap();
        assert!(waits.contains("its primary was sealed"), "{waits}");
    }
}
