//! Whether signed reports say of every lost write what has become of it: of each write the newest that names it decides.

use super::report::{Action, Entry, ReconcileReport};
use super::{ReconcileVerdict, read_folder};
use crate::evidence::{self, Purpose};
use crate::failover::LossManifest;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use wire::admin::{LostChange, LostWrite};

/// What a lost write is known by: its group, its number there, and which of the writes of that number it is.
pub(super) type Identity = (u32, u64, u32);

/// Whether the reports in `folder` that an operator of one of these authorities signed settle every entry of the list.
pub fn is_settled(folder: &Path, authorities: &[PathBuf], manifest: &LossManifest) -> bool {
    let mut reports: Vec<ReconcileReport> = read_folder(folder)
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
    // by what is signed: anybody can give a folder another name
    reports.sort_by_key(|report| Reverse(report.began_at));
    // somebody decided although the list was not whole
    let is_accepted = manifest.complete || reports.iter().any(|report| !report.complete);
    let mut settled: BTreeMap<Identity, bool> = BTreeMap::new();
    for report in &reports {
        let mut of_report: BTreeMap<Identity, bool> = BTreeMap::new();
        for entry in &report.entries {
            // of several under one name, as releases had them that did not number the parts of an entry, all have to be
            *of_report.entry(identity(&entry.write)).or_insert(true) &= settles(entry);
        }
        for (write, is_settled) in of_report {
            settled.entry(write).or_insert(is_settled);
        }
    }
    is_accepted
        && !reports.is_empty()
        && manifest.entries.iter().all(|entry| settled.get(&identity(entry)) == Some(&true))
}

/// Whether nothing is left to do for a write, or a person was told what, and the old primary is not needed for it.
fn settles(entry: &Entry) -> bool {
    match entry.action {
        Action::Failed => false,
        // with a name its bytes are in the new primary; without one they are in the old one only
        Action::ByHand => {
            let has_bytes = entry.write.change == LostChange::Put && entry.write.kept;
            !has_bytes || entry.name.is_some()
        }
        _ => true,
    }
}

pub(super) fn identity(write: &LostWrite) -> Identity {
    (write.group, write.sequence, write.part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::Deployment;
    use crate::dev::prepare;
    use crate::reconcile::{Entry, Policy};
    use crate::testing::dev_options;
    use wire::UnixMillis;

    fn lost(sequence: u64) -> LostWrite {
        LostWrite {
            change: LostChange::Put,
            bucket: Some("bucket".into()),
            key: Some("key".into()),
            subject: None,
            version: Some("null".into()),
            size: Some(1),
            etag: Some("etag".into()),
            principal: None,
            acknowledged_at: UnixMillis(1),
            kept: true,
            certain: true,
            group: 1,
            sequence,
            part: 0,
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
            left_alone: 0,
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

    /// A folder for signed reports, and the authority that they are believed by.
    struct Signed {
        base: tempfile::TempDir,
        deployment: Deployment,
    }

    impl Signed {
        fn new() -> Self {
            let base = tempfile::tempdir().unwrap();
            prepare(&dev_options(&base.path().join("region"))).unwrap();
            let deployment = Deployment::find(&base.path().join("region")).unwrap();
            Self { base, deployment }
        }

        fn sign(&self, run: &str, report: &ReconcileReport) {
            let folder = self.base.path().join("reconciliations").join(run);
            let identity = &self.deployment.identity;
            evidence::write(&folder, Purpose::Reconciliation, report, String::new(), identity).unwrap();
        }

        fn is_settled(&self) -> bool {
            let authorities = [self.deployment.identity.authority_certificate()];
            is_settled(&self.base.path().join("reconciliations"), &authorities, &manifest(true, 2))
        }
    }

    #[test]
    fn an_object_left_to_a_person_is_settled_only_when_it_is_given_up_or_in_the_new_primary() {
        let signed = Signed::new();
        signed.sign("1", &report(true, &[(1, Action::PutBack), (2, Action::ByHand)]));
        assert!(!signed.is_settled(), "its bytes are on the old primary only");
        let mut there = report(true, &[(2, Action::ByHand)]);
        there.entries[0].name = Some("key".into());
        signed.sign("2", &there);
        assert!(signed.is_settled(), "its bytes are in the new primary");
        signed.sign("3", &report(true, &[(2, Action::ByHand)]));
        assert!(!signed.is_settled());
        let mut gone = report(true, &[(2, Action::ByHand)]);
        gone.entries[0].write.kept = false;
        signed.sign("4", &gone);
        assert!(signed.is_settled(), "there are no bytes");
        signed.sign("5", &report(true, &[(2, Action::GivenUp)]));
        assert!(signed.is_settled());
    }

    #[test]
    fn of_each_write_the_newest_report_that_names_it_decides() {
        let signed = Signed::new();
        signed.sign("1", &report(true, &[(1, Action::PutBack), (2, Action::KeptBeside)]));
        assert!(signed.is_settled());
        signed.sign("2", &report(true, &[(2, Action::Failed)]));
        assert!(!signed.is_settled(), "a later run found it undone");
        let older = ReconcileReport { began_at: UnixMillis(0), ..report(true, &[(2, Action::GivenUp)]) };
        signed.sign("3", &older);
        assert!(!signed.is_settled(), "a folder's name does not make its report newer");
        signed.sign("4", &report(true, &[(1, Action::AlreadyThere)]));
        assert!(!signed.is_settled(), "it says nothing of the other");
        signed.sign("5", &report(true, &[(2, Action::AlreadyThere)]));
        assert!(signed.is_settled());
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
