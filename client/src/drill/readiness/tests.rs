//! Tests of the judgement: a healthy pair is ready, and each thing that may be wrong is named with what to do.

use super::*;
use wire::admin::{CertificateFact, GroupReplica, GroupStatus, NodeStatus};
use wire::{DeploymentId, GroupId, Incarnation, NodeId};

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

fn status(region: &str) -> RegionStatus {
    let node = |id| NodeStatus {
        id: NodeId(id),
        zone: format!("zone-{id}"),
        peer_address: format!("n{id}:1"),
        incarnation: Incarnation(1),
        state: NodeState::Up,
        version: "0.1.0".into(),
        uptime_ms: 1,
        capacity_bytes: 100 << 30,
        used_bytes: 10 << 30,
        free_bytes: 80 << 30,
        disk: DiskHealth::Healthy,
        replicas: 3,
        leaders: 1,
        refused_handshakes: 0,
    };
    let replica = |node| GroupReplica { node: NodeId(node), good: true, voter: true };
    RegionStatus {
        deployment: DeploymentId([7; 16]),
        environment: "test".into(),
        region: region.into(),
        answered_by: "gateway/1".into(),
        now: NOW,
        nodes: (1..=3).map(node).collect(),
        groups: vec![GroupStatus {
            id: GroupId(0),
            leader: Some(NodeId(1)),
            replicas: (1..=3).map(replica).collect(),
            term: 1,
        }],
        under_replicated_groups: 0,
        leaderless_groups: 0,
        writable: true,
        follows: false,
        pair_trouble: None,
    }
}

fn healthy(region: &str) -> RegionFacts {
    let in_days = |days: u64| UnixMillis(NOW.0 + days * DAY_MS);
    RegionFacts {
        region: region.into(),
        status: Ok(status(region)),
        facts: Ok(CheckFacts {
            answered_by: "gateway/1".into(),
            version: "0.1.0".into(),
            now: NOW,
            certificates: vec![CertificateFact { purpose: "s3".into(), not_after: in_days(400) }],
            root_key_open: Some(true),
            peers: vec![],
            open_files_max: 65_536,
            unrepaired_records: 0,
        }),
        certificates: vec![("the operator".into(), Some(in_days(500)))],
        endpoint: Ok(()),
        asked_at: NOW,
    }
}

fn lag() -> LagReport {
    LagReport {
        regions: vec![],
        unreachable: Vec::new(),
        primary: Some("twin-1".into()),
        standby: Some("twin-2".into()),
        last_sync_time: Some(UnixMillis(NOW.0 - 100)),
        lag_ms: Some(100),
        lag_operations: Some(0),
        lag_bytes: Some(0),
        blocked: vec![],
        buckets: None,
        state: "Live",
    }
}

fn judged(change: impl FnOnce(&mut [RegionFacts; 2], &mut LagReport)) -> Readiness {
    let (mut regions, mut lag) = ([healthy("twin-1"), healthy("twin-2")], lag());
    change(&mut regions, &mut lag);
    judge(DrillKind::Planned, &regions, Some(&lag), &DrillKind::Planned.limits(), NOW)
}

/// The names of what is not met.
fn not_ok(readiness: &Readiness) -> Vec<&str> {
    let found = readiness.items.iter().filter(|item| item.state == ItemState::NotOk);
    found
        .map(|item| {
            assert!(!item.advice.is_empty() && !item.found.is_empty(), "{item:?}");
            item.name.as_str()
        })
        .collect()
}

#[test]
fn a_healthy_pair_is_ready_and_what_cannot_be_known_is_said() {
    let readiness = judged(|_, _| {});
    assert!(readiness.ready, "{readiness:?}");
    let unknown: Vec<&Item> =
        readiness.items.iter().filter(|item| item.state == ItemState::NotChecked).collect();
    assert_eq!(unknown.iter().map(|item| item.name.as_str()).collect::<Vec<_>>(), ["root_key", "root_key"]);
}

#[test]
fn whatever_is_not_met_stands_in_the_way_under_its_own_name() {
    type Change = fn(&mut [RegionFacts; 2], &mut LagReport);
    let changes: [(&str, Change); 16] = [
        ("answers", |regions, _| regions[1].status = Err("it does not answer".into())),
        ("groups", |regions, _| regions[1].status.as_mut().unwrap().leaderless_groups = 1),
        ("groups", |regions, _| regions[0].status.as_mut().unwrap().under_replicated_groups = 1),
        ("certificates", |regions, _| regions[0].certificates[0].1 = None),
        ("certificates", |regions, _| {
            regions[1].facts.as_mut().unwrap().certificates[0].not_after = UnixMillis(NOW.0 + 29 * DAY_MS);
        }),
        ("capacity", |regions, _| regions[1].status.as_mut().unwrap().nodes[2].free_bytes = 1 << 30),
        ("capacity", |regions, _| {
            regions[1].status.as_mut().unwrap().nodes[0].disk = DiskHealth::ReadOnly;
        }),
        ("capacity", |regions, _| {
            regions[0].status.as_mut().unwrap().nodes[0].used_bytes = 1 << 40;
        }),
        ("root_key", |regions, _| regions[1].facts.as_mut().unwrap().root_key_open = Some(false)),
        ("root_key", |regions, _| regions[1].facts.as_mut().unwrap().root_key_open = None),
        ("clock", |regions, _| regions[0].facts.as_mut().unwrap().now = UnixMillis(NOW.0 - 6_000)),
        ("endpoint", |regions, _| regions[1].endpoint = Err(EndpointTrouble::Refuses("403".into()))),
        ("endpoint", |regions, _| regions[0].endpoint = Err(EndpointTrouble::Unknown("where?".into()))),
        ("roles", |_, lag| lag.standby = None),
        ("lag", |_, lag| lag.lag_ms = Some(5_001)),
        ("recovery_point", |_, lag| lag.last_sync_time = None),
    ];
    for (name, change) in changes {
        let readiness = judged(change);
        assert!(!readiness.ready, "{name}");
        assert_eq!(not_ok(&readiness), [name]);
    }
    let bootstrapping = judged(|_, lag| (lag.state, lag.lag_ms) = ("Bootstrap", None));
    assert_eq!(not_ok(&bootstrapping), ["lag"]);
}

#[test]
fn a_region_without_a_pair_can_lose_a_node_only() {
    let one = [healthy("twin-1")];
    let limits = DrillKind::Node.limits();
    assert!(judge(DrillKind::Node, &one, None, &limits, NOW).ready);
    assert_eq!(not_ok(&judge(DrillKind::Forced, &one, None, &limits, NOW)), ["roles"]);
}

#[test]
fn what_passes_by_itself_is_waited_for_and_nothing_else_is() {
    let unavailable = |lag: &mut LagReport| lag.state = "Unavailable";
    assert!(judged(|_, lag| unavailable(lag)).is_settling());
    assert!(!judged(|_, _| {}).is_settling());
    let lasting = judged(|regions, lag| {
        unavailable(lag);
        regions[0].endpoint = Err(EndpointTrouble::Refuses("no".into()));
    });
    assert!(!lasting.is_settling());
}

#[test]
fn where_processes_are_somebody_elses_a_node_drill_is_refused() {
    let mut readiness = judged(|_, _| {});
    readiness.refuse("injection", &super::super::only_here(DrillKind::Node));
    assert_eq!((readiness.ready, not_ok(&readiness)), (false, vec!["injection"]));
}
