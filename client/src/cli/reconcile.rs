//! `twinkeep failover reconcile`: what shall become of the writes that a forced switch lost.

use super::Common;
use super::drill::TargetArguments;
use super::output::{Output, Tint, table};
use super::pair::{change_name, printable};
use crate::reconcile::{self, Action, Choices, Policy, ReconcileOptions, ReconcileReport, ReconcileVerdict};
use crate::target::Target;
use crate::{ClientError, signals};
use clap::{Args, ValueEnum};
use serde::Serialize;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Lost writes on the screen; `--json` has all.
const ENTRIES_SHOWN_MAX: usize = 200;

#[derive(Debug, Args)]
pub(super) struct ReconcileArguments {
    /// What to do about what was lost
    #[arg(long, value_enum, default_value_t = PolicyName::KeepBoth)]
    policy: PolicyName,
    /// Only say what would become of each lost write; changes nothing
    #[arg(long, conflicts_with = "yes")]
    preview: bool,
    /// Carry it out
    #[arg(long)]
    yes: bool,
    /// With --policy manual: the file with a choice for each lost write; written unless --preview or --yes is given
    #[arg(long, value_name = "FILE", required_if_eq("policy", "manual"))]
    plan: Option<PathBuf>,
    /// Only what was lost of this bucket
    #[arg(long, value_name = "BUCKET")]
    bucket: Option<String>,
    /// Only what was lost of keys that begin so
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<String>,
    /// Go on although the list of lost writes is not whole
    #[arg(long)]
    accept_incomplete: bool,
    #[command(flatten)]
    target: TargetArguments,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PolicyName {
    /// Put back what hides nothing newer, keep the rest beside it
    KeepBoth,
    /// Record that it is given up; changes no data
    Discard,
    /// What a person chose for each, in a file
    Manual,
}

#[derive(Serialize)]
struct Ran<'a> {
    folder: Option<&'a Path>,
    #[serde(flatten)]
    report: &'a ReconcileReport,
}

#[derive(Serialize)]
struct Planned<'a> {
    plan: &'a Path,
    entries: usize,
}

pub(super) fn run(
    common: &Common,
    arguments: &ReconcileArguments,
    output: &Output,
) -> Result<(), ClientError> {
    let writes_plan = arguments.policy == PolicyName::Manual && !(arguments.preview || arguments.yes);
    if !(arguments.preview || arguments.yes || writes_plan) {
        return Err(ClientError::usage(
            "reconciling changes what clients see",
            "give --preview to look what would become of each lost write, or --yes to carry it out",
        ));
    }
    if arguments.plan.is_some() && arguments.policy != PolicyName::Manual {
        return Err(ClientError::usage("--plan goes with --policy manual", ""));
    }
    let target = Target::find(common.deployment()?, &arguments.target.options())?;
    let plan = arguments.plan.as_deref();
    let choices = plan.filter(|_| !writes_plan).map(Choices::read).transpose()?;
    let options = ReconcileOptions {
        policy: match arguments.policy {
            PolicyName::KeepBoth => Policy::KeepBoth,
            PolicyName::Discard => Policy::Discard,
            PolicyName::Manual => Policy::Manual,
        },
        bucket: arguments.bucket.clone(),
        prefix: arguments.prefix.clone(),
        accept_incomplete: arguments.accept_incomplete,
        choices,
    };
    if !arguments.yes {
        let report = reconcile::preview(&target, &options)?;
        if let Some(plan) = plan.filter(|_| writes_plan) {
            Choices::of(&report).write(plan)?;
            let planned = Planned { plan, entries: report.entries.len() };
            return output.either(&planned, || planned_page(&planned));
        }
        return output.either(&Ran { folder: None, report: &report }, || report_page(&report, None, output));
    }
    let stop = signals::catch("twinkeep failover reconcile")?;
    let (report, folder) = reconcile::run(&target, &options, &stop, &|step| eprintln!("twinkeep: {step}"))?;
    let ran = Ran { folder: Some(&folder), report: &report };
    output.either(&ran, || report_page(&report, Some(&folder), output))?;
    if report.verdict == ReconcileVerdict::Settled {
        return Ok(());
    }
    let failed = report.totals.get(&Action::Failed).copied().unwrap_or(0);
    let problem = format!("{failed} lost writes are not settled; nothing is put back twice: ask again");
    Err(ClientError::Drilled { problem, exit_code: report.exit_code })
}

fn planned_page(planned: &Planned<'_>) -> String {
    let plan = planned.plan.display();
    format!(
        "{} lost writes are in {plan}; nothing was changed. Edit the choice of each (keep, beside, discard), then\n`twinkeep failover reconcile --policy manual --plan {plan} --yes` carries it out.\n",
        planned.entries
    )
}

fn report_page(report: &ReconcileReport, folder: Option<&Path>, output: &Output) -> String {
    let rows: Vec<Vec<String>> = report
        .entries
        .iter()
        .take(ENTRIES_SHOWN_MAX)
        .map(|entry| {
            let write = &entry.write;
            let text = |value: &Option<String>| value.as_deref().map(printable).unwrap_or_default();
            let elsewhere = entry.name.clone().filter(|name| Some(name) != write.key.as_ref());
            let why = entry
                .error
                .as_ref()
                .map_or_else(|| entry.why.clone(), |error| format!("{}: {error}", entry.why));
            vec![
                entry.action.name().to_owned(),
                change_name(write).to_owned(),
                text(&write.bucket),
                write.about().map(printable).unwrap_or_default(),
                text(&elsewhere),
                printable(&why),
            ]
        })
        .collect();
    let is_part = report.bucket.is_some() || report.prefix.is_some() || report.policy == Policy::Manual;
    let mut text = if rows.is_empty() {
        let of_all = if is_part { " of what this run was asked about" } else { "" };
        format!("Nothing{of_all} was lost.\n")
    } else {
        table(&["outcome", "change", "bucket", "key", "kept as", "why"], &rows)
    };
    if report.entries.len() > ENTRIES_SHOWN_MAX {
        let _ = writeln!(text, "and {} more; --json shows all", report.entries.len() - ENTRIES_SHOWN_MAX);
    }
    let totals: Vec<String> =
        report.totals.iter().map(|(action, count)| format!("{count} {}", action.name())).collect();
    let _ = writeln!(text, "\n{}", totals.join(", "));
    if report.left_alone > 0 {
        let _ = writeln!(
            text,
            "{} more lost writes were left alone: this run was not asked about them. `rejoin` waits for those that no signed report settles.",
            report.left_alone
        );
    }
    if !report.complete {
        text.push_str("The list of lost writes is not whole: some of it is too long ago to be known.\n");
    }
    match folder {
        None => text.push_str("Nothing was changed.\n"),
        Some(folder) => {
            let settled = report.verdict == ReconcileVerdict::Settled;
            let tint = if settled { Tint::Good } else { Tint::Bad };
            let verdict = output.tint(tint, report.verdict.name());
            let folder = folder.display();
            let _ =
                writeln!(text, "{verdict}. The evidence is in {folder}; `twinkeep drill verify` checks it.");
        }
    }
    text
}
