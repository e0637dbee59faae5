//! Walking what a group holds in small steps: each reads some hundred rows, none needs the ones before, and a page ends at a
//! row after which another can go on. Nothing is kept between pages.

use super::{RowSource, entry, entry_at, entry_digest, leaf_of, next_tree, tree_rows};
use crate::machine::MachineError;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use wire::{
    COMPARED_ENTRIES_MAX, COMPARED_TREES_MAX, CompareCursor, CompareTree, ComparedEntry, LeafSum, RowKey,
};

/// Rows of one step. 256: a millisecond or two, in which the group applies nothing.
const STEP_ROWS: usize = 256;

/// Rows of one page of sums. 32,768: half a second at the rate of a walk.
const SUMS_ROWS_MAX: usize = 32 << 10;

/// Leaves with something in them in one page of sums. 12,288: two MiB as JSON.
const LEAVES_MAX: usize = 12 << 10;

/// Rows of one page of entries that are looked at, whether wanted or not: three seconds at the rate of a walk.
const ENTRIES_ROWS_MAX: usize = 192 << 10;

/// One page of entries, bytes of JSON at most.
const ENTRIES_JSON_BYTES_MAX: usize = 2 << 20;

/// Reading in steps, between which the group goes on.
pub(crate) trait Walk {
    /// What a page holds.
    type Page;

    fn is_over(&self) -> bool;

    /// Reads some more rows; says how many bytes.
    fn step(&mut self, source: &impl RowSource) -> Result<usize, MachineError>;

    fn finish(self) -> Self::Page;
}

/// Sums, page by page.
pub(crate) struct SumsWalk {
    bucket: Option<u64>,
    /// Where it stands; none before the start and at the end.
    cursor: Option<CompareCursor>,
    begun: bool,
    trees: BTreeMap<CompareTree, BTreeMap<u16, LeafSum>>,
    rows: usize,
    leaves: usize,
}

/// Sums of trees that a page came by, and where the next begins.
pub(crate) type Sums = (Vec<(CompareTree, Vec<LeafSum>)>, Option<CompareCursor>);

/// Entries that a page came by, and the row after which the next begins.
pub(crate) type Entries = (Vec<ComparedEntry>, Option<RowKey>);

impl SumsWalk {
    pub(crate) fn new(after: Option<CompareCursor>, bucket: Option<u64>) -> Self {
        let (begun, trees) = (after.is_some(), BTreeMap::new());
        Self { bucket, cursor: after, begun, trees, rows: 0, leaves: 0 }
    }

    fn add(&mut self, tree: CompareTree, entry: &ComparedEntry) {
        let leaf = leaf_of(&entry.row.0);
        let leaves = self.trees.entry(tree).or_default();
        let known = leaves.len();
        let sum = leaves.entry(leaf).or_insert(LeafSum { leaf, ..LeafSum::default() });
        let (bytes, sum_of_one) = (entry.size.unwrap_or(0), entry_digest(entry));
        sum.add(&LeafSum { leaf, entries: 1, bytes, sum: sum_of_one });
        self.leaves += leaves.len() - known;
    }
}

impl Walk for SumsWalk {
    type Page = Sums;

    fn is_over(&self) -> bool {
        let is_full =
            self.rows >= SUMS_ROWS_MAX || self.leaves >= LEAVES_MAX || self.trees.len() >= COMPARED_TREES_MAX;
        is_full || (self.begun && self.cursor.is_none())
    }

    fn step(&mut self, source: &impl RowSource) -> Result<usize, MachineError> {
        if !self.begun {
            self.begun = true;
            let tree = match self.bucket {
                Some(bucket) => Some(CompareTree::Bucket { bucket }),
                None => next_tree(source, None)?,
            };
            self.cursor = tree.map(from_start);
        }
        let Some(CompareCursor { tree, after }) = self.cursor.clone() else { return Ok(0) };
        let rows = tree_rows(source, tree, &after.0, STEP_ROWS)?;
        let Some((last, _)) = rows.last() else {
            let tree = if self.bucket.is_some() { None } else { next_tree(source, Some(tree))? };
            self.cursor = tree.map(from_start);
            return Ok(0);
        };
        let after = RowKey(Bytes::copy_from_slice(last));
        let mut bytes = 0;
        for row in &rows {
            bytes += row.0.len() + row.1.len();
            self.add(tree, &entry(source, row)?);
        }
        self.rows += rows.len();
        self.cursor = Some(CompareCursor { tree, after });
        Ok(bytes)
    }

    fn finish(self) -> Self::Page {
        let trees = self.trees.into_iter().map(|(tree, leaves)| (tree, leaves.into_values().collect()));
        (trees.collect(), self.cursor)
    }
}

fn from_start(tree: CompareTree) -> CompareCursor {
    CompareCursor { tree, after: RowKey::default() }
}

/// Entries of some leaves, page by page.
pub(crate) struct LeavesWalk {
    tree: CompareTree,
    leaves: BTreeSet<u16>,
    after: RowKey,
    ended: bool,
    entries: Vec<ComparedEntry>,
    rows: usize,
    json_bytes: usize,
}

impl LeavesWalk {
    pub(crate) fn new(tree: CompareTree, leaves: Vec<u16>, after: RowKey) -> Self {
        let leaves = leaves.into_iter().collect();
        Self { tree, leaves, after, ended: false, entries: Vec::new(), rows: 0, json_bytes: 0 }
    }

    fn is_full(&self) -> bool {
        self.entries.len() == COMPARED_ENTRIES_MAX || self.json_bytes >= ENTRIES_JSON_BYTES_MAX
    }
}

impl Walk for LeavesWalk {
    type Page = Entries;

    fn is_over(&self) -> bool {
        self.ended || self.rows >= ENTRIES_ROWS_MAX || self.is_full()
    }

    fn step(&mut self, source: &impl RowSource) -> Result<usize, MachineError> {
        let rows = tree_rows(source, self.tree, &self.after.0, STEP_ROWS)?;
        self.ended = rows.is_empty();
        let mut bytes = 0;
        for row in &rows {
            bytes += row.0.len() + row.1.len();
            self.rows += 1;
            self.after = RowKey(Bytes::copy_from_slice(&row.0));
            if self.leaves.contains(&leaf_of(&row.0)) {
                let entry = entry(source, row)?;
                self.json_bytes += entry.json_bytes_max();
                self.entries.push(entry);
                if self.is_full() {
                    break;
                }
            }
        }
        Ok(bytes)
    }

    fn finish(self) -> Self::Page {
        (self.entries, (!self.ended).then_some(self.after))
    }
}

/// Those of these entries that are there, in order.
pub(crate) fn entries_at(
    source: &impl RowSource,
    rows: &[RowKey],
) -> Result<Vec<ComparedEntry>, MachineError> {
    let rows: BTreeSet<&RowKey> = rows.iter().collect();
    let found = rows.into_iter().map(|row| entry_at(source, &row.0));
    found.filter_map(Result::transpose).collect()
}
