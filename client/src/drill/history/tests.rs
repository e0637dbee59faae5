//! Tests of the history on folders as runs leave them.

use super::*;
use crate::drill::testing::report;
use std::fs;

fn add(folder: &Path, name: &str, kind: DrillKind, rto_ms: Option<u64>, verdict: Verdict) {
    let mut report = report(kind);
    (report.run, report.verdict, report.measured.rto_ms) = (name.to_owned(), verdict, rto_ms);
    fs::create_dir_all(folder.join(name)).unwrap();
    fs::write(folder.join(name).join("report.json"), serde_json::to_vec(&report).unwrap()).unwrap();
}

#[test]
fn runs_are_listed_by_time_with_the_course_of_each_kind() {
    let base = tempfile::tempdir().unwrap();
    add(base.path(), "20260103T000000Z-planned", DrillKind::Planned, Some(300), Verdict::Passed);
    add(base.path(), "20260101T000000Z-planned", DrillKind::Planned, Some(900), Verdict::Passed);
    add(base.path(), "20260102T000000Z-planned", DrillKind::Planned, Some(1_200), Verdict::Failed);
    add(base.path(), "20260104T000000Z-node", DrillKind::Node, None, Verdict::NotReady);
    fs::create_dir(base.path().join("20260105T000000Z-node")).unwrap();
    let found = history(base.path()).unwrap();
    let times: Vec<Option<u64>> = found.runs.iter().map(|run| run.rto_ms).collect();
    assert_eq!(times, [Some(900), Some(1_200), Some(300), None]);
    assert_eq!(found.unreadable, ["20260105T000000Z-node"]);
    let [planned, node] = &found.trends[..] else { panic!("{found:?}") };
    assert_eq!((planned.runs, planned.passed), (3, 2));
    assert_eq!(
        (planned.rto_median_ms, planned.rto_last_ms, planned.rpo_max_ms),
        (Some(900), Some(300), Some(0))
    );
    assert_eq!((node.kind, node.rto_last_ms), (DrillKind::Node, None));
}

#[test]
fn a_folder_that_is_not_there_has_no_runs() {
    let base = tempfile::tempdir().unwrap();
    assert_eq!(history(&base.path().join("drills")).unwrap().runs, []);
}
