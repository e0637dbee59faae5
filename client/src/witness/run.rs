//! Runs a witness: a thread per storage node asks it twice a second, one more judges, remembers and reports.

use super::judge::{Judge, PERIOD};
use super::log::{Level, say};
use super::notify::notify;
use super::{Memory, Mode, RegionStatus, Relief, Standing, WitnessFolder, WitnessStatus};
use crate::admin::{Patience, Session};
use crate::clock::system_now;
use crate::deployment::Deployment;
use crate::region::read_descriptor;
use crate::{ClientError, files, signals};
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Scope, sleep};
use std::time::{Duration, Instant};
use wire::UnixMillis;
use wire::admin::{AdminRequest, AdminResponse, LeaseReport, PairChange};
use wire::descriptor::RegionDescriptor;

/// How often everything is judged anew.
const TICK: Duration = Duration::from_millis(100);

/// How often the status is written though nothing changed: who reads it sees that the witness lives.
const STATUS_EVERY: Duration = Duration::from_secs(5);

/// Of a question: an answer that takes longer would be a short lease. A node takes half a second at most to find out that
/// nobody follows it.
const PATIENCE: Patience = Patience { connect: Duration::from_millis(500), answer: Duration::from_secs(1) };

/// Of a request to take over: each group may need an election first.
const RELIEF_PATIENCE: Patience =
    Patience { connect: Duration::from_millis(500), answer: Duration::from_secs(6) };

/// How a witness is run.
#[derive(Clone, Copy, Debug)]
pub struct WitnessOptions {
    /// What it may do by itself.
    pub mode: Mode,
    /// End when standard input ends: whoever holds the other end of the pipe is gone then.
    pub exit_on_stdin_eof: bool,
}

/// A storage node to ask.
struct Place {
    region: usize,
    position: usize,
    id: u16,
    deployment: Deployment,
}

/// Runs the witness in `folder` until SIGTERM, SIGINT or SIGHUP.
pub fn run(folder: &WitnessFolder, options: WitnessOptions) -> Result<(), ClientError> {
    let ending = signals::catch("twinkeep witness")?;
    if !folder.exists() {
        let problem = format!("{} holds no witness", folder.root().display());
        return Err(ClientError::state(problem, "make one with `twinkeep witness make`"));
    }
    let _lock = lock(&folder.lock())?;
    let memory = Memory::read(&folder.memory())?;
    let descriptors = [descriptor(folder, 0)?, descriptor(folder, 1)?];
    let places = places(folder, &descriptors)?;
    let sessions: Result<Vec<(Place, Session)>, ClientError> = places
        .into_iter()
        .map(|place| Session::new(&place.deployment, PATIENCE).map(|session| (place, session)))
        .collect();
    let sessions = sessions?;
    let regions = descriptors.each_ref().map(|descriptor| {
        (descriptor.region.clone(), descriptor.nodes.iter().map(|node| node.id.0).collect())
    });
    let judge = Mutex::new(Judge::new(options.mode, regions, memory, boot_time()));
    if options.exit_on_stdin_eof {
        end_with_input(Arc::clone(&ending));
    }
    let names = descriptors.map(|descriptor| descriptor.region);
    let fields = [("regions", json!(names)), ("mode", json!(options.mode))];
    say(Level::Info, "witness begins", &fields);
    notify("READY=1");
    let seat = Seat { folder, mode: options.mode, names: &names, judge: &judge, ending: &ending };
    let asked: Vec<(usize, Deployment)> =
        sessions.iter().map(|(place, _)| (place.region, place.deployment.clone())).collect();
    std::thread::scope(|scope| {
        for (place, session) in sessions {
            let seat = &seat;
            scope.spawn(move || seat.ask(&place, session));
        }
        seat.preside(scope, &asked);
    });
    notify("STOPPING=1");
    say(Level::Info, "witness ends", &[]);
    Ok(())
}

/// A time that goes on while the machine sleeps, and that nobody sets.
fn boot_time() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

struct Seat<'a> {
    folder: &'a WitnessFolder,
    mode: Mode,
    names: &'a [String; 2],
    judge: &'a Mutex<Judge>,
    ending: &'a AtomicBool,
}

