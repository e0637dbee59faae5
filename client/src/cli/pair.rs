//! `twinkeep lag` and `twinkeep failover`: where a pair stands, and letting its other region take the writes.

use super::Common;
use super::output::{Output, table};
use crate::ClientError;
use crate::failover::{self, FailoverReport, LagReport, Side};
use clap::Args;
use std::fmt::Write;
use wire::PairRole;
use wire::admin::{PairGroup, PairReport};

#[derive(Debug, Args)]
pub(super) struct FailoverArguments {
    /// Both regions take part: writes pause for a moment, nothing is lost
    #[arg(long, required_unless_present = "force", conflicts_with = "force")]
    planned: bool,
    /// From the surviving region alone: what it does not have yet is not there
    #[arg(long)]
    force: bool,
    /// The region that takes the writes [default: the standby]
    #[arg(long, value_name = "REGION")]
    to: Option<String>,
}

pub(super) fn lag(common: &Common, output: &Output) -> Result<(), ClientError> {
    let report = failover::lag(&sides(common)?);
    if report.regions.is_empty() {
        return Err(ClientError::state(
            "no region of the pair answers",
            "`twinkeep check` says what is wrong",
        ));
    }
    output.either(&report, || lag_page(&report))
}

pub(super) fn failover(
    common: &Common,
    arguments: &FailoverArguments,
    output: &Output,
) -> Result<(), ClientError> {
    let sides = sides(common)?;
    let to = match &arguments.to {
        Some(name) => sides.iter().position(|side| side.region == *name).ok_or_else(|| {
            let names: Vec<&str> = sides.iter().map(|side| side.region.as_str()).collect();
            ClientError::usage(
                format!("{name} is no region of this pair"),
                format!("it has {}", names.join(" and ")),
            )
        })?,
        None => standby(&sides)?,
    };
    let (to, from) = (&sides[to], &sides[1 - to]);
    let report =
        if arguments.force { failover::forced(&from.region, to) } else { failover::planned(from, to) }?;
    output.either(&report, || failover_page(&report))
}

fn sides(common: &Common) -> Result<[Side; 2], ClientError> {
    let deployment = common.deployment()?;
    Ok([Side::new(&deployment)?, Side::new(&deployment.pair()?)?])
}

/// The region all of whose groups are standbys.
fn standby(sides: &[Side; 2]) -> Result<usize, ClientError> {
    let is_standby = |side: &Side| {
        side.report().is_ok_and(|report| report.groups.iter().all(|group| group.role == PairRole::Standby))
    };
    match [is_standby(&sides[0]), is_standby(&sides[1])] {
        [true, false] => Ok(0),
        [false, true] => Ok(1),
        _ => Err(ClientError::usage(
            "it is not clear which region is the standby",
            "name the one that shall take the writes with --to REGION; `twinkeep lag` shows both",
        )),
    }
}

fn lag_page(report: &LagReport) -> String {
    let rows: Vec<Vec<String>> = report.regions.iter().map(region_row).collect();
    let mut text = table(&["region", "part", ">groups", ">epoch"], &rows);
    let _ = write!(text, "\nstate {}", report.state);
    if let Some(lag_ms) = report.lag_ms {
        let _ = write!(text, ", {lag_ms} ms behind");
    }
    text.push('\n');
    text
}

fn region_row(report: &PairReport) -> Vec<String> {
    let count = |role: PairRole| report.groups.iter().filter(|group| group.role == role).count();
    let parts =
        [(PairRole::Primary, "primary"), (PairRole::Sealed, "sealed"), (PairRole::Standby, "standby")];
    let parts: Vec<String> = parts
        .iter()
        .map(|(role, name)| (count(*role), name))
        .filter(|(count, _)| *count > 0)
        .map(
            |(count, name)| {
                if count == report.groups.len() { (*name).to_owned() } else { format!("{count} {name}") }
            },
        )
        .collect();
    let epoch = report.groups.iter().map(|group: &PairGroup| group.epoch).max().unwrap_or(0);
    let groups = format!("{} of {}", report.groups.len(), report.groups_total);
    vec![report.region.clone(), parts.join(", "), groups, epoch.to_string()]
}

fn failover_page(report: &FailoverReport) -> String {
    let FailoverReport { from, to, epoch, took_ms, .. } = report;
    let mut text = format!("{to} takes the writes of {from} now, under epoch {epoch} ({took_ms} ms).\n");
    if let Some(paused) = report.writes_paused_ms {
        let _ = writeln!(text, "Writes paused for {paused} ms; nothing is lost. {from} follows {to}.");
        return text;
    }
    match report.recovery_point {
        Some(point) => {
            let _ = writeln!(
                text,
                "Everything acknowledged by {} (ms since 1970) is there; what {from} acknowledged later is not.",
                point.0
            );
        }
        None => text.push_str("It was never known to have everything: what it lacks is not there.\n"),
    }
    let _ = writeln!(text, "{from} takes no more writes once it hears of {to}.");
    text
}
