//! Tests of `check` on folders that are empty, whole or broken, with nothing running.

use super::*;
use crate::dev::{DevOptions, prepare};
use crate::testing::dev_options;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;
use wire::admin::{
    CheckFacts, DiskHealth, GroupReplica, GroupStatus, NodeState, NodeStatus, PeerFact, RegionStatus,
};
use wire::descriptor::PAIR_DESCRIPTOR_FILE;
use wire::{DeploymentId, GroupId, Incarnation, NodeId, UnixMillis};

fn dev_folder(data: &Path) -> Deployment {
    prepare(&dev_options(data)).unwrap();
    Deployment::find(data).unwrap()
}

fn codes(report: &CheckReport) -> Vec<&'static str> {
    report.findings.iter().filter_map(|finding| finding.code).collect()
}

fn offline() -> CheckScope {
    CheckScope { only: vec!["files".into(), "certificates".into()], skip: vec![] }
}

#[test]
fn an_empty_folder_is_a_failure_with_advice() {
    let base = tempfile::tempdir().unwrap();
    let found = Deployment::find(base.path()).map_err(|error| error.to_string());
    let report =
        run(base.path(), found.as_ref().map_err(Clone::clone), &CheckScope::default(), SystemTime::now());
    assert_eq!(report.level, Level::Failure);
    assert!(codes(&report).contains(&"TK-C001"));
    assert!(report.findings.iter().all(|finding| finding.code.is_none() || !finding.advice.is_empty()));
}

#[test]
fn a_damaged_descriptor_is_to_be_brought_back_and_no_reason_for_a_new_region() {
    let base = tempfile::tempdir().unwrap();
    let deployment = dev_folder(base.path());
    fs::write(deployment.region.unwrap().descriptor(), "").unwrap();
    let error = Deployment::find(base.path()).unwrap_err();
    assert!(
        error.to_string().contains("region.toml is damaged") && error.advice().contains("backup"),
        "{error}"
    );
    let report = run(base.path(), Err(error.to_string()), &CheckScope::default(), SystemTime::now());
    assert_eq!(codes(&report)[0], "TK-C002", "{report:?}");
    assert!(report.findings[0].advice.contains("backup"));
}

#[test]
fn a_pair_descriptor_that_does_not_hold_is_a_failure_here_and_in_every_nodes_copy() {
    let base = tempfile::tempdir().unwrap();
    let [one, two] = ["twin-1", "twin-2"].map(|name| base.path().join(name));
    prepare(&DevOptions { region: Some("twin-1"), ..dev_options(&one) }).unwrap();
    let standby_of = Some(one.clone());
    prepare(&DevOptions { region: Some("twin-2"), standby_of, ..dev_options(&two) }).unwrap();
    let deployment = Deployment::find(&two).unwrap();
    let found = || codes(&run(&two, Ok(&deployment), &offline(), SystemTime::now()));
    assert_eq!(found(), Vec::<&str>::new());
    let region = deployment.region.as_ref().unwrap();
    let copy = region.pair_node(NodeId(2)).join(PAIR_DESCRIPTOR_FILE);
    for path in [region.pair_descriptor(), copy] {
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("jurisdiction dev", "jurisdiction eu")).unwrap();
        assert_eq!(found(), ["TK-C022"], "{}", path.display());
        fs::remove_file(&path).unwrap();
        assert_eq!(found(), ["TK-C022"], "{}", path.display());
        fs::write(&path, text).unwrap();
    }
    assert_eq!(found(), Vec::<&str>::new());
    fs::rename(region.pair_node(NodeId(2)), two.join("away")).unwrap();
    assert_eq!(found(), ["TK-C022"], "a node that was added and is not known to the other region");
}

#[test]
fn a_fresh_folder_is_well() {
    let base = tempfile::tempdir().unwrap();
    let deployment = dev_folder(base.path());
    let report = run(base.path(), Ok(&deployment), &offline(), SystemTime::now());
    assert_eq!((report.level, codes(&report)), (Level::Ok, vec![]), "{report:?}");
}

#[test]
fn open_missing_and_foreign_files_are_told_apart() {
    let base = tempfile::tempdir().unwrap();
    let deployment = dev_folder(base.path());
    let key = deployment.identity.private_key();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let report = run(base.path(), Ok(&deployment), &offline(), SystemTime::now());
    assert_eq!(codes(&report), ["TK-C003"]);
    fs::remove_file(&key).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let other = dev_folder(elsewhere.path());
    fs::copy(other.identity.certificate(), deployment.identity.certificate()).unwrap();
    let report = run(base.path(), Ok(&deployment), &offline(), SystemTime::now());
    assert_eq!(codes(&report), ["TK-C002", "TK-C010"]);
}

