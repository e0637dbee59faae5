//! Runs the processes of a development region: starts them, starts them again, and ends them with itself.
//!
//! Every child has the reading end of a pipe as its standard input; when the supervisor is gone, however that came,
//! the pipe ends and so do they. Children are in process groups of their own, so that Ctrl-C reaches the supervisor only.

use super::process::wait_until;
use super::pseudo::PseudoReady;
use super::{
    Credentials, DevFolder, DevForward, DevOptions, DevReady, Member, MemberReady, Ports, ProcessRecord,
    ProcessState, find_store_node, health, prepare, pseudo, setup,
};
use crate::admin::AdminClient;
use crate::deployment::Deployment;
use crate::{ClientError, EXIT_UNREACHABLE, signals};
use rustix::process::Signal;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime};

/// How often children and marks are looked at: a killed gateway is back before a client has tried twice.
const TICK: Duration = Duration::from_millis(10);
/// A fresh region elects its leaders within a second; a crowded machine may need many times that.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// What children get to end by themselves.
const END_TIMEOUT: Duration = Duration::from_secs(10);
/// First and longest wait before a process that ended by itself is started again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// A process that ran this long is well again: its next end waits for the first backoff only.
const WELL_AFTER: Duration = Duration::from_secs(30);
/// A log is set aside at start when it is longer than this, bytes; one older log is kept.
const LOG_BYTES_MAX: u64 = 16 << 20;
/// The end of a log that is searched for why a process does not start, bytes: some hundred lines.
const LOG_TAIL_BYTES: usize = 64 << 10;
/// Starts that may fail in a row before the region has ever been ready.
const FIRST_STARTS_MAX: u32 = 4;

/// Runs a development region until SIGTERM, SIGINT or SIGHUP; `on_ready` is called once, when it serves.
pub fn run(
    options: &DevOptions,
    on_ready: impl FnOnce(&DevReady) -> Result<(), ClientError>,
) -> Result<(), ClientError> {
    let ending = signals::catch("twinkeep dev")?;
    let data = std::path::absolute(&options.data).map_err(ClientError::file("finding", &options.data))?;
    let options = DevOptions { data, ..options.clone() };
    // before anything is made: what is refused leaves nothing behind
    let ports = setup::judge(&options)?.ports()?;
    crate::files::make_folder(&options.data)?;
    let lock = lock(&DevFolder::new(&options.data))?;
    let program = match find_store_node(options.store_node.as_deref()) {
        // the build was told to end, and this with it
        Err(_) if ending.load(Ordering::Relaxed) => return Ok(()),
        found => found?,
    };
    let service = match options.pseudo.then(|| pseudo::Service::find(&options.data, ports)).transpose() {
        Err(_) if ending.load(Ordering::Relaxed) => return Ok(()),
        found => found?,
    };
    let began = Instant::now();
    let (folder, _) = prepare(&options)?;
    let members: Vec<Member> = setup::members(&folder)?.into_iter().map(|(member, _)| member).collect();
    end_leftovers(&folder, &members)?;
    ports.check_free(&members)?;
    if let Some(own) = ProcessRecord::of(std::process::id()) {
        own.write(&folder.supervisor())?;
    }
    let mut supervisor = Supervisor::new(folder, ports, program, ending, &members);
    supervisor.forward = options.forward;
    supervisor.service = service;
    let outcome = supervisor.serve(began, on_ready);
    supervisor.end_all();
    drop(lock);
    outcome
}

struct Supervisor {
    folder: DevFolder,
    ports: Ports,
    program: PathBuf,
    ending: Arc<AtomicBool>,
    children: Vec<Supervised>,
    /// When the descriptor was last written, as far as it was read.
    described: Option<SystemTime>,
    /// Where the gateway passes requests on to.
    forward: Option<DevForward>,
    /// The pseudonymisation service that is to run beside the region.
    service: Option<pseudo::Service>,
}

struct Supervised {
    member: Member,
    running: Option<Running>,
    start_at: Instant,
    backoff: Duration,
    failures: u32,
    was_held: bool,
}

struct Running {
    child: Child,
    record: ProcessRecord,
    began: Instant,
}

impl Supervisor {
    fn new(
        folder: DevFolder,
        ports: Ports,
        program: PathBuf,
        ending: Arc<AtomicBool>,
        members: &[Member],
    ) -> Self {
        let children = members.iter().map(|member| Supervised::new(*member)).collect();
        let described = modified(&folder);
        Self { folder, ports, program, ending, children, described, forward: None, service: None }
    }

