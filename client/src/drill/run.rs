//! One run while it goes on: its steps with their times, its limits, the waits that several kinds of drill need.

use super::probe::Probes;
use super::readiness::status_of;
use super::report::{RegionTime, Step};
use super::{BUCKET, DrillPlan};
use crate::ClientError;
use crate::admin::AdminClient;
use crate::clock::Clock;
use crate::compare::{self, ComparedBucket};
use crate::failover::{self, FailoverReport, LossManifest};
use crate::s3::{Access, S3};
use crate::target::Target;
use serde::Serialize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use wire::UnixMillis;
use wire::admin::{PairReport, RegionStatus};

/// Between two looks at a region that is waited for.
const LOOK: Duration = Duration::from_millis(50);

/// How long undoing may take after a run was given up; the run's own time may be over by then.
const HEAL_WAIT: Duration = Duration::from_secs(90);

/// For how long probes are written before anything is injected: enough of them that a pause shows.
const BEFORE: Duration = Duration::from_millis(500);

/// A run.
pub(super) struct Run<'a> {
    pub(super) target: &'a Target,
    pub(super) plan: &'a DrillPlan,
    pub(super) clock: Clock,
    pub(super) name: String,
    pub(super) timeline: Vec<Step>,
    pub(super) probes: Option<Probes>,
    pub(super) switches: Vec<FailoverReport>,
    pub(super) losses: Option<LossManifest>,
    pub(super) compared: Option<ComparedBucket>,
    /// When the switch was forced or the node killed, and where writes were to go on.
    pub(super) injected: Option<(UnixMillis, String)>,
    /// Of a restore: from the kill until every copy was there again, ms.
    pub(super) restored_ms: Option<u64>,
    pub(super) undone: Vec<String>,
    pub(super) left_to_do: Vec<String>,
    stop: &'a AtomicBool,
    say: &'a dyn Fn(&str),
    deadline: Instant,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        target: &'a Target,
        plan: &'a DrillPlan,
        name: String,
        clock: Clock,
        stop: &'a AtomicBool,
        say: &'a dyn Fn(&str),
    ) -> Self {
        let deadline = Instant::now() + Duration::from_secs(plan.limits.timeout_s);
        let (timeline, switches, undone, left_to_do) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (probes, losses, compared, injected, restored_ms) = (None, None, None, None, None);
        Self {
            target,
            plan,
            clock,
            name,
            timeline,
            probes,
            switches,
            losses,
            compared,
            injected,
            restored_ms,
            undone,
            left_to_do,
            stop,
            say,
            deadline,
        }
    }

    /// Does one step and notes when it was done, by all clocks, and what came out.
    pub(super) fn step<T: Serialize>(
        &mut self,
        name: &str,
        work: impl FnOnce(&mut Self) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        (self.say)(name);
        let (began_at, began) = (self.clock.now(), Instant::now());
        let outcome = self.check().and_then(|()| work(self));
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let detail = outcome.as_ref().ok().and_then(|value| serde_json::to_value(value).ok());
        self.timeline.push(Step {
            name: name.to_owned(),
            began_at,
            took_ms,
            error: outcome.as_ref().err().map(ToString::to_string),
            region_times: self.region_times(),
            detail: detail.unwrap_or_default(),
        });
        outcome
    }

    /// An error when the run is to end: its time is over, or somebody asked.
    pub(super) fn check(&self) -> Result<(), ClientError> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(ClientError::state("the drill was interrupted", "the report says what was undone"));
        }
        if Instant::now() > self.deadline {
            let problem = format!("the drill took longer than {} s", self.plan.limits.timeout_s);
            return Err(ClientError::state(problem, "the report says what was undone"));
        }
        Ok(())
    }

    /// Waits until something holds, as long as the run may take.
    pub(super) fn wait(
        &self,
        mut holds: impl FnMut() -> Result<bool, ClientError>,
    ) -> Result<(), ClientError> {
        loop {
            match holds() {
                Ok(true) => return Ok(()),
                // a region in the middle of an election does not answer: it will
                Ok(false)
                | Err(
                    ClientError::Unreachable { .. }
                    | ClientError::Refused { .. }
                    | ClientError::Protocol { .. },
                ) => {}
                Err(error) => return Err(error),
            }
            self.check()?;
            std::thread::sleep(LOOK);
        }
    }

    /// Makes the drill's bucket in the primary, waits until the other region has it, and begins to write.
    pub(super) fn begin_probes(&mut self, primary: &str) -> Result<(), ClientError> {
        self.step("write probes", |run| {
            let access = run.access(primary)?;
            let mut client = S3::new(access);
            run.wait(|| match client.create_bucket(BUCKET) {
                Ok(()) => Ok(true),
                Err(refusal) if refusal.status == Some(403) => {
                    let problem = format!("the access key may not make the bucket {BUCKET}");
                    Err(ClientError::state(problem, "use one of a principal that may write there"))
                }
                Err(_) => Ok(false),
            })?;
            if run.target.sides.is_some() {
                run.wait_follows(primary)?;
            }
            let regions = run.target.regions.iter();
            let regions = regions.map(|region| Ok((region.name.clone(), run.access(&region.name)?)));
            let regions = regions.collect::<Result<Vec<_>, ClientError>>()?;
            run.probes = Some(Probes::begin(run.clock, BUCKET, &run.name, regions));
            let began = Instant::now();
            run.wait(|| Ok(began.elapsed() > BEFORE))
        })
    }

    /// Reads back, from the region that takes writes now, what was acknowledged so far.
    pub(super) fn read_back(&mut self, from: &str) -> Result<(), ClientError> {
        self.step(&format!("read probes back from {from}"), |run| {
            let access = run.access(from)?;
            let Some(probes) = &run.probes else { return Ok(0) };
            let missing = probes.read_back(&access, &|| run.check().is_ok());
            missing.map_err(|reason| {
                ClientError::state(format!("the probes cannot be read from {from}: {reason}"), "")
            })
        })
        .map(drop)
    }

    /// Lets `to` take the writes of the other region without losing any.
    pub(super) fn switch(&mut self, to: &str) -> Result<(), ClientError> {
        let report = self.step(&format!("switch to {to}, planned"), |run| {
            let (to, from) = run.target.sides(to)?;
            failover::planned(from, to, failover::PAUSE_MAX, run.stop)
        })?;
        self.switches.push(report);
        Ok(())
    }

    /// Waits until the other region follows `primary` and has everything acknowledged before now.
    pub(super) fn follow(&mut self, primary: &str) -> Result<(), ClientError> {
        self.step(&format!("wait until the other region follows {primary}"), |run| run.wait_follows(primary))
    }

    /// Holds the probes in both regions against each other, without believing any log.
    pub(super) fn compare(&mut self) -> Result<(), ClientError> {
        let compared = self.step("compare the probes in both regions", |run| {
            compare::bucket(run.target, BUCKET, run.stop, &|_| {})
        })?;
        self.compared = Some(compared);
        Ok(())
    }

    fn wait_follows(&self, primary: &str) -> Result<(), ClientError> {
        let sides = self.target.pair()?;
        let (side, _) = self.target.sides(primary)?;
        let mut since = None;
        self.wait(|| {
            let since = match since {
                Some(since) => since,
                // by the primary's clock, as the sync time is
                None => *since.insert(side.report()?.now),
            };
            let lag = failover::lag(sides);
            let follows =
                lag.primary.as_deref() == Some(primary) && lag.standby.is_some() && lag.state == "Live";
            Ok(follows && lag.last_sync_time.is_some_and(|synced| synced >= since))
        })
    }

    /// How a region's nodes and groups are.
    pub(super) fn status(&self, region: &str) -> Result<RegionStatus, ClientError> {
        status_of(&AdminClient::new(&self.target.region(region)?.deployment)?)
    }

    /// Where every group of each region stands, of those that answer.
    pub(super) fn positions(&self) -> Vec<PairReport> {
        let sides = self.target.sides.iter().flatten();
        sides.filter_map(|side| side.report().ok()).collect()
    }

    /// From here on, time for undoing: the run's own may be over, and who interrupted it wants it undone.
    pub(super) fn begin_healing(&mut self) {
        static GO_ON: AtomicBool = AtomicBool::new(false);
        self.stop = &GO_ON;
        self.deadline = Instant::now() + HEAL_WAIT;
    }

    pub(super) fn access(&self, region: &str) -> Result<Access, ClientError> {
        self.target.access(region)
    }

    fn region_times(&self) -> Vec<RegionTime> {
        let time = |region: &crate::target::Region| {
            let client = AdminClient::new(&region.deployment);
            let status = client.and_then(|client| status_of(&client));
            RegionTime { region: region.name.clone(), now: status.ok().map(|status| status.now) }
        };
        self.target.regions.iter().map(time).collect()
    }
}
