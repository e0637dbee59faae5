//! Drills: looks whether a deployment is ready for a failure, brings one about, measures, undoes it, and leaves signed evidence.
//!
//! ```text
//! readiness   each condition, met or not: nothing is begun unless all are
//! run         probes are written throughout; the steps of the kind (`inject`); undoing when one fails
//! evidence    DIR/drills/20261122T104946Z-planned/report.json, report.md, report.sig
//! ```
//!
//! It promises that a run that ends, however it ends, leaves its report, that a pair is brought back to where it was or the
//! report says what is left to do, and that it gives up no writes of others unless told to. It leaves switching to `failover`.

mod history;
mod inject;
mod measure;
mod page;
mod probe;
mod readiness;
mod report;
mod run;
#[cfg(test)]
pub(crate) mod testing;

pub use history::{History, HistoryEntry, Trend, history};
pub use readiness::{Item, ItemState, Readiness};
pub use report::{DrillReport, Limits, Measured, Probe, REPORT_VERSION, RegionTime, Step, Verdict};

use crate::clock::{Clock, system_now, utc_compact};
use crate::evidence::{self, Purpose};
use crate::target::Target;
use crate::{ClientError, failover};
use run::Run;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use wire::UnixMillis;

/// Where probes are written; made when it is not there, and kept.
pub const BUCKET: &str = "twinkeep-drill";

/// How long what passes by itself may stand in the way of a run.
const SETTLE_WAIT: Duration = Duration::from_secs(10);

/// Pause between two looks at it.
const LOOK: Duration = Duration::from_millis(500);

/// What is drilled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DrillKind {
    /// A planned switch to the standby, and back.
    Planned,
    /// A forced switch to the standby, the old primary's return, and a planned switch back.
    Forced,
    /// The loss of a storage node, and its return.
    Node,
    /// The loss of a storage node with its disk, and its copies made anew.
    Restore,
}

/// How a drill is carried out.
#[derive(Clone, Debug)]
pub struct DrillPlan {
    /// What is drilled.
    pub kind: DrillKind,
    /// What it is held against.
    pub limits: Limits,
    /// Of a drill of a node: the region that it is of; the one that takes writes when absent.
    pub region: Option<String>,
    /// Of a drill of a node: which; the one that leads most groups when absent.
    pub node: Option<u16>,
    /// Of a forced drill: give up also what others wrote to the old primary alone.
    pub discard: bool,
}

impl DrillKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Planned, Self::Forced, Self::Node, Self::Restore];

    /// As the command line has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Forced => "forced",
            Self::Node => "node",
            Self::Restore => "restore",
        }
    }

    /// Whether one node is lost, which needs no pair, and whose process has to be at hand.
    fn is_of_node(self) -> bool {
        matches!(self, Self::Node | Self::Restore)
    }

    /// The limits that hold unless others are given.
    pub fn limits(self) -> Limits {
        let (rto_max_ms, rpo_max_ms) = match self {
            Self::Planned | Self::Node | Self::Restore => (1_000, 0),
            Self::Forced => (2_000, 5_000),
        };
        Limits { rto_max_ms, rpo_max_ms, lag_max_ms: 5_000, certificate_days_min: 30, timeout_s: 600 }
    }
}

/// Looks whether a drill may begin. Changes nothing.
pub fn dry_run(target: &Target, plan: &DrillPlan) -> Readiness {
    look(target, &mut plan.clone())
}

/// The same; the plan names the node from here on, so that the one that is killed is the one that was said to be.
fn look(target: &Target, plan: &mut DrillPlan) -> Readiness {
    let judge = || {
        let (facts, lag) = readiness::gather(target);
        readiness::judge(plan.kind, &facts, lag.as_ref(), &plan.limits, system_now())
    };
    let deadline = Instant::now() + SETTLE_WAIT;
    let mut readiness = judge();
    while readiness.is_settling() && Instant::now() < deadline {
        std::thread::sleep(LOOK);
        readiness = judge();
    }
    if plan.kind.is_of_node() {
        match inject::node::chosen(target, plan, &primary_of(target)) {
            Ok(inject::node::Chosen { region, node, leads }) => {
                readiness.is_to_be_killed(plan.kind, &region, node, leads);
                if target.region(&region).is_ok_and(|region| region.dev.is_none()) {
                    readiness.refuse("injection", &only_here(plan.kind));
                }
                (plan.region, plan.node) = (Some(region), Some(node.0));
            }
            Err(error) => readiness.refuse("node", &error),
        }
    }
    readiness
}

/// Carries a drill out, and writes its evidence; gives the report and its folder. `say` is told each step as it begins;
/// once `stop` is set the run is given up and undone.
pub fn run(
    target: &Target,
    plan: &DrillPlan,
    stop: &AtomicBool,
    say: &dyn Fn(&str),
) -> Result<(DrillReport, PathBuf), ClientError> {
    let clock = Clock::start();
    let mut plan = plan.clone();
    let name = format!("{}-{}", utc_compact(clock.now()), plan.kind.name());
    let folder = target.folder.join(&name);
    if folder.exists() {
        let problem = format!("{} is there already", folder.display());
        return Err(ClientError::state(problem, "another drill began in the same second: ask again"));
    }
    let identity = &target.regions[0].deployment.identity;
    evidence::prepare(&folder, identity)?;
    let began_at = clock.now();
    let readiness = look(target, &mut plan);
    let mut report = blank(target, &plan, &name, readiness, began_at);
    if report.readiness.ready {
        carry_out(target, &plan, clock, stop, say, &mut report);
    } else {
        let not_ok = report.readiness.items.iter().filter(|item| item.state == ItemState::NotOk);
        report.reasons = not_ok.map(|item| format!("{}: {}", item.name, item.found)).collect();
    }
    report.ended_at = clock.now();
    evidence::write(&folder, Purpose::Drill, &report, report.page(), identity)?;
    Ok((report, folder))
}

