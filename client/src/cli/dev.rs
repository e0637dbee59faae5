//! `twinkeep dev`: run a region on this machine; `dev kill|stop|start|list` break and mend it by hand.

use super::Common;
use super::output::{Output, table};
use crate::ClientError;
use crate::dev::target::{self, Target};
use crate::dev::{self, DevOptions, ForwardMode, ProcessState, control};
use crate::witness::Mode;
use clap::{Args, Subcommand};
use serde::Serialize;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// What the witness of a pair is called.
const WITNESS: &str = "witness";

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct DevArguments {
    #[command(subcommand)]
    action: Option<Action>,
    /// First port: S3 over HTTP, then over TLS, then peers and health [default: 9000]
    #[arg(long, value_name = "PORT")]
    port_base: Option<u16>,
    /// Storage nodes [default: 3]
    #[arg(long, value_name = "COUNT")]
    nodes: Option<u16>,
    /// Data groups, a power of two [default: 8]
    #[arg(long, value_name = "COUNT")]
    groups: Option<u32>,
    /// Two regions that are a pair, and their witness: the second follows the first
    #[arg(long)]
    pair: bool,
    /// The witness of the pair lets the standby take over when the primary is gone
    #[arg(long, requires = "pair")]
    automatic_failover: bool,
    /// What a gateway of the pair passes on while the other region is the primary: none, writes, all [default: none]
    #[arg(long, value_name = "WHAT", requires = "pair", hide_possible_values = true)]
    forward: Option<ForwardMode>,
    /// A pseudonymisation service beside it, with demo data, a policy and people who release and read its exports
    #[arg(long)]
    pseudo: bool,
    /// The server's binary [default: store-node beside this program]
    #[arg(long, value_name = "FILE", env = "TWINKEEP_STORE_NODE")]
    store_node: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// End a process with SIGKILL; it stays ended until `dev start`
    Kill(Name),
    /// Halt a process with SIGSTOP
    Stop(Name),
    /// Start an ended process, or let a halted one go on
    Start(Name),
    /// Show every process and what it does
    List,
}

#[derive(Debug, Args)]
struct Name {
    /// The node's number, or gateway; pseudo; of a pair REGION/NODE, or a region's name for all of it, or witness
    #[arg(value_name = "NODE")]
    name: String,
}

/// The processes of a region.
#[derive(Serialize)]
struct Processes {
    region: String,
    supervisor_runs: bool,
    processes: Vec<control::ControlReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pseudo: Option<control::ControlReport>,
}

/// The processes of a pair.
#[derive(Serialize)]
struct PairProcesses {
    regions: Vec<Processes>,
    witness: Option<control::ControlReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pseudo: Option<control::ControlReport>,
}

/// What was done to all of a region.
#[derive(Serialize)]
struct RegionReport {
    schema_version: u32,
    region: String,
    processes: Vec<control::ControlReport>,
}

pub(super) fn run(common: &Common, arguments: &DevArguments, output: &Output) -> Result<(), ClientError> {
    let data = common.data.clone().map_or_else(dev::default_folder, Ok)?;
    let (name, action): (_, fn(&control::Process) -> _) = match &arguments.action {
        None => return serve(common, arguments, data, output),
        Some(Action::List) => return list(&data, output),
        Some(Action::Kill(name)) => (name, control::Process::kill),
        Some(Action::Stop(name)) => (name, control::Process::stop),
        Some(Action::Start(name)) => (name, control::Process::start),
    };
    if name.name == WITNESS && dev::pair::is_pair(&data) {
        let report = action(&dev::witness::process(&data)?)?;
        return output.either(&report, || done(&report));
    }
    if name.name == dev::pseudo::NAME {
        let report = action(&dev::pseudo::process(&data)?)?;
        return output.either(&report, || done(&report));
    }
    let target = Target::find(&data, &name.name)?;
    let mut reports = target.each(action)?;
    let page = reports.iter().map(done).collect::<String>();
    match target.region {
        Some(region) if reports.len() > 1 => {
            let report = RegionReport { schema_version: 1, region, processes: reports };
            output.either(&report, || page)
        }
        _ => output.either(&reports.remove(0), || page),
    }
}

fn done(report: &control::ControlReport) -> String {
    let pid = report.pid.map_or_else(String::new, |pid| format!(" (pid {pid})"));
    let already = if report.before == report.now { "already " } else { "" };
    format!("{}{pid} {already}{}\n", report.member, does(report.now))
}

fn serve(
    common: &Common,
    arguments: &DevArguments,
    data: PathBuf,
    output: &Output,
) -> Result<(), ClientError> {
    let options = DevOptions {
        data,
        port_base: arguments.port_base,
        nodes: arguments.nodes,
        groups: arguments.groups,
        store_node: arguments.store_node.clone(),
        region: None,
        standby_of: None,
        forward: None,
        pseudo: arguments.pseudo,
    };
    if arguments.pair {
        let mode = if arguments.automatic_failover { Mode::Automatic } else { Mode::Manual };
        let forward = arguments.forward.unwrap_or_default();
        return dev::pair::run(&options, mode, forward, |ready| output.either(ready, || ready.page()));
    }
    dev::run(&options, |ready| {
        let said = output.either(ready, || ready.page(common.data.is_none()));
        match said {
            // whoever read the line may go; the region stays
            Err(ClientError::File { source, .. }) if source.kind() == ErrorKind::BrokenPipe => Ok(()),
            other => other,
        }
    })
}

fn list(data: &Path, output: &Output) -> Result<(), ClientError> {
    let found: Result<Vec<Processes>, ClientError> = target::regions(data)?
        .into_iter()
        .map(|target::Found { region, folder }| {
            let supervisor_runs = control::supervisor_runs(&folder);
            Ok(Processes { region, supervisor_runs, processes: control::list(&folder)?, pseudo: None })
        })
        .collect();
    let mut regions = found?;
    let witness = dev::witness::process(data).ok().filter(|_| regions.len() > 1);
    let witness = witness.map(|process| process.look());
    let pseudo = dev::pseudo::process(data).ok().map(|process| process.look());
    let page = list_page(&regions, witness.iter().chain(&pseudo));
    match regions.len() {
        1 => output.either(&Processes { pseudo, ..regions.remove(0) }, || page),
        _ => output.either(&PairProcesses { regions, witness, pseudo }, || page),
    }
}

fn list_page<'a>(regions: &[Processes], beside: impl Iterator<Item = &'a control::ControlReport>) -> String {
    let mut rows = Vec::new();
    let mut notes = String::new();
    let row = |region: &str, process: &control::ControlReport| {
        let pid = process.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
        vec![region.to_owned(), process.member.clone(), pid, does(process.now).to_owned()]
    };
    for found in regions {
        rows.extend(found.processes.iter().map(|process| row(&found.region, process)));
        if !found.supervisor_runs {
            notes.push_str(&format!("no `twinkeep dev` runs {}\n", found.region));
        }
    }
    rows.extend(beside.map(|process| row("-", process)));
    format!("{}{notes}", table(&["region", "process", ">pid", "state"], &rows))
}

fn does(state: ProcessState) -> &'static str {
    match state {
        ProcessState::Running => "runs",
        ProcessState::Stopped => "is halted",
        ProcessState::Ended => "is ended",
    }
}
