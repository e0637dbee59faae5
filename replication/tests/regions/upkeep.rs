//! A region looks after what it stores: garbage goes, rot is repaired, a full disk can be emptied.

use crate::support::{LONG, Shape, TestRegion};
use bytes::Bytes;
use replication::region::RegionError;
use std::{
    collections::BTreeMap,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};
use tokio::time::Instant;
use wire::{BucketId, NodeId, PairRole};

const BUCKET: BucketId = BucketId(1);
const BODY_BYTES: usize = 60 << 10;
const NODES: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];

/// Small segments, so that a few megabytes fill several.
const SMALL: Shape = Shape {
    segment_bytes: 1 << 20,
    total_bytes_max: None,
    third_bytes_max: None,
    begins_as: PairRole::Primary,
    latecomer: None,
};

/// SplitMix64, from a seed that is printed.
struct Random(u64);

impl Random {
    fn new() -> Self {
        let clock = || std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
        let seed = std::env::var("SEED").map_or_else(|_| clock(), |seed| seed.parse().unwrap());
        println!("SEED={seed}");
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn body(&mut self, length: usize) -> Bytes {
        let mut body: Vec<u8> = (0..length.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).collect();
        body.truncate(length);
        body.into()
    }
}

fn name(number: usize) -> String {
    format!("object-{number}")
}

/// Segment files of a node, oldest first.
fn segment_files(data: &Path) -> Vec<PathBuf> {
    let found = std::fs::read_dir(data.join("log")).unwrap().map(|found| found.unwrap().path());
    let mut files: Vec<PathBuf> = found.filter(|path| path.is_file()).collect();
    files.sort();
    files
}

/// Lets every node purge and collect until nothing is left to: what was written is in the index then, on disk.
async fn settle(region: &TestRegion) {
    let purged = |node: NodeId| {
        let replicas = region.nodes[&node].node.service().report().replicas;
        replicas.iter().all(|replica| replica.purged_index == replica.last_index)
    };
    let deadline = Instant::now() + LONG;
    loop {
        let mut freed = 0;
        for node in NODES {
            freed += region.collect(node).await.segments;
        }
        if freed == 0 && NODES.into_iter().all(purged) {
            return;
        }
        assert!(Instant::now() < deadline, "the nodes do not come to rest");
    }
}

/// Flips one bit of each copy of `body` in a stopped node's segments; says how many there were.
fn flip_a_bit(data: &Path, body: &Bytes) -> usize {
    let mut flipped = 0;
    for path in segment_files(data) {
        let content = std::fs::read(&path).unwrap();
        let found: Vec<usize> = (0..content.len().saturating_sub(body.len()))
            .step_by(8)
            .flat_map(|at| at..at + 8)
            .filter(|at| content.get(*at..at + body.len()) == Some(&body[..]))
            .collect();
        for at in found {
            let middle = at + body.len() / 2;
            let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
            file.write_all_at(&[content[middle] ^ 8], middle as u64).unwrap();
            file.sync_all().unwrap();
            flipped += 1;
        }
    }
    flipped
}

#[tokio::test(flavor = "multi_thread")]
async fn overwritten_and_deleted_bytes_are_freed_and_the_rest_stays_readable() {
    let mut random = Random::new();
    let mut region = TestRegion::start_shaped(SMALL).await;
    let mut objects = BTreeMap::new();
    for round in 0..8_u8 {
        for number in 0..20 {
            let body = random.body(BODY_BYTES);
            region.put(BUCKET, &name(number), round + 1, body.clone()).await;
            objects.insert(number, body);
        }
    }
    for number in 0..10 {
        region.delete(BUCKET, &name(number)).await;
        objects.remove(&number);
    }
    let segments =
        |region: &TestRegion, node: NodeId| region.nodes[&node].node.service().disk().stats.segments;
    let before = NODES.map(|node| segments(&region, node));
    settle(&region).await;
    for (node, before) in NODES.into_iter().zip(before) {
        let after = segments(&region, node);
        assert!(after < before / 2, "{after} of {before} segments are left on node {node}");
    }
    for restarted in [false, true] {
        for node in NODES {
            if restarted {
                region.stop(node).await;
                region.restart(node).await;
            }
            for number in 0..20 {
                let found = region.get_from(node, BUCKET, &name(number)).await.unwrap();
                assert_eq!(found.as_ref(), objects.get(&number), "object {number} on node {node}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scrubbing_finds_a_flipped_bit_and_repairs_it_from_another_replica() {
    let mut random = Random::new();
    let mut region = TestRegion::start_shaped(SMALL).await;
    let bodies: Vec<Bytes> = (0..30).map(|_| random.body(BODY_BYTES)).collect();
    for (number, body) in bodies.iter().enumerate() {
        region.put(BUCKET, &name(number), 1, body.clone()).await;
    }
    let node = NodeId(2);
    settle(&region).await;
    assert_eq!(region.scrub(node).await.corrupt, 0);
    region.stop(node).await;
    assert_eq!(flip_a_bit(&region.data(node), &bodies[3]), 1);
    region.restart(node).await;
    let found = region.scrub(node).await;
    assert_eq!((found.corrupt, found.repaired), (1, 1), "{found:?}");
    assert!(found.finished.is_some() && found.bytes_checked >= (30 * BODY_BYTES) as u64, "{found:?}");
    assert_eq!(region.get_from(node, BUCKET, &name(3)).await.unwrap().as_ref(), Some(&bodies[3]));
    assert_eq!(region.scrub(node).await.corrupt, 0);
    // the repair is durable
    region.stop(node).await;
    region.restart(node).await;
    assert_eq!(region.scrub(node).await.corrupt, 0);
    assert_eq!(region.get_from(node, BUCKET, &name(3)).await.unwrap().as_ref(), Some(&bodies[3]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_gets_good_bytes_from_a_node_whose_copy_is_rotten_and_it_is_repaired() {
    let mut random = Random::new();
    let mut region = TestRegion::start_shaped(SMALL).await;
    let body = random.body(BODY_BYTES);
    region.put(BUCKET, &name(0), 1, body.clone()).await;
    let node = NodeId(3);
    settle(&region).await;
    region.stop(node).await;
    assert_eq!(flip_a_bit(&region.data(node), &body), 1);
    region.restart(node).await;
    assert_eq!(region.get_from(node, BUCKET, &name(0)).await.unwrap().as_ref(), Some(&body));
    assert_eq!(region.scrub(node).await.corrupt, 0);
}

/// The canary of the two tests above: the flipped bit does make reads fail when there is nothing to repair it from.
#[tokio::test(flavor = "multi_thread")]
async fn without_any_good_copy_the_read_fails_and_the_record_is_counted() {
    let mut random = Random::new();
    let mut region = TestRegion::start_shaped(SMALL).await;
    let body = random.body(BODY_BYTES);
    region.put(BUCKET, &name(0), 1, body.clone()).await;
    settle(&region).await;
    for node in NODES {
        region.stop(node).await;
        assert_eq!(flip_a_bit(&region.data(node), &body), 1);
        region.restart(node).await;
    }
    let read = region.get_from(NodeId(1), BUCKET, &name(0)).await;
    assert!(matches!(read, Err(RegionError::Unreadable { .. })), "{read:?}");
    let found = region.scrub(NodeId(1)).await;
    assert!(found.corrupt >= 1 && found.repaired == 0, "{found:?}");
    let unrepaired = |region: &TestRegion| region.nodes[&NodeId(1)].node.service().upkeep().scrub_unrepaired;
    assert_eq!(unrepaired(&region), 1);
    // found once more it is still one, and none once nothing needs it any more
    region.scrub(NodeId(1)).await;
    assert_eq!(unrepaired(&region), 1);
    region.delete(BUCKET, &name(0)).await;
    settle(&region).await;
    region.scrub(NodeId(1)).await;
    assert_eq!(unrepaired(&region), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_repaired_is_once_its_copies_are_back() {
    let mut random = Random::new();
    let mut region = TestRegion::start_shaped(SMALL).await;
    let body = random.body(BODY_BYTES);
    region.put(BUCKET, &name(0), 1, body.clone()).await;
    settle(&region).await;
    let node = NodeId(2);
    region.stop(node).await;
    assert_eq!(flip_a_bit(&region.data(node), &body), 1);
    let others: Vec<NodeId> = NODES.into_iter().filter(|other| *other != node).collect();
    region.restart(node).await;
    for other in &others {
        region.stop(*other).await;
    }
    let found = region.scrub(node).await;
    assert_eq!((found.corrupt, found.repaired), (1, 0), "{found:?}");
    let upkeep = |region: &TestRegion| region.nodes[&node].node.service().upkeep();
    assert_eq!(upkeep(&region).scrub_unrepaired, 1);
    for other in others {
        region.restart(other).await;
    }
    let found = region.scrub(node).await;
    assert_eq!((found.corrupt, found.repaired), (1, 1), "{found:?}");
    assert_eq!((upkeep(&region).scrub_corrupt, upkeep(&region).scrub_repaired), (2, 1));
    assert_eq!(upkeep(&region).scrub_unrepaired, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lost_its_index_and_has_a_rotten_entry_learns_it_from_a_peer() {
    let mut random = Random::new();
    let mut region = TestRegion::start_shaped(SMALL).await;
    let bodies: Vec<Bytes> = (0..12).map(|_| random.body(BODY_BYTES)).collect();
    for (number, body) in bodies.iter().enumerate() {
        region.put(BUCKET, &name(number), 1, body.clone()).await;
    }
    let node = NodeId(1);
    while region.get_from(node, BUCKET, &name(5)).await.unwrap().is_none() {}
    region.stop(node).await;
    assert_eq!(flip_a_bit(&region.data(node), &bodies[5]), 1);
    std::fs::remove_dir_all(region.data(node).join("index")).unwrap();
    region.restart(node).await;
    let deadline = Instant::now() + LONG;
    for (number, body) in bodies.iter().enumerate() {
        // it applies its whole log again
        let found = loop {
            let found = region.get_from(node, BUCKET, &name(number)).await;
            match found {
                Ok(Some(found)) => break found,
                other => assert!(Instant::now() < deadline, "object {number}: {other:?}"),
            }
        };
        assert_eq!(found, body);
    }
    assert_eq!(region.scrub(node).await.corrupt, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_writes_takes_deletes_and_works_again_once_garbage_is_collected() {
    let mut random = Random::new();
    let shape = Shape { total_bytes_max: Some(12 << 20), ..SMALL };
    let region = TestRegion::start_shaped(shape).await;
    let mut objects = BTreeMap::new();
    let refused = loop {
        let number = objects.len();
        assert!(number < 400, "24 MiB fit into 12 MiB");
        let body = random.body(BODY_BYTES);
        match region.try_put(BUCKET, &name(number), 1, body.clone()).await {
            Ok(_) => objects.insert(number, body),
            Err(error) => break error,
        };
    };
    assert!(matches!(refused, RegionError::Full { .. }), "{refused}");
    assert!(objects.len() > 40, "{} objects fit", objects.len());
    for (number, body) in &objects {
        assert_eq!(region.get(BUCKET, &name(*number)).await.unwrap().1, body);
    }
    let deleted: Vec<usize> = objects.keys().copied().filter(|number| number % 4 != 0).collect();
    for number in deleted {
        region.delete(BUCKET, &name(number)).await;
        objects.remove(&number);
    }
    let deadline = Instant::now() + LONG;
    let body = random.body(BODY_BYTES);
    for number in 1_000..1_020 {
        while let Err(error) = region.try_put(BUCKET, &name(number), 2, body.clone()).await {
            assert!(matches!(error, RegionError::Full { .. }), "{error}");
            assert!(Instant::now() < deadline, "the disks stay full");
            for node in NODES {
                region.collect(node).await;
            }
        }
    }
    for (number, body) in &objects {
        assert_eq!(region.get(BUCKET, &name(*number)).await.unwrap().1, body);
    }
    for node in NODES {
        assert!(!region.nodes[&node].node.service().report().replicas.iter().any(|replica| replica.stopped));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_whose_disk_is_full_stops_nothing_and_catches_up_once_it_has_room() {
    let mut random = Random::new();
    let region = TestRegion::start_shaped(Shape { third_bytes_max: Some(12 << 20), ..SMALL }).await;
    let third = NodeId(3);
    let replicas = |node: NodeId| region.nodes[&node].node.service().report().replicas;
    let deadline = Instant::now() + 4 * LONG;
    let mut objects = BTreeMap::new();
    // several times what the third node holds, most of it garbage
    for round in 0..16_u8 {
        for number in 0..20 {
            let body = random.body(BODY_BYTES);
            // a group that it leads is handed over
            while let Err(error) = region.try_put(BUCKET, &name(number), round + 1, body.clone()).await {
                assert!(matches!(error, RegionError::Full { .. }), "{error}");
                assert!(Instant::now() < deadline, "nobody else takes over");
            }
            objects.insert(number, body);
            assert!(!replicas(third).iter().any(|replica| replica.stopped), "a replica stopped");
        }
    }
    let applied = |node| replicas(node).iter().map(|replica| replica.applied_index).collect::<Vec<_>>();
    while applied(third) != applied(NodeId(1)) {
        assert!(Instant::now() < deadline, "{:?} of {:?}", applied(third), applied(NodeId(1)));
        for node in NODES {
            region.collect(node).await;
        }
    }
    for (number, body) in &objects {
        let found = region.get_from(third, BUCKET, &name(*number)).await.unwrap();
        assert_eq!(found.as_ref(), Some(body), "object {number}");
    }
    assert!(!replicas(third).iter().any(|replica| replica.stopped));
}
