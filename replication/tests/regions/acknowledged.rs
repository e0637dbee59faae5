//! A region of three nodes: what is acknowledged is there, whoever stops.

use crate::support::{GROUPS, LONG, Shape, TestRegion};
use bytes::Bytes;
use replication::node::StartError;
use std::time::Duration;
use wire::{BucketId, GroupId, Incarnation, NodeId, ReplicaId};

fn body(seed: u8) -> Bytes {
    Bytes::from((0..4096_u32).map(|i| (i as u8).wrapping_mul(31).wrapping_add(seed)).collect::<Vec<u8>>())
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_are_read_back_through_any_leader_and_survive_a_restart_of_every_node() {
    let mut region = TestRegion::start().await;
    let bucket = BucketId(1);
    for number in 0..20 {
        region.put(bucket, &format!("object-{number}"), number, body(number)).await;
    }
    for node in 1..=3 {
        region.stop(NodeId(node)).await;
        region.restart(NodeId(node)).await;
        region.put(bucket, "after", 100 + node as u8, body(100 + node as u8)).await;
    }
    for number in 0..20 {
        let (version, bytes) = region.get(bucket, &format!("object-{number}")).await.unwrap();
        assert_eq!((version.0[0], bytes), (number, body(number)));
    }
    assert_eq!(region.get(bucket, "after").await.unwrap().1, body(103));
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_end_right_after_they_founded_their_region_still_know_their_groups() {
    let mut region = TestRegion::start().await;
    let nodes = [NodeId(2), NodeId(3)];
    for node in nodes {
        region.stop(node).await;
    }
    region.restart_all(&nodes).await;
    for node in nodes {
        let held = region.nodes[&node].node.service().report().replicas.len();
        assert_eq!(held, GROUPS as usize + 1, "groups of node {node}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_founder_lost_as_soon_as_its_region_formed_leaves_no_group_without_a_leader() {
    let mut region = TestRegion::start().await;
    let founder = NodeId(1);
    region.stop(founder).await;
    for number in 0..8 {
        region.put(BucketId(1), &format!("object-{number}"), number, body(number)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_founder_that_notices_late_that_the_others_began_founds_with_them() {
    let region = TestRegion::start_shaped(Shape { latecomer: Some(NodeId(3)), ..Shape::default() }).await;
    let held = region.nodes[&NodeId(3)].node.service().report().replicas.len();
    assert_eq!(held, GROUPS as usize + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_lost_while_the_list_of_nodes_was_half_filled_is_no_end_to_finding_leaders() {
    let mut region = TestRegion::start().await;
    for number in 0..8 {
        region.put(BucketId(1), &format!("object-{number}"), number, body(number)).await;
    }
    let leader = region.router.leader(GroupId::SYSTEM).unwrap();
    region.router.update_nodes([leader], []);
    region.stop(leader).await;
    region.query(GroupId::SYSTEM, wire::Query::SystemRevision).await;
    for number in 0..8 {
        region.put(BucketId(1), &format!("object-{number}"), 100 + number, body(number)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_leader_is_replaced_while_the_client_waits() {
    let mut region = TestRegion::start().await;
    let bucket = BucketId(1);
    region.put(bucket, "object", 1, body(1)).await;
    let group = wire::group_of(bucket, b"object", GROUPS);
    let leader = region.router.leader(group).unwrap();
    region.stop(leader).await;
    region.put(bucket, "object", 2, body(2)).await;
    assert_eq!(region.get(bucket, "object").await.unwrap().1, body(2));
    assert_ne!(region.router.leader(group), Some(leader));
    let report = region.nodes.values().next().unwrap().node.service().report();
    let replica = report.replicas.iter().find(|replica| replica.group == group).unwrap();
    assert!(replica.voters.contains(&ReplicaId::new(leader, Incarnation(0))));
}

/// Writes one name until every replica has purged entries of its group; says which group that is.
async fn write_until_purged(region: &TestRegion, bucket: BucketId) -> GroupId {
    let group = wire::group_of(bucket, b"purged", GROUPS);
    let purged = |region: &TestRegion| {
        region.nodes.values().all(|running| {
            let report = running.node.service().report();
            report.replicas.iter().any(|replica| replica.group == group && replica.purged_index > 0)
        })
    };
    let deadline = tokio::time::Instant::now() + 2 * LONG;
    while !purged(region) {
        assert!(tokio::time::Instant::now() < deadline, "nothing was purged");
        let writes = (0..64_u8).map(|number| region.put(bucket, "purged", number, body(number)));
        futures_util::future::join_all(writes).await;
    }
    group
}

/// Waits until `node` has applied all of `group` that others have.
async fn wait_until_caught_up(region: &TestRegion, node: NodeId, group: GroupId) {
    let applied = |node: &NodeId| {
        let report = region.nodes[node].node.service().report();
        report
            .replicas
            .iter()
            .find(|replica| replica.group == group)
            .map_or(0, |replica| replica.applied_index)
    };
    let deadline = tokio::time::Instant::now() + 2 * LONG;
    while applied(&node) < region.nodes.keys().map(&applied).max().unwrap() {
        assert!(tokio::time::Instant::now() < deadline, "node {node} did not catch up");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_index_is_rebuilt_from_the_other_replicas() {
    let mut region = TestRegion::start().await;
    let bucket = BucketId(1);
    let group = write_until_purged(&region, bucket).await;
    region.put(bucket, "purged", 200, body(200)).await;
    region.stop(NodeId(2)).await;
    std::fs::remove_dir_all(region.data(NodeId(2)).join("index")).unwrap();
    region.restart(NodeId(2)).await;
    wait_until_caught_up(&region, NodeId(2), group).await;
    // the rebuilt replica must hold everything: it is one of the two that are left
    region.stop(NodeId(3)).await;
    assert_eq!(region.get(bucket, "purged").await.unwrap().1, body(200));
    region.put(bucket, "purged", 201, body(201)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_disk_is_refused_under_its_old_identity_and_filled_again_under_the_next() {
    let mut region = TestRegion::start().await;
    let bucket = BucketId(1);
    let group = write_until_purged(&region, bucket).await;
    region.put(bucket, "purged", 200, body(200)).await;
    region.stop(NodeId(2)).await;
    region.wipe(NodeId(2));
    let refused = region.try_boot(NodeId(2), Incarnation(0)).await;
    assert!(matches!(refused, Err(StartError::Admission(_))), "a wiped disk took part again");
    region.wipe(NodeId(2));
    region.replace(NodeId(2), Incarnation(1)).await;
    region.restart_as(NodeId(2), Incarnation(1)).await;
    let member = ReplicaId::new(NodeId(2), Incarnation(1));
    let deadline = tokio::time::Instant::now() + 2 * LONG;
    loop {
        let report = region.nodes[&NodeId(1)].node.service().report();
        let full = report
            .replicas
            .iter()
            .all(|replica| replica.voters.len() == 3 && replica.voters.contains(&member));
        if full && report.replicas.len() == GROUPS as usize + 1 {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "the new disk was not taken in: {report:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    wait_until_caught_up(&region, NodeId(2), group).await;
    region.stop(NodeId(3)).await;
    assert_eq!(region.get(bucket, "purged").await.unwrap().1, body(200));
}