    /// `began` is for the report only: what went before this call takes nothing off the time that processes get.
    fn serve(
        &mut self,
        began: Instant,
        on_ready: impl FnOnce(&DevReady) -> Result<(), ClientError>,
    ) -> Result<(), ClientError> {
        let deadline = Instant::now() + READY_TIMEOUT;
        if !self.wait_ready(deadline)? {
            return Ok(());
        }
        let deployment = Deployment::find(self.folder.root())?;
        let client = AdminClient::new(&deployment)?;
        let Some(credentials) = self.first_credentials(&client, deadline)? else { return Ok(()) };
        let ready = self.describe(&deployment, &credentials, began);
        let Some(service) = self.service.take() else {
            on_ready(&ready)?;
            return self.go_on(|| false);
        };
        let ending = Arc::clone(&self.ending);
        std::thread::scope(|scope| {
            let (told, said) = mpsc::channel();
            let (region, until) = (&ready, &*ending);
            scope.spawn(move || service.run(region, until, |service| drop(told.send(service))));
            let outcome = self.serve_with(&ready, &said, on_ready);
            // whatever ended the region, the service does not go on alone
            ending.store(true, Ordering::Relaxed);
            outcome
        })
    }

    /// Serves while the pseudonymisation service is made beside, and says both once it runs.
    fn serve_with(
        &mut self,
        ready: &DevReady,
        said: &mpsc::Receiver<Result<PseudoReady, ClientError>>,
        on_ready: impl FnOnce(&DevReady) -> Result<(), ClientError>,
    ) -> Result<(), ClientError> {
        let mut service = None;
        self.go_on(|| {
            // one that went without a word was told to end
            service = said.try_recv().ok();
            service.is_some()
        })?;
        let Some(service) = service else { return Ok(()) };
        on_ready(&DevReady { pseudo: Some(service?), ..ready.clone() })?;
        self.go_on(|| false)
    }

    /// Keeps the processes until the end, or until `is_over`.
    fn go_on(&mut self, mut is_over: impl FnMut() -> bool) -> Result<(), ClientError> {
        while !self.ending.load(Ordering::Relaxed) && !is_over() {
            self.follow_descriptor()?;
            self.tick()?;
            std::thread::sleep(TICK);
        }
        Ok(())
    }

    /// Runs until the gateway says it is ready; false when it was told to end before.
    fn wait_ready(&mut self, deadline: Instant) -> Result<bool, ClientError> {
        let gateway = self.ports.health(Member::Gateway);
        loop {
            if self.ending.load(Ordering::Relaxed) {
                return Ok(false);
            }
            self.tick()?;
            if let Some(broken) = self.children.iter().find(|child| child.failures >= FIRST_STARTS_MAX) {
                return Err(self.does_not_start(broken.member));
            }
            let reason = match health::get(gateway, "/health/ready") {
                Some((200, _)) => return Ok(true),
                Some((_, reasons)) if !reasons.trim().is_empty() => reasons.trim().to_owned(),
                Some((code, _)) => format!("its health at {gateway} is {code} without a reason"),
                None => format!("nothing answers at {gateway} yet"),
            };
            if Instant::now() > deadline {
                let seconds = READY_TIMEOUT.as_secs();
                let problem = format!("the gateway is not ready after {seconds} s: {reason}");
                let logs = self.folder.root().join("logs");
                return Err(ClientError::state(problem, format!("the logs say why: {}", logs.display())));
            }
            std::thread::sleep(TICK);
        }
    }

    /// The first access key; a region that is ready may still be busy electing the leader that makes it.
    fn first_credentials(
        &mut self,
        client: &AdminClient,
        deadline: Instant,
    ) -> Result<Option<Credentials>, ClientError> {
        while !self.ending.load(Ordering::Relaxed) {
            match Credentials::ensure(&self.folder, client) {
                Err(error) if error.exit_code() == EXIT_UNREACHABLE && Instant::now() < deadline => {}
                done => return done.map(Some),
            }
            self.tick()?;
            std::thread::sleep(TICK);
        }
        Ok(None)
    }

