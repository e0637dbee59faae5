//! A region looks after what it stores: garbage goes, rot is repaired, a full disk can be emptied.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(dead_code, unused_imports, reason = "the helpers serve several test binaries")]

mod support;

use bytes::Bytes;
use replication::region::RegionError;
use std::{
    collections::BTreeMap,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};
use support::{LONG, Shape, TestRegion};
use tokio::time::Instant;
use wire::{BucketId, NodeId};

const BUCKET: BucketId = BucketId(1);
const BODY_BYTES: usize = 60 << 10;
const NODES: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];

/// Small segments, so that a few megabytes fill several.
const SMALL: Shape = Shape { segment_bytes: 1 << 20, total_bytes_max: None };

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
async fn a_reader_gets_good_bytes_from_a_node_whose_copy_is_rotten_and_it_is_repaired() {
    let mut random = Random::new();
    let mut region = TestRegion::start_shaped(SMALL).await;
    let body = random.body(BODY_BYTES);
    region.put(BUCKET, &name(0), 1, body.clone()).await;
    let node = NodeId(3);
    // the follower has it once it can be read there
    while region.get_from(node, BUCKET, &name(0)).await.unwrap().is_none() {}
    region.stop(node).await;
    assert_eq!(flip_a_bit(&region.data(node), &body), 1);
    region.restart(node).await;
    assert_eq!(region.get_from(node, BUCKET, &name(0)).await.unwrap().as_ref(), Some(&body));
    assert_eq!(region.scrub(node).await.corrupt, 0);
}

/// The canary of the two tests above: the flipped bit does make reads fail when there is nothing to repair it from.
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
