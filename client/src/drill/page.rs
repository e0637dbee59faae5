//! The report as a page for people, which needs nothing else to be read.

use super::DrillKind;
use super::readiness::{ItemState, Readiness};
use super::report::{DrillReport, Measured};
use crate::clock::utc;
use crate::compare::ComparedBucket;
use crate::markdown::{self, plain, rows};
use std::fmt::Write;

/// Lost writes that a page shows; the rest is in `report.json`.
const LOSSES_MAX: usize = 200;

/// The page, as Markdown.
pub(super) fn page(report: &DrillReport) -> String {
    let mut text = markdown::page("Drill", &report.run, report.verdict.name(), &report.reasons);
    let facts = [
        ("kind", report.kind.name().to_owned()),
        ("deployment", format!("{} ({})", report.deployment, report.environment)),
        ("regions", report.regions.join(", ")),
    ];
    let by = (report.operator.as_str(), report.release.as_str());
    let conduct = markdown::conduct(by, (report.began_at, report.ended_at), report.exit_code);
    markdown::facts(&mut text, facts.into_iter().chain(conduct));
    if !report.timeline.is_empty() {
        figures(&mut text, report);
    }
    text.push_str("\n## Readiness\n\n");
    text.push_str(&readiness(&report.readiness));
    if !report.timeline.is_empty() {
        timeline(&mut text, report);
    }
    losses(&mut text, report);
    compared(&mut text, report);
    list(&mut text, "Undone", &report.undone);
    list(&mut text, "Left to do", &report.left_to_do);
    markdown::checking(
        &mut text,
        " Every probe, with its times, and the position of every group before and after are in `report.json`.",
    );
    text
}

/// The conditions as a table.
pub(super) fn readiness(readiness: &Readiness) -> String {
    let mut text = String::new();
    let items = readiness.items.iter().map(|item| {
        let state = match item.state {
            ItemState::Ok => "ok",
            ItemState::NotOk => "**not ok**",
            ItemState::NotChecked => "not checked",
        };
        let region = item.region.clone().unwrap_or_else(|| "pair".to_owned());
        vec![item.name.clone(), region, state.to_owned(), item.found.clone(), item.advice.clone()]
    });
    rows(&mut text, &["condition", "region", "state", "found", "what to do"], items);
    text
}

fn figures(text: &mut String, report: &DrillReport) {
    let Measured {
        rto_ms,
        rpo_ms,
        longest_pause_ms,
        first_write_ms,
        restored_ms,
        switch_paused_ms,
        recovery_point,
        probes_begun,
        probes_acknowledged,
        attempts_refused,
        probes_lost,
        slowest_write_ms,
    } = &report.measured;
    let limits = &report.limits;
    let ms = |value: &Option<u64>| value.map_or_else(|| "not known".to_owned(), |ms| format!("{ms} ms"));
    let paused: Vec<String> = switch_paused_ms.iter().map(|ms| format!("{ms} ms")).collect();
    let first = if report.kind == DrillKind::Planned { "none forced".to_owned() } else { ms(first_write_ms) };
    let none = || "-".to_owned();
    let all = [
        ("recovery time (RTO)", ms(rto_ms), format!("{} ms", limits.rto_max_ms)),
        ("recovery point (RPO)", ms(rpo_ms), format!("{} ms", limits.rpo_max_ms)),
        ("acknowledged probes lost", probes_lost.to_string(), none()),
        ("longest time without an acknowledged write", ms(longest_pause_ms), none()),
        ("from the injection to the first write after it", first, none()),
        ("until every copy was there again", restored_ms.map_or_else(none, |ms| format!("{ms} ms")), none()),
        ("pauses of the planned switches themselves", paused.join(", "), none()),
        ("recovery point that the forced switch named", recovery_point.map_or_else(none, utc), none()),
        ("probes begun, acknowledged", format!("{probes_begun}, {probes_acknowledged}"), none()),
        ("attempts refused or without an answer", attempts_refused.to_string(), none()),
        ("slowest acknowledged write", ms(slowest_write_ms), none()),
    ];
    text.push_str("\n## Figures\n\n");
    let all = all.into_iter().map(|(name, value, limit)| vec![name.to_owned(), value, limit]);
    rows(text, &["figure", "measured", "limit"], all);
}

fn timeline(text: &mut String, report: &DrillReport) {
    text.push_str("\n## Timeline\n\n");
    let mut heads = vec!["began", "took", "step", "outcome"];
    let clocks: Vec<String> = report.regions.iter().map(|region| format!("then in {region}")).collect();
    heads.extend(clocks.iter().map(String::as_str));
    let steps = report.timeline.iter().map(|step| {
        let outcome = step.error.clone().unwrap_or_else(|| "done".to_owned());
        let mut row = vec![utc(step.began_at), format!("{} ms", step.took_ms), step.name.clone(), outcome];
        row.extend(report.regions.iter().map(|region| {
            let time = step.region_times.iter().find(|time| time.region == *region).and_then(|time| time.now);
            time.map_or_else(|| "no answer".to_owned(), utc)
        }));
        row
    });
    rows(text, &heads, steps);
}

fn losses(text: &mut String, report: &DrillReport) {
    let Some(manifest) = &report.losses else { return };
    let whole = if manifest.complete { "" } else { " The list is not whole." };
    let _ = write!(
        text,
        "\n## Lost writes\n\n{} acknowledged {} writes that {} did not have (epoch {}).{whole}\n\n",
        manifest.from,
        manifest.entries.len(),
        manifest.to,
        manifest.epoch
    );
    let of = |value: &Option<String>| value.clone().unwrap_or_default();
    let entries = manifest.entries.iter().take(LOSSES_MAX).map(|entry| {
        let change = serde_json::to_value(entry.change).ok();
        vec![
            change.and_then(|change| change.as_str().map(str::to_owned)).unwrap_or_default(),
            of(&entry.bucket),
            of(&entry.key),
            entry.size.map(|size| size.to_string()).unwrap_or_default(),
            of(&entry.principal),
            utc(entry.acknowledged_at),
        ]
    });
    if !manifest.entries.is_empty() {
        rows(text, &["change", "bucket", "key", "bytes", "principal", "proposed"], entries);
    }
    if manifest.entries.len() > LOSSES_MAX {
        let _ = writeln!(text, "\nand {} more", manifest.entries.len() - LOSSES_MAX);
    }
}

fn compared(text: &mut String, report: &DrillReport) {
    let Some(ComparedBucket { bucket, verdict, reasons, primary, standby }) = &report.compared else {
        return;
    };
    let _ = write!(
        text,
        "\n## Both regions at the end\n\nThe bucket {} by what is in its rows, without any log: **{}**\n\n",
        plain(bucket),
        verdict.name()
    );
    let sides = report.regions.iter().zip([primary, standby]);
    let sides = sides.map(|(region, side)| {
        vec![region.clone(), side.root.to_string(), side.entries.to_string(), side.bytes.to_string()]
    });
    rows(text, &["region", "Merkle root", "entries", "bytes"], sides);
    for reason in reasons {
        let _ = writeln!(text, "- {}", plain(reason));
    }
}

fn list(text: &mut String, title: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    let _ = write!(text, "\n## {title}\n\n");
    for line in lines {
        let _ = writeln!(text, "- {}", plain(line));
    }
}

#[cfg(test)]
#[path = "page/tests.rs"]
mod tests;
