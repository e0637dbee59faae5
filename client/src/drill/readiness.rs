//! Whether a drill may begin: each condition with what was found, and what to do where it is not met.
//!
//! Looking and judging are apart: [`gather`] asks and changes nothing, [`judge`] is a function of what was found.

use super::DrillKind;
use super::report::Limits;
use crate::admin::AdminClient;
use crate::clock::{system_now, utc};
use crate::failover::{self, LagReport};
use crate::s3::S3;
use crate::target::{Region, Target};
use crate::{ClientError, files};
use serde::{Deserialize, Serialize};
use wire::admin::{AdminRequest, AdminResponse, CheckFacts, DiskHealth, NodeState, RegionStatus};
use wire::{NodeId, UnixMillis};

/// A node below this share of free space has no room to take a region's writes over, per cent: as `twinkeep check`.
const FREE_SHARE_MIN: u64 = 10;

/// Clocks further apart than this make the timeline of two regions unreadable, ms.
const CLOCK_OFFSET_MAX_MS: u64 = 5_000;

const DAY_MS: u64 = 86_400_000;

/// Conditions that are not met for a moment after a group changed its leader.
const SETTLING: [&str; 3] = ["groups", "lag", "recovery_point"];

/// Everything that was looked at before a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    /// Whether nothing stands in the way.
    pub ready: bool,
    /// When it was looked at.
    pub at: UnixMillis,
    /// Each condition.
    pub items: Vec<Item>,
}

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Its name: `answers`, `groups`, `roles`, `lag`, `recovery_point`, `certificates`, `capacity`, `root_key`, `clock`, `endpoint`,
    /// and of drills of a node `node` and `injection`.
    pub name: String,
    /// The region it is about; none when it is about the pair.
    pub region: Option<String>,
    /// How it is.
    pub state: ItemState,
    /// What was found.
    pub found: String,
    /// What to do; empty when nothing is.
    pub advice: String,
}

/// How a condition is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemState {
    /// Met.
    Ok,
    /// Not met.
    NotOk,
    /// Cannot be known from where the operator is; no obstacle.
    NotChecked,
}

/// What was found of one region.
pub(super) struct RegionFacts {
    pub(super) region: String,
    pub(super) status: Result<RegionStatus, String>,
    pub(super) facts: Result<CheckFacts, String>,
    /// Certificates in the operator's folder, and when each ends, if it can be read.
    pub(super) certificates: Vec<(String, Option<UnixMillis>)>,
    /// Whether the S3 endpoint is known and answers.
    pub(super) endpoint: Result<(), EndpointTrouble>,
    /// This machine's clock when the facts came.
    pub(super) asked_at: UnixMillis,
}

/// Why probes cannot be written.
pub(super) enum EndpointTrouble {
    /// Nobody said where the endpoint is.
    Unknown(String),
    /// It does not answer, or not this key.
    Refuses(String),
}

/// Asks both regions, or the one. Changes nothing.
pub(super) fn gather(target: &Target) -> (Vec<RegionFacts>, Option<LagReport>) {
    let facts = target.regions.iter().map(region).collect();
    (facts, target.sides.as_ref().map(|sides| failover::lag(sides)))
}

fn region(region: &Region) -> RegionFacts {
    let unasked = || Err("it was not asked, since it did not answer before".to_owned());
    let client = AdminClient::new(&region.deployment).map_err(|error| error.to_string());
    let status = client.as_ref().map_err(Clone::clone).and_then(|client| status_of(client).map_err(text));
    let facts = match (&client, &status) {
        (Ok(client), Ok(_)) => facts_of(client).map_err(text),
        _ => unasked(),
    };
    let asked_at = system_now();
    let identity = &region.deployment.identity;
    let mut files = vec![
        ("the region's authority", identity.authority_certificate()),
        ("the operator", identity.certificate()),
    ];
    // not on a host that has a part of the operator's folder
    let own = region.deployment.region.as_ref().map(|folder| folder.s3_certificate());
    files.extend(own.filter(|path| path.exists()).map(|path| ("the S3 endpoint", path)));
    let ends = |path| files::read(path).ok().and_then(|text| trust::certificate_expiry(text.as_bytes()));
    let certificates = files.iter().map(|(whose, path)| ((*whose).to_owned(), ends(path))).collect();
    let endpoint = match &region.access {
        Ok(access) => {
            let answers = S3::new(access.clone()).answers();
            answers.map_err(|refusal| EndpointTrouble::Refuses(refusal.reason))
        }
        Err(problem) => Err(EndpointTrouble::Unknown(problem.clone())),
    };
    RegionFacts { region: region.name.clone(), status, facts, certificates, endpoint, asked_at }
}