fn carry_out(
    target: &Target,
    plan: &DrillPlan,
    clock: Clock,
    stop: &AtomicBool,
    say: &dyn Fn(&str),
    report: &mut DrillReport,
) {
    let mut run = Run::new(target, plan, report.run.clone(), clock, stop, say);
    let primary = primary_of(target);
    report.regions.sort_by_key(|region| *region != primary);
    report.before = run.positions();
    let outcome = inject::carry_out(&mut run, &primary);
    if outcome.is_err() {
        inject::heal(&mut run, &primary);
    }
    let ended_at = clock.now();
    let mut unread = None;
    let probes = run.probes.take();
    if let Some(mut probes) = probes {
        probes.end();
        if outcome.is_ok() && !plan.kind.is_of_node() {
            // nothing is written any more: the roots are the same if what lies below them is
            unread = run.follow(&primary).and_then(|()| run.compare()).err();
        }
        // after a run that was left half way it may be the other one
        unread = clean(&mut run, &probes, &primary_of(target)).err().or(unread);
        report.probes = probes.so_far();
        let injected = run.injected.as_ref();
        report.measured =
            measure::measure(&report.probes, probes.refused(), &run.switches, injected, ended_at);
    }
    report.after = run.positions();
    (report.losses, report.compared) = (run.losses, run.compared);
    report.measured.restored_ms = run.restored_ms;
    (report.timeline, report.undone, report.left_to_do) = (run.timeline, run.undone, run.left_to_do);
    measure::conclude(report, outcome.err().or(unread).map(|error| error.to_string()));
}

/// Holds every acknowledged probe against what is there once all is over, then removes them. An error when they could not
/// all be read: then nobody knows what is lost.
fn clean(run: &mut Run<'_>, probes: &probe::Probes, primary: &str) -> Result<(), ClientError> {
    let read = run.step(&format!("read every probe back from {primary}"), |run| {
        let access = run.access(primary)?;
        let missing = probes.read_back(&access, &|| run.check().is_ok());
        missing.map_err(|reason| {
            let problem = format!("not every probe could be read back from {primary}: {reason}");
            ClientError::state(problem, "")
        })
    });
    let removed = run.step("remove the probes", |run| match probes.remove(&run.access(primary)?) {
        0 => Ok(()),
        left => Err(ClientError::state(format!("{left} probes could not be removed"), "")),
    });
    if removed.is_err() {
        run.left_to_do.push(format!("remove what is left below {} in the bucket {BUCKET}", run.name));
    }
    read.map(drop)
}

/// The region that takes writes; of one without a pair, that one.
fn primary_of(target: &Target) -> String {
    let lag = target.sides.as_ref().map(|sides| failover::lag(sides));
    lag.and_then(|lag| lag.primary).unwrap_or_else(|| target.regions[0].name.clone())
}

fn blank(
    target: &Target,
    plan: &DrillPlan,
    name: &str,
    readiness: Readiness,
    began_at: UnixMillis,
) -> DrillReport {
    let deployment = &target.regions[0].deployment;
    let certificate = crate::files::read(&deployment.identity.certificate()).ok();
    DrillReport {
        schema_version: REPORT_VERSION,
        run: name.to_owned(),
        kind: plan.kind,
        deployment: deployment.descriptor.deployment.to_string(),
        environment: deployment.descriptor.environment.clone(),
        regions: target.regions.iter().map(|region| region.name.clone()).collect(),
        operator: certificate.and_then(|pem| evidence::operator(&pem)).unwrap_or_default(),
        release: env!("CARGO_PKG_VERSION").to_owned(),
        began_at,
        ended_at: began_at,
        limits: plan.limits,
        readiness,
        timeline: Vec::new(),
        measured: Measured::default(),
        probes: Vec::new(),
        losses: None,
        compared: None,
        before: Vec::new(),
        after: Vec::new(),
        undone: Vec::new(),
        left_to_do: Vec::new(),
        verdict: Verdict::NotReady,
        reasons: Vec::new(),
        exit_code: Verdict::NotReady.exit_code(),
    }
}

impl DrillReport {
    /// The page for people.
    pub fn page(&self) -> String {
        page::page(self)
    }
}

/// Where the processes are somebody else's, a person ends one.
fn only_here(kind: DrillKind) -> ClientError {
    ClientError::state(
        "processes are killed by this command only where `twinkeep dev` runs them",
        match kind {
            DrillKind::Restore => {
                "on real hosts stop a node, empty its data folder, `twinkeep node replace ID --wait`, `twinkeep scrub --wait`, and note the times"
            }
            _ => {
                "on a real host: `systemctl kill -s SIGKILL store-node@storage`, look with `twinkeep status`, start it again, and note the times"
            }
        },
    )
}
