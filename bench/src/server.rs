//! Server processes that this benchmark started: ended, and only they, when it is done.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::connection::{Authority, Connection};
use crate::error::BenchError;
use crate::process::is_running;
use crate::scratch::Scratch;
use crate::target::Target;

/// Time a server gets between SIGTERM and SIGKILL: flushing 16 MiB × 64 takes a few seconds.
const END_TIMEOUT: Duration = Duration::from_secs(20);
/// Pause between looks at a process or a port.
const POLL: Duration = Duration::from_millis(20);
/// Lines of a log quoted when a server ends early.
const LOG_LINES: usize = 8;

/// A child process; ended when dropped.
pub struct ServerProcess {
    program: String,
    child: Child,
}

impl ServerProcess {
    /// Takes over a started child.
    pub fn new(program: &str, child: Child) -> Self {
        Self { program: program.to_owned(), child }
    }

    /// Starts a program with its output in `NAME.log` of the scratch folder, which is also where it runs.
    pub fn start(
        scratch: &Scratch,
        name: &str,
        program: &Path,
        arguments: &[String],
    ) -> Result<Self, BenchError> {
        let log_path = scratch.path().join(format!("{name}.log"));
        let log = File::create(&log_path).map_err(BenchError::file("create", &log_path))?;
        let errors = log.try_clone().map_err(BenchError::file("open", &log_path))?;
        let child = Command::new(program)
            .args(arguments)
            .current_dir(scratch.path())
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .map_err(|error| BenchError::Process {
                program: program.display().to_string(),
                detail: error.to_string(),
            })?;
        Ok(Self::new(name, child))
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it accepts connections.
    pub async fn listens(
        &self,
        authority: &Authority,
        limit: Duration,
        scratch: &Scratch,
    ) -> Result<(), BenchError> {
        let begin = Instant::now();
        while begin.elapsed() < limit {
            if Connection::open(authority).await.is_ok() {
                return Ok(());
            }
            if !is_running(self.pid()) {
                break;
            }
            tokio::time::sleep(POLL).await;
        }
        let log = std::fs::read_to_string(scratch.path().join(format!("{}.log", self.program)));
        let log = log.unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(LOG_LINES)..].join(" | ");
        let detail = format!("does not listen on {}: {last}", authority.as_str());
        Err(BenchError::Process { program: self.program.clone(), detail })
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        if let Some(pid) = i32::try_from(self.pid()).ok().and_then(Pid::from_raw) {
            // It may have ended in between; the wait below notices.
            let _ = kill_process(pid, Signal::TERM);
        }
        let begin = Instant::now();
        while begin.elapsed() < END_TIMEOUT {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            std::thread::sleep(POLL);
        }
        eprintln!("{} did not end within {} s and is killed", self.program, END_TIMEOUT.as_secs());
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A server under test with everything that must outlive it.
pub struct Server {
    /// How to reach and measure it.
    pub target: Target,
    // Fields are dropped in this order: the last started ends first, the folder goes last.
    processes: Vec<ServerProcess>,
    scratch: Option<Scratch>,
}

impl Server {
    /// A server of processes in the order they were started.
    pub fn new(target: Target, mut processes: Vec<ServerProcess>, scratch: Scratch) -> Self {
        processes.reverse();
        Self { target, processes, scratch: Some(scratch) }
    }

    /// A server that somebody else runs.
    pub fn foreign(target: Target) -> Self {
        Self { target, processes: Vec::new(), scratch: None }
    }

    /// The folder of its data, when it is ours.
    pub fn scratch(&self) -> Option<&Scratch> {
        self.scratch.as_ref()
    }

    /// Fails when the disk is too full for another cell, or a server process has ended.
    pub fn check(&self) -> Result<(), BenchError> {
        let started = self.processes.iter().map(ServerProcess::pid);
        let mut all = self.target.processes.iter().copied().chain(started);
        if let Some(pid) = all.find(|pid| !is_running(*pid)) {
            let detail = format!("process {pid} has ended");
            return Err(BenchError::Process { program: self.target.name.clone(), detail });
        }
        self.scratch.as_ref().map_or(Ok(()), Scratch::check_space)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_server_process_is_gone() {
        let parent = tempfile::tempdir().unwrap();
        let scratch = Scratch::new(Some(parent.path()), "server").unwrap();
        let process =
            ServerProcess::start(&scratch, "sleeper", Path::new("sleep"), &["600".to_owned()]).unwrap();
        let pid = process.pid();
        assert!(is_running(pid));
        drop(process);
        assert!(!is_running(pid));
    }
}
