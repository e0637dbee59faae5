//! Whether signed reports say of every lost write what has become of it.

use super::report::{Action, ReconcileReport};
use super::{ReconcileVerdict, read_folder};
use crate::evidence::{self, Purpose};
use crate::failover::LossManifest;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use wire::admin::{LostChange, LostWrite};

/// What a lost write is known by.
type Identity<'a> = (u32, u64, LostChange, Option<&'a str>, Option<&'a str>);

/// Whether the reports in `folder` that an operator of one of these authorities signed settle every entry of the list.
pub fn is_settled(folder: &Path, authorities: &[PathBuf], manifest: &LossManifest) -> bool {
    let reports: Vec<ReconcileReport> = read_folder(folder)
        .iter()
        .filter_map(|run| {
            let (verified, json) = evidence::verified_report(run, authorities).ok()?;
            let report: ReconcileReport = serde_json::from_slice(&json).ok()?;
            (verified.kind == Purpose::Reconciliation).then_some(report)
        })
        .filter(|report| {
            let same =
                (&report.from, &report.to, report.epoch) == (&manifest.from, &manifest.to, manifest.epoch);
            same && report.verdict != ReconcileVerdict::Preview
        })
        .collect();
    // somebody decided although the list was not whole
    let is_accepted = manifest.complete || reports.iter().any(|report| !report.complete);
    let settled: BTreeSet<Identity<'_>> = reports
        .iter()
        .flat_map(|report| &report.entries)
        .filter(|entry| entry.action != Action::Failed)
        .map(|entry| identity(&entry.write))
        .collect();
    is_accepted
        && !reports.is_empty()
        && manifest.entries.iter().all(|entry| settled.contains(&identity(entry)))
}

fn identity(write: &LostWrite) -> Identity<'_> {
    (write.group, write.sequence, write.change, write.bucket.as_deref(), write.key.as_deref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::Deployment;
    use crate::dev::prepare;
    use crate::reconcile::{Entry, Policy};
    use crate::testing::dev_options;
    use std::collections::BTreeMap;
    use wire::UnixMillis;

    fn lost(sequence: u64) -> LostWrite {
        LostWrite {
            change: LostChange::Put,
            bucket: Some("bucket".into()),
            key: Some("key".into()),
            version: Some("null".into()),
            size: Some(1),
            etag: Some("etag".into()),
            principal: None,
            acknowledged_at: UnixMillis(1),
            kept: true,
            certain: true,
            group: 1,
            sequence,
        }
    }

    fn report(complete: bool, entries: &[(u64, Action)]) -> ReconcileReport {
        let entry = |(sequence, action): &(u64, Action)| Entry {
            write: lost(*sequence),
            action: *action,
            why: String::new(),
            name: None,
            version: None,
            not_kept: Vec::new(),
            error: None,
        };
        let mut report = ReconcileReport {
            schema_version: crate::reconcile::REPORT_VERSION,
            run: "20261122T140512Z".into(),
            deployment: "d".into(),
            environment: "dev".into(),
            from: "twin-1".into(),
            to: "twin-2".into(),
            epoch: 2,
            complete,
            policy: Policy::KeepBoth,
            bucket: None,
            prefix: None,
            operator: "o".into(),
            release: "0".into(),
            began_at: UnixMillis(1),
            ended_at: UnixMillis(2),
            totals: BTreeMap::new(),
            entries: entries.iter().map(entry).collect(),
            verdict: ReconcileVerdict::Settled,
            exit_code: 0,
        };
        report.conclude(ReconcileVerdict::Settled);
        report
    }

    fn manifest(complete: bool, epoch: u64) -> LossManifest {
        let (from, to) = ("twin-1".to_owned(), "twin-2".to_owned());
        LossManifest { from, to, epoch, complete, entries: vec![lost(1), lost(2)] }
    }

    #[test]
    fn only_signed_reports_of_the_same_switch_settle_it_and_only_all_together() {
        let base = tempfile::tempdir().unwrap();
        prepare(&dev_options(&base.path().join("region"))).unwrap();
        let identity = Deployment::find(&base.path().join("region")).unwrap().identity;
        let (folder, authorities) = (base.path().join("reconciliations"), [identity.authority_certificate()]);
        let sign = |run: &str, report: &ReconcileReport, purpose| {
            evidence::write(&folder.join(run), purpose, report, String::new(), &identity).unwrap();
        };
        let is_settled = |complete, epoch| is_settled(&folder, &authorities, &manifest(complete, epoch));
        assert!(!is_settled(true, 2), "there is no report");
        sign("1", &report(true, &[(1, Action::PutBack), (2, Action::Failed)]), Purpose::Reconciliation);
        assert!(!is_settled(true, 2), "one is not settled");
        sign("2", &report(true, &[(2, Action::GivenUp)]), Purpose::Drill);
        assert!(!is_settled(true, 2), "a drill's report settles nothing");
        sign("3", &report(true, &[(2, Action::GivenUp)]), Purpose::Reconciliation);
        assert!(is_settled(true, 2));
        assert!(!is_settled(true, 3), "of another switch");
        assert!(!is_settled(false, 2), "nobody accepted that the list is not whole");
        sign("4", &report(false, &[]), Purpose::Reconciliation);
        assert!(is_settled(false, 2));
        std::fs::write(folder.join("3/report.md"), "changed").unwrap();
        assert!(!is_settled(true, 2), "what was changed settles nothing");
    }
}
