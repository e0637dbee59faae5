//! Breaking and mending a running development region by hand: kill, stop, start.
//!
//! Works through the files in `run/`: the supervisor writes pids there and starts whatever is not marked as held.
//! Every action may be repeated; the second time changes nothing.

use super::process::wait_until;
use super::{DevFolder, Member, ProcessRecord, ProcessState, setup};
use crate::{ClientError, files};
use rustix::process::Signal;
use serde::Serialize;
use std::path::PathBuf;
use std::time::Duration;

/// A killed process is gone, and a started one has a pid, long before this.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A process that a supervisor keeps, by its files.
#[derive(Clone, Debug)]
pub struct Process {
    /// `node-1`, `gateway`, `witness` or `pseudo`.
    pub name: String,
    /// Where its pid stands.
    pub record: PathBuf,
    /// Marks that it was ended on purpose.
    pub held: PathBuf,
    /// Its log.
    pub log: PathBuf,
    /// Where the pid of its supervisor stands.
    pub supervisor: PathBuf,
    /// How the supervisor is started.
    pub command: String,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ControlReport {
    /// Version of this object.
    pub schema_version: u32,
    /// `node-1`, `gateway`, `witness` or `pseudo`.
    pub member: String,
    /// Its pid, when it has one.
    pub pid: Option<u32>,
    /// What it did before.
    pub before: ProcessState,
    /// What it does now.
    pub now: ProcessState,
}

/// Ends a process with SIGKILL and keeps it ended.
pub fn kill(folder: &DevFolder, member: Member) -> Result<ControlReport, ClientError> {
    Process::find(folder, member)?.kill()
}

/// Halts a process with SIGSTOP.
pub fn stop(folder: &DevFolder, member: Member) -> Result<ControlReport, ClientError> {
    Process::find(folder, member)?.stop()
}

/// Starts a process that was ended, lets one that was halted go on, leaves one that runs alone.
pub fn start(folder: &DevFolder, member: Member) -> Result<ControlReport, ClientError> {
    Process::find(folder, member)?.start()
}

impl Process {
    /// A process of the region in `folder`.
    pub fn find(folder: &DevFolder, member: Member) -> Result<Self, ClientError> {
        let known: Vec<String> = members(folder)?.into_iter().map(Member::name).collect();
        if !known.contains(&member.name()) {
            let problem = format!("there is no {}", member.name());
            return Err(ClientError::usage(problem, format!("this region has {}", known.join(", "))));
        }
        Ok(Self {
            name: member.name(),
            record: folder.record(member),
            held: folder.held(member),
            log: folder.log(member),
            supervisor: folder.supervisor(),
            command: format!("twinkeep dev --data {}", folder.root().display()),
        })
    }

    /// Ends it with SIGKILL and keeps it ended.
    pub fn kill(&self) -> Result<ControlReport, ClientError> {
        let record = ProcessRecord::read(&self.record);
        let before = state(record);
        files::write(&self.held, b"ended by `twinkeep dev kill`\n")?;
        if let Some(record) = record {
            record.signal(Signal::KILL)?;
            // until the supervisor has seen it: a `start` right after must not look like a crash
            let supervised = self.is_supervised();
            if !wait_until(TIMEOUT, || {
                if supervised { record.is_reaped() } else { state(Some(record)) == ProcessState::Ended }
            }) {
                return Err(ClientError::state(
                    format!("{} (pid {}) did not end", self.name, record.pid),
                    "it waits for its disk; look at `dmesg`",
                ));
            }
        }
        Ok(self.report(None, before, ProcessState::Ended))
    }

    /// Halts it with SIGSTOP.
    pub fn stop(&self) -> Result<ControlReport, ClientError> {
        let record = ProcessRecord::read(&self.record);
        let before = state(record);
        let Some(record) = record.filter(|_| before != ProcessState::Ended) else {
            let advice = format!("start it with `twinkeep dev start {}`", self.name);
            return Err(ClientError::state(format!("{} does not run", self.name), advice));
        };
        record.signal(Signal::STOP)?;
        record.wait_for(ProcessState::Stopped, TIMEOUT);
        Ok(self.report(Some(record), before, record.state()))
    }

    /// Starts it if it was ended, lets it go on if it was halted.
    pub fn start(&self) -> Result<ControlReport, ClientError> {
        let record = ProcessRecord::read(&self.record);
        let before = state(record);
        if self.held.exists() {
            std::fs::remove_file(&self.held).map_err(ClientError::file("removing", &self.held))?;
        }
        if let Some(record) = record.filter(|_| before != ProcessState::Ended) {
            record.signal(Signal::CONT)?;
            record.wait_for(ProcessState::Running, TIMEOUT);
            return Ok(self.report(Some(record), before, record.state()));
        }
        if !self.is_supervised() {
            let advice = format!("run `{}`", self.command);
            return Err(ClientError::state("no `twinkeep dev` runs on this folder", advice));
        }
        let mut started = None;
        wait_until(TIMEOUT, || {
            started =
                ProcessRecord::read(&self.record).filter(|new| state(Some(*new)) != ProcessState::Ended);
            started.is_some()
        });
        match started {
            Some(record) => Ok(self.report(Some(record), before, record.state())),
            None => Err(ClientError::state(
                format!("{} did not start", self.name),
                format!("its log says why: {}", self.log.display()),
            )),
        }
    }

    /// What it does just now.
    pub fn look(&self) -> ControlReport {
        let record = ProcessRecord::read(&self.record);
        let now = state(record);
        self.report(record.filter(|_| now != ProcessState::Ended), now, now)
    }

    /// Whether its supervisor runs.
    pub(super) fn is_supervised(&self) -> bool {
        state(ProcessRecord::read(&self.supervisor)) != ProcessState::Ended
    }

    fn report(
        &self,
        record: Option<ProcessRecord>,
        before: ProcessState,
        now: ProcessState,
    ) -> ControlReport {
        ControlReport {
            schema_version: 1,
            member: self.name.clone(),
            pid: record.map(|record| record.pid),
            before,
            now,
        }
    }
}

/// Every process and what it does just now.
pub fn list(folder: &DevFolder) -> Result<Vec<ControlReport>, ClientError> {
    members(folder)?.into_iter().map(|member| Ok(Process::find(folder, member)?.look())).collect()
}

/// Whether a supervisor runs on the folder.
pub fn supervisor_runs(folder: &DevFolder) -> bool {
    state(ProcessRecord::read(&folder.supervisor())) != ProcessState::Ended
}

/// Every process of the region.
pub(super) fn members(folder: &DevFolder) -> Result<Vec<Member>, ClientError> {
    ensure_exists(folder)?;
    Ok(setup::members(folder)?.into_iter().map(|(member, _)| member).collect())
}

pub(super) fn ensure_exists(folder: &DevFolder) -> Result<(), ClientError> {
    if folder.exists() {
        return Ok(());
    }
    let problem = format!("{} holds no development region", folder.root().display());
    Err(ClientError::state(problem, "make one with `twinkeep dev --data DIR`, or name its folder"))
}

fn state(record: Option<ProcessRecord>) -> ProcessState {
    record.map_or(ProcessState::Ended, |record| record.state())
}
