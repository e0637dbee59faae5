//! The report as a page for people, which needs nothing else to be read.

use super::report::{Action, Entry, ReconcileReport};
use super::{Policy, ReconcileVerdict};
use crate::clock::utc;
use crate::markdown::{self, rows};
use std::fmt::Write;

/// Entries that a page shows; the rest is in `report.json`.
const ENTRIES_MAX: usize = 1_000;

/// The page, as Markdown.
pub(super) fn page(report: &ReconcileReport) -> String {
    let mut text = markdown::page("Reconciliation", &report.run, report.verdict.name(), &[]);
    let policy = match report.policy {
        Policy::KeepBoth => "keep both",
        Policy::Discard => "discard",
        Policy::Manual => "what a person chose for each",
    };
    let none = || "all".to_owned();
    let facts = [
        ("switch", format!("from {} to {}, epoch {}", report.from, report.to, report.epoch)),
        ("policy", policy.to_owned()),
        ("bucket", report.bucket.clone().unwrap_or_else(none)),
        ("keys that begin with", report.prefix.clone().unwrap_or_else(none)),
        ("the list of lost writes", if report.complete { "whole" } else { "not whole" }.to_owned()),
        ("lost writes that this run was not asked about", report.left_alone.to_string()),
        ("deployment", format!("{} ({})", report.deployment, report.environment)),
    ];
    let by = (report.operator.as_str(), report.release.as_str());
    let conduct = markdown::conduct(by, (report.began_at, report.ended_at), report.exit_code);
    markdown::facts(&mut text, facts.into_iter().chain(conduct));
    text.push_str("\n## Totals\n\n");
    let totals =
        report.totals.iter().map(|(action, count)| vec![action.name().to_owned(), count.to_string()]);
    rows(&mut text, &["what became of it", "writes"], totals);
    let of_note = |action| matches!(action, Action::ByHand | Action::Failed | Action::DeleteNotRepeated);
    let (noted, others): (Vec<&Entry>, Vec<&Entry>) =
        report.entries.iter().partition(|entry| of_note(entry.action));
    entries(&mut text, "Left to a person", &noted);
    entries(&mut text, "Done", &others);
    if report.verdict != ReconcileVerdict::Settled {
        text.push_str("\nWhat is not done is done by asking again: nothing is put back twice.\n");
    }
    markdown::checking(
        &mut text,
        " Versions that were put back have new ids, times and writers; the lost ones' are in `report.json`.",
    );
    text
}

fn entries(text: &mut String, title: &str, entries: &[&Entry]) {
    if entries.is_empty() {
        return;
    }
    let _ = write!(text, "\n## {title}\n\n");
    let of = |value: &Option<String>| value.clone().unwrap_or_default();
    let shown = entries.iter().take(ENTRIES_MAX).map(|entry| {
        let write = &entry.write;
        let change = serde_json::to_value(write.change).ok();
        let name = entry.name.clone().filter(|name| Some(name) != write.key.as_ref()).unwrap_or_default();
        let mut why = vec![entry.why.clone()];
        why.extend(entry.not_kept.clone());
        why.extend(entry.error.clone());
        vec![
            entry.action.name().to_owned(),
            change.and_then(|change| change.as_str().map(str::to_owned)).unwrap_or_default(),
            of(&write.bucket),
            write.about().unwrap_or_default().to_owned(),
            write.size.map(|size| size.to_string()).unwrap_or_default(),
            of(&write.principal),
            utc(write.acknowledged_at),
            name,
            why.join("; "),
        ]
    });
    let heads =
        ["what became of it", "change", "bucket", "key", "bytes", "principal", "proposed", "kept as", "why"];
    rows(text, &heads, shown);
    if entries.len() > ENTRIES_MAX {
        let _ = writeln!(text, "\nand {} more", entries.len() - ENTRIES_MAX);
    }
}
