//! Processes by pid and start time, so that a number that was given to another process is never signalled.

use crate::{ClientError, files};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// A process as a file names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessRecord {
    /// Its pid.
    pub pid: u32,
    /// When the kernel began it, in clock ticks since boot.
    pub started_ticks: u64,
}

/// What a process does just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessState {
    /// It runs.
    Running,
    /// SIGSTOP holds it.
    Stopped,
    /// It is gone.
    Ended,
}

impl ProcessRecord {
    /// The record of a process that was just started.
    pub fn of(pid: u32) -> Option<Self> {
        read_stat(pid).map(|(_, started_ticks)| Self { pid, started_ticks })
    }

    /// Reads a record; `None` when there is none or it is cut.
    pub fn read(path: &Path) -> Option<Self> {
        serde_json::from_str(&files::read(path).ok()?).ok()
    }

    /// Writes the record.
    pub fn write(&self, path: &Path) -> Result<(), ClientError> {
        let text = serde_json::to_string(self).expect("two numbers always have a JSON form");
        files::write(path, text.as_bytes())
    }

    /// What the process does just now.
    pub fn state(&self) -> ProcessState {
        match read_stat(self.pid) {
            Some((state, started)) if started == self.started_ticks => match state {
                'T' | 't' => ProcessState::Stopped,
                'Z' | 'X' | 'x' => ProcessState::Ended,
                _ => ProcessState::Running,
            },
            _ => ProcessState::Ended,
        }
    }

    /// Whether its parent has taken note of its end.
    pub(super) fn is_reaped(&self) -> bool {
        read_stat(self.pid).is_none_or(|(_, started)| started != self.started_ticks)
    }

    /// Sends a signal; a process that is gone is no error.
    pub fn signal(&self, signal: Signal) -> Result<(), ClientError> {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        let (Some(pid), true) = (pid, self.state() != ProcessState::Ended) else { return Ok(()) };
        match kill_process(pid, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => {
                let problem = format!("process {} cannot be signalled: {error}", self.pid);
                Err(ClientError::state(problem, "run the command as the user who runs `twinkeep dev`"))
            }
        }
    }

    /// Waits until the process is in `wanted`; whether it got there in time.
    pub fn wait_for(&self, wanted: ProcessState, timeout: Duration) -> bool {
        wait_until(timeout, || self.state() == wanted)
    }
}

/// Asks again and again until the answer is yes or the time is over.
pub(super) fn wait_until(timeout: Duration, mut holds: impl FnMut() -> bool) -> bool {
    // short enough not to be felt, long enough not to be seen in a profile
    const STEP: Duration = Duration::from_millis(5);
    let deadline = Instant::now() + timeout;
    loop {
        if holds() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(STEP);
    }
}

/// State letter and start time of a process.
fn read_stat(pid: u32) -> Option<(char, u64)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // the name before the last parenthesis may hold anything
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?.chars().next()?;
    let started = fields.nth(18)?.parse().ok()?;
    Some((state, started))
}
