//! Tests of figures and verdicts on runs that are written down here; the canaries are faults that a verdict must not pass.

use super::*;
use crate::drill::testing::{compared, entry, probe, report};
use crate::drill::{DrillKind, Verdict};

fn forced(change: impl FnOnce(&mut DrillReport)) -> Vec<String> {
    let mut report = report(DrillKind::Forced);
    let run = report.run.clone();
    report.probes =
        vec![probe("twin-1/000000", 1_000), probe("twin-1/000001", 1_100), probe("twin-2/000000", 1_500)];
    report.probes[1].lost = true;
    report.measured.recovery_point = Some(UnixMillis(1_050));
    report.losses = Some(LossManifest {
        from: "twin-1".into(),
        to: "twin-2".into(),
        epoch: 2,
        complete: true,
        entries: vec![entry(&format!("{run}/twin-1/000001"), 1_090)],
    });
    change(&mut report);
    reasons(&report)
}

#[test]
fn the_recovery_time_is_the_longest_time_without_an_acknowledged_write() {
    let probes = [probe("a/0", 1_000), probe("b/0", 1_040), probe("a/1", 1_900), probe("b/1", 2_000)];
    let measured = measure(&probes, 3, &[], None, UnixMillis(2_100));
    assert_eq!((measured.rto_ms, measured.longest_pause_ms), (Some(860), Some(860)));
    assert_eq!((measured.rpo_ms, measured.probes_lost, measured.attempts_refused), (Some(0), 0, 3));
    let at_the_end = measure(&probes, 0, &[], None, UnixMillis(5_000));
    assert_eq!(at_the_end.rto_ms, Some(3_000), "a pause that did not end counts");
    assert_eq!(measure(&[], 0, &[], None, UnixMillis(5_000)), Measured::default());
}

#[test]
fn after_a_forced_switch_the_new_primarys_first_write_counts_whatever_the_old_one_still_took() {
    let probes = [probe("old/0", 1_000), probe("old/1", 1_300), probe("new/0", 1_700), probe("new/1", 1_800)];
    let injected = (UnixMillis(1_050), "new".to_owned());
    let measured = measure(&probes, 0, &[], Some(&injected), UnixMillis(1_800));
    assert_eq!((measured.first_write_ms, measured.rto_ms), (Some(650), Some(650)));
    let never = measure(&probes[..2], 0, &[], Some(&injected), UnixMillis(1_800));
    assert_eq!(never.rto_ms, None);
}

#[test]
fn the_recovery_point_reaches_back_to_the_last_probe_that_is_there() {
    let mut probes = [probe("a/0", 1_000), probe("a/1", 1_200), probe("a/2", 1_250), probe("a/3", 2_000)];
    (probes[1].lost, probes[2].lost) = (true, true);
    assert_eq!(measure(&probes, 0, &[], None, UnixMillis(2_000)).rpo_ms, Some(250));
    let mut alone = [probe("a/0", 1_000)];
    alone[0].lost = true;
    assert_eq!(measure(&alone, 0, &[], None, UnixMillis(2_000)).rpo_ms, Some(1), "never none");
}

#[test]
fn a_planned_drill_within_its_limits_passes_and_one_lost_probe_fails_it() {
    let mut good = report(DrillKind::Planned);
    conclude(&mut good, None);
    assert_eq!((good.verdict, good.exit_code, good.reasons.len()), (Verdict::Passed, 0, 0));
    let mut slow = report(DrillKind::Planned);
    slow.measured.rto_ms = Some(1_001);
    conclude(&mut slow, None);
    assert_eq!((slow.verdict, slow.exit_code), (Verdict::Failed, 7));
    let mut lossy = report(DrillKind::Planned);
    (lossy.measured.probes_lost, lossy.measured.rpo_ms) = (1, Some(0));
    conclude(&mut lossy, None);
    assert_eq!(lossy.verdict, Verdict::Failed);
    let mut given_up = report(DrillKind::Planned);
    conclude(&mut given_up, Some("the link broke".into()));
    assert_eq!((given_up.verdict, given_up.exit_code), (Verdict::Aborted, 8));
    assert_eq!(given_up.reasons, ["the link broke"]);
    let mut turned = report(DrillKind::Planned);
    turned.after.swap(0, 1);
    conclude(&mut turned, None);
    assert_eq!(turned.reasons, ["the pair is not as it was before"]);
}

#[test]
fn the_list_of_lost_writes_must_be_the_probes_that_are_gone() {
    assert_eq!(forced(|_| {}), Vec::<String>::new());
    let unlisted = forced(|report| report.losses.as_mut().unwrap().entries.clear());
    assert!(unlisted[0].contains("not in the list"), "{unlisted:?}");
    let there = forced(|report| report.probes[1].lost = false);
    assert!(there[0].contains("and are there"), "{there:?}");
    let again = forced(|report| (report.probes[1].lost, report.probes[1].attempts) = (false, 2));
    assert_eq!(again, Vec::<String>::new(), "written once more after the switch");
    let early = forced(|report| report.measured.recovery_point = Some(UnixMillis(1_090)));
    assert!(early[0].contains("before the recovery point"), "{early:?}");
    let cut = forced(|report| report.losses.as_mut().unwrap().complete = false);
    assert!(cut[0].contains("not whole"), "{cut:?}");
    let none = forced(|report| report.losses = None);
    assert!(none[0].contains("could not be listed"), "{none:?}");
}

#[test]
fn a_run_after_which_the_regions_differ_or_were_not_compared_does_not_pass() {
    let of = |found: Option<ComparedBucket>| {
        reasons(&DrillReport { compared: found, ..report(DrillKind::Planned) })
    };
    assert_eq!(of(Some(compared(CompareVerdict::Same, &[]))), Vec::<String>::new());
    let differing = compared(CompareVerdict::Differing, &["1 entries differ"]);
    assert_eq!(of(Some(differing)), ["the regions differ: 1 entries differ"]);
    for verdict in [CompareVerdict::Undecided, CompareVerdict::Aborted] {
        assert!(of(Some(compared(verdict, &["group 1"])))[0].contains("not known: group 1"));
    }
    assert_eq!(of(None), ["the regions were not compared"]);
}