impl Seat<'_> {
    fn judge(&self) -> MutexGuard<'_, Judge> {
        self.judge.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }

    /// Asks one node until the end.
    fn ask(&self, place: &Place, mut session: Session) {
        let mut was_heard = None;
        while !self.is_ending() {
            let began = Instant::now();
            let (epoch, stamp) = self.judge().question(place.region, place.position);
            let answer = lease(&mut session, epoch, stamp);
            let is_heard = answer.is_ok();
            let problem = answer.as_ref().err().map(ToString::to_string);
            {
                let mut judge = self.judge();
                match answer {
                    // the time after the lock was waited for: a stamp counts since no earlier
                    Ok(report) => judge.heard(place.region, place.position, report, boot_time()),
                    Err(_) => judge.unanswered(place.region, place.position),
                }
            }
            if was_heard != Some(is_heard) {
                let node = format!("{}/{}", self.names[place.region], place.id);
                match problem {
                    None => say(Level::Info, "node answers", &[("node", json!(node))]),
                    Some(error) => {
                        let fields = [("node", json!(node)), ("error", json!(error))];
                        say(Level::Warn, "node does not answer", &fields);
                    }
                }
                was_heard = Some(is_heard);
            }
            while began.elapsed() < PERIOD && !self.is_ending() {
                sleep(TICK.min(PERIOD.saturating_sub(began.elapsed())));
            }
        }
    }

    /// Judges until the end.
    fn preside<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>, asked: &'scope [(usize, Deployment)]) {
        let mut said: Option<(Standing, Option<String>, u64)> = None;
        let mut since = system_now();
        let mut written: Option<(Instant, WitnessStatus)> = None;
        let (mut memory_is_well, mut status_is_well) = (true, true);
        while !self.is_ending() {
            let order = self.judge().judge(boot_time());
            self.remember(&mut memory_is_well);
            if let Some(relief) = order {
                scope.spawn(move || self.relieve(&relief, asked));
            }
            let now = {
                let judge = self.judge();
                (judge.standing(), judge.reason().map(str::to_owned), judge.epoch())
            };
            if said.as_ref() != Some(&now) {
                if said.as_ref().is_none_or(|(standing, ..)| *standing != now.0) {
                    since = system_now();
                }
                self.tell(&now);
                said = Some(now);
            }
            let status = self.status(since);
            let is_due = |(at, before): &(Instant, WitnessStatus)| {
                at.elapsed() >= STATUS_EVERY || !status.says_the_same(before)
            };
            if written.as_ref().is_none_or(is_due) {
                self.write_status(&status, &mut status_is_well);
                notify("WATCHDOG=1");
                written = Some((Instant::now(), status));
            }
            sleep(TICK);
        }
    }

    /// Writes down what must not be forgotten. Until that is done, nothing that rests on it is asked for.
    fn remember(&self, was_well: &mut bool) {
        let Some(memory) = self.judge().to_remember().cloned() else { return };
        let written = memory.write(&self.folder.memory());
        note(&written, was_well, "memory is not written: no switch is asked for");
        let mut judge = self.judge();
        // what changed in the meantime is written next
        if written.is_ok() && judge.to_remember() == Some(&memory) {
            judge.remembered();
        }
    }

    fn tell(&self, (standing, reason, epoch): &(Standing, Option<String>, u64)) {
        let level = match standing {
            Standing::Stuck => Level::Error,
            Standing::Due | Standing::Withholding | Standing::Switched => Level::Warn,
            Standing::Watching if reason.is_some() => Level::Warn,
            Standing::Watching => Level::Info,
        };
        let fields = [("state", json!(standing)), ("reason", json!(reason)), ("epoch", json!(epoch))];
        say(level, "judgement", &fields);
    }

    /// Asks one process of the standby after another, until one has asked its groups.
    fn relieve(&self, relief: &Relief, asked: &[(usize, Deployment)]) {
        let fields = [("to", json!(relief.to)), ("epoch", json!(relief.epoch))];
        say(Level::Warn, "switch asked for", &fields);
        let request = AdminRequest::PairStep { step: PairChange::Relieve, epoch: relief.epoch };
        for (_, deployment) in asked.iter().filter(|(region, _)| self.names[*region] == relief.to) {
            if self.is_ending() {
                break;
            }
            let answer =
                Session::new(deployment, RELIEF_PATIENCE).and_then(|mut session| session.ask(&request));
            match answer {
                Ok(_) => break,
                Err(error) => say(Level::Warn, "switch refused", &[("error", json!(error.to_string()))]),
            }
        }
        self.judge().relief_asked();
    }

    fn write_status(&self, status: &WitnessStatus, was_well: &mut bool) {
        let text = serde_json::to_string(status).expect("numbers and names always have a JSON form");
        let written = files::write(&self.folder.status(), text.as_bytes());
        note(&written, was_well, "status is not written");
    }

    fn status(&self, since: UnixMillis) -> WitnessStatus {
        let (judge, now) = (self.judge(), boot_time());
        let regions = [0, 1].into_iter().map(|region| {
            let seen = judge.seen(region, now);
            let role = match () {
                () if seen.is_primary() && seen.epoch < judge.epoch() => "relieved",
                () if seen.is_primary() => "primary",
                () if seen.is_standby() => "standby",
                // fenced, and not let in again yet
                () if seen.is_whole() && seen.epoch < judge.epoch() => "relieved",
                () if seen.is_whole() => "mixed",
                () => "unheard",
            };
            let (leases, nodes) = judge.leases(region);
            RegionStatus {
                region: self.names[region].clone(),
                role: role.to_owned(),
                nodes,
                answered: seen.answered,
                epoch: seen.epoch,
                leases,
            }
        });
        WitnessStatus {
            schema_version: 1,
            is_running: true,
            pid: std::process::id(),
            mode: self.mode,
            state: judge.standing(),
            since,
            reason: judge.reason().map(str::to_owned),
            epoch: judge.epoch(),
            relief: judge.relief().map(|(relief, _)| relief.clone()),
            regions: regions.collect(),
            updated_at: system_now(),
        }
    }
}

