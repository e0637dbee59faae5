//! Tests of the page: it says everything that a reader without the report needs, and lets nobody write into it.

use super::*;
use crate::drill::testing::{entry, report};
use crate::failover::LossManifest;

#[test]
fn a_page_says_verdict_figures_limits_conditions_steps_and_both_clocks() {
    let page = page(&report(DrillKind::Planned));
    for said in [
        "# Drill 20261122T104946Z-planned: passed",
        "| recovery time (RTO) | 500 ms | 1000 ms |",
        "| recovery point (RPO) | 0 ms | 0 ms |",
        "| lag | pair | ok | Live, 3 ms behind |  |",
        "| began | took | step | outcome | then in twin-1 | then in twin-2 |",
        "| 1970-01-01T00:00:01.000Z | 42 ms | switch to twin-2, planned | done | 1970-01-01T00:00:01.001Z | no answer |",
        "twinkeep drill verify",
    ] {
        assert!(page.contains(said), "{said}\n{page}");
    }
    assert!(!page.contains("## Lost writes") && !page.contains("## Left to do"));
}

#[test]
fn a_run_that_was_not_begun_has_conditions_and_no_figures() {
    let mut report = report(DrillKind::Planned);
    report.timeline.clear();
    let page = page(&report);
    assert!(page.contains("## Readiness") && !page.contains("## Figures") && !page.contains("## Timeline"));
}

#[test]
fn losses_reasons_and_what_is_left_are_listed_and_their_words_stay_words() {
    let mut report = report(DrillKind::Forced);
    report.reasons = vec!["the list of lost writes is not whole".into()];
    report.left_to_do = vec!["`twinkeep failover rejoin --discard`".into()];
    let losses = LossManifest {
        from: "twin-1".into(),
        to: "twin-2".into(),
        epoch: 3,
        complete: false,
        entries: vec![entry("a|b\n<script>[x](y)", 5_000)],
    };
    report.losses = Some(losses);
    let page = page(&report);
    assert!(
        page.contains(
            "twin-1 acknowledged 1 writes that twin-2 did not have (epoch 3). The list is not whole."
        )
    );
    assert!(page.contains(r"| put | twinkeep-drill | a\|b\n\<script>\[x](y) | 256 | dev |"), "{page}");
    assert!(page.contains("- the list of lost writes is not whole\n"));
    assert!(page.contains("## Left to do\n\n- `twinkeep failover rejoin --discard`\n"));
}
