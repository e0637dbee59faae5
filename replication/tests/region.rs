//! A region of three nodes: what is acknowledged is there, whoever stops.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use bytes::Bytes;
use support::TestRegion;
use wire::{BucketId, NodeId, ReplicaId};

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
async fn a_stopped_leader_is_replaced_while_the_client_waits() {
    let mut region = TestRegion::start().await;
    let bucket = BucketId(1);
    region.put(bucket, "object", 1, body(1)).await;
    let group = wire::group_of(bucket, b"object", support::GROUPS);
    let leader = region.router.leader(group).unwrap();
    region.stop(leader).await;
    region.put(bucket, "object", 2, body(2)).await;
    assert_eq!(region.get(bucket, "object").await.unwrap().1, body(2));
    assert_ne!(region.router.leader(group), Some(leader));
    let report = region.nodes.values().next().unwrap().node.service().report();
    let replica = report.replicas.iter().find(|replica| replica.group == group).unwrap();
    assert!(replica.voters.contains(&ReplicaId::new(leader, wire::Incarnation(0))));
}
