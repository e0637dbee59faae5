//! `twinkeep lag` and `twinkeep failover`: where a pair stands, and letting its other region take the writes.

use super::Common;
use super::output::{Output, table};
use super::reconcile::{self, ReconcileArguments};
use crate::clock::utc;
use crate::failover::{
    self, BlockedGroup, BucketLag, BucketLags, FailoverReport, LagReport, LossManifest, RejoinReport, Side,
};
use crate::reconcile::{evidence_folder, is_settled};
use crate::target::{Target, TargetOptions};
use crate::{ClientError, signals};
use clap::{Args, Subcommand};
use std::fmt::Write;
use std::io::{self, BufRead, Read};
use std::path::PathBuf;
use std::time::Duration;
use wire::PairRole;
use wire::admin::{LostChange, LostWrite, PairGroup, PairReport};

/// The answer to a question, bytes.
const ANSWER_BYTES_MAX: u64 = 64;

/// Groups that do not go on, on the page.
const BLOCKED_SHOWN_MAX: usize = 8;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct FailoverArguments {
    #[command(subcommand)]
    command: Option<FailoverCommand>,
    /// Both regions take part: writes pause for a moment, nothing is lost
    #[arg(long, conflicts_with = "force")]
    planned: bool,
    /// From the surviving region alone: what it does not have yet is not there
    #[arg(long)]
    force: bool,
    /// With --force: promote groups, too, that are sealed with writes the other region may not have had, where others follow it already
    #[arg(long, requires = "force", conflicts_with = "planned")]
    with_sealed: bool,
    /// With --force: ask nothing, though the other region may be serving
    #[arg(long, requires = "force")]
    yes: bool,
    /// With --planned: for how long writes may wait, seconds; a standby that is further behind is not switched to
    #[arg(long, value_name = "SECONDS", default_value_t = failover::PAUSE_MAX.as_secs(), conflicts_with = "force", value_parser = clap::value_parser!(u64).range(1..=600))]
    max_pause: u64,
    /// The region that takes the writes [default: the standby]
    #[arg(long, value_name = "REGION")]
    to: Option<String>,
}

#[derive(Debug, Subcommand)]
enum FailoverCommand {
    /// List every write that the old primary acknowledged and the new one does not have
    Manifest,
    /// Put what was lost into the new primary, or record that it is given up
    Reconcile(ReconcileArguments),
    /// Let the old primary follow the new one, after a forced switch
    Rejoin {
        /// Give up what only the old primary has, also what no reconciliation has settled
        #[arg(long)]
        discard: bool,
        /// Where the evidence of reconciliations was written to [default: beside the deployment]
        #[arg(long, value_name = "DIR")]
        output: Option<PathBuf>,
    },
}

pub(super) fn lag(common: &Common, buckets: bool, output: &Output) -> Result<(), ClientError> {
    let sides = sides(common)?;
    let mut report = failover::lag(&sides);
    if report.regions.is_empty() {
        // why not, as the first of them has it
        sides[0].report()?;
    }
    if buckets {
        report.buckets = Some(failover::bucket_lags(&sides, &report)?);
    }
    output.either(&report, || lag_page(&report))
}

