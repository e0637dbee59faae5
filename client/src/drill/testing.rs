//! A run as the tests of several modules need it.

use super::readiness::{Item, ItemState, Readiness};
use super::report::{DrillReport, Measured, Probe, REPORT_VERSION, RegionTime, Step, Verdict};
use super::{BUCKET, DrillKind};
use crate::compare::{CompareVerdict, ComparedBucket, TreeSide};
use wire::admin::{LostChange, LostWrite, PairGroup, PairReport};
use wire::{PairRole, UnixMillis};

/// A run of this kind that is about to pass.
pub(crate) fn report(kind: DrillKind) -> DrillReport {
    let position = |region: &str, role| PairReport {
        region: region.into(),
        now: UnixMillis(1),
        groups: vec![PairGroup {
            group: 0,
            role,
            epoch: 1,
            sequence: 9,
            since: 0,
            followed: None,
            other_sequence: None,
            other_epoch: None,
            synced: None,
            heard_ms: None,
            gone: false,
            shipped: None,
            unshipped_operations: None,
            unshipped_bytes: None,
            blocked: None,
        }],
        groups_total: 1,
    };
    let positions = vec![position("twin-1", PairRole::Primary), position("twin-2", PairRole::Standby)];
    let item = Item {
        name: "lag".into(),
        region: None,
        state: ItemState::Ok,
        found: "Live, 3 ms behind".into(),
        advice: String::new(),
    };
    let times = [("twin-1", Some(1_001)), ("twin-2", None)];
    let times = times.map(|(region, now)| RegionTime { region: region.into(), now: now.map(UnixMillis) });
    let step = Step {
        name: "switch to twin-2, planned".into(),
        began_at: UnixMillis(1_000),
        took_ms: 42,
        error: None,
        region_times: times.to_vec(),
        detail: serde_json::Value::Null,
    };
    DrillReport {
        schema_version: REPORT_VERSION,
        run: format!("20261122T104946Z-{}", kind.name()),
        kind,
        deployment: "07070707070707070707070707070707".into(),
        environment: "test".into(),
        regions: vec!["twin-1".into(), "twin-2".into()],
        operator: "twinkeep://07/test/twin-1/operator/admin".into(),
        release: "0.1.0".into(),
        began_at: UnixMillis(1_000),
        ended_at: UnixMillis(9_000),
        limits: kind.limits(),
        readiness: Readiness { ready: true, at: UnixMillis(999), items: vec![item] },
        timeline: vec![step],
        measured: Measured { rto_ms: Some(500), rpo_ms: Some(0), ..Measured::default() },
        probes: vec![probe("twin-1/000000", 1_000)],
        losses: None,
        compared: (!kind.is_of_node()).then(|| compared(CompareVerdict::Same, &[])),
        before: positions.clone(),
        after: positions,
        undone: vec![],
        left_to_do: vec![],
        verdict: Verdict::Passed,
        reasons: vec![],
        exit_code: 0,
    }
}

/// The probes in both regions.
pub(super) fn compared(verdict: CompareVerdict, reasons: &[&str]) -> ComparedBucket {
    let reasons = reasons.iter().map(|reason| (*reason).to_owned()).collect();
    let (primary, standby) = (TreeSide::default(), TreeSide::default());
    ComparedBucket { bucket: BUCKET.to_owned(), verdict, reasons, primary, standby }
}

/// A probe that was acknowledged at the first try.
pub(super) fn probe(id: &str, at_ms: u64) -> Probe {
    let region = id.split('/').next().unwrap_or_default().to_owned();
    let (sent_at, acknowledged_at) = (UnixMillis(at_ms - 5), Some(UnixMillis(at_ms)));
    Probe { id: id.to_owned(), region, attempts: 1, sent_at, acknowledged_at, read_at: None, lost: false }
}

/// A lost write of an object in the drill's bucket.
pub(super) fn entry(key: &str, at_ms: u64) -> LostWrite {
    LostWrite {
        change: LostChange::Put,
        bucket: Some(BUCKET.to_owned()),
        key: Some(key.to_owned()),
        subject: None,
        version: None,
        size: Some(256),
        etag: None,
        principal: Some("dev".into()),
        acknowledged_at: UnixMillis(at_ms),
        kept: true,
        certain: true,
        group: 1,
        sequence: 7,
        part: 0,
    }
}
