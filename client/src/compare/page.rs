//! The report as a page for people, which needs nothing else to be read.

use super::report::{CompareReport, Difference, EntryFigures, Outcome, TreeReport};
use crate::markdown::{self, rows};
use std::fmt::Write;
use wire::{ComparePosition, CompareTree};

/// Differences that a page shows; the rest is in `report.json`.
const DIFFERENCES_MAX: usize = 1_000;

/// Buckets and tables that a page shows.
const TREES_MAX: usize = 1_000;

/// The page, as Markdown.
pub(super) fn page(report: &CompareReport) -> String {
    let mut text = markdown::page("Comparison", &report.run, report.verdict.name(), &report.reasons);
    let unknown = || "not known".to_owned();
    let outcome = &report.outcome;
    let facts = [
        ("primary", report.primary.clone().unwrap_or_else(unknown)),
        ("standby", report.standby.clone().unwrap_or_else(unknown)),
        ("bucket", report.bucket.clone().unwrap_or_else(|| "all".to_owned())),
        ("entries compared", outcome.entries.to_string()),
        ("bytes that they stand for", outcome.bytes.to_string()),
        ("on their way at first, the same later", outcome.settled.to_string()),
        ("differing", outcome.differing.to_string()),
        ("undecided", outcome.undecided.to_string()),
        ("deployment", format!("{} ({})", report.deployment, report.environment)),
    ];
    let by = (report.operator.as_str(), report.release.as_str());
    let conduct = markdown::conduct(by, (report.began_at, report.ended_at), report.exit_code);
    markdown::facts(&mut text, facts.into_iter().chain(conduct));
    repair(&mut text, report);
    differences(&mut text, "Differences", &outcome.differences);
    differences(&mut text, "Undecided", &outcome.undecided_entries);
    trees(&mut text, outcome);
    groups(&mut text, outcome);
    markdown::checking(&mut text, "");
    text
}

fn repair(text: &mut String, report: &CompareReport) {
    let Some(repair) = &report.repair else { return };
    text.push_str("\n## Repair\n\n");
    if let Some(before) = &repair.before {
        let _ = writeln!(
            text,
            "Before it, {} entries differed; the tables below are of after it.\n",
            before.differing
        );
    }
    let groups = repair.groups.iter().map(|group| {
        let outcome = match (&group.error, group.took_ms) {
            (Some(error), _) => error.clone(),
            (None, Some(took)) => format!("done in {took} ms"),
            (None, None) => "would take over its primary's state".to_owned(),
        };
        vec![group.group.to_string(), outcome]
    });
    rows(text, &["group of the standby", "outcome"], groups);
    if let Some(before) = &repair.before {
        differences(text, "Differences before the repair", &before.differences);
    }
}

fn differences(text: &mut String, title: &str, all: &[Difference]) {
    if all.is_empty() {
        return;
    }
    let _ = write!(text, "\n## {title}\n\n");
    let of = |value: &Option<String>| value.clone().unwrap_or_default();
    let shown = all.iter().take(DIFFERENCES_MAX).map(|found| {
        let kind = serde_json::to_value(found.kind).ok();
        vec![
            found.difference.name().to_owned(),
            kind.and_then(|kind| kind.as_str().map(str::to_owned)).unwrap_or_default(),
            found.bucket.clone().or_else(|| found.table.clone()).unwrap_or_default(),
            of(&found.key),
            of(&found.version),
            side(found.primary.as_ref()),
            side(found.standby.as_ref()),
            found.group.to_string(),
        ]
    });
    rows(text, &["how", "what", "bucket or table", "key", "version", "primary", "standby", "group"], shown);
    if all.len() > DIFFERENCES_MAX {
        let _ = writeln!(text, "\nand {} more", all.len() - DIFFERENCES_MAX);
    }
}

fn side(entry: Option<&EntryFigures>) -> String {
    let Some(entry) = entry else { return "-".to_owned() };
    let size = entry.size.map(|size| format!("{size} bytes, "));
    let etag = entry.etag.as_ref().map(|etag| format!("ETag {etag}, "));
    let digest = entry.record.to_string();
    format!("{}{}record {}", size.unwrap_or_default(), etag.unwrap_or_default(), &digest[..16])
}

fn trees(text: &mut String, outcome: &Outcome) {
    text.push_str("\n## What was compared\n\n");
    let shown = outcome.trees.iter().take(TREES_MAX).map(|tree| {
        let TreeReport { primary, standby, .. } = tree;
        vec![
            name(tree),
            primary.entries.to_string(),
            standby.entries.to_string(),
            primary.bytes.to_string(),
            tree.differing.to_string(),
            primary.root.to_string(),
            if standby.root == primary.root { "the same".to_owned() } else { standby.root.to_string() },
        ]
    });
    let heads =
        ["", "entries", "in the standby", "bytes", "differing", "root in the primary", "root in the standby"];
    rows(text, &heads, shown);
    if outcome.trees.len() > TREES_MAX {
        let _ = writeln!(text, "\nand {} more", outcome.trees.len() - TREES_MAX);
    }
    text.push_str(
        "\nRoots are of the first look: what was on its way then makes them differ, and is no difference.\n",
    );
}

/// What a tree is of, for people.
pub(crate) fn name(tree: &TreeReport) -> String {
    match (tree.tree, &tree.name) {
        (CompareTree::Bucket { .. }, Some(name)) => format!("bucket {name}"),
        (CompareTree::Bucket { bucket }, None) => format!("bucket {bucket} (has no name any more)"),
        (CompareTree::Streams, _) => "chunks of unfinished writes".to_owned(),
        (CompareTree::System { table }, name) => {
            format!("{} records", name.clone().unwrap_or_else(|| table.to_string()))
        }
    }
}

fn groups(text: &mut String, outcome: &Outcome) {
    text.push_str("\n## Where each group stood\n\n");
    let at = |position: &Option<ComparePosition>| match position {
        Some(ComparePosition { node, epoch, from, to, .. }) => {
            vec![node.to_string(), epoch.to_string(), format!("{from} to {to}")]
        }
        None => vec!["-".to_owned(); 3],
    };
    let shown = outcome.groups.iter().map(|group| {
        let mut row = vec![group.group.to_string()];
        row.extend(at(&group.primary));
        row.extend(at(&group.standby));
        row.push(group.error.clone().unwrap_or_else(|| "compared".to_owned()));
        row
    });
    let heads = ["group", "node", "epoch", "entries", "standby's node", "epoch", "entries", "outcome"];
    rows(text, &heads, shown);
}
