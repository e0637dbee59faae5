//! `twinkeep dev`: run a region on this machine; `dev kill|stop|start|list` break and mend it by hand.

use super::Common;
use super::output::{Output, table};
use crate::ClientError;
use crate::dev::{self, DevFolder, DevOptions, Member, ProcessState, control};
use clap::{Args, Subcommand};
use serde::Serialize;
use std::io::ErrorKind;
use std::path::PathBuf;

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
    /// Two regions that are a pair: the second follows the first
    #[arg(long)]
    pair: bool,
    /// The server's binary [default: store-node beside this program]
    #[arg(long, value_name = "FILE", env = "TWINKEEP_STORE_NODE")]
    store_node: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// End a process with SIGKILL; it stays ended until `dev start`
    Kill(Target),
    /// Halt a process with SIGSTOP
    Stop(Target),
    /// Start an ended process, or let a halted one go on
    Start(Target),
    /// Show every process and what it does
    List,
}

#[derive(Debug, Args)]
struct Target {
    /// The node's number, or gateway
    node: String,
}

#[derive(Serialize)]
struct Processes {
    supervisor_runs: bool,
    processes: Vec<control::ControlReport>,
}

pub(super) fn run(common: &Common, arguments: &DevArguments, output: &Output) -> Result<(), ClientError> {
    let data = common.data.clone().map_or_else(dev::default_folder, Ok)?;
    let folder = DevFolder::new(&data);
    let (target, action): (_, fn(&DevFolder, Member) -> _) = match &arguments.action {
        None => return serve(common, arguments, data, output),
        Some(Action::List) => return list(&folder, output),
        Some(Action::Kill(target)) => (target, control::kill),
        Some(Action::Stop(target)) => (target, control::stop),
        Some(Action::Start(target)) => (target, control::start),
    };
    let report = action(&folder, Member::parse(&target.node)?)?;
    output.either(&report, || {
        let pid = report.pid.map_or_else(String::new, |pid| format!(" (pid {pid})"));
        if report.before == report.now {
            format!("{}{pid} already {}\n", report.member, does(report.now))
        } else {
            format!("{}{pid} {}\n", report.member, does(report.now))
        }
    })
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
    };
    if arguments.pair {
        return dev::pair::run(&options, |ready| output.either(ready, || ready.page()));
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

fn list(folder: &DevFolder, output: &Output) -> Result<(), ClientError> {
    let found =
        Processes { processes: control::list(folder)?, supervisor_runs: control::supervisor_runs(folder) };
    output.either(&found, || {
        let rows: Vec<Vec<String>> = found
            .processes
            .iter()
            .map(|process| {
                let pid = process.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
                vec![process.member.clone(), pid, does(process.now).to_owned()]
            })
            .collect();
        let note = if found.supervisor_runs { "" } else { "no `twinkeep dev` runs on this folder\n" };
        format!("{}{note}", table(&["process", ">pid", "state"], &rows))
    })
}

fn does(state: ProcessState) -> &'static str {
    match state {
        ProcessState::Running => "runs",
        ProcessState::Stopped => "is halted",
        ProcessState::Ended => "is ended",
    }
}
