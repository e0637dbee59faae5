//! Tests of what becomes of the lost writes of one key, for everything that can have happened to it in the new primary.

use super::*;
use wire::UnixMillis;

/// Lost and newer writes are numbered by their place.
fn write(change: LostChange, version: Option<&str>, etag: Option<&str>, kept: bool) -> LostWrite {
    LostWrite {
        change,
        bucket: Some("bucket".into()),
        key: Some("key".into()),
        subject: None,
        version: version.map(str::to_owned),
        size: etag.map(|_| 1),
        etag: etag.map(str::to_owned),
        principal: None,
        acknowledged_at: UnixMillis(1),
        kept,
        certain: true,
        group: 1,
        sequence: 1,
        part: 0,
    }
}

fn put(etag: &str) -> LostWrite {
    write(LostChange::Put, Some(&format!("version-{etag}")), Some(etag), true)
}

fn replaced(etag: &str) -> LostWrite {
    write(LostChange::Put, Some(NULL_VERSION), Some(etag), false)
}

fn delete() -> LostWrite {
    write(LostChange::Delete, None, None, false)
}

fn delete_version(version: &str) -> LostWrite {
    write(LostChange::Delete, Some(version), None, false)
}

/// A key of which all lists are whole.
struct Case {
    lost: Vec<LostWrite>,
    choices: Vec<Choice>,
    newer: Vec<Newer>,
    current: Option<&'static str>,
    there: Vec<&'static str>,
    beside: Vec<bool>,
    lists_are_whole: bool,
    has_bucket: bool,
}

impl Case {
    fn new(current: Option<&'static str>, lost: Vec<LostWrite>) -> Self {
        Self {
            choices: vec![Choice::Keep; lost.len()],
            beside: vec![false; lost.len()],
            lost,
            newer: Vec::new(),
            current,
            there: Vec::new(),
            lists_are_whole: true,
            has_bucket: true,
        }
    }

    fn since(mut self, write: LostWrite) -> Self {
        self.newer.push(Newer { write, mark: None });
        self
    }

    /// The lost write at this place, put back by an earlier run.
    fn put_back(mut self, at: usize) -> Self {
        self.newer.push(Newer { write: self.lost[at].clone(), mark: Some(format!("twin-1/2/1/{at}")) });
        self
    }

    fn judge(&self) -> Vec<Judged> {
        judge(&KeyFacts {
            lost: self.lost.iter().zip(self.choices.clone()).collect(),
            marks: (0..self.lost.len()).map(|at| format!("twin-1/2/1/{at}")).collect(),
            newer: self.newer.clone(),
            lists_are_whole: self.lists_are_whole,
            has_bucket: self.has_bucket,
            current: self.current.map(str::to_owned),
            beside: self.beside.clone(),
            there: self.there.iter().map(|version| (*version).to_owned()).collect(),
        })
    }

    fn actions(&self) -> Vec<Action> {
        self.judge().into_iter().map(|judged| judged.action).collect()
    }

    fn steps(&self) -> Vec<Step> {
        self.judge().into_iter().filter_map(|judged| judged.step).collect()
    }
}

fn put_above(above: Option<&str>) -> Step {
    Step::Put { name: "key".into(), above: above.map(str::to_owned) }
}

fn put_beside(at: usize) -> Step {
    Step::Put { name: format!("key.lost-twin-1-2-1-{at}"), above: None }
}

#[test]
fn a_key_that_nobody_wrote_since_gets_its_lost_versions_in_order_each_above_the_one_before() {
    let case = Case::new(Some("shared"), vec![put("a"), put("b")]);
    assert_eq!(case.actions(), [Action::PutBack; 2]);
    assert_eq!(case.steps(), [put_above(Some("shared")), put_above(Some("a"))]);
    assert_eq!(Case::new(None, vec![put("a")]).steps(), [put_above(None)]);
}

#[test]
fn what_a_later_lost_write_replaced_is_gone() {
    let case = Case::new(None, vec![replaced("a"), put("b")]);
    assert_eq!(case.actions(), [Action::Superseded, Action::PutBack]);
}

#[test]
fn a_key_with_a_newer_write_or_delete_keeps_it_and_the_lost_one_goes_beside() {
    for (current, newer) in [(Some("newer"), put("newer")), (None, delete())] {
        let case = Case::new(current, vec![put("a")]).since(newer);
        assert_eq!(case.actions(), [Action::KeptBeside]);
        assert_eq!(case.steps(), [put_beside(0)]);
    }
}

#[test]
fn lists_that_are_not_whole_make_nothing_current_and_delete_nothing() {
    let mut case = Case::new(Some("shared"), vec![put("a"), delete()]);
    case.lists_are_whole = false;
    assert_eq!(case.actions(), [Action::KeptBeside, Action::DeleteNotRepeated]);
}