pub(super) fn failover(
    common: &Common,
    arguments: &FailoverArguments,
    output: &Output,
) -> Result<(), ClientError> {
    if arguments.command.is_none() && !(arguments.planned || arguments.force) {
        return Err(ClientError::usage(
            "which switch: --planned or --force?",
            "--planned needs both regions and loses nothing; --force needs the surviving region alone",
        ));
    }
    let sides = sides(common)?;
    match &arguments.command {
        Some(FailoverCommand::Reconcile(arguments)) => return reconcile::run(common, arguments, output),
        Some(FailoverCommand::Manifest) => {
            let manifest = failover::manifest(&sides)?;
            return output.either(&manifest, || manifest_page(&manifest));
        }
        Some(FailoverCommand::Rejoin { discard, output: folder }) => {
            let options = TargetOptions { output: folder.clone(), ..TargetOptions::default() };
            let target = Target::find(common.deployment()?, &options)?;
            let (folder, authorities) = (evidence_folder(&target), target.authorities());
            let settled = |manifest: &LossManifest| is_settled(&folder, &authorities, manifest);
            let report = failover::rejoin(&sides, *discard, &settled)?;
            return output.either(&report, || rejoin_page(&report));
        }
        None => {}
    }
    let to = match &arguments.to {
        Some(name) => sides.iter().position(|side| side.region == *name).ok_or_else(|| {
            let names: Vec<&str> = sides.iter().map(|side| side.region.as_str()).collect();
            ClientError::usage(
                format!("{name} is no region of this pair"),
                format!("it has {}", names.join(" and ")),
            )
        })?,
        None => standby(&sides, arguments.force)?,
    };
    let (to, from) = (&sides[to], &sides[1 - to]);
    if arguments.force && !arguments.yes && output.can_ask() {
        confirm(from, to)?;
    }
    // half a switch is left to nobody: it is finished, or given back
    let stop = signals::catch("twinkeep failover")?;
    let report = if arguments.force {
        failover::forced(&from.region, to, arguments.with_sealed)
    } else {
        failover::planned(from, to, Duration::from_secs(arguments.max_pause), &stop)
    }?;
    output.either(&report, || failover_page(&report))
}

/// Asks whether a region shall be relieved that was heard of a moment ago.
fn confirm(from: &Side, to: &Side) -> Result<(), ClientError> {
    const MOMENT_MS: u64 = 3_000;
    let report = to.report()?;
    let heard_ms = report.groups.iter().filter_map(|group| group.heard_ms).min();
    let takes_all = report.groups.iter().all(|group| group.role == PairRole::Primary);
    if takes_all || heard_ms.is_none_or(|ms| ms > MOMENT_MS) {
        return Ok(());
    }
    let from = &from.region;
    eprint!(
        "{} heard of {from} a moment ago: it may be serving. What it acknowledges alone is lost until it is listed and put back;\n`twinkeep failover --planned` loses nothing. Take the writes from {from} all the same? [y/N] ",
        to.region
    );
    let mut answer = String::new();
    io::stdin().lock().take(ANSWER_BYTES_MAX).read_line(&mut answer).map_err(|source| ClientError::File {
        operation: "reading the answer",
        path: PathBuf::from("standard input"),
        source,
    })?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(ClientError::state("nothing was changed", "`--yes` asks nothing"))
}

fn sides(common: &Common) -> Result<[Side; 2], ClientError> {
    let deployment = common.deployment()?;
    Ok([Side::new(&deployment)?, Side::new(&deployment.pair()?)?])
}

/// The region all of whose groups are standbys; with `--force` the one that answers, if the other does not.
fn standby(sides: &[Side; 2], force: bool) -> Result<usize, ClientError> {
    let reports = [sides[0].report().ok(), sides[1].report().ok()];
    let is_standby = |report: &Option<PairReport>| {
        report
            .as_ref()
            .is_some_and(|report| report.groups.iter().all(|group| group.role == PairRole::Standby))
    };
    match ([is_standby(&reports[0]), is_standby(&reports[1])], &reports) {
        ([true, false], _) => Ok(0),
        ([false, true], _) => Ok(1),
        (_, [Some(_), None]) if force => Ok(0),
        (_, [None, Some(_)]) if force => Ok(1),
        _ => Err(ClientError::usage(
            "it is not clear which region is the standby",
            "name the one that shall take the writes with --to REGION; `twinkeep lag` shows both",
        )),
    }
}