#[test]
fn certificates_warn_before_they_end_and_fail_after() {
    const DAY: Duration = Duration::from_secs(86_400);
    let base = tempfile::tempdir().unwrap();
    let deployment = dev_folder(base.path());
    let only = CheckScope { only: vec!["certificates".into()], skip: vec![] };
    let level = |days: u32| run(base.path(), Ok(&deployment), &only, SystemTime::now() + DAY * days).level;
    assert_eq!((level(790), level(800), level(830)), (Level::Ok, Level::Warning, Level::Failure));
    let past = run(base.path(), Ok(&deployment), &only, SystemTime::now() - DAY);
    assert!(codes(&past).contains(&"TK-C006"));
}

#[test]
fn a_region_that_does_not_run_is_found_within_two_seconds() {
    let base = tempfile::tempdir().unwrap();
    let deployment = dev_folder(base.path());
    let began = std::time::Instant::now();
    let report = run(base.path(), Ok(&deployment), &CheckScope::default(), SystemTime::now());
    assert!(codes(&report).contains(&"TK-C012") && codes(&report).contains(&"TK-C008"), "{report:?}");
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[test]
fn the_regions_troubles_become_findings() {
    let node = |id: u16, state, disk| NodeStatus {
        id: NodeId(id),
        zone: "a".into(),
        peer_address: format!("n{id}:1"),
        incarnation: Incarnation(1),
        state,
        version: format!("0.{id}.0"),
        uptime_ms: 0,
        capacity_bytes: 0,
        used_bytes: 0,
        free_bytes: 0,
        disk,
        replicas: 0,
        leaders: 0,
        refused_handshakes: u64::from(id == 1),
    };
    let replica = GroupReplica { node: NodeId(1), good: true, voter: true };
    let status = RegionStatus {
        deployment: DeploymentId([0; 16]),
        environment: "test".into(),
        region: "twin-1".into(),
        answered_by: "node/1".into(),
        now: UnixMillis(0),
        nodes: vec![
            node(1, NodeState::Up, DiskHealth::Failed),
            node(2, NodeState::Down, DiskHealth::Unknown),
            node(3, NodeState::Draining, DiskHealth::ReadOnly),
        ],
        groups: vec![GroupStatus { id: GroupId(0), leader: None, replicas: vec![replica], term: 1 }],
        under_replicated_groups: 1,
        leaderless_groups: 1,
        writable: false,
        follows: false,
        pair_trouble: Some("its primary was not heard of for 12 s".into()),
    };
    let facts = CheckFacts {
        answered_by: "gateway/1".into(),
        version: "0.1.0".into(),
        now: UnixMillis(0),
        certificates: vec![],
        root_key_open: Some(false),
        peers: vec![PeerFact {
            node: NodeId(2),
            reachable: false,
            clock_offset_ms: Some(-900),
            version: None,
        }],
        open_files_max: 1024,
        unrepaired_records: 1,
    };
    let mut findings = Findings::default();
    region::judge_status(&status, &mut findings);
    region::judge_facts(&facts, SystemTime::now(), &mut findings);
    let found: BTreeSet<&str> = findings.0.iter().filter_map(|finding| finding.code).collect();
    let expected = [
        "TK-C006", "TK-C013", "TK-C014", "TK-C015", "TK-C016", "TK-C017", "TK-C018", "TK-C019", "TK-C020",
        "TK-C021", "TK-C023",
    ];
    assert_eq!(found, BTreeSet::from(expected));
}

#[test]
fn every_code_in_the_source_has_a_page_and_every_page_a_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source: String =
        ["check.rs", "check/machine.rs", "check/certificates.rs", "check/pair.rs", "check/region.rs"]
            .iter()
            .map(|file| fs::read_to_string(root.join("src").join(file)).unwrap())
            .collect();
    let used: BTreeSet<&str> =
        source.match_indices("\"TK-C").map(|(at, _)| &source[at + 1..at + 8]).collect();
    let paged: BTreeSet<&str> = CODES.iter().map(|page| page.code).collect();
    assert_eq!(used, paged);
    let files = fs::read_dir(root.join("../docs/codes")).unwrap().count();
    assert_eq!(files, CODES.len());
    for page in CODES {
        assert!(page.page.starts_with(&format!("# {}: {}\n", page.code, page.title)), "{}", page.code);
    }
    assert!(page("tk-c001").is_some() && page("TK-C999").is_none());
}
