//! One group of both regions, in memory: equal states have equal roots, differences are found and named.

use super::super::judge::Judgement;
use super::super::testing::{Region, entry};
use super::*;
use std::sync::atomic::AtomicBool;
use wire::{ComparedKind, PairRole};

const BUCKETS: [CompareTree; 2] = [CompareTree::Bucket { bucket: 1 }, CompareTree::Bucket { bucket: 5 }];

fn regions() -> [Region; 2] {
    [PairRole::Primary, PairRole::Standby].map(|role| {
        let region = Region::new(role, |_, _| {});
        region.change(|state| {
            for tree in BUCKETS.into_iter().chain([CompareTree::Streams]) {
                for number in 0..20 {
                    state.put(tree, entry(ComparedKind::Version, &format!("{tree:?}/{number}"), number));
                }
            }
        });
        region
    })
}

fn compared(primary: &Region, standby: &Region) -> Vec<ComparedTree> {
    let stop = AtomicBool::new(false);
    let both = Both { primary, standby, group: 1, stop: &stop, is_behind: &AtomicBool::new(false) };
    let mut trees = Vec::new();
    let (positions, outcome) = compare(both, None, &mut |tree| trees.push(tree));
    outcome.unwrap();
    assert!(positions.iter().all(Option::is_some));
    trees
}

#[test]
fn equal_states_have_equal_roots_over_pages_that_cut_trees() {
    let [primary, standby] = regions();
    let trees = compared(&primary, &standby);
    assert_eq!(trees.len(), 3);
    for tree in &trees {
        assert_eq!((tree.primary, tree.primary.entries), (tree.standby, 20), "{:?}", tree.tree);
        assert!(tree.found.differing.is_empty());
    }
    assert_ne!(trees[0].primary.root, trees[1].primary.root);
}

#[test]
fn every_kind_of_difference_is_found_and_named_and_nothing_else() {
    let [primary, standby] = regions();
    let name = |number: u8| format!("{:?}/{number}", BUCKETS[0]);
    standby.change(|state| {
        state.entries.remove(&(BUCKETS[0], entry(ComparedKind::Version, &name(3), 3).row));
        state.put(BUCKETS[0], entry(ComparedKind::Version, &name(4), 99));
        state.put(CompareTree::System { table: 4 }, entry(ComparedKind::Record, "grant", 1));
    });
    let trees = compared(&primary, &standby);
    let mut found: Vec<(String, Judgement)> = trees
        .iter()
        .flat_map(|tree| &tree.found.differing)
        .map(|found| {
            let entry = found.primary.as_ref().or(found.standby.as_ref()).unwrap();
            (entry.name.clone(), found.judgement)
        })
        .collect();
    found.sort_by(|one, other| one.0.cmp(&other.0));
    let expected = [
        (name(3), Judgement::Missing),
        (name(4), Judgement::Content),
        ("grant".to_owned(), Judgement::Surplus),
    ];
    assert_eq!(found, expected);
}

#[test]
fn an_empty_standby_lacks_everything() {
    let [primary, _] = regions();
    let standby = Region::new(PairRole::Standby, |_, _| {});
    let trees = compared(&primary, &standby);
    let missing: usize = trees.iter().map(|tree| tree.found.differing.len()).sum();
    assert_eq!(missing, 60);
    assert!(trees.iter().all(|tree| tree.standby == Figures::default()));
}

#[test]
fn leaves_are_batched_by_their_entries() {
    let sizes = [ENTRIES_MAX / 2, ENTRIES_MAX / 2, 1, ENTRIES_MAX * 3, 1, 1];
    let all: Vec<u16> = (0..6).collect();
    let batches = batches(&all, |leaf| sizes[usize::from(*leaf)]);
    assert_eq!(batches, [vec![0, 1], vec![2], vec![3], vec![4, 5]]);
}
