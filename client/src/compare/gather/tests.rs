//! What a report says of what was found.

use super::super::report::CompareVerdict;
use super::super::settle::Settled;
use super::super::testing::{entry, position};
use super::*;
use wire::ComparedKind;

fn tree(bucket: u64, root: [u8; 2], found: Settled) -> ComparedTree {
    let side = |root: u8| Figures { root: Digest([root; 32]), entries: 2, bytes: 7 };
    ComparedTree {
        tree: CompareTree::Bucket { bucket },
        name: Some("jobs".into()),
        primary: side(root[0]),
        standby: side(root[1]),
        found,
        leaves_left: 0,
    }
}

fn found(kind: ComparedKind, judgement: Judgement) -> Found {
    Found { judgement, primary: Some(entry(kind, "key", 1)), standby: None }
}

#[test]
fn a_bucket_has_one_root_over_all_groups_and_equal_groups_an_equal_one() {
    let mut gathered = Gathered::default();
    for group in 1..4 {
        gathered.take(group, tree(9, [group as u8; 2], Settled::default()));
        gathered.take_group(group, [Some(position(1, 2)); 2], None);
    }
    gathered.take(3, tree(11, [1, 2], Settled::default()));
    let outcome = gathered.finish();
    assert_eq!((outcome.entries, outcome.bytes, outcome.trees.len()), (8, 28, 2));
    assert_eq!(outcome.trees[0].primary, outcome.trees[0].standby);
    assert_ne!(outcome.trees[1].primary.root, outcome.trees[1].standby.root);
    assert_eq!(outcome.conclude(false), (CompareVerdict::Same, Vec::new()));
}

#[test]
fn differences_are_named_and_decide_over_what_is_undecided() {
    let mut gathered = Gathered::default();
    let differing = vec![found(ComparedKind::Version, Judgement::Missing)];
    let moving = vec![
        found(ComparedKind::Version, Judgement::Moving),
        found(ComparedKind::Figures, Judgement::Moving),
    ];
    gathered.take(2, tree(9, [1, 2], Settled { differing, undecided: moving, same: 5 }));
    gathered.take_group(2, [None; 2], None);
    gathered.take_group(3, [None; 2], Some("it does not answer".into()));
    let outcome = gathered.finish();
    assert_eq!((outcome.settled, outcome.undecided, outcome.figures_moving), (5, 1, 1));
    assert_eq!(outcome.differing_groups(), [2].into());
    let difference = &outcome.differences[0];
    assert_eq!(difference.difference, DifferenceKind::Missing);
    assert_eq!((difference.bucket.as_deref(), difference.key.as_deref()), (Some("jobs"), Some("key")));
    assert_eq!(outcome.totals, [(DifferenceKind::Missing, 1)].into());
    let (verdict, reasons) = outcome.conclude(false);
    assert_eq!((verdict, verdict.exit_code(), reasons.len()), (CompareVerdict::Differing, 7, 3));
}

#[test]
fn what_cannot_be_told_is_undecided_and_counters_that_move_are_not() {
    let of = |kind, error: Option<&str>, was_stopped| {
        let mut gathered = Gathered::default();
        let undecided = vec![found(kind, Judgement::Moving)];
        gathered.take(1, tree(9, [1, 2], Settled { undecided, ..Settled::default() }));
        gathered.take_group(1, [None; 2], error.map(str::to_owned));
        gathered.finish().conclude(was_stopped).0
    };
    assert_eq!(of(ComparedKind::Figures, None, false), CompareVerdict::Same);
    assert_eq!(of(ComparedKind::Version, None, false), CompareVerdict::Undecided);
    assert_eq!(of(ComparedKind::Figures, Some("no leader"), false), CompareVerdict::Undecided);
    assert_eq!(of(ComparedKind::Figures, None, true), CompareVerdict::Aborted);
    assert_eq!(CompareVerdict::Undecided.exit_code(), 6);
}
