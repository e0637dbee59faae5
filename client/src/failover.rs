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
mod planned;
mod rejoin;

pub use buckets::{BucketLag, BucketLags, bucket_lags};
pub use planned::{PAUSE_MAX, planned};
pub(crate) use rejoin::Divergence;
pub use rejoin::{LossManifest, RejoinReport, manifest, rejoin};

use crate::ClientError;
use crate::admin::AdminClient;
use crate::deployment::Deployment;
use serde::Serialize;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};
use wire::admin::{
    AdminRequest, AdminResponse, PAIR_HEARD_MAX_MS, PAIR_ROLE_FRESH, PairChange, PairGroup, PairReport,
};
use wire::{PairRole, UnixMillis};

/// Pause between two looks at the standby.
const LOOK: Duration = Duration::from_millis(10);

/// Pause between two looks whether the other region is heard of.
const WATCH: Duration = Duration::from_millis(500);

/// How often a change is tried when not every group answers: elections come and go.
const TRIES: u32 = 5;

/// The parts of a group that takes no writes and was not relieved: it has, or is given, what the other region has.
const FOLLOWS: [PairRole; 2] = [PairRole::Standby, PairRole::Bootstrap];

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
    /// Whether anything was switched: false of a region that took the writes already, or was only sealed.
    pub switched: bool,
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
    /// `Live`, `Bootstrap`, `Resync`, `Fenced`, `Diverged` or `Unavailable`.
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

