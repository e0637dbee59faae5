//! Breaking and mending a running development region by hand: kill, stop, start.
//!
//! Works through the files in `run/`: the supervisor writes pids there and starts whatever is not marked as held.
//! Every action may be repeated; the second time changes nothing.

use super::process::wait_until;
use super::{DevFolder, Member, ProcessRecord, ProcessState, setup};
use crate::{ClientError, files};
use rustix::process::Signal;
use serde::Serialize;
use std::time::Duration;

/// A killed process is gone, and a started one has a pid, long before this.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ControlReport {
    /// Version of this object.
    pub schema_version: u32,
    /// `node-1` or `gateway`.
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
    let record = find(folder, member)?;
    let before = state(record);
    files::write(&folder.held(member), b"ended by `twinkeep dev kill`\n")?;
    if let Some(record) = record {
        record.signal(Signal::KILL)?;
        // until the supervisor has seen it: a `start` right after must not look like a crash
        let supervised = supervisor_runs(folder);
        if !wait_until(TIMEOUT, || {
            if supervised { record.is_reaped() } else { state(Some(record)) == ProcessState::Ended }
        }) {
            return Err(ClientError::state(
                format!("{} (pid {}) did not end", member.name(), record.pid),
                "it waits for its disk; look at `dmesg`",
            ));
        }
    }
    Ok(report(member, None, before, ProcessState::Ended))
}

/// Halts a process with SIGSTOP.
pub fn stop(folder: &DevFolder, member: Member) -> Result<ControlReport, ClientError> {
    let record = find(folder, member)?;
    let before = state(record);
    let Some(record) = record.filter(|_| before != ProcessState::Ended) else {
        let advice = format!("start it with `twinkeep dev start {}`", member.name());
        return Err(ClientError::state(format!("{} does not run", member.name()), advice));
    };
    record.signal(Signal::STOP)?;
    record.wait_for(ProcessState::Stopped, TIMEOUT);
    Ok(report(member, Some(record), before, record.state()))
}

/// Starts a process that was ended, lets one that was halted go on, leaves one that runs alone.
pub fn start(folder: &DevFolder, member: Member) -> Result<ControlReport, ClientError> {
    let record = find(folder, member)?;
    let before = state(record);
    let held = folder.held(member);
    if held.exists() {
        std::fs::remove_file(&held).map_err(ClientError::file("removing", &held))?;
    }
    if let Some(record) = record.filter(|_| before != ProcessState::Ended) {
        record.signal(Signal::CONT)?;
        record.wait_for(ProcessState::Running, TIMEOUT);
        return Ok(report(member, Some(record), before, record.state()));
    }
    if !supervisor_runs(folder) {
        let advice = format!("run `twinkeep dev --data {}`", folder.root().display());
        return Err(ClientError::state("no `twinkeep dev` runs on this folder", advice));
    }
    let mut started = None;
    wait_until(TIMEOUT, || {
        started = ProcessRecord::read(&folder.record(member))
            .filter(|new| state(Some(*new)) != ProcessState::Ended);
        started.is_some()
    });
    match started {
        Some(record) => Ok(report(member, Some(record), before, record.state())),
        None => Err(ClientError::state(
            format!("{} did not start", member.name()),
            format!("its log says why: {}", folder.log(member).display()),
        )),
    }
}

/// Every process and what it does just now.
pub fn list(folder: &DevFolder) -> Result<Vec<ControlReport>, ClientError> {
    Ok(members(folder)?
        .into_iter()
        .map(|member| {
            let record = ProcessRecord::read(&folder.record(member));
            let now = state(record);
            report(member, record.filter(|_| now != ProcessState::Ended), now, now)
        })
        .collect())
}

/// Whether a supervisor runs on the folder.
pub fn supervisor_runs(folder: &DevFolder) -> bool {
    state(ProcessRecord::read(&folder.supervisor())) != ProcessState::Ended
}

fn find(folder: &DevFolder, member: Member) -> Result<Option<ProcessRecord>, ClientError> {
    let known: Vec<String> = members(folder)?.into_iter().map(Member::name).collect();
    if !known.contains(&member.name()) {
        let problem = format!("there is no {}", member.name());
        return Err(ClientError::usage(problem, format!("this region has {}", known.join(", "))));
    }
    Ok(ProcessRecord::read(&folder.record(member)))
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

fn report(
    member: Member,
    record: Option<ProcessRecord>,
    before: ProcessState,
    now: ProcessState,
) -> ControlReport {
    ControlReport {
        schema_version: 1,
        member: member.name(),
        pid: record.map(|record| record.pid),
        before,
        now,
    }
}
