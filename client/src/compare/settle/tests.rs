//! The second look, on a pair in memory that changes while it is looked at.

use super::super::testing::{Region, State, entry, position};
use super::*;
use wire::CompareTree;

const TREE: CompareTree = CompareTree::Bucket { bucket: 1 };

fn nothing(_: &mut State, _: u64) {}

fn settled(primary: &Region, standby: &Region, names: &[&str]) -> Settled {
    let stop = AtomicBool::new(false);
    let both = Both { primary, standby, group: 1, stop: &stop, is_behind: &AtomicBool::new(false) };
    let rows = names.iter().map(|name| RowKey(name.as_bytes().to_vec().into()));
    settle(both, rows.collect()).unwrap()
}

fn version(name: &str, content: u8) -> ComparedEntry {
    entry(ComparedKind::Version, name, content)
}

#[test]
fn a_write_that_arrives_is_no_difference_and_one_that_is_missing_is() {
    let primary = Region::new(PairRole::Primary, nothing);
    primary.change(|state| {
        state.position = 8;
        state.put(TREE, version("arrives", 1));
        state.put(TREE, version("missing", 1));
    });
    // the standby is behind at first
    let standby = Region::new(PairRole::Standby, |state, asked| {
        if asked == 3 {
            state.put(TREE, version("arrives", 1));
            state.position = 8;
        }
    });
    let found = settled(&primary, &standby, &["arrives", "missing", "gone meanwhile"]);
    assert_eq!((found.same, found.undecided.len()), (2, 0));
    let [missing] = &found.differing[..] else { panic!("{found:?}") };
    assert_eq!(missing.judgement, Judgement::Missing);
    assert_eq!(missing.primary.as_ref().unwrap().name, "missing");
}

#[test]
fn an_entry_that_never_stands_still_is_left_undecided() {
    let primary = Region::new(PairRole::Primary, |state, asked| {
        state.position = asked;
        state.put(TREE, version("hot", asked as u8));
    });
    let standby = Region::new(PairRole::Standby, |state, asked| state.position = 1_000 + asked);
    let found = settled(&primary, &standby, &["hot"]);
    assert_eq!((found.same, found.differing.len(), found.undecided.len()), (0, 0, 1));
    assert_eq!(found.undecided[0].judgement, Judgement::Moving);
}

#[test]
fn a_difference_must_show_twice() {
    let primary = Region::new(PairRole::Primary, |state, _| state.put(TREE, version("once", 1)));
    // it is put right between the first round and the second
    let standby = Region::new(PairRole::Standby, |state, asked| {
        let content = if asked == 1 { 2 } else { 1 };
        state.put(TREE, version("once", content));
    });
    let found = settled(&primary, &standby, &["once"]);
    assert_eq!((found.same, found.differing.len(), found.undecided.len()), (1, 0, 0));
}

#[test]
fn two_primaries_are_not_held_against_each_other() {
    let (one, other) = (Region::new(PairRole::Primary, nothing), Region::new(PairRole::Primary, nothing));
    let stop = AtomicBool::new(false);
    let both =
        Both { primary: &one, standby: &other, group: 1, stop: &stop, is_behind: &AtomicBool::new(false) };
    let refused = settle(both, [RowKey::default()].into()).expect_err("there is no standby");
    assert!(refused.to_string().contains("not those of a primary and its standby"), "{refused}");
}

#[test]
fn the_first_write_of_all_on_its_way_is_no_other_reign() {
    let at = |role, epoch| ComparePosition { role, epoch, ..position(0, 0) };
    let is_pair = |primary, standby| {
        check_parts(&at(PairRole::Primary, primary), &at(PairRole::Standby, standby)).is_ok()
    };
    assert!(is_pair(0, 0) && is_pair(1, 0) && is_pair(0, 1) && is_pair(2, 2));
    assert!(!is_pair(2, 0) && !is_pair(2, 1) && !is_pair(1, 2));
}
