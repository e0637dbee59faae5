//! Puts what was found in each group together: figures and one root for each bucket and table, a list of what differs.

use super::group::{ComparedTree, Figures, Positions};
use super::judge::Judgement;
use super::report::{ComparedGroup, Difference, DifferenceKind, EntryFigures, Outcome, TreeReport, TreeSide};
use super::settle::Found;
use super::tree::root_of_groups;
use std::collections::BTreeMap;
use wire::{CompareTree, ComparedEntry, ComparedKind, Digest, SystemTable};

/// Differences, and undecided entries, that a report lists; beyond it they are counted.
const LISTED_MAX: usize = 10_000;

/// A tree's roots in one region, each with its group's number.
type Roots = Vec<(u32, Digest)>;

/// Puts what the groups were found to be together.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    outcome: Outcome,
    /// Per tree: what is told of it, and each side's roots by group.
    trees: BTreeMap<CompareTree, (TreeReport, [Roots; 2])>,
    /// Per group: differing entries.
    differing: BTreeMap<u32, u64>,
}

impl Gathered {
    /// Takes in one tree of one group.
    pub(super) fn take(&mut self, group: u32, compared: ComparedTree) {
        let ComparedTree { tree, name, primary, standby, found, leaves_left } = compared;
        let (report, roots) = self.trees.entry(tree).or_insert_with(|| {
            let (primary, standby) = (TreeSide::default(), TreeSide::default());
            let name = match tree {
                CompareTree::System { table } => Some(table_name(table)),
                _ => None,
            };
            (TreeReport { tree, name, primary, standby, differing: 0 }, Default::default())
        });
        report.name = report.name.take().or(name);
        let sides = [(&mut report.primary, primary), (&mut report.standby, standby)];
        for ((side, figures), roots) in sides.into_iter().zip(roots) {
            side.add(&figures);
            if figures.entries > 0 {
                roots.push((group, figures.root));
            }
        }
        let outcome = &mut self.outcome;
        (outcome.entries, outcome.bytes) =
            (outcome.entries + primary.entries, outcome.bytes.saturating_add(primary.bytes));
        outcome.settled += found.same;
        outcome.leaves_left += leaves_left;
        let named = report.name.clone();
        for found in &found.differing {
            let difference = difference(group, tree, named.as_deref(), found);
            report.differing += 1;
            outcome.differing += 1;
            *self.differing.entry(group).or_default() += 1;
            *outcome.totals.entry(difference.difference).or_default() += 1;
            outcome.differences.push(difference);
            outcome.differences.truncate(LISTED_MAX);
        }
        for found in &found.undecided {
            let open = difference(group, tree, named.as_deref(), found);
            if found.is_figures() {
                outcome.figures_moving += 1;
                continue;
            }
            outcome.undecided += 1;
            outcome.undecided_entries.push(open);
            outcome.undecided_entries.truncate(LISTED_MAX);
        }
    }

    /// Takes in where a group was read, and why it could not be compared to the end.
    pub(super) fn take_group(&mut self, group: u32, [primary, standby]: Positions, error: Option<String>) {
        let differing = self.differing.get(&group).copied().unwrap_or(0);
        self.outcome.groups.push(ComparedGroup { group, primary, standby, differing, error });
    }

    pub(super) fn finish(mut self) -> Outcome {
        for (mut report, [primary, standby]) in self.trees.into_values() {
            report.primary.root = root_of_groups(&primary);
            report.standby.root = root_of_groups(&standby);
            self.outcome.trees.push(report);
        }
        self.outcome
    }
}

impl TreeSide {
    fn add(&mut self, figures: &Figures) {
        self.entries += figures.entries;
        self.bytes = self.bytes.saturating_add(figures.bytes);
    }
}

fn difference(group: u32, tree: CompareTree, name: Option<&str>, found: &Found) -> Difference {
    let entry = found.primary.as_ref().or(found.standby.as_ref());
    let named = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let (bucket, table) = match tree {
        CompareTree::Bucket { bucket } => {
            (Some(name.map_or_else(|| bucket.to_string(), str::to_owned)), None)
        }
        CompareTree::Streams => (None, None),
        CompareTree::System { table } => (None, Some(table_name(table))),
    };
    Difference {
        difference: match found.judgement {
            Judgement::Missing => DifferenceKind::Missing,
            Judgement::Surplus => DifferenceKind::Surplus,
            Judgement::Content => DifferenceKind::Content,
            Judgement::Metadata => DifferenceKind::Metadata,
            Judgement::Same | Judgement::Moving => DifferenceKind::Undecided,
        },
        kind: entry.map_or(ComparedKind::Record, |entry| entry.kind),
        group,
        bucket,
        table,
        key: entry.and_then(|entry| named(&entry.name)),
        version: entry.and_then(|entry| entry.version.clone()),
        primary: found.primary.as_ref().map(entry_figures),
        standby: found.standby.as_ref().map(entry_figures),
        row: entry.map(|entry| entry.row.clone()).unwrap_or_default(),
    }
}

fn entry_figures(entry: &ComparedEntry) -> EntryFigures {
    let ComparedEntry { size, etag, modified, record, content, .. } = entry.clone();
    EntryFigures { size, etag, modified, record, content }
}

/// As the commands have it that show its records.
fn table_name(table: u8) -> String {
    let names = [
        (SystemTable::Bucket, "bucket"),
        (SystemTable::Principal, "user"),
        (SystemTable::AccessKey, "access key"),
        (SystemTable::Grant, "grant"),
        (SystemTable::WrappedKey, "wrapped key"),
        (SystemTable::Setting, "setting"),
    ];
    let found = names.into_iter().find(|(known, _)| known.number() == table);
    found.map_or_else(|| format!("table {table}"), |(_, name)| name.to_owned())
}

#[cfg(test)]
#[path = "gather/tests.rs"]
mod tests;