#[test]
fn a_delete_is_repeated_only_of_exactly_what_it_deleted() {
    let shared = Case::new(Some("shared"), vec![delete()]);
    assert_eq!(shared.steps(), [Step::Delete { etag: "shared".into() }]);
    let own = Case::new(Some("shared"), vec![put("a"), delete()]);
    assert_eq!(own.steps(), [put_above(Some("shared")), Step::Delete { etag: "a".into() }]);
    let newer = Case::new(Some("newer"), vec![delete()]).since(put("newer"));
    assert_eq!(newer.actions(), [Action::DeleteNotRepeated]);
    let gone = Case::new(Some("shared"), vec![replaced("a"), delete()]);
    assert_eq!(gone.actions(), [Action::Superseded, Action::DeleteNotRepeated]);
    let first_deleted = Case::new(Some("shared"), vec![delete(), replaced("a"), delete()]);
    assert_eq!(first_deleted.steps(), [Step::Delete { etag: "shared".into() }]);
    assert_eq!(Case::new(None, vec![delete()]).actions(), [Action::AlreadyThere]);
}

#[test]
fn a_version_is_removed_only_if_it_is_there_and_nobody_wrote_the_key_since() {
    let mut case = Case::new(Some("shared"), vec![delete_version("one"), delete_version("two")]);
    case.there = vec!["one"];
    assert_eq!(case.actions(), [Action::DeleteRepeated, Action::AlreadyThere]);
    assert_eq!(case.since(put("newer")).actions(), [Action::DeleteNotRepeated, Action::AlreadyThere]);
    let own = Case::new(None, vec![put("a"), delete_version("version-a")]);
    assert_eq!(own.actions()[1], Action::Superseded);
}

#[test]
fn what_is_in_the_place_of_an_only_version_is_removed_only_while_it_is_what_was_seen() {
    let there = |current, lost| Case { there: vec![NULL_VERSION], ..Case::new(current, lost) };
    let lost = || vec![delete_version(NULL_VERSION)];
    let step = Step::DeleteVersion { version: NULL_VERSION.into(), current: Some("shared".into()) };
    assert_eq!(there(Some("shared"), lost()).steps(), [step]);
    assert_eq!(there(None, lost()).actions(), [Action::DeleteNotRepeated], "no condition could be set");
    let written = there(Some("newer"), lost()).since(put("newer"));
    assert_eq!(written.actions(), [Action::DeleteNotRepeated]);
    // of a version with an identity no condition is needed
    let mut version = Case::new(Some("shared"), vec![delete_version("one")]);
    version.there = vec!["one"];
    assert_eq!(version.steps(), [Step::DeleteVersion { version: "one".into(), current: None }]);
}

#[test]
fn what_was_put_back_in_the_place_of_a_removed_version_is_not_removed() {
    let there = |current, lost| Case { there: vec![NULL_VERSION], ..Case::new(current, lost) };
    let plain = LostWrite { version: Some(NULL_VERSION.into()), ..put("a") };
    let lost = || vec![delete_version(NULL_VERSION), plain.clone()];
    let case = there(Some("shared"), lost());
    assert_eq!(case.actions(), [Action::Superseded, Action::PutBack]);
    assert_eq!(case.steps(), [put_above(Some("shared"))]);
    let ended = there(Some("a"), lost()).put_back(1);
    assert_eq!(ended.actions(), [Action::Superseded, Action::AlreadyThere]);
    // the new primary's bucket may have no versions
    let other = there(Some("shared"), vec![put("a"), delete_version(NULL_VERSION)]);
    assert_eq!(other.actions(), [Action::PutBack, Action::DeleteNotRepeated]);
}

#[test]
fn a_run_that_was_ended_is_finished_as_if_it_had_not_been() {
    let lost = || vec![put("a"), put("b"), delete()];
    let whole = Case::new(Some("shared"), lost()).steps();
    let second = Case::new(Some("a"), lost()).put_back(0);
    assert_eq!(second.steps(), whole[1..]);
    let third = Case::new(Some("b"), lost()).put_back(0).put_back(1);
    assert_eq!(third.steps(), whole[2..]);
    let ended = Case::new(None, lost()).put_back(0).put_back(1).since(delete());
    assert_eq!(ended.actions(), [Action::AlreadyThere; 3]);
    let mut beside = Case::new(Some("newer"), vec![put("a")]).since(put("newer"));
    beside.beside = vec![true];
    assert_eq!(beside.actions(), [Action::AlreadyThere]);
}

#[test]
fn bytes_that_a_client_wrote_again_are_there_already_and_nothing_goes_above_them() {
    let case = Case::new(Some("a"), vec![put("a"), put("b")]).since(put("a"));
    assert_eq!(case.actions(), [Action::AlreadyThere, Action::KeptBeside]);
}

