//! From what a run recorded to its figures, and from these to a verdict. Pure.

use super::report::{DrillReport, Limits, Measured, Probe, Verdict};
use super::{BUCKET, DrillKind};
use crate::compare::{CompareVerdict, ComparedBucket};
use crate::failover::{FailoverReport, LossManifest};
use std::collections::{BTreeMap, BTreeSet};
use wire::UnixMillis;
use wire::admin::LostChange;

/// The figures of a run whose probes were written until `ended_at`.
pub(super) fn measure(
    probes: &[Probe],
    refused: u64,
    switches: &[FailoverReport],
    injected: Option<&(UnixMillis, String)>,
    ended_at: UnixMillis,
) -> Measured {
    let acknowledged = || probes.iter().filter_map(|probe| probe.acknowledged_at.map(|at| (probe, at)));
    let first_write_ms = injected.and_then(|(since, region)| {
        let after = acknowledged().filter(|(probe, _)| probe.region == *region && probe.sent_at >= *since);
        after.map(|(_, at)| at.0.saturating_sub(since.0)).min()
    });
    let longest_pause_ms = longest_pause(acknowledged().map(|(_, at)| at.0).collect(), ended_at.0);
    // a forced switch whose new primary never took a write has no recovery time
    let rto_ms = match injected {
        Some(_) => first_write_ms.map(|first| first.max(longest_pause_ms.unwrap_or(0))),
        None => longest_pause_ms,
    };
    Measured {
        rto_ms,
        rpo_ms: (!probes.is_empty()).then(|| missing_ms(probes)),
        longest_pause_ms,
        first_write_ms,
        restored_ms: None,
        switch_paused_ms: switches.iter().filter_map(|switch| switch.writes_paused_ms).collect(),
        recovery_point: switches.iter().find_map(|switch| switch.recovery_point),
        probes_begun: probes.len() as u64,
        probes_acknowledged: acknowledged().count() as u64,
        attempts_refused: refused,
        probes_lost: probes.iter().filter(|probe| probe.lost).count() as u64,
        slowest_write_ms: acknowledged().map(|(probe, at)| at.0.saturating_sub(probe.sent_at.0)).max(),
    }
}

/// The longest time between two acknowledgements, or from the last one to the end.
fn longest_pause(mut times: Vec<u64>, ended_at: u64) -> Option<u64> {
    times.sort_unstable();
    let last = *times.last()?;
    let between = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
    Some(between.max(ended_at.saturating_sub(last)))
}

/// From the last acknowledged probe that is there to the last one of the same region that is not.
fn missing_ms(probes: &[Probe]) -> u64 {
    let mut regions: BTreeMap<&str, Vec<(u64, bool)>> = BTreeMap::new();
    for probe in probes {
        if let Some(at) = probe.acknowledged_at {
            regions.entry(&probe.region).or_default().push((at.0, probe.lost));
        }
    }
    let missing = |times: &Vec<(u64, bool)>| {
        let lost = || times.iter().filter(|(_, lost)| *lost).map(|(at, _)| *at);
        let (Some(first), Some(last)) = (lost().min(), lost().max()) else { return 0 };
        let kept = times.iter().filter(|(at, lost)| !lost && *at <= first).map(|(at, _)| *at).max();
        // one that is missing alone is missing all the same
        (last - kept.unwrap_or(first)).max(1)
    };
    regions.values().map(missing).max().unwrap_or(0)
}

