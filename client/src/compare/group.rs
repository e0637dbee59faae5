//! One group of both regions: walks the trees of both side by side, goes down where they differ, and gives what it finds there
//! a second look.

use super::ask::{Holder, TreeSums, Trees};
use super::settle::{Both, Found, Settled, check_parts, settle};
use super::tree::MerkleTree;
use crate::ClientError;
use std::collections::{BTreeMap, BTreeSet};
use wire::admin::{CompareBucket, CompareWanted};
use wire::{ComparePosition, CompareTree, ComparedEntry, Digest, LeafSum, RowKey};

/// Entries of differing leaves that are held at once, of each region. 65,536: some 30 MiB.
const ENTRIES_MAX: u64 = 64 << 10;

/// Differences of one tree after which it is gone down no further: what is wrong is then larger than a list.
const DIFFERENCES_MAX: usize = 2_000;

/// What a tree of a group was found to be.
#[derive(Debug)]
pub(super) struct ComparedTree {
    pub(super) tree: CompareTree,
    pub(super) name: Option<String>,
    pub(super) primary: Figures,
    pub(super) standby: Figures,
    pub(super) found: Settled,
    /// Leaves that differ and were not gone down into.
    pub(super) leaves_left: u64,
}

/// One region's side of a tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Figures {
    pub(super) root: Digest,
    pub(super) entries: u64,
    pub(super) bytes: u64,
}

/// Where both regions' groups were while they were compared.
pub(super) type Positions = [Option<ComparePosition>; 2];

/// Compares a group; `take` is given each tree as it is done. Gives the positions, also of a comparison that failed.
pub(super) fn compare(
    both: Both<'_>,
    bucket: Option<&str>,
    take: &mut dyn FnMut(ComparedTree),
) -> (Positions, Result<(), ClientError>) {
    let bucket = bucket.map(|name| CompareBucket::Name { name: name.to_owned() });
    let mut primary = Trees::new(both.primary, both.group, bucket);
    let begun = primary.begin();
    // its number, which both regions know it by
    let mut standby = Trees::new(both.standby, both.group, primary.bucket());
    let compared = begun.and_then(|at| {
        check_parts(&at, &standby.begin()?)?;
        side_by_side(both, &mut primary, &mut standby, take)
    });
    ([primary.position(), standby.position()], compared)
}

fn side_by_side(
    both: Both<'_>,
    primary: &mut Trees<'_>,
    standby: &mut Trees<'_>,
    take: &mut dyn FnMut(ComparedTree),
) -> Result<(), ClientError> {
    let (mut one, mut other) = (primary.next()?, standby.next()?);
    loop {
        both.check()?;
        let tree = match (&one, &other) {
            (None, None) => return Ok(()),
            (Some(one), Some(other)) => one.tree.min(other.tree),
            (Some(only), None) | (None, Some(only)) => only.tree,
        };
        let [first, second] = [&mut one, &mut other].map(|sums| sums.take_if(|sums| sums.tree == tree));
        if first.is_some() {
            one = primary.next()?;
        }
        if second.is_some() {
            other = standby.next()?;
        }
        take(compare_tree(both, tree, first, second)?);
    }
}

fn compare_tree(
    both: Both<'_>,
    tree: CompareTree,
    primary: Option<TreeSums>,
    standby: Option<TreeSums>,
) -> Result<ComparedTree, ClientError> {
    let name = [&primary, &standby].into_iter().flatten().find_map(|sums| sums.name.clone());
    let [primary, standby] = [primary, standby].map(|sums| sums.map(|sums| sums.leaves).unwrap_or_default());
    let [one, other] = [&primary, &standby].map(MerkleTree::of);
    let mut compared = ComparedTree {
        tree,
        name,
        primary: figures(&one, &primary),
        standby: figures(&other, &standby),
        found: Settled::default(),
        leaves_left: 0,
    };
    let entries = |leaf: &u16| {
        let of = |leaves: &BTreeMap<u16, LeafSum>| leaves.get(leaf).map_or(0, |leaf| leaf.entries);
        of(&primary).max(of(&standby))
    };
    for leaves in batches(&one.differing(&other), entries) {
        both.check()?;
        if compared.found.differing.len() + compared.found.undecided.len() >= DIFFERENCES_MAX {
            compared.leaves_left += leaves.len() as u64;
            continue;
        }
        let rows = not_alike(
            &list(both.primary, both.group, tree, &leaves)?,
            &list(both.standby, both.group, tree, &leaves)?,
        );
        let Settled { differing, undecided, same } = settle(both, rows)?;
        compared.found.differing.extend(differing);
        compared.found.undecided.extend(undecided);
        compared.found.same += same;
    }
    compared.found.differing.sort_by(|one, other| row(one).cmp(&row(other)));
    Ok(compared)
}

fn row(found: &Found) -> Option<&RowKey> {
    found.primary.as_ref().or(found.standby.as_ref()).map(|entry| &entry.row)
}

fn figures(tree: &MerkleTree, leaves: &BTreeMap<u16, LeafSum>) -> Figures {
    let (entries, bytes) = (leaves.values().map(|leaf| leaf.entries), leaves.values().map(|leaf| leaf.bytes));
    Figures {
        root: tree.root(),
        entries: entries.fold(0, u64::saturating_add),
        bytes: bytes.fold(0, u64::saturating_add),
    }
}

/// Leaves in batches whose entries can be held at once; a leaf with more is a batch of its own.
fn batches(leaves: &[u16], entries: impl Fn(&u16) -> u64) -> Vec<Vec<u16>> {
    let (mut batches, mut left): (Vec<Vec<u16>>, u64) = (Vec::new(), 0);
    for leaf in leaves {
        let wanted = entries(leaf);
        match batches.last_mut().filter(|_| wanted <= left) {
            Some(batch) => batch.push(*leaf),
            None => {
                batches.push(vec![*leaf]);
                left = ENTRIES_MAX;
            }
        }
        left = left.saturating_sub(wanted);
    }
    batches
}

/// The digests of all entries of some leaves.
fn list(
    holder: &dyn Holder,
    group: u32,
    tree: CompareTree,
    leaves: &[u16],
) -> Result<BTreeMap<RowKey, [Digest; 2]>, ClientError> {
    let (mut entries, mut after) = (BTreeMap::new(), RowKey::default());
    loop {
        let wanted = CompareWanted::Leaves { tree, leaves: leaves.to_vec(), after: after.clone() };
        let page = holder.entries(group, wanted)?;
        let digests = |entry: ComparedEntry| (entry.row, [entry.record, entry.content]);
        entries.extend(page.entries.into_iter().map(digests));
        match page.next {
            None => return Ok(entries),
            Some(next) if next > after => after = next,
            Some(_) => return Err(super::ask::stuck()),
        }
    }
}

fn not_alike(one: &BTreeMap<RowKey, [Digest; 2]>, other: &BTreeMap<RowKey, [Digest; 2]>) -> BTreeSet<RowKey> {
    let differs = |row: &&RowKey| one.get(row) != other.get(row);
    one.keys().chain(other.keys()).filter(differs).cloned().collect()
}

#[cfg(test)]
#[path = "group/tests.rs"]
mod tests;