/// A region's status.
pub(super) fn status_of(client: &AdminClient) -> Result<RegionStatus, ClientError> {
    match client.ask(&AdminRequest::Status)? {
        AdminResponse::Status(status) => Ok(status),
        other => Err(client.unexpected(&other)),
    }
}

fn facts_of(client: &AdminClient) -> Result<CheckFacts, ClientError> {
    match client.ask(&AdminRequest::CheckFacts)? {
        AdminResponse::CheckFacts(facts) => Ok(facts),
        other => Err(client.unexpected(&other)),
    }
}

fn text(error: ClientError) -> String {
    error.to_string()
}

/// Judges what was found.
pub(super) fn judge(
    kind: DrillKind,
    regions: &[RegionFacts],
    lag: Option<&LagReport>,
    limits: &Limits,
    at: UnixMillis,
) -> Readiness {
    let mut items = Items(Vec::new());
    for facts in regions {
        items.answers(facts);
        items.groups(facts);
        items.certificates(facts, limits.certificate_days_min, at);
        items.capacity(facts);
        items.root_key(facts);
        items.clock(facts);
        items.endpoint(facts);
    }
    match lag {
        Some(lag) => {
            items.pair(lag, limits);
            items.room_for_the_primary(regions, lag);
        }
        None if kind.is_of_node() => {}
        None => items.not_ok(
            "roles",
            None,
            "this region has no pair",
            "make one with `twinkeep init --standby-of`, or try `twinkeep dev --pair`",
        ),
    }
    let ready = items.0.iter().all(|item| item.state != ItemState::NotOk);
    Readiness { ready, at, items: items.0 }
}

impl Readiness {
    /// Whether all that stands in the way may pass by itself: a group changed its leader, say, who has not heard of the other region yet.
    pub(super) fn is_settling(&self) -> bool {
        let mut not_ok = self.items.iter().filter(|item| item.state == ItemState::NotOk);
        !self.ready && not_ok.all(|item| SETTLING.contains(&item.name.as_str()))
    }

    /// Says which node a drill would take away.
    pub(super) fn is_to_be_killed(&mut self, kind: DrillKind, region: &str, node: NodeId, leads: usize) {
        let disk = if kind == DrillKind::Restore { ", and its disk to be thrown away" } else { "" };
        let mut items = Items(std::mem::take(&mut self.items));
        items.ok("node", Some(region), format!("node {node} is to be killed{disk}; it leads {leads} groups"));
        self.items = items.0;
    }

    /// One more condition, which is not met.
    pub(super) fn refuse(&mut self, name: &str, why: &ClientError) {
        let mut items = Items(std::mem::take(&mut self.items));
        items.not_ok(name, None, why.to_string(), why.advice());
        (self.ready, self.items) = (false, items.0);
    }
}

struct Items(Vec<Item>);

impl Items {
    fn add(&mut self, name: &str, region: Option<&str>, state: ItemState, found: String, advice: &str) {
        let (name, region, advice) = (name.to_owned(), region.map(str::to_owned), advice.to_owned());
        self.0.push(Item { name, region, state, found, advice });
    }

    fn ok(&mut self, name: &str, region: Option<&str>, found: impl Into<String>) {
        self.add(name, region, ItemState::Ok, found.into(), "");
    }

    fn not_ok(&mut self, name: &str, region: Option<&str>, found: impl Into<String>, advice: &str) {
        self.add(name, region, ItemState::NotOk, found.into(), advice);
    }

    fn answers(&mut self, facts: &RegionFacts) {
        let region = Some(facts.region.as_str());
        match &facts.status {
            Ok(status) => self.ok("answers", region, format!("{} answers", status.answered_by)),
            Err(error) => {
                let advice = "start it, or look with `twinkeep check` at what keeps it from answering";
                self.not_ok("answers", region, error.clone(), advice);
            }
        }
    }

