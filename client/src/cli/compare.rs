//! `twinkeep compare`: whether both regions of a pair hold the same.

use super::Common;
use super::output::{Output, Tint, table};
use super::pair::printable;
use crate::compare::{
    self, CompareOptions, CompareReport, CompareVerdict, Difference, EntryFigures, tree_name,
};
use crate::target::{Target, TargetOptions};
use crate::{ClientError, signals};
use clap::Args;
use serde::Serialize;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Differences on the screen; `--json` has more.
const DIFFERENCES_SHOWN_MAX: usize = 200;

/// Buckets and tables on the screen.
const TREES_SHOWN_MAX: usize = 100;

#[derive(Debug, Args)]
pub(super) struct CompareArguments {
    /// Only this bucket
    #[arg(long, value_name = "BUCKET")]
    bucket: Option<String>,
    /// Also say which groups of the standby would take over their primaries' state
    #[arg(long)]
    repair: bool,
    /// With --repair: let them do so, one after another, and compare again
    #[arg(long, requires = "repair")]
    yes: bool,
    /// Write the evidence below this folder [default: beside the deployment]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
}

#[derive(Serialize)]
struct Ran<'a> {
    folder: &'a Path,
    #[serde(flatten)]
    report: &'a CompareReport,
}

pub(super) fn run(common: &Common, arguments: &CompareArguments, output: &Output) -> Result<(), ClientError> {
    let target_options = TargetOptions { output: arguments.output.clone(), ..TargetOptions::default() };
    let target = Target::find(common.deployment()?, &target_options)?;
    let (bucket, repair, yes) = (arguments.bucket.clone(), arguments.repair, arguments.yes);
    let options = CompareOptions { bucket, repair, yes };
    let stop = signals::catch("twinkeep compare")?;
    let (report, folder) = compare::run(&target, &options, &stop, &|step| eprintln!("twinkeep: {step}"))?;
    output.either(&Ran { folder: &folder, report: &report }, || page(&report, &folder, output))?;
    if report.verdict == CompareVerdict::Same {
        return Ok(());
    }
    let problem = format!("{}: {}", report.verdict.name(), report.reasons.join("; "));
    Err(ClientError::Drilled { problem, exit_code: report.exit_code })
}

fn page(report: &CompareReport, folder: &Path, output: &Output) -> String {
    let outcome = &report.outcome;
    let trees: Vec<Vec<String>> = outcome
        .trees
        .iter()
        .take(TREES_SHOWN_MAX)
        .map(|tree| {
            let root = |root: wire::Digest| root.to_string()[..16].to_owned();
            vec![
                printable(&tree_name(tree)),
                tree.primary.entries.to_string(),
                tree.primary.bytes.to_string(),
                tree.differing.to_string(),
                root(tree.primary.root),
                root(tree.standby.root),
            ]
        })
        .collect();
    let heads = ["", ">entries", ">bytes", ">differing", "root in the primary", "root in the standby"];
    let mut text = if trees.is_empty() { String::new() } else { table(&heads, &trees) };
    if outcome.trees.len() > TREES_SHOWN_MAX {
        let _ = writeln!(text, "and {} more; --json shows all", outcome.trees.len() - TREES_SHOWN_MAX);
    }
    for (title, list) in [("differ", &outcome.differences), ("undecided", &outcome.undecided_entries)] {
        differences(&mut text, title, list);
    }
    repair(&mut text, report);
    let tint = match report.verdict {
        CompareVerdict::Same => Tint::Good,
        CompareVerdict::Differing => Tint::Bad,
        CompareVerdict::Undecided | CompareVerdict::Aborted => Tint::Warning,
    };
    let _ = write!(text, "\n{}: ", output.tint(tint, report.verdict.name()));
    let _ = writeln!(
        text,
        "{} entries compared, {} were on their way and are the same, {} differ, {} undecided.",
        outcome.entries, outcome.settled, outcome.differing, outcome.undecided
    );
    let _ = writeln!(text, "The evidence is in {}; `twinkeep drill verify` checks it.", folder.display());
    text
}

fn differences(text: &mut String, title: &str, all: &[Difference]) {
    if all.is_empty() {
        return;
    }
    let rows: Vec<Vec<String>> = all
        .iter()
        .take(DIFFERENCES_SHOWN_MAX)
        .map(|found| {
            let place = found.bucket.as_deref().or(found.table.as_deref()).unwrap_or_default();
            let size = |side: &Option<EntryFigures>| {
                side.as_ref().and_then(|side| side.size).map(|size| size.to_string()).unwrap_or_default()
            };
            vec![
                found.difference.name().to_owned(),
                printable(place),
                found.key.as_deref().map(printable).unwrap_or_default(),
                found.version.clone().unwrap_or_default(),
                size(&found.primary),
                size(&found.standby),
            ]
        })
        .collect();
    let heads = [title, "bucket or table", "key", "version", ">bytes", ">in the standby"];
    let _ = write!(text, "\n{}", table(&heads, &rows));
    if all.len() > DIFFERENCES_SHOWN_MAX {
        let _ = writeln!(text, "and {} more; --json shows more", all.len() - DIFFERENCES_SHOWN_MAX);
    }
}

fn repair(text: &mut String, report: &CompareReport) {
    let Some(repair) = &report.repair else { return };
    let groups: Vec<String> = repair.groups.iter().map(|group| group.group.to_string()).collect();
    let (groups, standby) = (groups.join(", "), report.standby.as_deref().unwrap_or("the standby"));
    if !repair.carried_out {
        let _ = writeln!(
            text,
            "\nWith --yes, groups {groups} of {standby} would take over their primaries' state. Until each has all of it, it answers no reads\nand cannot take the writes over. Nothing was changed."
        );
        return;
    }
    let _ = writeln!(text, "\nGroups {groups} of {standby} were to take over their primaries' state.");
    for group in &repair.groups {
        if let Some(error) = &group.error {
            let _ = writeln!(text, "group {}: {}", group.group, printable(error));
        }
    }
}
