//! Whether both regions of a pair hold the same, by what is in their rows: the logs are not asked, and no key is needed.
//!
//! ```text
//! group by group   the trees of both regions side by side, a page at a time (`ask`, `tree`)
//! where they differ   down to the leaves, whose entries are listed and given a second look (`group`, `settle`, `judge`)
//! evidence         DIR/comparisons/20261122T140512Z/report.json, report.md, report.sig
//! ```
//!
//! It promises that nothing under way is taken for a difference, and that a difference is named. It looks at what the groups'
//! leaders have; that the other copies of a region are like their leader's is left to Raft and to scrubbing.

mod ask;
mod gather;
mod group;
mod judge;
mod page;
mod repair;
mod report;
mod settle;
#[cfg(test)]
mod testing;
mod tree;

pub(crate) use page::name as tree_name;
pub use report::{
    CompareReport, CompareVerdict, ComparedBucket, ComparedGroup, Difference, DifferenceKind, EntryFigures,
    Outcome, REPORT_VERSION, Repair, RepairedGroup, TreeReport, TreeSide,
};

use crate::ClientError;
use crate::clock::Clock;
use crate::evidence::{self, Purpose};
use crate::failover::{self, LagReport, Side};
use crate::target::Target;
use ask::Holder;
use gather::Gathered;
use settle::Both;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use wire::admin::{AdminErrorCode, CompareBucket};

/// What a comparison is asked for.
#[derive(Clone, Debug, Default)]
pub struct CompareOptions {
    /// Only this bucket.
    pub bucket: Option<String>,
    /// Say which groups of the standby would take over their primaries' state.
    pub repair: bool,
    /// And let them do so.
    pub yes: bool,
}

/// The two regions, the one that takes writes first.
struct Pair<'a> {
    primary: &'a Side,
    standby: &'a Side,
    groups: u32,
}

/// Compares both regions and writes the evidence; gives the report and its folder. `say` is told each step as it begins;
/// once `stop` is set the run ends with what it has.
pub fn run(
    target: &Target,
    options: &CompareOptions,
    stop: &AtomicBool,
    say: &dyn Fn(&str),
) -> Result<(CompareReport, PathBuf), ClientError> {
    let clock = Clock::start();
    let base = target.folder.with_file_name("comparisons");
    let run = evidence::name_run(&base, clock.now())?;
    let folder = base.join(&run);
    let identity = &target.regions[0].deployment.identity;
    evidence::prepare(&folder, identity)?;
    let mut report = blank(target, options, run, clock);
    match find(target)? {
        Ok(pair) => {
            check_bucket(&pair, options)?;
            report.primary = Some(pair.primary.region.clone());
            report.standby = Some(pair.standby.region.clone());
            carry_out(&pair, options, stop, say, &mut report);
        }
        Err(reason) => report.reasons = vec![reason],
    }
    report.exit_code = report.verdict.exit_code();
    report.ended_at = clock.now();
    evidence::write(&folder, Purpose::Comparison, &report, page::page(&report), identity)?;
    Ok((report, folder))
}

/// One bucket in both regions, held against each other once, for a report of somebody else's.
pub(crate) fn bucket(
    target: &Target,
    name: &str,
    stop: &AtomicBool,
    say: &dyn Fn(&str),
) -> Result<ComparedBucket, ClientError> {
    let pair = find(target)?.map_err(|reason| ClientError::state(reason, "ask again once both follow"))?;
    let options = CompareOptions { bucket: Some(name.to_owned()), ..CompareOptions::default() };
    check_bucket(&pair, &options)?;
    let outcome = look(&pair, &options, stop, say);
    let (verdict, reasons) = outcome.conclude(stop.load(Ordering::Relaxed));
    let side = |of: fn(&TreeReport) -> TreeSide| outcome.trees.first().map(of).unwrap_or_default();
    Ok(ComparedBucket {
        bucket: name.to_owned(),
        verdict,
        reasons,
        primary: side(|tree| tree.primary),
        standby: side(|tree| tree.standby),
    })
}