    fn groups(&mut self, facts: &RegionFacts) {
        let (region, Ok(status)) = (Some(facts.region.as_str()), &facts.status) else { return };
        let all = status.groups.len();
        if status.leaderless_groups > 0 {
            let found = format!("{} of {all} groups have no leader", status.leaderless_groups);
            self.not_ok(
                "groups",
                region,
                found,
                "start the nodes that are down; two of three copies are needed",
            );
        } else if status.under_replicated_groups > 0 {
            let found =
                format!("{} of {all} groups have fewer than three copies", status.under_replicated_groups);
            let advice = "start or replace the node that is down and wait for its copies: one more loss would stop writes";
            self.not_ok("groups", region, found, advice);
        } else {
            self.ok("groups", region, format!("all {all} groups have a leader and three good copies"));
        }
    }

    fn certificates(&mut self, facts: &RegionFacts, days_min: u64, at: UnixMillis) {
        let region = Some(facts.region.as_str());
        let mut all = facts.certificates.clone();
        if let Ok(asked) = &facts.facts {
            let used = asked.certificates.iter();
            all.extend(
                used.map(|it| (format!("{} ({})", asked.answered_by, it.purpose), Some(it.not_after))),
            );
        }
        let first = all.iter().min_by_key(|(_, end)| end.unwrap_or_default());
        let Some((whose, end)) = first else { return };
        let Some(end) = end else {
            let found = format!("the certificate of {whose} cannot be read");
            self.not_ok(
                "certificates",
                region,
                found,
                "bring it back from the backup of the operator's folder",
            );
            return;
        };
        let days = end.0.saturating_sub(at.0) / DAY_MS;
        let found = format!("the first of {} to end is that of {whose}: valid for {days} days", all.len());
        if days < days_min {
            self.not_ok(
                "certificates",
                region,
                found,
                "renew it; `twinkeep explain TK-C011` says how for each kind",
            );
        } else {
            self.ok("certificates", region, found);
        }
    }

    fn capacity(&mut self, facts: &RegionFacts) {
        let (region, Ok(status)) = (Some(facts.region.as_str()), &facts.status) else { return };
        for node in &status.nodes {
            let id = node.id;
            if matches!(node.state, NodeState::Down | NodeState::Joining | NodeState::Draining) {
                let found = format!("node {id} is not fully there");
                self.not_ok(
                    "capacity",
                    region,
                    found,
                    "start it, or wait until `twinkeep node progress` is done",
                );
                return;
            }
            if matches!(node.disk, DiskHealth::ReadOnly | DiskHealth::Failed) {
                let found = format!("the disk of node {id} takes no writes");
                self.not_ok("capacity", region, found, "`twinkeep check` says what to do about it");
                return;
            }
            let disk = node.capacity_bytes;
            if disk > 0 && node.free_bytes < disk / 100 * FREE_SHARE_MIN {
                let found = format!("less than {FREE_SHARE_MIN} % of the disk of node {id} is free");
                self.not_ok("capacity", region, found, "enlarge the disk, delete objects or add nodes");
                return;
            }
        }
        let free = status.nodes.iter().map(|node| node.free_bytes).min().unwrap_or(0);
        let found = format!(
            "{} nodes with healthy disks, the fullest with {} MiB free",
            status.nodes.len(),
            free >> 20
        );
        self.ok("capacity", region, found);
    }

    fn root_key(&mut self, facts: &RegionFacts) {
        let region = Some(facts.region.as_str());
        match &facts.facts {
            Ok(CheckFacts { root_key_open: Some(true), answered_by, .. }) => {
                self.ok("root_key", region, format!("{answered_by} has opened its root key"));
            }
            Ok(CheckFacts { root_key_open: Some(false), answered_by, .. }) => {
                let found = format!("{answered_by} could not open its root key");
                self.not_ok(
                    "root_key",
                    region,
                    found,
                    "look at root_key in its configuration and at its log",
                );
            }
            Ok(CheckFacts { root_key_open: None, answered_by, .. }) => {
                let found = format!("{answered_by} answered, which keeps no keys");
                self.not_ok("root_key", region, found, "start a gateway of this region");
            }
            Err(error) => {
                self.not_ok("root_key", region, error.clone(), "start a gateway of this region");
            }
        }
        if facts.facts.is_ok() {
            let found =
                "whether another start of it would find its root key with the other region's key store gone";
            let advice = "restart one gateway here while the other region cannot be reached, now and then";
            self.add("root_key", region, ItemState::NotChecked, found.to_owned(), advice);
        }
    }