fn lag_page(report: &LagReport) -> String {
    let silent = |region: &String| [region.as_str(), "does not answer", "", ""].map(str::to_owned).to_vec();
    let rows: Vec<Vec<String>> =
        report.regions.iter().map(region_row).chain(report.unreachable.iter().map(silent)).collect();
    let mut text = table(&["region", "part", ">groups", ">epoch"], &rows);
    let _ = write!(text, "\nstate {}", report.state);
    if let Some(lag_ms) = report.lag_ms {
        let _ = write!(text, ", {lag_ms} ms behind");
    }
    if let (Some(operations), Some(bytes)) = (report.lag_operations, report.lag_bytes) {
        let _ = write!(text, ", {operations} operations ({bytes} bytes) to ship");
    }
    text.push('\n');
    match (report.state, &report.primary) {
        ("Fenced", None) => text.push_str(
            "Nobody takes writes: a switch was begun and not ended. `twinkeep failover --planned --to REGION` finishes it, or takes it back.\n",
        ),
        ("Fenced", Some(primary)) if report.is_cut_off() => {
            let _ = writeln!(
                text,
                "{primary} acknowledges no writes: neither its witness nor its standby vouches for it. docs/runbooks/TwinkeepCutOff.md says what to do."
            );
        }
        ("Fenced", Some(primary)) => {
            let _ = writeln!(
                text,
                "The other region was relieved by {primary} and has nothing alone: `twinkeep failover rejoin` lets it follow."
            );
        }
        ("Diverged", Some(primary)) => {
            let _ = writeln!(
                text,
                "The other region was relieved by {primary} and has what that one never had: `twinkeep failover manifest` lists it, `reconcile` puts it back, and `rejoin` lets the region follow."
            );
        }
        _ => {}
    }
    for BlockedGroup { group, after, reason } in report.blocked.iter().take(BLOCKED_SHOWN_MAX) {
        let _ = writeln!(text, "group {group} does not go on after entry {after}: {reason}");
    }
    if let Some(more) = report.blocked.len().checked_sub(BLOCKED_SHOWN_MAX).filter(|more| *more > 0) {
        let _ = writeln!(text, "and {more} more groups; --json shows all");
    }
    if let Some(buckets) = &report.buckets {
        text.push_str(&buckets_page(buckets));
    }
    text
}

fn buckets_page(BucketLags { complete, behind }: &BucketLags) -> String {
    let row = |lag: &BucketLag| {
        let BucketLag { bucket, operations, bytes, lag_ms, .. } = lag;
        vec![bucket.clone(), operations.to_string(), bytes.to_string(), lag_ms.to_string()]
    };
    let mut text = match behind.as_slice() {
        [] => String::new(),
        behind => {
            let rows: Vec<Vec<String>> = behind.iter().map(row).collect();
            format!("\n{}", table(&["bucket", ">operations", ">bytes", ">ms behind"], &rows))
        }
    };
    text.push_str(match (complete, behind.is_empty()) {
        (true, true) => "The standby has everything in every bucket.\n",
        (true, false) => "The standby has everything in every other bucket.\n",
        (false, _) => {
            "It may lack more: not every group says what the standby has, or the log reaches back to it.\n"
        }
    });
    text
}

fn region_row(report: &PairReport) -> Vec<String> {
    let count = |role: PairRole| report.groups.iter().filter(|group| group.role == role).count();
    let parts: Vec<String> = PairRole::ALL
        .iter()
        .map(|role| (count(*role), role.name()))
        .filter(|(count, _)| *count > 0)
        .map(
            |(count, name)| {
                if count == report.groups.len() { name.to_owned() } else { format!("{count} {name}") }
            },
        )
        .collect();
    let epoch = report.groups.iter().map(|group: &PairGroup| group.epoch).max().unwrap_or(0);
    let groups = format!("{} of {}", report.groups.len(), report.groups_total);
    vec![report.region.clone(), parts.join(", "), groups, epoch.to_string()]
}