/// Says that something fails, and that it works again, once each.
fn note(done: &Result<(), ClientError>, was_well: &mut bool, message: &str) {
    if let Err(error) = done
        && *was_well
    {
        say(Level::Error, message, &[("error", json!(error.to_string()))]);
    }
    *was_well = done.is_ok();
}

fn lease(session: &mut Session, epoch: u64, stamp: Option<u64>) -> Result<LeaseReport, ClientError> {
    match session.ask(&AdminRequest::Lease { epoch, stamp })? {
        AdminResponse::Lease(report) => Ok(report),
        _ => Err(ClientError::state("the answer is not one to a lease", "its log says more")),
    }
}

fn descriptor(folder: &WitnessFolder, region: usize) -> Result<RegionDescriptor, ClientError> {
    read_descriptor(&folder.identity(region).join("region.toml"))
}

fn places(folder: &WitnessFolder, regions: &[RegionDescriptor; 2]) -> Result<Vec<Place>, ClientError> {
    let nodes = regions.iter().enumerate().flat_map(|(region, descriptor)| {
        descriptor.nodes.iter().enumerate().map(move |(position, node)| (region, position, node))
    });
    nodes
        .map(|(region, position, node)| {
            let deployment = Deployment::at(&node.peer_address, &folder.identity(region))?;
            Ok(Place { region, position, id: node.id.0, deployment })
        })
        .collect()
}

/// Held as long as the file is open, so that no crash can leave it behind.
fn lock(path: &Path) -> Result<File, ClientError> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    let file = file.map_err(ClientError::file("opening", path))?;
    // whoever asks for the status holds it for a moment
    for _ in 0..20 {
        if file.try_lock().is_ok() {
            return Ok(file);
        }
        sleep(TICK);
    }
    let problem = format!("another witness runs in {}", path.parent().unwrap_or(path).display());
    Err(ClientError::state(problem, "one witness has one folder; `twinkeep witness status DIR` shows it"))
}

/// Whoever holds the other end of standard input is gone when it ends.
fn end_with_input(ending: Arc<AtomicBool>) {
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while std::io::stdin().read(&mut buffer).is_ok_and(|count| count > 0) {}
        ending.store(true, Ordering::Relaxed);
    });
}
