//! Kills and power cuts at every point of a small log.

use super::support::*;
use crate::{
    disk::fault::FaultDisk,
    log::{FindingKind, GroupState, LogEntry},
};

/// What two groups hold.
type Snapshot = Vec<(GroupState, Vec<LogEntry>)>;

async fn snapshot(log: &crate::log::SegmentLog) -> Snapshot {
    let mut groups = Vec::new();
    for number in [1, 2] {
        let group = group(log, number);
        // the committed position is written lazily
        groups.push((GroupState { committed: None, ..group.state() }, all(&group).await));
    }
    groups
}

/// A small log of every kind of record over three segments, and what must be there after how many disk operations.
async fn history() -> (FaultDisk, Vec<(usize, Snapshot)>) {
    let disk = disk();
    disk.record();
    let (log, _) = open(&disk);
    let (one, two) = (group(&log, 1), group(&log, 2));
    let mut steps = vec![(disk.operations(), snapshot(&log).await)];
    macro_rules! step {
        ($operation:expr) => {
            $operation.await.unwrap();
            steps.push((disk.operations(), snapshot(&log).await));
        };
    }
    step!(one.save_vote(vote(1)));
    step!(append(&one, vec![entry(1, 0, 20)]));
    step!(append(&two, vec![entry(1, 0, 5000)]));
    for index in 1..8 {
        step!(append(&one, vec![entry(1, index, 900 * index as usize)]));
        step!(append(&two, vec![entry(1, index, 6000)]));
    }
    one.save_committed(Some(id(1, 3))).unwrap();
    step!(one.truncate_after(Some(id(1, 5))));
    step!(append(&one, vec![entry(2, 6, 9000)]));
    step!(two.purge(id(1, 6)));
    step!(two.save_vote(vote(4)));
    for index in 8..16 {
        step!(append(&two, vec![entry(4, index, 7000)]));
    }
    step!(one.purge(id(1, 2)));
    step!(append(&one, vec![entry(2, 7, 10)]));
    assert!(log.segments().len() >= 3);
    log.close();
    (disk, steps)
}

async fn check(image: &FaultDisk, allowed: &[(usize, Snapshot)], what: &str) {
    let (log, recovery) = open(image);
    for finding in &recovery.findings {
        let torn = matches!(finding.kind, FindingKind::TornTail | FindingKind::TornSegment);
        assert!(torn, "{what}: {finding:?}");
    }
    let found = snapshot(&log).await;
    assert!(
        allowed.iter().any(|(_, expected)| *expected == found),
        "{what}: {found:#?}\nnot in {allowed:#?}"
    );
    // it goes on from there, and finds itself again
    let next = group(&log, 1).state().last.map_or(0, |last| last.index + 1);
    append(&group(&log, 1), vec![entry(9, next, 100)]).await.unwrap();
    let expected = snapshot(&log).await;
    drop(log);
    let (log, recovery) = open(image);
    assert_eq!(recovery.findings, [], "{what}");
    assert_eq!(snapshot(&log).await, expected, "{what}");
}

/// What may be found after `operations` operations: the last acknowledged state or the one under way.
fn allowed(steps: &[(usize, Snapshot)], operations: usize) -> &[(usize, Snapshot)] {
    let acknowledged = steps.partition_point(|(at, _)| *at <= operations);
    &steps[acknowledged.saturating_sub(1)..(acknowledged + 1).min(steps.len())]
}

#[tokio::test]
async fn a_kill_after_any_disk_operation_loses_nothing_acknowledged() {
    let (disk, steps) = history().await;
    for operations in steps[0].0..=disk.operations() {
        let image = disk.image_after(operations, 0);
        check(&image, allowed(&steps, operations), &format!("after {operations}")).await;
    }
}

#[tokio::test]
async fn a_write_torn_anywhere_loses_nothing_acknowledged() {
    let (disk, steps) = history().await;
    for operations in steps[0].0..disk.operations() {
        let Some(bytes) = disk.write_bytes(operations) else { continue };
        // 509 is prime: it meets every alignment
        for torn in (1..bytes).step_by(509).chain([79, 80, 81, 4095, 4096, 4097]).filter(|torn| *torn < bytes)
        {
            let image = disk.image_after(operations, torn);
            let what = format!("after {operations}, {torn} of {bytes} bytes");
            check(&image, allowed(&steps, operations), &what).await;
        }
    }
}

#[tokio::test]
async fn one_write_torn_at_every_byte_loses_nothing_acknowledged() {
    let (disk, steps) = history().await;
    let operations = steps[2].0;
    let bytes = (operations..disk.operations()).find_map(|at| Some((at, disk.write_bytes(at)?)));
    let (operations, bytes) = bytes.unwrap();
    for torn in 0..bytes {
        let image = disk.image_after(operations, torn);
        check(&image, allowed(&steps, operations), &format!("{torn} of {bytes} bytes")).await;
    }
}

#[tokio::test]
async fn a_power_cut_in_the_middle_of_a_sync_may_leave_any_blocks() {
    for kept in 0_u32..32 {
        let disk = disk();
        let (log, _) = open(&disk);
        let one = group(&log, 1);
        append(&one, vec![entry(1, 0, 100), entry(1, 1, 5000)]).await.unwrap();
        disk.hold_syncs();
        let pending = append_later(&one, vec![entry(1, 2, 5000), entry(1, 3, 5000), entry(1, 4, 5000)]).await;
        disk.wait_for_held_sync();
        let mut block = 0;
        let image = disk.after_power_cut(&mut || {
            block += 1;
            kept & (1 << (block - 1)) != 0
        });
        disk.release_syncs();
        pending.unwrap().await.unwrap().unwrap();
        let (log, recovery) = open(&image);
        let recovered = all(&group(&log, 1)).await;
        let written: Vec<_> = [100, 5000, 5000, 5000, 5000].into_iter().zip(0..).collect();
        let expected: Vec<_> = written.iter().map(|(bytes, index)| entry(1, *index, *bytes)).collect();
        assert!(recovered.len() >= 2 && expected.starts_with(&recovered), "{kept:b}: {recovered:?}");
        assert!(
            recovery.findings.iter().all(|finding| finding.kind == FindingKind::TornTail),
            "{recovery:?}"
        );
    }
}

#[tokio::test]
async fn what_only_the_cache_held_is_made_durable_before_it_is_believed() {
    let disk = disk();
    let (log, _) = open(&disk);
    let one = group(&log, 1);
    disk.hold_syncs();
    let pending = append_later(&one, vec![entry(1, 0, 100)]).await.unwrap();
    disk.wait_for_held_sync();
    let killed = disk.after_kill();
    disk.release_syncs();
    drop(pending);
    let writes = killed.counts().0;
    let (log, _) = open(&killed);
    assert_eq!(all(&group(&log, 1)).await, [entry(1, 0, 100)]);
    assert!(killed.counts().0 > writes, "written again");
    let cut = killed.after_power_cut(&mut || false);
    assert_eq!(all(&group(&open(&cut).0, 1)).await, [entry(1, 0, 100)]);
}
