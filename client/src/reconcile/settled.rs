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