#[test]
fn what_a_person_copied_back_from_beside_is_theirs_and_stays() {
    let mut case = Case::new(Some("newer"), vec![put("a")]).since(put("newer"));
    case.newer.push(Newer { write: put("a"), mark: Some(mark_beside("twin-1/2/1/0")) });
    case.current = Some("a");
    assert_eq!((case.actions(), case.steps()), (vec![Action::AlreadyThere], vec![]));
    case.beside = vec![true];
    assert_eq!((case.actions(), case.steps()), (vec![Action::AlreadyThere], vec![]));
}

#[test]
fn what_the_new_primary_deleted_is_not_shown_again_though_the_lost_writes_end_in_a_delete() {
    let case = Case::new(None, vec![put("a"), delete()]).since(delete());
    assert_eq!(case.actions(), [Action::KeptBeside, Action::AlreadyThere]);
    assert_eq!(case.steps(), [put_beside(0)]);
}

#[test]
fn a_version_that_was_put_back_above_a_write_that_came_between_is_moved_beside() {
    let case = Case::new(Some("a"), vec![put("a")]).since(delete()).put_back(0);
    let step = Step::Move { name: "key.lost-twin-1-2-1-0".into(), version: "version-a".into() };
    assert_eq!(case.steps(), [step]);
    // without versions there is nothing that could be moved without a person's eye
    let plain = LostWrite { version: Some(NULL_VERSION.into()), ..put("a") };
    let case = Case::new(Some("a"), vec![plain]).since(delete()).put_back(0);
    assert_eq!(case.actions(), [Action::ByHand]);
}

#[test]
fn what_a_client_wrote_with_our_mark_is_its_own() {
    let marked = |write: LostWrite, at: usize| Newer { write, mark: Some(format!("twin-1/2/1/{at}")) };
    // other bytes under the mark that was copied along, above what a killed run put back
    let mut case = Case::new(Some("c"), vec![put("a"), put("b"), delete()]).put_back(0);
    case.newer.push(marked(put("c"), 0));
    let beside = [Action::AlreadyThere, Action::KeptBeside, Action::DeleteNotRepeated];
    assert_eq!(case.actions(), beside);
    assert_eq!(case.steps(), [put_beside(1)]);
    // without versions what was put back is gone, and its mark cannot be read
    case.newer[0] = Newer { write: replaced("a"), mark: None };
    assert_eq!(case.actions(), beside);
    // the same bytes, copied onto themselves
    let mut case = Case::new(Some("a"), vec![put("a"), put("b"), delete()]).put_back(0);
    case.newer.push(marked(LostWrite { version: Some("copy".into()), ..put("a") }, 0));
    assert_eq!(case.actions(), beside);
    // the first of two removed: whose the other is cannot be told, so nothing is removed
    case.newer[0] = Newer { write: LostWrite { kept: false, ..put("a") }, mark: None };
    assert_eq!(case.actions(), [Action::ByHand, Action::KeptBeside, Action::DeleteNotRepeated]);
}

#[test]
fn what_a_person_chose_is_done_and_no_more() {
    let mut case = Case::new(Some("shared"), vec![put("a"), put("b"), delete()]);
    case.choices = vec![Choice::Discard, Choice::Beside, Choice::Keep];
    assert_eq!(case.actions(), [Action::GivenUp, Action::KeptBeside, Action::DeleteNotRepeated]);
    // kept later, it does not go above one that is there already
    let later = Case::new(Some("b"), vec![put("a"), put("b")]).put_back(1);
    assert_eq!(later.actions(), [Action::KeptBeside, Action::AlreadyThere]);
}

#[test]
fn a_bucket_that_is_not_there_leaves_its_objects_to_a_person() {
    let mut case = Case::new(None, vec![put("a")]);
    case.has_bucket = false;
    assert_eq!(case.actions(), [Action::ByHand]);
}

#[test]
fn parts_of_an_upload_are_in_its_object_or_were_never_one() {
    let part = write(LostChange::PutPart, None, Some("part"), false);
    assert_eq!(
        Case::new(None, vec![part.clone(), put("a-2")]).actions(),
        [Action::Superseded, Action::PutBack]
    );
    assert_eq!(Case::new(None, vec![part]).actions(), [Action::Unfinished]);
}

#[test]
fn a_name_that_would_be_too_long_is_left_to_a_person() {
    let long = LostWrite { key: Some("k".repeat(KEY_BYTES_MAX)), ..put("a") };
    assert_eq!(Case::new(Some("newer"), vec![long]).since(put("newer")).actions(), [Action::ByHand]);
}
