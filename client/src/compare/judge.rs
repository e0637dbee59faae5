//! Whether an entry that both regions do not have alike is on its way, or really differs: judged from three looks, so that no
//! write that is under way is taken for a difference.
//!
//! ```text
//! 1  the primary's entry, read at or before P
//! 2  the standby's entry, once the standby has everything up to P
//! 3  the primary's entry again, once it has everything that the standby had then
//! ```
//!
//! If the primary's entry is the same in 1 and 3, it was so all the time in between, and the standby, which was somewhere in
//! between, had to have it as well. A version, an upload or a stream that went never comes back; of what can change and
//! change back (a record, a counter) it is certain only when the group did nothing at all between 1 and 3.

use wire::{ComparePosition, ComparedEntry, ComparedKind};

/// One look at an entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look<'a> {
    /// Where it was read.
    pub(super) position: ComparePosition,
    /// The entry, if it is there.
    pub(super) entry: Option<&'a ComparedEntry>,
}

/// What three looks at an entry tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// Both have it, or have it not.
    Same,
    /// It may be on its way: look again.
    Moving,
    /// The standby lacks it.
    Missing,
    /// The standby has it and the primary does not.
    Surplus,
    /// Sealed bodies of it have other lengths or checksums.
    Content,
    /// What is said of it is not the same.
    Metadata,
}

/// Judges an entry by looks at the primary, at the standby, and at the primary again.
pub(super) fn judge(before: Look<'_>, standby: Look<'_>, after: Look<'_>) -> Judgement {
    let in_order = standby.position.from >= before.position.to && after.position.from >= standby.position.to;
    if !in_order || !is_alike(before.entry, after.entry) {
        return Judgement::Moving;
    }
    if is_alike(before.entry, standby.entry) {
        return Judgement::Same;
    }
    let kind = before.entry.or(standby.entry).map(|entry| entry.kind);
    let comes_back =
        matches!(kind, Some(ComparedKind::Figures | ComparedKind::Record | ComparedKind::NullVersion));
    if comes_back && before.position.from != after.position.to {
        return Judgement::Moving;
    }
    match (before.entry, standby.entry) {
        (Some(_), None) => Judgement::Missing,
        (None, _) => Judgement::Surplus,
        (Some(one), Some(other)) if one.content != other.content => Judgement::Content,
        (Some(_), Some(_)) => Judgement::Metadata,
    }
}

fn is_alike(one: Option<&ComparedEntry>, other: Option<&ComparedEntry>) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => one.is_same(other),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{entry, position};
    use super::*;

    fn of(kind: ComparedKind, content: u8) -> ComparedEntry {
        entry(kind, "key", content)
    }

    #[test]
    fn an_entry_that_stands_still_in_the_primary_decides() {
        let (one, other) = (of(ComparedKind::Version, 1), of(ComparedKind::Version, 2));
        let metadata = ComparedEntry { record: wire::Digest([9; 32]), ..one.clone() };
        for (primary, standby, expected) in [
            (Some(&one), Some(&one), Judgement::Same),
            (None, None, Judgement::Same),
            (Some(&one), None, Judgement::Missing),
            (None, Some(&one), Judgement::Surplus),
            (Some(&one), Some(&other), Judgement::Content),
            (Some(&one), Some(&metadata), Judgement::Metadata),
        ] {
            let before = Look { position: position(5, 7), entry: primary };
            let after = Look { position: position(8, 9), entry: primary };
            let standby = Look { position: position(7, 8), entry: standby };
            assert_eq!(judge(before, standby, after), expected);
        }
    }

    #[test]
    fn a_standby_that_is_not_there_yet_and_a_primary_that_changes_decide_nothing() {
        let (one, other) = (of(ComparedKind::Version, 1), of(ComparedKind::Version, 2));
        let looks = |standby_from, after_from, after: &'static str| {
            let after = match after {
                "same" => Some(&one),
                "other" => Some(&other),
                _ => None,
            };
            let before = Look { position: position(5, 7), entry: Some(&one) };
            let standby = Look { position: position(standby_from, 8), entry: None };
            judge(before, standby, Look { position: position(after_from, 9), entry: after })
        };
        assert_eq!(looks(7, 8, "same"), Judgement::Missing);
        assert_eq!(looks(6, 8, "same"), Judgement::Moving);
        assert_eq!(looks(7, 7, "same"), Judgement::Moving);
        assert_eq!(looks(7, 8, "other"), Judgement::Moving);
        assert_eq!(looks(7, 8, "gone"), Judgement::Moving);
    }

    #[test]
    fn what_can_change_back_is_judged_only_while_the_group_does_nothing() {
        for kind in [ComparedKind::Figures, ComparedKind::Record, ComparedKind::NullVersion] {
            let (one, other) = (of(kind, 1), of(kind, 2));
            let at = |before, after| {
                let before = Look { position: before, entry: Some(&one) };
                let standby = Look { position: position(7, 7), entry: Some(&other) };
                judge(before, standby, Look { position: after, entry: Some(&one) })
            };
            assert_eq!(at(position(7, 7), position(7, 7)), Judgement::Content);
            assert_eq!(at(position(6, 7), position(7, 7)), Judgement::Moving);
            assert_eq!(at(position(7, 7), position(7, 8)), Judgement::Moving);
        }
    }
}