/// Why a run that was carried out did not pass; empty when it did.
pub(super) fn reasons(report: &DrillReport) -> Vec<String> {
    let DrillReport { kind, limits, measured, probes, losses, .. } = report;
    let Limits { rto_max_ms, rpo_max_ms, .. } = limits;
    let mut reasons = Vec::new();
    match measured.rto_ms {
        None => reasons.push("no write was acknowledged: the recovery time is not known".to_owned()),
        Some(rto_ms) if rto_ms > *rto_max_ms => {
            reasons.push(format!("the recovery time, {rto_ms} ms, is above {rto_max_ms} ms"));
        }
        Some(_) => {}
    }
    match measured.rpo_ms {
        Some(rpo_ms) if rpo_ms > *rpo_max_ms => {
            reasons.push(format!("the recovery point, {rpo_ms} ms, is above {rpo_max_ms} ms"));
        }
        _ => {}
    }
    if *kind == DrillKind::Forced {
        match losses {
            Some(manifest) => {
                reasons.extend(mismatches(&report.run, probes, manifest, measured.recovery_point))
            }
            None => reasons.push("what was lost could not be listed".to_owned()),
        }
    } else if measured.probes_lost > 0 {
        reasons.push(format!("{} acknowledged probes are gone; none may be", measured.probes_lost));
    }
    match &report.compared {
        _ if kind.is_of_node() => {}
        Some(ComparedBucket { verdict: CompareVerdict::Same, .. }) => {}
        Some(ComparedBucket { verdict: CompareVerdict::Differing, reasons: why, .. }) => {
            reasons.push(format!("the regions differ: {}", why.join("; ")));
        }
        Some(ComparedBucket { reasons: why, .. }) => {
            reasons.push(format!("whether the regions hold the same is not known: {}", why.join("; ")));
        }
        None => reasons.push("the regions were not compared".to_owned()),
    }
    if !is_as_before(report) {
        reasons.push("the pair is not as it was before".to_owned());
    }
    reasons
}

/// Where the list of lost writes and the probes that are gone differ. A probe that was tried more than once may be in the
/// list and yet be there: the last try made it again.
fn mismatches(
    run: &str,
    probes: &[Probe],
    manifest: &LossManifest,
    recovery_point: Option<UnixMillis>,
) -> Vec<String> {
    let mut reasons = Vec::new();
    if !manifest.complete {
        reasons.push("the list of lost writes is not whole".to_owned());
    }
    let ours = manifest.entries.iter().filter(|entry| entry.bucket.as_deref() == Some(BUCKET));
    let ours = ours.filter(|entry| entry.change == LostChange::Put);
    let listed: BTreeMap<&str, UnixMillis> = ours
        .filter_map(|entry| {
            Some((entry.key.as_deref()?.strip_prefix(run)?.strip_prefix('/')?, entry.acknowledged_at))
        })
        .collect();
    let lost: BTreeSet<&str> =
        probes.iter().filter(|probe| probe.lost).map(|probe| probe.id.as_str()).collect();
    let unlisted = lost.iter().filter(|id| !listed.contains_key(**id)).count();
    if unlisted > 0 {
        reasons.push(format!("{unlisted} probes are gone and not in the list of lost writes"));
    }
    let once = |id: &&str| {
        let probe = probes.iter().find(|probe| probe.id == **id);
        probe.is_none_or(|probe| probe.attempts == 1 && probe.acknowledged_at.is_some())
    };
    let present = listed.keys().filter(|id| !lost.contains(**id)).filter(|id| once(id)).count();
    if present > 0 {
        reasons.push(format!("{present} probes are in the list of lost writes and are there"));
    }
    let early = listed.values().filter(|at| recovery_point.is_some_and(|point| **at <= point)).count();
    if early > 0 {
        reasons.push(format!("{early} writes from before the recovery point are lost"));
    }
    reasons
}

/// Whether the same region takes writes as before, and the same one follows.
fn is_as_before(report: &DrillReport) -> bool {
    report.before.len() == report.after.len()
        && report.before.iter().zip(&report.after).all(|(before, after)| {
            let parts = |report: &wire::admin::PairReport| {
                report.groups.iter().map(|group| (group.group, group.role)).collect::<BTreeMap<_, _>>()
            };
            before.region == after.region && parts(before) == parts(after)
        })
}

/// The verdict on a run that was carried out, or given up for a reason.
pub(super) fn conclude(report: &mut DrillReport, given_up: Option<String>) {
    report.reasons = reasons(report);
    report.verdict = match (&given_up, report.reasons.is_empty()) {
        (Some(_), _) => Verdict::Aborted,
        (None, true) => Verdict::Passed,
        (None, false) => Verdict::Failed,
    };
    report.reasons.splice(0..0, given_up);
    report.exit_code = report.verdict.exit_code();
}

#[cfg(test)]
#[path = "measure/tests.rs"]
mod tests;
