//! `twinkeep drill`: look whether a deployment is ready for a failure, bring one about and measure, check the evidence.

use super::Common;
use super::output::{Output, Tint, table};
use crate::clock::utc;
use crate::deployment::Deployment;
use crate::drill::{self, DrillKind, DrillPlan, DrillReport, History, ItemState, Limits, Readiness, Verdict};
use crate::evidence::{self, Verified};
use crate::target::{Target, TargetOptions, evidence_folder};
use crate::{ClientError, signals};
use clap::{Args, Subcommand};
use serde::Serialize;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use wire::admin::SecretText;

#[derive(Debug, Subcommand)]
pub(super) enum DrillCommand {
    /// Switch to the standby and back, planned: no write may be lost
    Planned(DrillArguments),
    /// Switch to the standby by force, list what was lost, bring the old primary back, switch back
    Forced {
        #[command(flatten)]
        arguments: DrillArguments,
        /// Give up also what others wrote to the old primary alone
        #[arg(long)]
        discard: bool,
    },
    /// Kill a storage node and start it again; only where `twinkeep dev` runs it
    Node {
        #[command(flatten)]
        arguments: DrillArguments,
        #[command(flatten)]
        node: NodeArguments,
    },
    /// Kill a storage node, throw its disk away, and have its copies made anew; only where `twinkeep dev` runs it
    Restore {
        #[command(flatten)]
        arguments: DrillArguments,
        #[command(flatten)]
        node: NodeArguments,
    },
    /// Say whether a run's evidence is as it was signed
    Verify {
        /// The run's folder
        folder: PathBuf,
        /// The authority to believe [default: those of the deployment]
        #[arg(long, value_name = "FILE")]
        ca_file: Option<PathBuf>,
    },
    /// List all runs with their figures
    History {
        /// Where the runs were written to [default: beside the deployment]
        #[arg(long, value_name = "DIR")]
        output: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub(super) struct DrillArguments {
    /// Only look whether the drill may begin; changes nothing
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Carry it out: it brings the failure about
    #[arg(long)]
    yes: bool,
    /// The longest time without an acknowledged write [default: 1000, forced 2000]
    #[arg(long, value_name = "MS")]
    rto_max_ms: Option<u64>,
    /// The longest stretch of acknowledged writes that may be missing [default: 0, forced 5000]
    #[arg(long, value_name = "MS")]
    rpo_max_ms: Option<u64>,
    /// How far the standby may be behind before the start [default: 5000]
    #[arg(long, value_name = "MS")]
    lag_max_ms: Option<u64>,
    /// For how many days every certificate must last [default: 30]
    #[arg(long, value_name = "DAYS")]
    certificate_days: Option<u64>,
    /// Give the run up and undo it after so many seconds [default: 600]
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
    #[command(flatten)]
    target: TargetArguments,
}

/// Which node is taken away.
#[derive(Debug, Default, Args)]
pub(super) struct NodeArguments {
    /// Which [default: the one that leads most groups, of the region that takes writes]
    #[arg(long, value_name = "[REGION/]ID")]
    node: Option<String>,
}

/// Where the regions speak S3, and where the evidence goes.
#[derive(Debug, Args)]
pub(super) struct TargetArguments {
    /// Where a region speaks S3, with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY [default: that of `twinkeep dev`]
    #[arg(long = "endpoint", value_name = "REGION=URL")]
    endpoints: Vec<String>,
    /// A further authority for endpoints over TLS, beside the regions' own
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Write the evidence below this folder [default: beside the deployment]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
}

#[derive(Serialize)]
struct Ran<'a> {
    folder: &'a Path,
    #[serde(flatten)]
    report: &'a DrillReport,
}

pub(super) fn run(common: &Common, command: &DrillCommand, output: &Output) -> Result<(), ClientError> {
    let any = NodeArguments::default();
    let (kind, arguments, node, discard) = match command {
        DrillCommand::Planned(arguments) => (DrillKind::Planned, arguments, &any, false),
        DrillCommand::Forced { arguments, discard } => (DrillKind::Forced, arguments, &any, *discard),
        DrillCommand::Node { arguments, node } => (DrillKind::Node, arguments, node, false),
        DrillCommand::Restore { arguments, node } => (DrillKind::Restore, arguments, node, false),
        DrillCommand::Verify { folder, ca_file } => {
            return verify(common, folder, ca_file.as_deref(), output);
        }
        DrillCommand::History { output: folder } => return history(common, folder.as_deref(), output),
    };
    if !arguments.dry_run && !arguments.yes {
        return Err(ClientError::usage(
            format!("a {} drill brings the failure about", kind.name()),
            "give --dry-run to look whether it may begin, or --yes to carry it out",
        ));
    }
    check_timeout(arguments, kind)?;
    let target = Target::find(common.deployment()?, &arguments.target.options())?;
    let (region, node) = node.parse(&target)?;
    let plan = DrillPlan { kind, limits: limits(arguments, kind), region, node, discard };
    if arguments.dry_run {
        let readiness = drill::dry_run(&target, &plan);
        output.either(&readiness, || readiness_page(&readiness, output))?;
        return if readiness.ready { Ok(()) } else { Err(not_ready(&readiness)) };
    }
    let stop = signals::catch("twinkeep drill")?;
    let (report, folder) = drill::run(&target, &plan, &stop, &|step| eprintln!("twinkeep: {step}"))?;
    output.either(&Ran { folder: &folder, report: &report }, || report_page(&report, &folder, output))?;
    match report.verdict {
        Verdict::Passed => Ok(()),
        Verdict::NotReady => Err(not_ready(&report.readiness)),
        verdict => {
            let problem = format!("the drill {}: {}", verdict.name(), report.reasons.join("; "));
            Err(ClientError::Drilled { problem, exit_code: report.exit_code })
        }
    }
}

impl NodeArguments {
    /// The region, where one was named, and the node.
    fn parse(&self, target: &Target) -> Result<(Option<String>, Option<u16>), ClientError> {
        let Some(text) = &self.node else { return Ok((None, None)) };
        let (region, id) = match text.split_once('/') {
            Some((region, id)) => (Some(region), id),
            None => (None, text.as_str()),
        };
        if let Some(region) = region {
            target.region(region)?;
        }
        let id = id.parse().map_err(|_| {
            ClientError::usage(format!("--node {text}: this is no node"), "write ID or REGION/ID, such as 2")
        })?;
        Ok((region.map(str::to_owned), Some(id)))
    }
}

impl TargetArguments {
    /// With the access key in the environment.
    pub(super) fn options(&self) -> TargetOptions {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let credentials = variable("AWS_ACCESS_KEY_ID").zip(variable("AWS_SECRET_ACCESS_KEY"));
        TargetOptions {
            endpoints: self.endpoints.clone(),
            ca_file: self.ca_file.clone(),
            credentials: credentials.map(|(id, secret)| (id, SecretText::new(secret))),
            output: self.output.clone(),
        }
    }
}

fn check_timeout(arguments: &DrillArguments, kind: DrillKind) -> Result<(), ClientError> {
    if arguments.timeout.is_some_and(|seconds| seconds > TIMEOUT_MAX_S) {
        let problem = format!("--timeout of a {} drill is {TIMEOUT_MAX_S} s at most", kind.name());
        return Err(ClientError::usage(problem, "probes are kept in memory until the run is over"));
    }
    Ok(())
}

/// A run may take 15 minutes: as long as probes are written for.
const TIMEOUT_MAX_S: u64 = 900;

fn limits(arguments: &DrillArguments, kind: DrillKind) -> Limits {
    let usual = kind.limits();
    Limits {
        rto_max_ms: arguments.rto_max_ms.unwrap_or(usual.rto_max_ms),
        rpo_max_ms: arguments.rpo_max_ms.unwrap_or(usual.rpo_max_ms),
        lag_max_ms: arguments.lag_max_ms.unwrap_or(usual.lag_max_ms),
        certificate_days_min: arguments.certificate_days.unwrap_or(usual.certificate_days_min),
        timeout_s: arguments.timeout.unwrap_or(usual.timeout_s),
    }
}

fn not_ready(readiness: &Readiness) -> ClientError {
    let count = readiness.items.iter().filter(|item| item.state == ItemState::NotOk).count();
    let problem = format!("not ready: {count} conditions are not met; nothing was changed");
    ClientError::Drilled { problem, exit_code: Verdict::NotReady.exit_code() }
}

fn verify(
    common: &Common,
    folder: &Path,
    ca_file: Option<&Path>,
    output: &Output,
) -> Result<(), ClientError> {
    let authorities = match ca_file {
        Some(path) => vec![path.to_owned()],
        None => {
            let deployment = common.deployment()?;
            let pair = deployment.pair().ok();
            let both = std::iter::once(&deployment).chain(&pair);
            both.map(|region: &Deployment| region.identity.authority_certificate()).collect()
        }
    };
    let verified = evidence::verify(folder, &authorities)?;
    output.either(&verified, || {
        let Verified { run, signed_by, signed_at, verdict, .. } = &verified;
        let (at, verdict) = (utc(*signed_at), verdict.replace('_', " "));
        format!("{run} ({verdict}) is as {signed_by} signed it at {at}.\n")
    })
}

fn history(common: &Common, folder: Option<&Path>, output: &Output) -> Result<(), ClientError> {
    let deployment = if folder.is_some() { None } else { Some(common.deployment()?) };
    let found = drill::history(&evidence_folder(deployment.as_ref(), folder)?)?;
    output.either(&found, || history_page(&found))
}

fn readiness_page(readiness: &Readiness, output: &Output) -> String {
    let mut text = String::new();
    for item in &readiness.items {
        let mark = match item.state {
            ItemState::Ok => output.tint(Tint::Good, "ok         "),
            ItemState::NotOk => output.tint(Tint::Bad, "not ok     "),
            ItemState::NotChecked => output.tint(Tint::Faint, "not checked"),
        };
        let place = item.region.as_deref().unwrap_or("pair");
        let _ = writeln!(text, "{mark}  {place:8}  {:14}  {}", item.name, item.found);
        if item.state != ItemState::Ok && !item.advice.is_empty() {
            let _ = writeln!(text, "{:39}{}", "", output.tint(Tint::Faint, &item.advice));
        }
    }
    if readiness.ready {
        text.push_str("\nReady; nothing was changed.\n");
    }
    text
}

fn report_page(report: &DrillReport, folder: &Path, output: &Output) -> String {
    if report.verdict == Verdict::NotReady {
        return readiness_page(&report.readiness, output);
    }
    let tint = if report.verdict == Verdict::Passed { Tint::Good } else { Tint::Bad };
    let mut text = format!("{}\n\n", output.tint(tint, report.verdict.name()));
    let measured = &report.measured;
    let ms = |value: Option<u64>| value.map_or_else(|| "not known".to_owned(), |ms| format!("{ms} ms"));
    let _ =
        writeln!(text, "  recovery time   {}, limit {} ms", ms(measured.rto_ms), report.limits.rto_max_ms);
    let _ =
        writeln!(text, "  recovery point  {}, limit {} ms", ms(measured.rpo_ms), report.limits.rpo_max_ms);
    if let Some(restored_ms) = measured.restored_ms {
        let _ = writeln!(text, "  restored        every copy there again after {restored_ms} ms");
    }
    let _ = writeln!(
        text,
        "  probes          {} acknowledged, {} lost",
        measured.probes_acknowledged, measured.probes_lost
    );
    for (name, lines) in
        [("why", &report.reasons), ("undone", &report.undone), ("left to do", &report.left_to_do)]
    {
        for line in lines {
            let _ = writeln!(text, "  {name:14}  {line}");
        }
    }
    let _ = writeln!(text, "\nThe evidence is in {}; `twinkeep drill verify` checks it.", folder.display());
    text
}

fn history_page(history: &History) -> String {
    let ms = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |ms| ms.to_string());
    let rows: Vec<Vec<String>> = history
        .runs
        .iter()
        .map(|run| {
            vec![
                utc(run.began_at),
                run.kind.name().to_owned(),
                ms(run.rto_ms),
                ms(run.rpo_ms),
                run.probes_lost.to_string(),
                run.verdict.name().to_owned(),
            ]
        })
        .collect();
    let mut text = table(&["began", "kind", ">RTO, ms", ">RPO, ms", ">lost", "verdict"], &rows);
    for trend in &history.trends {
        let _ = write!(
            text,
            "\n{}: {} of {} passed, RTO {} ms in the middle, {} ms last, RPO {} ms at worst",
            trend.kind.name(),
            trend.passed,
            trend.runs,
            ms(trend.rto_median_ms),
            ms(trend.rto_last_ms),
            ms(trend.rpo_max_ms)
        );
    }
    text.push('\n');
    for name in &history.unreadable {
        let _ = writeln!(text, "the report of {name} cannot be read");
    }
    text
}
