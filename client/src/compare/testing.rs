//! A pair of regions in memory, for tests: rows by name, and a primary whose history the standby follows.

use super::ask::Holder;
use crate::ClientError;
use std::cell::RefCell;
use std::collections::BTreeMap;
use wire::admin::{CompareBucket, CompareEntriesPage, CompareSums, CompareSumsPage, CompareWanted};
use wire::{
    COMPARE_LEAVES, CompareCursor, ComparePosition, CompareTree, ComparedEntry, ComparedKind, Digest,
    LeafSum, PairRole, RowKey,
};

/// An entry of this kind and name.
pub(super) fn entry(kind: ComparedKind, name: &str, content: u8) -> ComparedEntry {
    ComparedEntry {
        row: RowKey(name.as_bytes().to_vec().into()),
        kind,
        name: name.into(),
        version: Some("null".into()),
        size: Some(3),
        etag: Some("etag".into()),
        modified: None,
        record: Digest([content; 32]),
        content: Digest([content; 32]),
    }
}

/// Read between these entries of the pair.
pub(super) fn position(from: u64, to: u64) -> ComparePosition {
    ComparePosition { node: 1, role: PairRole::Primary, epoch: 2, from, to }
}

/// What happens to a region before its answer: given the number of the question.
type Happens = dyn Fn(&mut State, u64);

/// One region of one group.
pub(super) struct Region {
    role: PairRole,
    state: RefCell<State>,
    happens: Box<Happens>,
}

/// What it holds.
#[derive(Default)]
pub(super) struct State {
    pub(super) entries: BTreeMap<(CompareTree, RowKey), ComparedEntry>,
    /// Up to which entry of the pair.
    pub(super) position: u64,
    asked: u64,
}

impl State {
    pub(super) fn put(&mut self, tree: CompareTree, entry: ComparedEntry) {
        self.entries.insert((tree, entry.row.clone()), entry);
    }
}

impl Region {
    pub(super) fn new(role: PairRole, happens: impl Fn(&mut State, u64) + 'static) -> Self {
        Self { role, state: RefCell::default(), happens: Box::new(happens) }
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.borrow_mut());
    }

    fn ask<T>(&self, read: impl FnOnce(&State) -> T) -> (ComparePosition, T) {
        let mut state = self.state.borrow_mut();
        state.asked += 1;
        let asked = state.asked;
        (self.happens)(&mut state, asked);
        let at = position(state.position, state.position);
        (ComparePosition { role: self.role, ..at }, read(&state))
    }
}

/// The leaf of a name, as good as any.
pub(super) fn leaf(row: &RowKey) -> u16 {
    let sum = row.0.iter().fold(7_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte)));
    u16::try_from(sum % u32::from(COMPARE_LEAVES)).expect("below the number of leaves")
}

/// So few entries in a page that everything takes several.
const PAGE: usize = 3;

impl Holder for Region {
    fn sums(
        &self,
        _group: u32,
        after: Option<CompareCursor>,
        bucket: Option<CompareBucket>,
    ) -> Result<CompareSumsPage, ClientError> {
        let after = after.map(|cursor| (cursor.tree, cursor.after));
        let (position, (trees, next)) = self.ask(|state| {
            let mut trees: Vec<CompareSums> = Vec::new();
            let rest =
                state.entries.iter().filter(|(key, _)| after.as_ref().is_none_or(|after| *key > after));
            let rest: Vec<_> = rest.collect();
            for ((tree, row), entry) in rest.iter().take(PAGE) {
                let leaf = LeafSum { leaf: leaf(row), entries: 1, bytes: 3, sum: entry.content };
                match trees.last_mut().filter(|last| last.tree == *tree) {
                    Some(last) => last.leaves.push(leaf),
                    None => {
                        trees.push(CompareSums { tree: *tree, name: Some("name".into()), leaves: vec![leaf] })
                    }
                }
            }
            let next = rest.get(PAGE - 1).filter(|_| rest.len() > PAGE);
            let next = next.map(|((tree, row), _)| CompareCursor { tree: *tree, after: row.clone() });
            (trees, next)
        });
        let bucket = bucket.map(|_| 1);
        Ok(CompareSumsPage { position, bucket, trees, next })
    }

    fn entries(&self, _group: u32, wanted: CompareWanted) -> Result<CompareEntriesPage, ClientError> {
        let (position, (entries, next)) = self.ask(|state| match &wanted {
            CompareWanted::Rows { rows } => {
                let wanted = state.entries.values().filter(|entry| rows.contains(&entry.row));
                (wanted.cloned().collect(), None)
            }
            CompareWanted::Leaves { tree, leaves, after } => {
                let wanted = state
                    .entries
                    .iter()
                    .filter(|((found, row), _)| found == tree && row > after && leaves.contains(&leaf(row)));
                let wanted: Vec<ComparedEntry> = wanted.map(|(_, entry)| entry.clone()).collect();
                let next =
                    wanted.get(PAGE - 1).filter(|_| wanted.len() > PAGE).map(|entry| entry.row.clone());
                (wanted.into_iter().take(PAGE).collect::<Vec<_>>(), next)
            }
        });
        Ok(CompareEntriesPage { position, entries, next })
    }
}
