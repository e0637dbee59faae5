//! Letting the other region of a pair take the writes: planned, with nothing lost, or by force, from one region alone.
//!
//! ```text
//! planned    seal the primary's groups -> wait until the standby has their last entries -> promote -> follow
//! by force   promote the standby's groups at what they have; the old primary is fenced when it is heard of again
//! ```
//!
//! Every step can be repeated: where each group stands is in its own log, so an interrupted switch is finished by asking
//! for the same again.

mod buckets;
mod rejoin;

pub use buckets::{BucketLag, BucketLags, bucket_lags};
pub(crate) use rejoin::Divergence;
pub use rejoin::{LossManifest, RejoinReport, manifest, rejoin};

use crate::ClientError;
use crate::admin::AdminClient;
use crate::deployment::Deployment;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use wire::admin::{AdminRequest, AdminResponse, PAIR_ROLE_FRESH, PairChange, PairGroup, PairReport};
use wire::{PairRole, UnixMillis};

/// How long the standby may take to apply what the sealed primary still had for it.
const DRAIN_WAIT: Duration = Duration::from_secs(20);

/// Pause between two looks at the standby.
const LOOK: Duration = Duration::from_millis(10);

/// A standby that has not heard of its primary for so long is no place to switch to, ms.
const HEARD_MAX_MS: u64 = 10_000;

/// How often a change is tried when not every group answers: elections come and go.
const TRIES: u32 = 5;

/// One region of a pair, as the command line reaches it.
pub struct Side {
    /// Its name.
    pub region: String,
    client: AdminClient,
}

/// What a switch did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailoverReport {
    /// The region that took writes before.
    pub from: String,
    /// The region that takes them now.
    pub to: String,
    /// Whether nothing can be lost: both regions took part.
    pub planned: bool,
    /// The epoch that began.
    pub epoch: u64,
    /// For how long neither region took writes, ms; only known of a planned switch.
    pub writes_paused_ms: Option<u64>,
    /// From the first step to the last, ms.
    pub took_ms: u64,
    /// By force: everything acknowledged by this time is in the new primary; none if that was never known.
    pub recovery_point: Option<UnixMillis>,
}

/// How far a standby is behind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LagReport {
    /// What each region that answered says of itself.
    pub regions: Vec<PairReport>,
    /// Regions that do not answer.
    pub unreachable: Vec<String>,
    /// The region that takes writes, if it is one.
    pub primary: Option<String>,
    /// The standby, if one answered.
    pub standby: Option<String>,
    /// Everything acknowledged by this time is in the standby, in every group: its last sync time.
    pub last_sync_time: Option<UnixMillis>,
    /// The primary's clock less that, ms.
    pub lag_ms: Option<u64>,
    /// Commands that the primary has and the standby, when it asked last, did not.
    pub lag_operations: Option<u64>,
    /// Their size, bytes.
    pub lag_bytes: Option<u64>,
    /// Groups of the standby that do not go on, and why.
    pub blocked: Vec<BlockedGroup>,
    /// Bucket by bucket, when that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub buckets: Option<BucketLags>,
    /// `Live`, `Bootstrap`, `Resync`, `Fenced` or `Unavailable`.
    pub state: &'static str,
}

/// A group of the standby into which the next entry does not come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BlockedGroup {
    /// Its number.
    pub group: u32,
    /// The last entry that it has.
    pub after: u64,
    /// Why not.
    pub reason: String,
}

impl Side {
    /// The region of `deployment`.
    pub fn new(deployment: &Deployment) -> Result<Self, ClientError> {
        Ok(Self { region: deployment.descriptor.region.clone(), client: AdminClient::new(deployment)? })
    }

    /// Where its groups stand.
    pub fn report(&self) -> Result<PairReport, ClientError> {
        self.ask(&AdminRequest::PairReport)
    }

    /// How it is asked anything else.
    pub(crate) fn client(&self) -> &AdminClient {
        &self.client
    }

    fn ask(&self, request: &AdminRequest) -> Result<PairReport, ClientError> {
        match self.client.ask(request)? {
            AdminResponse::Pair(report) => Ok(report),
            other => Err(self.client.unexpected(&other)),
        }
    }