    /// Nodes that were added are started, nodes that were removed are ended.
    fn follow_descriptor(&mut self) -> Result<(), ClientError> {
        let now = modified(&self.folder);
        if now == self.described {
            return Ok(());
        }
        let members = setup::members(&self.folder)?;
        self.described = now;
        for (member, incarnation) in &members {
            setup::prepare_member(&self.folder, self.ports, *member, *incarnation, self.forward)?;
            if !self.children.iter().any(|child| child.member == *member) {
                self.children.push(Supervised::new(*member));
            }
        }
        let (stay, go) = std::mem::take(&mut self.children)
            .into_iter()
            .partition(|child| members.iter().any(|(member, _)| *member == child.member));
        self.children = stay;
        end(&self.folder, go);
        Ok(())
    }

    /// Looks at every child once: reaps, starts, leaves alone.
    fn tick(&mut self) -> Result<(), ClientError> {
        for position in 0..self.children.len() {
            self.reap(position)?;
            let member = self.children[position].member;
            let held = self.folder.held(member).exists();
            let child = &mut self.children[position];
            if child.was_held && !held {
                // let go by hand: at once
                child.start_at = Instant::now();
            }
            child.was_held = held;
            if child.running.is_none() && !held && Instant::now() >= child.start_at {
                let running = spawn(&self.folder, &self.program, member)?;
                self.children[position].running = Some(running);
            }
        }
        Ok(())
    }

    fn reap(&mut self, position: usize) -> Result<(), ClientError> {
        let child = &mut self.children[position];
        let Some(running) = &mut child.running else { return Ok(()) };
        let status = running.child.try_wait().map_err(ClientError::file("waiting for", &self.program))?;
        let Some(status) = status else { return Ok(()) };
        let lived = running.began.elapsed();
        child.running = None;
        if self.folder.held(child.member).exists() {
            return Ok(());
        }
        if lived >= WELL_AFTER {
            child.backoff = BACKOFF.0;
            child.failures = 0;
        }
        // a gateway that had served is missed by every client: the first time, it does not wait
        let at_once = child.member == Member::Gateway && child.failures == 0;
        let wait = if at_once { Duration::ZERO } else { child.backoff };
        child.failures += 1;
        child.backoff = (child.backoff * 2).min(BACKOFF.1);
        child.start_at = Instant::now() + wait;
        let name = child.member.name();
        eprintln!("twinkeep: {name} {}; starting it again in {} ms", how_it_ended(status), wait.as_millis());
        Ok(())
    }

    fn describe(&self, deployment: &Deployment, credentials: &Credentials, began: Instant) -> DevReady {
        let nodes = self.children.iter().filter_map(|child| match child.member {
            Member::Node(id) => Some(self.describe_member(child.member, id)),
            Member::Gateway => None,
        });
        DevReady {
            schema_version: 1,
            endpoint: format!("http://{}", self.ports.s3_plain()),
            endpoint_tls: format!("https://{}", self.ports.s3_tls()),
            ca_file: self.folder.region().authority_certificate(),
            access_key: credentials.access_key.clone(),
            secret_key: credentials.secret_key.clone(),
            region: deployment.descriptor.region.clone(),
            data: self.folder.root().to_owned(),
            supervisor_pid: std::process::id(),
            gateway: self.describe_member(Member::Gateway, 1),
            nodes: nodes.collect(),
            started_in_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            pseudo: None,
        }
    }

    fn does_not_start(&self, member: Member) -> ClientError {
        let log = self.folder.log(member);
        let text = std::fs::read(&log).unwrap_or_default();
        let cause = cause(&String::from_utf8_lossy(&text[text.len().saturating_sub(LOG_TAIL_BYTES)..]));
        let problem = format!("{} does not start: {cause}", member.name());
        ClientError::state(problem, format!("its log is {}", log.display()))
    }

    fn describe_member(&self, member: Member, id: u16) -> MemberReady {
        let child = self.children.iter().find(|child| child.member == member);
        MemberReady {
            id,
            pid: child.and_then(|child| child.running.as_ref()).map_or(0, |running| running.record.pid),
            data: self.folder.data(member),
            log: self.folder.log(member),
            peer_address: self.ports.peer(member).to_string(),
            health_address: self.ports.health(member).to_string(),
        }
    }

    fn end_all(&mut self) {
        end(&self.folder, std::mem::take(&mut self.children));
        let _ = std::fs::remove_file(self.folder.supervisor());
    }
}

