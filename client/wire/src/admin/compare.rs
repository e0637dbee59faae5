//! The bodies of requests and answers that compare the two regions of a pair.

use crate::{CompareCursor, ComparePosition, CompareTree, ComparedEntry, LeafSum, RowKey};
use serde::{Deserialize, Serialize};

/// The only bucket of interest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum CompareBucket {
    /// The one that has this name in the region that is asked.
    Name {
        /// The name.
        name: String,
    },
    /// The one of this number, whether it has a name or not.
    Number {
        /// The number: the same in both regions.
        number: u64,
    },
}

/// Which entries are asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum CompareWanted {
    /// All of some leaves of a tree, a page at a time.
    Leaves {
        /// The tree.
        tree: CompareTree,
        /// The leaves.
        leaves: Vec<u16>,
        /// Where the page before ended; empty for the first.
        #[serde(default)]
        after: RowKey,
    },
    /// These, if they are there; all of them in one answer.
    Rows {
        /// Their rows.
        rows: Vec<RowKey>,
    },
}

/// Part of what a group holds, as sums.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompareSumsPage {
    /// Between which entries of the pair it was read.
    pub position: ComparePosition,
    /// The number of the only bucket that was asked for.
    #[serde(default)]
    pub bucket: Option<u64>,
    /// In order; the last may go on in the next page.
    pub trees: Vec<CompareSums>,
    /// Where the next page begins, if there is one.
    #[serde(default)]
    pub next: Option<CompareCursor>,
}

/// A tree, or part of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompareSums {
    /// Which.
    pub tree: CompareTree,
    /// Of a bucket: its name, unless it has none any more.
    #[serde(default)]
    pub name: Option<String>,
    /// Leaves with something in them, in order.
    pub leaves: Vec<LeafSum>,
}

/// Entries one by one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompareEntriesPage {
    /// Between which entries of the pair they were read.
    pub position: ComparePosition,
    /// In the order of their rows.
    pub entries: Vec<ComparedEntry>,
    /// After which row the next page begins, if there is one.
    #[serde(default)]
    pub next: Option<RowKey>,
}