    /// Changes every group's part until all of them are as `done` wants.
    fn change(
        &self,
        step: PairChange,
        epoch: u64,
        done: impl Fn(&PairGroup) -> bool,
    ) -> Result<PairReport, ClientError> {
        let mut tries = 0;
        loop {
            let report = self.ask(&AdminRequest::PairStep { step: step.clone(), epoch })?;
            let missing =
                report.groups_total as usize - report.groups.iter().filter(|group| done(group)).count();
            if missing == 0 {
                return Ok(report);
            }
            tries += 1;
            if tries == TRIES {
                let problem = format!("{missing} groups of {} are not as they should be", self.region);
                return Err(ClientError::state(
                    problem,
                    "`twinkeep lag` says where every group stands; ask again",
                ));
            }
        }
    }
}

/// How far the pair is apart, from whichever regions answer.
pub fn lag(sides: &[Side]) -> LagReport {
    let (mut regions, mut unreachable) = (Vec::new(), Vec::new());
    for side in sides {
        match side.report() {
            Ok(report) => regions.push(report),
            Err(_) => unreachable.push(side.region.clone()),
        }
    }
    let with =
        |role: PairRole| regions.iter().find(|report| report.groups.iter().any(|group| group.role == role));
    // one that was relieved by force says that it is the primary until it hears of the newer reign
    let reign = |report: &&PairReport| {
        let led = report.groups.iter().filter(|group| group.role == PairRole::Primary);
        led.map(|group| group.epoch).max()
    };
    let primary = regions.iter().filter(|report| reign(report).is_some()).max_by_key(reign);
    let standby = with(PairRole::Standby).or_else(|| with(PairRole::Bootstrap));
    let whole = standby.filter(|standby| standby.groups.len() == standby.groups_total as usize);
    let last_sync_time = whole.and_then(recovery_point);
    // by the clock of the primary, since that is the one the sync time was read from
    let now = primary.or(standby).map(|report| report.now);
    let state = match standby {
        Some(standby) if standby.groups.iter().any(|group| group.role == PairRole::Bootstrap) => "Bootstrap",
        Some(standby) if standby.groups.iter().any(|group| group.gone) => "Resync",
        Some(standby)
            if standby.groups.iter().any(|group| group.heard_ms.is_none_or(|ms| ms > HEARD_MAX_MS)) =>
        {
            "Unavailable"
        }
        Some(_) if last_sync_time.is_none() => "Bootstrap",
        Some(_) => "Live",
        None if with(PairRole::Sealed).is_some() => "Fenced",
        None => "Unavailable",
    };
    LagReport {
        primary: primary.map(|report| report.region.clone()),
        standby: standby.map(|report| report.region.clone()),
        last_sync_time,
        lag_operations: primary.and_then(|report| total(report, |group| group.unshipped_operations)),
        lag_bytes: primary.and_then(|report| total(report, |group| group.unshipped_bytes)),
        blocked: standby.map(blocked).unwrap_or_default(),
        buckets: None,
        lag_ms: last_sync_time.zip(now).map(|(synced, now)| now.0.saturating_sub(synced.0)),
        state,
        regions,
        unreachable,
    }
}

/// Over all groups; nothing when it is not known of one.
fn total(report: &PairReport, of: impl Fn(&PairGroup) -> Option<u64>) -> Option<u64> {
    let whole = report.groups.len() == report.groups_total as usize;
    whole.then(|| report.groups.iter().map(of).sum())?
}

fn blocked(standby: &PairReport) -> Vec<BlockedGroup> {
    let of = |group: &PairGroup| {
        let reason = group.blocked.clone()?;
        Some(BlockedGroup { group: group.group, after: group.sequence, reason })
    };
    standby.groups.iter().filter_map(of).collect()
}

fn recovery_point(report: &PairReport) -> Option<UnixMillis> {
    let synced = report.groups.iter().map(|group| group.synced);
    synced.min().flatten()
}

/// Lets `to` take the writes of `from` without losing any.
pub fn planned(from: &Side, to: &Side) -> Result<FailoverReport, ClientError> {
    let began = Instant::now();
    let (old, new) = (from.report()?, to.report()?);
    check_ready(&old, &new)?;
    let epoch = next_epoch(&[&old, &new], &new);
    let sealed_epoch = old.groups.iter().map(|group| group.epoch).max().unwrap_or(0);
    let sealing = Instant::now();
    let sealed = from
        .change(PairChange::Seal, sealed_epoch, |group| group.role != PairRole::Primary)
        .and_then(|sealed| drain(to, &sealed));
    if let Err(error) = sealed {
        // nothing has changed sides: the old primary goes on
        from.change(PairChange::Unseal, sealed_epoch, |group| group.role == PairRole::Primary)?;
        return Err(error);
    }
    let promoted = to.change(PairChange::Promote, epoch, |group| group.role == PairRole::Primary)?;
    let writes_paused_ms = Some(millis(sealing));
    let since = promoted.groups.iter().map(|group| (group.group, group.since)).collect();
    from.change(PairChange::Follow { since }, epoch, |group| group.role == PairRole::Standby)?;
    Ok(FailoverReport {
        from: from.region.clone(),
        to: to.region.clone(),
        planned: true,
        epoch,
        writes_paused_ms,
        took_ms: millis(began),
        recovery_point: None,
    })
}

