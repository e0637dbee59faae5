//! Keeps a process running beside the regions of a development folder: starts it, starts it again, and ends it.
//!
//! The witness of a pair and the pseudonymisation service are kept so. The process has the reading end of a pipe as its
//! standard input and ends with it, so that it outlives nobody who was killed.

use super::control::Process;
use super::process::wait_until;
use super::{ProcessRecord, ProcessState};
use crate::{ClientError, files};
use rustix::process::Signal;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How often the child and its marks are looked at.
const TICK: Duration = Duration::from_millis(20);
/// First and longest wait before a process that ended by itself is started again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// One that ran this long is well again.
const WELL_AFTER: Duration = Duration::from_secs(30);
/// What it gets to end by itself: a question to a halted node takes a second and a half.
const END_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a first start may take until it counts as none.
const START_TIMEOUT: Duration = Duration::from_secs(5);
/// The log is set aside at start when it is longer than this, bytes.
const LOG_BYTES_MAX: u64 = 16 << 20;

/// How a process is started.
pub(super) struct Start {
    /// What it is called in messages, such as `the witness`.
    pub(super) title: &'static str,
    /// Its program.
    pub(super) program: PathBuf,
    /// Its arguments.
    pub(super) arguments: Vec<OsString>,
    /// Where it works.
    pub(super) folder: PathBuf,
    /// Further variables of its environment.
    pub(super) environment: &'static [(&'static str, &'static str)],
}

/// Keeps one process.
pub(super) struct Keeper {
    start: Start,
    process: Process,
    /// How often it ended by itself.
    ended: AtomicU32,
}

impl Keeper {
    /// Makes room for its files, and ends what a supervisor that was killed could not end.
    pub(super) fn begin(start: Start, process: Process) -> Result<Self, ClientError> {
        for path in [&process.record, &process.log].into_iter().filter_map(|path| path.parent()) {
            files::make_folder(path)?;
        }
        end_leftover(&process)?;
        if let Some(own) = ProcessRecord::of(std::process::id()) {
            own.write(&process.supervisor)?;
        }
        Ok(Self { start, process, ended: AtomicU32::new(0) })
    }

    /// Runs it until the end.
    pub(super) fn keep(&self, ending: &AtomicBool) {
        let title = self.start.title;
        let (mut start_at, mut backoff) = (Instant::now(), BACKOFF.0);
        let mut running: Option<(Child, Instant)> = None;
        while !ending.load(Ordering::Relaxed) {
            let is_held = self.process.held.exists();
            if let Some((child, began)) = &mut running
                && !matches!(child.try_wait(), Ok(None))
            {
                backoff =
                    if began.elapsed() >= WELL_AFTER { BACKOFF.0 } else { (backoff * 2).min(BACKOFF.1) };
                start_at = Instant::now() + if is_held { Duration::ZERO } else { backoff };
                running = None;
                if !is_held {
                    self.ended.fetch_add(1, Ordering::Relaxed);
                    let log = self.process.log.display();
                    eprintln!("twinkeep: {title} ended; starting it again ({log} says why)");
                }
            }
            if running.is_none() && !is_held && Instant::now() >= start_at {
                match self.spawn() {
                    Ok(child) => running = Some((child, Instant::now())),
                    Err(error) => {
                        eprintln!("twinkeep: {title} does not start: {error}");
                        self.ended.fetch_add(1, Ordering::Relaxed);
                        start_at = Instant::now() + BACKOFF.1;
                    }
                }
            }
            std::thread::sleep(TICK);
        }
        if let Some((child, _)) = running {
            self.end(child);
        }
        let _ = std::fs::remove_file(&self.process.supervisor);
    }

    /// Its pid once it runs; none when it does not start in time.
    pub(super) fn started(&self) -> Option<u32> {
        let mut record = None;
        wait_until(START_TIMEOUT, || {
            record = ProcessRecord::read(&self.process.record);
            record.is_some_and(|record| record.state() != ProcessState::Ended)
        });
        record.filter(|record| record.state() != ProcessState::Ended).map(|record| record.pid)
    }

    /// How often it ended by itself.
    pub(super) fn ended(&self) -> u32 {
        self.ended.load(Ordering::Relaxed)
    }

    fn spawn(&self) -> Result<Child, ClientError> {
        let path = &self.process.log;
        if std::fs::metadata(path).is_ok_and(|log| log.len() > LOG_BYTES_MAX) {
            let _ = std::fs::rename(path, path.with_extension("log.old"));
        }
        let log = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
        let log = log.map_err(ClientError::file("opening", path))?;
        let Start { program, arguments, folder, environment, .. } = &self.start;
        let mut child = Command::new(program)
            .args(arguments)
            .envs(environment.iter().copied())
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .process_group(0)
            .spawn()
            .map_err(ClientError::file("running", program))?;
        let recorded = ProcessRecord::of(child.id())
            .ok_or_else(|| {
                ClientError::state("/proc does not show the processes of this machine", "mount /proc")
            })
            .and_then(|record| record.write(&self.process.record));
        if let Err(error) = recorded {
            let _ = child.kill();
            let _ = child.wait();
            return Err(error);
        }
        Ok(child)
    }

    fn end(&self, mut child: Child) {
        if let Some(record) = ProcessRecord::read(&self.process.record) {
            let _ = record.signal(Signal::TERM);
            // one that is halted could not hear it
            let _ = record.signal(Signal::CONT);
        }
        if !wait_until(END_TIMEOUT, || matches!(child.try_wait(), Ok(Some(_)))) {
            let _ = child.kill();
        }
        let _ = child.wait();
        let _ = std::fs::remove_file(&self.process.record);
    }
}

/// Ends what a supervisor that was killed could not end, and forgets that it was held.
pub(super) fn end_leftover(process: &Process) -> Result<(), ClientError> {
    if let Some(record) = ProcessRecord::read(&process.record) {
        record.signal(Signal::KILL)?;
        record.wait_for(ProcessState::Ended, END_TIMEOUT);
    }
    let _ = std::fs::remove_file(&process.record);
    let _ = std::fs::remove_file(&process.held);
    Ok(())
}