/// The primary and its standby, or why there is nothing to compare now.
fn find(target: &Target) -> Result<Result<Pair<'_>, String>, ClientError> {
    let sides = target.pair()?;
    let LagReport { primary, standby, state, unreachable, regions, .. } = failover::lag(sides);
    let (Some(primary), Some(standby)) = (primary, standby) else {
        let silent = if unreachable.is_empty() {
            String::new()
        } else {
            format!(" (no answer from {})", unreachable.join(" and "))
        };
        return Ok(Err(format!(
            "the pair is {state}{silent}: there is no standby to be held against its primary"
        )));
    };
    let groups = regions.iter().map(|region| region.groups_total).max().unwrap_or(0);
    let (primary, standby) = (target.sides(&primary)?.0, target.sides(&standby)?.0);
    Ok(Ok(Pair { primary, standby, groups }))
}

/// A bucket that is not there is a mistake of who asked, not something that differs.
fn check_bucket(pair: &Pair<'_>, options: &CompareOptions) -> Result<(), ClientError> {
    let Some(name) = options.bucket.clone() else { return Ok(()) };
    match pair.primary.sums(1, None, Some(CompareBucket::Name { name })) {
        Err(ClientError::Refused { error }) if error.code == AdminErrorCode::NotFound => {
            Err(ClientError::Refused { error })
        }
        // what else is wrong is found, and reported, group by group
        _ => Ok(()),
    }
}

fn carry_out(
    pair: &Pair<'_>,
    options: &CompareOptions,
    stop: &AtomicBool,
    say: &dyn Fn(&str),
    report: &mut CompareReport,
) {
    let mut outcome = look(pair, options, stop, say);
    let groups = outcome.differing_groups();
    if options.repair && !groups.is_empty() {
        let mut repair = Repair { carried_out: options.yes, groups: Vec::new(), before: None };
        if options.yes {
            repair.groups = repair::carry_out(pair.standby, &groups, stop, say);
            repair.before = Some(Box::new(outcome));
            outcome = look(pair, options, stop, say);
        } else {
            let would = |group| RepairedGroup { group, took_ms: None, error: None };
            repair.groups = groups.into_iter().map(would).collect();
        }
        report.repair = Some(repair);
    }
    (report.verdict, report.reasons) = outcome.conclude(stop.load(Ordering::Relaxed));
    report.outcome = outcome;
}

/// One look at everything.
fn look(pair: &Pair<'_>, options: &CompareOptions, stop: &AtomicBool, say: &dyn Fn(&str)) -> Outcome {
    let mut gathered = Gathered::default();
    say(&format!("compare {} groups of {} and {}", pair.groups, pair.primary.region, pair.standby.region));
    // a bucket's own group holds nothing of the system group's
    let first = u32::from(options.bucket.is_some());
    for number in first..pair.groups {
        let is_behind = AtomicBool::new(false);
        let both =
            Both { primary: pair.primary, standby: pair.standby, group: number, stop, is_behind: &is_behind };
        let (positions, compared) =
            group::compare(both, options.bucket.as_deref(), &mut |tree| gathered.take(number, tree));
        gathered.take_group(number, positions, compared.err().map(|error| error.to_string()));
        if stop.load(Ordering::Relaxed) {
            break;
        }
    }
    gathered.finish()
}

fn blank(target: &Target, options: &CompareOptions, run: String, clock: Clock) -> CompareReport {
    let deployment = &target.regions[0].deployment;
    let certificate = crate::files::read(&deployment.identity.certificate()).ok();
    CompareReport {
        schema_version: REPORT_VERSION,
        run,
        deployment: deployment.descriptor.deployment.to_string(),
        environment: deployment.descriptor.environment.clone(),
        primary: None,
        standby: None,
        bucket: options.bucket.clone(),
        operator: certificate.and_then(|pem| evidence::operator(&pem)).unwrap_or_default(),
        release: env!("CARGO_PKG_VERSION").to_owned(),
        began_at: clock.now(),
        ended_at: clock.now(),
        outcome: Outcome::default(),
        repair: None,
        verdict: CompareVerdict::Undecided,
        reasons: Vec::new(),
        exit_code: CompareVerdict::Undecided.exit_code(),
    }
}