    fn clock(&mut self, facts: &RegionFacts) {
        let (region, Ok(asked)) = (Some(facts.region.as_str()), &facts.facts) else { return };
        let offset_ms = asked.now.0.abs_diff(facts.asked_at.0);
        let found = format!("{offset_ms} ms between this machine and {}", asked.answered_by);
        if offset_ms > CLOCK_OFFSET_MAX_MS {
            self.not_ok("clock", region, found, "set both clocks, with chrony or systemd-timesyncd");
        } else {
            self.ok("clock", region, found);
        }
    }

    fn endpoint(&mut self, facts: &RegionFacts) {
        let region = Some(facts.region.as_str());
        match &facts.endpoint {
            Ok(()) => self.ok("endpoint", region, "the S3 endpoint answers and takes the access key"),
            Err(EndpointTrouble::Unknown(problem)) => {
                let advice =
                    "name it with --endpoint REGION=URL and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";
                self.not_ok("endpoint", region, problem.clone(), advice);
            }
            Err(EndpointTrouble::Refuses(problem)) => {
                let advice = "bring a gateway of this region up; if one answers, look at the key, its rights and --ca-file";
                self.not_ok("endpoint", region, problem.clone(), advice);
            }
        }
    }

    fn pair(&mut self, lag: &LagReport, limits: &Limits) {
        const WHERE: &str = "`twinkeep lag` shows where each group stands";
        match (&lag.primary, &lag.standby) {
            (Some(primary), Some(standby)) if primary != standby => {
                self.ok("roles", None, format!("{primary} takes writes, {standby} follows"));
            }
            _ => self.not_ok("roles", None, "it is not one primary and one standby", WHERE),
        }
        match lag.lag_ms {
            Some(lag_ms) if lag.state == "Live" && lag_ms <= limits.lag_max_ms => {
                self.ok("lag", None, format!("Live, {lag_ms} ms behind"));
            }
            Some(lag_ms) if lag.state == "Live" => {
                let found = format!("{lag_ms} ms behind, more than {}", limits.lag_max_ms);
                self.not_ok("lag", None, found, "wait until the standby has caught up, or look at the link");
            }
            _ => self.not_ok("lag", None, format!("the standby is {}, not Live", lag.state), WHERE),
        }
        match lag.last_sync_time {
            Some(point) => {
                let found = format!("everything acknowledged by {} is in the standby", utc(point));
                self.ok("recovery_point", None, found);
            }
            None => self.not_ok("recovery_point", None, "not known", WHERE),
        }
    }

    /// Whether the standby's disks take what the primary holds.
    fn room_for_the_primary(&mut self, regions: &[RegionFacts], lag: &LagReport) {
        let of = |name: &Option<String>| {
            let found = regions.iter().find(|facts| Some(&facts.region) == name.as_ref());
            found.and_then(|facts| facts.status.as_ref().ok())
        };
        let (Some(primary), Some(standby)) = (of(&lag.primary), of(&lag.standby)) else { return };
        let used: u64 = primary.nodes.iter().map(|node| node.used_bytes).sum();
        let room: u64 =
            standby.nodes.iter().map(|node| node.used_bytes.saturating_add(node.free_bytes)).sum();
        let found = format!("the primary uses {} MiB, the standby has room for {}", used >> 20, room >> 20);
        if room < used {
            self.not_ok(
                "capacity",
                lag.standby.as_deref(),
                found,
                "enlarge the standby's disks or add nodes to it",
            );
        } else {
            self.ok("capacity", lag.standby.as_deref(), found);
        }
    }
}

#[cfg(test)]
#[path = "readiness/tests.rs"]
mod tests;