fn failover_page(report: &FailoverReport) -> String {
    let FailoverReport { from, to, epoch, took_ms, .. } = report;
    if !report.switched {
        let other = if report.planned {
            format!("{from} follows it.")
        } else {
            format!("{from} follows it, or is to.")
        };
        return format!("{to} takes the writes, under epoch {epoch} as before ({took_ms} ms). {other}\n");
    }
    let mut text = format!("{to} takes the writes of {from} now, under epoch {epoch} ({took_ms} ms).\n");
    if let Some(paused) = report.writes_paused_ms {
        let _ = writeln!(text, "Writes paused for {paused} ms; nothing is lost. {from} follows {to}.");
        return text;
    }
    match report.recovery_point {
        Some(point) => {
            let _ = writeln!(
                text,
                "Everything acknowledged by {} is there; what {from} acknowledged later is not.",
                utc(point)
            );
        }
        None => text.push_str(
            "How far it had everything is not known: it followed too short, or all its nodes started again since. What it lacks is not there.\n",
        ),
    }
    let _ = writeln!(text, "{from} takes no more writes once it hears of {to}.");
    let _ = writeln!(text, "When it is back, `twinkeep failover manifest` lists what it acknowledged alone.");
    text
}

fn rejoin_page(report: &RejoinReport) -> String {
    let RejoinReport { region, primary, already, discarded, settled } = report;
    if *already {
        return format!("{region} follows {primary} already; `twinkeep lag` shows how far it is.\n");
    }
    let mut text = format!(
        "{region} takes over the state of {primary} and follows it; `twinkeep lag` shows how far it is.\n"
    );
    if *settled > 0 {
        let _ =
            writeln!(text, "Reconciliations say what became of all {settled} writes that only {region} had.");
    }
    if *discarded > 0 {
        let _ = writeln!(text, "{discarded} writes that only {region} had are given up.");
    }
    text
}

fn manifest_page(manifest: &LossManifest) -> String {
    let LossManifest { from, to, epoch, complete, entries } = manifest;
    let mut text = if entries.is_empty() {
        format!("{to} has everything that {from} acknowledged.\n")
    } else {
        let rows: Vec<Vec<String>> = entries.iter().map(lost_row).collect();
        let headings = ["change", "bucket", "key", "version", ">bytes", "principal", ">acknowledged at, ms"];
        let mut text = table(&headings, &rows);
        let _ = writeln!(
            text,
            "\n{from} acknowledged {} writes that {to} does not have (epoch {epoch}).",
            entries.len()
        );
        text
    };
    if !complete {
        let _ = writeln!(
            text,
            "The list is not whole: some of it is too long ago to be known for certain, or {from} still takes writes (`twinkeep lag`)."
        );
    }
    text
}

/// What a lost write did, as a table has it.
pub(super) fn change_name(lost: &LostWrite) -> &'static str {
    match lost.change {
        LostChange::Put if !lost.kept => "put, replaced",
        LostChange::Put => "put",
        LostChange::Delete => "delete",
        LostChange::BeginUpload => "begin upload",
        LostChange::PutPart => "put part",
        LostChange::AbortUpload => "abort upload",
        LostChange::Bucket => "bucket",
        LostChange::Access => "access",
        LostChange::Region => "region",
    }
}

fn lost_row(lost: &LostWrite) -> Vec<String> {
    let change = change_name(lost);
    let change = if lost.certain { change.to_owned() } else { format!("{change}?") };
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    vec![
        change,
        text(&lost.bucket),
        lost.about().map(printable).unwrap_or_default(),
        text(&lost.version),
        lost.size.map(|size| size.to_string()).unwrap_or_default(),
        text(&lost.principal),
        lost.acknowledged_at.0.to_string(),
    ]
}

/// A name without what a terminal would act on.
pub(super) fn printable(name: &str) -> String {
    name.chars().fold(String::new(), |mut text, c| {
        if c.is_control() {
            text.extend(c.escape_default());
        } else {
            text.push(c);
        }
        text
    })
}
