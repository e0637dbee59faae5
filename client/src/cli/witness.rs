//! `twinkeep witness`: the third party of a pair, which vouches for the region that reigns.

use super::Common;
use super::output::{Output, duration, table};
use crate::ClientError;
use crate::deployment::Deployment;
use crate::region::RegionFolder;
use crate::witness::{self, Mode, NAME_DEFAULT, Standing, WitnessFolder, WitnessOptions, WitnessStatus};
use clap::{Args, Subcommand};
use serde::Serialize;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

#[derive(Debug, Subcommand)]
pub(super) enum WitnessCommand {
    /// Make a witness of two regions, or give it new identities: needs the folders of both, with their authorities
    Make(MakeArguments),
    /// Run it until SIGTERM or Ctrl-C; it listens on no port
    Run(RunArguments),
    /// Show what it is at
    Status(Folder),
}

#[derive(Debug, Args)]
pub(super) struct MakeArguments {
    /// The other region's folder, beside the one of --data
    #[arg(long, value_name = "DIR")]
    other: PathBuf,
    /// The witness's folder, which goes to the third place
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// Its name in its certificates
    #[arg(long, value_name = "NAME", default_value = NAME_DEFAULT)]
    name: String,
}

#[derive(Debug, Args)]
pub(super) struct RunArguments {
    #[command(flatten)]
    folder: Folder,
    /// Let the standby take over when the primary is gone, instead of only saying that it is due
    #[arg(long)]
    automatic: bool,
    /// End when standard input ends
    #[arg(long, hide = true)]
    exit_on_stdin_eof: bool,
}

#[derive(Debug, Args)]
pub(super) struct Folder {
    /// The witness's folder
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

#[derive(Serialize)]
struct Made {
    witness: PathBuf,
    name: String,
    regions: Vec<String>,
}

pub(super) fn run(common: &Common, command: &WitnessCommand, output: &Output) -> Result<(), ClientError> {
    match command {
        WitnessCommand::Make(arguments) => make(common, arguments, output),
        WitnessCommand::Run(RunArguments { folder, automatic, exit_on_stdin_eof }) => {
            let mode = if *automatic { Mode::Automatic } else { Mode::Manual };
            let options = WitnessOptions { mode, exit_on_stdin_eof: *exit_on_stdin_eof };
            witness::run(&folder.find()?, options)
        }
        WitnessCommand::Status(folder) => status(&folder.find()?, output),
    }
}

impl Folder {
    fn find(&self) -> Result<WitnessFolder, ClientError> {
        let folder = std::path::absolute(&self.folder);
        Ok(WitnessFolder::new(&folder.map_err(ClientError::file("finding", &self.folder))?))
    }
}

fn make(common: &Common, arguments: &MakeArguments, output: &Output) -> Result<(), ClientError> {
    let Some(data) = &common.data else {
        return Err(ClientError::usage(
            "which two regions?",
            "name the operator's folder of one with --data DIR and of the other with --other DIR",
        ));
    };
    let regions = [region(data)?, region(&arguments.other)?];
    let folder = WitnessFolder::new(&arguments.output);
    witness::make(&folder, [&regions[0], &regions[1]], &arguments.name, SystemTime::now())?;
    let names: Result<Vec<String>, ClientError> =
        regions.iter().map(|region| Ok(region.read_descriptor()?.region)).collect();
    let made = Made { witness: arguments.output.clone(), name: arguments.name.clone(), regions: names? };
    output.either(&made, || {
        format!(
            "The witness of {} is in {}.\nBring the folder to the third place, keep no copy that runs, and begin it there with `twinkeep witness run DIR`.\nEach storage node of both regions needs `witness = true` in [pair].\n",
            made.regions.join(" and "),
            made.witness.display()
        )
    })
}

fn region(data: &Path) -> Result<RegionFolder, ClientError> {
    let found = Deployment::find(data)?;
    found.region.ok_or_else(|| {
        ClientError::state(format!("{} holds no region", data.display()), "name an operator's folder")
    })
}

fn status(folder: &WitnessFolder, output: &Output) -> Result<(), ClientError> {
    let status = witness::status(folder)?;
    output.either(&status, || status_page(&status))?;
    let problem = match (status.is_running, status.silent_ms()) {
        (true, None) => return Ok(()),
        (true, Some(ms)) => {
            format!("the witness runs, and has said nothing for {}: is it halted?", duration(ms))
        }
        (false, _) => "the witness does not run; this is what it said last".to_owned(),
    };
    Err(ClientError::Degraded { problem })
}

fn status_page(status: &WitnessStatus) -> String {
    let state = match status.state {
        Standing::Watching => "watching",
        Standing::Withholding => "withholding",
        Standing::Due => "due",
        Standing::Switched => "switched",
        Standing::Stuck => "stuck",
    };
    let mode = match status.mode {
        Mode::Manual => "manual",
        Mode::Automatic => "automatic",
    };
    let rows: Vec<Vec<String>> = status
        .regions
        .iter()
        .map(|region| {
            let answered = format!("{} of {}", region.answered, region.nodes);
            let counts = [answered, region.epoch.to_string(), region.leases.to_string()];
            [region.region.clone(), region.role.clone()].into_iter().chain(counts).collect()
        })
        .collect();
    let mut text = table(&["region", "part", ">nodes", ">epoch", ">leases"], &rows);
    let _ = writeln!(text, "\n{state} for {}, {mode}, epoch {}", duration(status.lasts_ms()), status.epoch);
    if let Some(reason) = &status.reason {
        let _ = writeln!(text, "{reason}");
    }
    text
}