impl LagReport {
    /// Whether the primary acknowledges no writes, since nobody vouches for it.
    pub fn is_cut_off(&self) -> bool {
        self.regions.iter().any(|report| Some(&report.region) == self.primary.as_ref() && is_cut_off(report))
    }
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
            let other = report.groups.iter().find(|group| !done(group));
            if other.is_none() && is_whole(&report) {
                return Ok(report);
            }
            tries += 1;
            if tries == TRIES {
                return Err(self.not_changed(&report, other));
            }
        }
    }

    fn not_changed(&self, report: &PairReport, other: Option<&PairGroup>) -> ClientError {
        let region = &self.region;
        let problem = match other {
            Some(PairGroup { group, role, epoch, .. }) => {
                format!(
                    "group {group} of {region} does not change: it is {} under epoch {epoch}",
                    role.name()
                )
            }
            None => answered(report),
        };
        ClientError::state(
            problem,
            "`twinkeep lag` says where every group stands; ask again once all groups have a leader",
        )
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
    let whole = standby.filter(|standby| is_whole(standby));
    let last_sync_time = whole.and_then(recovery_point);
    // by the clock of the primary, since that is the one the sync time was read from
    let now = primary.or(standby).map(|report| report.now);
    let state = match standby {
        // nobody takes writes: a switch was begun and not ended
        _ if primary.is_none() && with(PairRole::Sealed).is_some() => "Fenced",
        // nobody vouches for the one that would
        _ if primary.is_some_and(is_cut_off) => "Fenced",
        Some(standby) if standby.groups.iter().any(|group| group.role == PairRole::Bootstrap) => "Bootstrap",
        Some(standby) if standby.groups.iter().any(|group| group.gone) => "Resync",
        Some(standby)
            if standby.groups.iter().any(|group| group.heard_ms.is_none_or(|ms| ms > PAIR_HEARD_MAX_MS)) =>
        {
            "Unavailable"
        }
        Some(standby) if now.is_some_and(|now| standby.groups.iter().any(|group| is_stuck(group, now))) => {
            "Unavailable"
        }
        Some(_) if last_sync_time.is_none() => "Bootstrap",
        Some(_) => "Live",
        None if primary.is_some_and(|new| regions.iter().any(|old| rejoin::has_diverged(old, new))) => {
            "Diverged"
        }
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
    is_whole(report).then(|| report.groups.iter().map(of).sum())?
}

fn blocked(standby: &PairReport) -> Vec<BlockedGroup> {
    let of = |group: &PairGroup| {
        let reason = group.blocked.clone()?;
        Some(BlockedGroup { group: group.group, after: group.sequence, reason })
    };
    standby.groups.iter().filter_map(of).collect()
}

/// Whether groups that would take writes acknowledge none.
fn is_cut_off(report: &PairReport) -> bool {
    report.groups.iter().any(|group| group.role == PairRole::Primary && group.blocked.is_some())
}

/// Whether a group hears of its primary and does not take what comes, for longer than a moment.
fn is_stuck(group: &PairGroup, now: UnixMillis) -> bool {
    let behind_ms = group.synced.map_or(0, |synced| now.0.saturating_sub(synced.0));
    group.blocked.is_some() && behind_ms > PAIR_HEARD_MAX_MS
}

fn recovery_point(report: &PairReport) -> Option<UnixMillis> {
    let synced = report.groups.iter().map(|group| group.synced);
    synced.min().flatten()
}

/// Makes `to` the primary at what it has, whatever has become of `from`. `with_sealed`: also where some of its groups were sealed with writes that
/// the other region may not have had, and others follow that one already.
pub fn forced(from: &str, to: &Side, with_sealed: bool) -> Result<FailoverReport, ClientError> {
    let began = Instant::now();
    let report = to.report()?;
    if !is_whole(&report) {
        return Err(ClientError::state(
            answered(&report),
            "bring a majority of the nodes of this region up first",
        ));
    }
    if report.groups.iter().any(|group| group.role == PairRole::Bootstrap) {
        return Err(ClientError::state(
            format!("{} is still taking over the primary's state", to.region),
            "it cannot take writes before it has all of it; `twinkeep lag` shows how far it is",
        ));
    }
    let recovery_point = recovery_point(&report);
    let any = |role| report.groups.iter().any(|group| group.role == role);
    let switched = any(PairRole::Standby);
    let epoch = match (switched, any(PairRole::Sealed)) {
        (true, true) if is_heard(to, &report)? => {
            return Err(ClientError::state(
                format!(
                    "some groups of {} were sealed for a switch, others follow {from} already, which answers",
                    to.region
                ),
                "finish that switch with `twinkeep failover --planned`, which loses nothing",
            ));
        }
        // those that a switch sealed which did not end are promoted as well: of the other region's reign nothing came to them
        (true, is_sealed) => {
            if is_sealed && !with_sealed {
                check_sealed(to, &report)?;
            }
            let epoch = next_epoch(&[&report], &report);
            to.change(PairChange::Promote, epoch, |group| group.role == PairRole::Primary)?;
            epoch
        }
        // it was sealed for a switch that went no further, or the other region was promoted and is lost: that one's epoch is the newer,
        // so it fences this one should it come back
        (false, is_sealed) => {
            let epoch = newest(&report);
            let there = report.groups.iter().filter_map(|group| group.other_epoch).max().unwrap_or(0);
            // one that is heard of fences this region again at once, with what was written meanwhile
            if there > epoch && (!is_sealed || is_heard(to, &report)?) {
                return Err(ClientError::state(
                    format!("{from} was promoted after {}, under epoch {there}, and answers it", to.region),
                    "it takes the writes; `twinkeep failover manifest` lists what this region has alone",
                ));
            }
            to.change(PairChange::Unseal, epoch, |group| group.role == PairRole::Primary)?;
            epoch
        }
    };
    let took_ms = millis(began);
    // from now on no gateway of this region passes a write on to the other one, which may not have heard of this
    std::thread::sleep(PAIR_ROLE_FRESH);
    Ok(FailoverReport {
        from: from.to_owned(),
        to: to.region.clone(),
        planned: false,
        switched,
        epoch,
        writes_paused_ms: None,
        took_ms,
        recovery_point,
    })
}

/// Whether the other region is heard of. What was heard of a moment ago may be gone: it is watched until it is heard of again, or was silent for so
/// long that it counts as lost.
fn is_heard(to: &Side, report: &PairReport) -> Result<bool, ClientError> {
    let heard_ms = |report: &PairReport| report.groups.iter().filter_map(|group| group.heard_ms).min();
    let mut last = heard_ms(report);
    while let Some(before) = last.filter(|ms| *ms <= PAIR_HEARD_MAX_MS) {
        std::thread::sleep(WATCH);
        last = heard_ms(&to.report()?);
        if last.is_some_and(|now| now < before) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Refuses when sealed groups have writes that the other region may not have had: it was then not a planned switch that sealed them, and somebody may
/// have given these writes up.
fn check_sealed(to: &Side, report: &PairReport) -> Result<(), ClientError> {
    let mut unknown = 0;
    for group in report.groups.iter().filter(|group| group.role == PairRole::Sealed) {
        let mut nothing_alone = false;
        if let Some(shipped) = group.shipped {
            nothing_alone = true;
            // broken off at the first one
            let _ = to.loss_pages(group.group, shipped + 1, |page| {
                nothing_alone &= page.complete && page.entries.is_empty();
                if nothing_alone { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })?;
        }
        unknown += u32::from(!nothing_alone);
    }
    if unknown == 0 {
        return Ok(());
    }
    Err(ClientError::state(
        format!(
            "{unknown} groups of {} are sealed, and may have writes that the other region never had; others follow that one already",
            to.region
        ),
        "--with-sealed promotes them as they are, also with what was given up before; wait for the other region if it can still come back",
    ))
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

fn is_whole(report: &PairReport) -> bool {
    report.groups.len() == report.groups_total as usize
}

/// How many groups answered, for one that is not whole.
fn answered(report: &PairReport) -> String {
    format!("{} of {} groups of {} answer", report.groups.len(), report.groups_total, report.region)
}

/// The newest epoch that a group of it knows.
fn newest(report: &PairReport) -> u64 {
    report.groups.iter().map(|group| group.epoch).max().unwrap_or(0)
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