/// Makes `to` the primary at what it has, whatever has become of `from`.
pub fn forced(from: &str, to: &Side) -> Result<FailoverReport, ClientError> {
    let began = Instant::now();
    let report = to.report()?;
    if report.groups.len() != report.groups_total as usize {
        let problem = format!("{} of {} groups answer", report.groups.len(), report.groups_total);
        return Err(ClientError::state(problem, "bring a majority of the nodes of this region up first"));
    }
    if report.groups.iter().any(|group| group.role == PairRole::Bootstrap) {
        return Err(ClientError::state(
            format!("{} is still taking over the primary's state", to.region),
            "it cannot take writes before it has all of it; `twinkeep lag` shows how far it is",
        ));
    }
    let recovery_point = recovery_point(&report);
    let epoch = next_epoch(&[&report], &report);
    to.change(PairChange::Promote, epoch, |group| group.role == PairRole::Primary)?;
    let took_ms = millis(began);
    // from now on no gateway of this region passes a write on to the other one, which may not have heard of this
    std::thread::sleep(PAIR_ROLE_FRESH);
    Ok(FailoverReport {
        from: from.to_owned(),
        to: to.region.clone(),
        planned: false,
        epoch,
        writes_paused_ms: None,
        took_ms,
        recovery_point,
    })
}

/// Newer than any that is known; the one of an earlier try if that had begun to promote.
fn next_epoch(reports: &[&PairReport], new: &PairReport) -> u64 {
    let groups = || reports.iter().flat_map(|report| &report.groups);
    let known = groups().map(|group| group.epoch.max(group.other_epoch.unwrap_or(0))).max().unwrap_or(0);
    let promoted = new.groups.iter().filter(|group| group.role == PairRole::Primary).map(|group| group.epoch);
    match promoted.max() {
        Some(epoch) if epoch == known => epoch,
        _ => known.max(1) + 1,
    }
}

fn check_ready(old: &PairReport, new: &PairReport) -> Result<(), ClientError> {
    for report in [old, new] {
        if report.groups.len() != report.groups_total as usize {
            let problem = format!(
                "{} of {} groups of {} answer",
                report.groups.len(),
                report.groups_total,
                report.region
            );
            return Err(ClientError::state(
                problem,
                "wait until `twinkeep status` shows a leader for each of them",
            ));
        }
    }
    let silent = |group: &PairGroup| {
        group.role == PairRole::Standby && (group.gone || group.heard_ms.is_none_or(|ms| ms > HEARD_MAX_MS))
    };
    let silent = new.groups.iter().filter(|group| silent(group)).count();
    if silent > 0 {
        let problem = format!("{silent} groups of {} do not follow their primary", new.region);
        return Err(ClientError::state(
            problem,
            "`twinkeep lag` says why; a planned switch would lose writes",
        ));
    }
    Ok(())
}

/// Waits until the standby has what the sealed primary acknowledged last.
fn drain(to: &Side, sealed: &PairReport) -> Result<(), ClientError> {
    let wanted: BTreeMap<u32, u64> = sealed
        .groups
        .iter()
        .filter(|group| group.role == PairRole::Sealed)
        .map(|group| (group.group, group.sequence))
        .collect();
    let deadline = Instant::now() + DRAIN_WAIT;
    loop {
        let report = to.report()?;
        let behind = |group: &&PairGroup| {
            group.role == PairRole::Standby
                && wanted.get(&group.group).is_some_and(|last| group.sequence < *last)
        };
        let behind = report.groups.iter().filter(behind).count();
        if behind == 0 && report.groups.len() == report.groups_total as usize {
            return Ok(());
        }
        if Instant::now() > deadline {
            let problem = format!("{behind} groups of {} do not catch up", to.region);
            return Err(ClientError::state(
                problem,
                "nothing was switched; `twinkeep lag` says how far they are",
            ));
        }
        std::thread::sleep(LOOK);
    }
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