impl Supervised {
    fn new(member: Member) -> Self {
        let start_at = Instant::now();
        Self { member, running: None, start_at, backoff: BACKOFF.0, failures: 0, was_held: false }
    }
}

/// Why a process ended, from the end of its log: what it said last that is not news of its work.
fn cause(log: &str) -> String {
    let is_news = |line: &&str| {
        ["INFO", "DEBUG", "TRACE"].iter().any(|level| line.contains(&format!("\"level\":\"{level}\"")))
    };
    let said: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
    // what a process ends with is text; before it, the same stands in the log as an object
    let last = said.iter().rev().find(|line| !line.starts_with('{'));
    let last = last.or_else(|| said.iter().rev().find(|line| !is_news(line))).or(said.last());
    last.map_or_else(|| "it said nothing".to_owned(), |line| line.trim().to_owned())
}

fn modified(folder: &DevFolder) -> Option<SystemTime> {
    std::fs::metadata(folder.region().descriptor()).and_then(|file| file.modified()).ok()
}

/// Ends children: SIGTERM, then SIGKILL for those that do not listen in time.
fn end(folder: &DevFolder, mut children: Vec<Supervised>) {
    for running in children.iter().filter_map(|child| child.running.as_ref()) {
        let _ = running.record.signal(Signal::TERM);
        // one that is halted could not hear it
        let _ = running.record.signal(Signal::CONT);
    }
    let mut running: Vec<&mut Child> = children
        .iter_mut()
        .filter_map(|child| child.running.as_mut())
        .map(|running| &mut running.child)
        .collect();
    let ended =
        wait_until(END_TIMEOUT, || running.iter_mut().all(|child| matches!(child.try_wait(), Ok(Some(_)))));
    for child in running {
        if !ended {
            let _ = child.kill();
        }
        let _ = child.wait();
    }
    for child in &children {
        let _ = std::fs::remove_file(folder.record(child.member));
    }
}

/// Held as long as the file is open, so that no crash can leave it behind.
fn lock(folder: &DevFolder) -> Result<File, ClientError> {
    let path = folder.lock();
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = file.map_err(ClientError::file("opening", &path))?;
    if file.try_lock().is_err() {
        let holder = ProcessRecord::read(&folder.supervisor())
            .map_or_else(String::new, |it| format!(" (pid {})", it.pid));
        let problem = format!("another `twinkeep dev` runs on {}{holder}", folder.root().display());
        return Err(ClientError::state(
            problem,
            "end it, or use another folder with --data DIR --port-base N",
        ));
    }
    Ok(file)
}

/// Ends what a supervisor that was killed could not end (children halted by SIGSTOP do not see their pipe close), and
/// forgets what it held: every process starts anew.
fn end_leftovers(folder: &DevFolder, members: &[Member]) -> Result<(), ClientError> {
    for &member in members {
        if let Some(record) = ProcessRecord::read(&folder.record(member)) {
            record.signal(Signal::KILL)?;
            record.wait_for(ProcessState::Ended, END_TIMEOUT);
        }
        let _ = std::fs::remove_file(folder.record(member));
        let _ = std::fs::remove_file(folder.held(member));
    }
    Ok(())
}

fn spawn(folder: &DevFolder, program: &Path, member: Member) -> Result<Running, ClientError> {
    let log_path = folder.log(member);
    if std::fs::metadata(&log_path).is_ok_and(|log| log.len() > LOG_BYTES_MAX) {
        let _ = std::fs::rename(&log_path, log_path.with_extension("log.old"));
    }
    let log = OpenOptions::new().append(true).create(true).mode(0o600).open(&log_path);
    let log = log.map_err(ClientError::file("opening", &log_path))?;
    let output = log.try_clone().map_err(ClientError::file("opening", &log_path))?;
    let mut child = Command::new(program)
        .arg("--config")
        .arg(folder.config(member))
        .current_dir(folder.member(member))
        .stdin(Stdio::piped())
        .stdout(output)
        .stderr(log)
        .process_group(0)
        .spawn()
        .map_err(ClientError::file("running", program))?;
    let Some(record) = ProcessRecord::of(child.id()) else {
        let _ = child.kill();
        return Err(ClientError::state("/proc does not show the processes of this machine", "mount /proc"));
    };
    record.write(&folder.record(member))?;
    Ok(Running { child, record, began: Instant::now() })
}

fn how_it_ended(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

#[cfg(test)]
#[path = "supervisor/tests.rs"]
mod tests;
