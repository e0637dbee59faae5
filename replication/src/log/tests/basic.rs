//! Writing, reading and reopening without any trouble.

use super::support::*;
use crate::log::{LogError, LogOptions, ReadError, SegmentLog};
use std::sync::{Arc, Mutex};
use wire::{DeploymentId, GroupId, Incarnation, NodeId};

#[tokio::test]
async fn what_was_appended_reads_back_from_memory_from_disk_and_after_reopening() {
    let disk = disk();
    let entries: Vec<_> = (0..40).map(|index| entry(1, index, 100 * index as usize)).collect();
    {
        let (log, _) = open_uncached(&disk);
        let one = group(&log, 1);
        append(&one, entries.clone()).await.unwrap();
        assert_eq!(all(&one).await, entries);
        let place = one.flushed(30).await.unwrap();
        assert_eq!(log.read_body(&place).await.unwrap(), entries[30].body);
        assert_eq!(log.read_entry(&place).await.unwrap(), entries[30]);
        assert!(log.stats().reads_at_once > 0);
        assert!(log.segments().len() > 1, "it goes over several segments");
    }
    let (log, recovery) = open(&disk);
    assert_eq!(recovery.findings, []);
    assert_eq!(all(&group(&log, 1)).await, entries);
}

#[tokio::test]
async fn a_real_directory_keeps_the_log_too() {
    let directory = tempfile::tempdir().unwrap();
    let options = || LogOptions {
        segment_bytes: 1 << 20,
        cache_bytes_max: 0,
        ..LogOptions::new(directory.path(), DeploymentId([1; 16]), NodeId(1), Incarnation(1)).unwrap()
    };
    let entries: Vec<_> = (0..30).map(|index| entry(1, index, 100_000)).collect();
    {
        let (log, _) = SegmentLog::open(options()).unwrap();
        append(&group(&log, 1), entries.clone()).await.unwrap();
        assert_eq!(all(&group(&log, 1)).await, entries);
    }
    let (log, recovery) = SegmentLog::open(options()).unwrap();
    assert_eq!(recovery.findings, []);
    let one = group(&log, 1);
    assert_eq!(all(&one).await, entries);
    append(&one, vec![entry(1, 30, 10)]).await.unwrap();
    assert_eq!(all(&one).await.len(), 31);
}

#[tokio::test]
async fn completions_come_in_order_and_share_syncs() {
    let disk = disk();
    let (log, _) = open(&disk);
    let (one, two) = (group(&log, 1), group(&log, 2));
    let order = Arc::new(Mutex::new(Vec::new()));
    disk.hold_syncs();
    let before = log.stats().batches;
    let mut receivers = vec![append_later(&one, vec![entry(1, 0, 10)]).await.unwrap()];
    disk.wait_for_held_sync();
    for index in 0..50 {
        let (group, index) = if index % 2 == 0 { (&one, index / 2 + 1) } else { (&two, index / 2) };
        let order = Arc::clone(&order);
        let id = (group.id(), index);
        group
            .append(vec![entry(1, index, 10)], move |result| {
                result.unwrap();
                order.lock().unwrap().push(id);
            })
            .await
            .unwrap();
    }
    receivers.push(append_later(&one, vec![entry(1, 26, 10)]).await.unwrap());
    disk.release_syncs();
    for receiver in receivers {
        receiver.await.unwrap().unwrap();
    }
    let expected: Vec<_> =
        (0..50).map(|n| if n % 2 == 0 { (GroupId(1), n / 2 + 1) } else { (GroupId(2), n / 2) }).collect();
    assert_eq!(*order.lock().unwrap(), expected);
    assert_eq!(log.stats().batches - before, 2, "one batch under way, one for all that queued meanwhile");
}

#[tokio::test]
async fn entries_can_be_read_before_they_are_flushed() {
    let disk = disk();
    let (log, _) = open_uncached(&disk);
    let one = group(&log, 1);
    disk.hold_syncs();
    let done = append_later(&one, vec![entry(1, 0, 10)]).await.unwrap();
    assert_eq!(all(&one).await, [entry(1, 0, 10)]);
    assert_eq!(one.place(0), None);
    disk.release_syncs();
    assert_eq!(Some(one.flushed(0).await.unwrap()), one.place(0));
    done.await.unwrap().unwrap();
}

#[tokio::test]
async fn votes_committed_positions_and_purges_survive_many_segments() {
    let disk = disk();
    {
        let (log, _) = open(&disk);
        let (one, two, three) = (group(&log, 1), group(&log, 2), group(&log, 3));
        one.save_vote(vote(3)).await.unwrap();
        append(&two, vec![entry(1, 0, 10)]).await.unwrap();
        two.save_committed(Some(id(1, 0))).unwrap();
        three.purge(id(5, 17)).await.unwrap();
        for index in 1..40 {
            append(&two, vec![entry(1, index, 8000)]).await.unwrap();
        }
    }
    let (log, recovery) = open(&disk);
    assert_eq!(recovery.findings, []);
    assert_eq!(group(&log, 1).state().vote, Some(vote(3)));
    assert_eq!(group(&log, 2).state().committed, Some(id(1, 0)));
    assert_eq!(group(&log, 3).state().last, Some(id(5, 17)));
    assert!(recovery.segments_replayed > 1);
}

#[tokio::test]
async fn recovery_starts_at_the_oldest_entry_that_is_not_purged() {
    let disk = disk();
    {
        let (log, _) = open(&disk);
        let one = group(&log, 1);
        for index in 0..60 {
            append(&one, vec![entry(1, index, 8000)]).await.unwrap();
        }
        one.purge(id(1, 55)).await.unwrap();
        for index in 60..70 {
            append(&one, vec![entry(1, index, 8000)]).await.unwrap();
        }
    }
    let (log, recovery) = open(&disk);
    assert_eq!(recovery.findings, []);
    assert!(recovery.segments_replayed < recovery.segments - 4, "{recovery:?}");
    let state = group(&log, 1).state();
    assert_eq!((state.purged, state.first, state.last), (Some(id(1, 55)), Some(id(1, 56)), Some(id(1, 69))));
}

#[tokio::test]
async fn a_truncated_suffix_is_replaced_and_stays_so() {
    let disk = disk();
    {
        let (log, _) = open(&disk);
        let one = group(&log, 1);
        append(&one, (0..10).map(|index| entry(1, index, 50)).collect()).await.unwrap();
        one.truncate_after(Some(id(1, 4))).await.unwrap();
        assert_eq!(one.state().last, Some(id(1, 4)));
        append(&one, vec![entry(2, 5, 60)]).await.unwrap();
        let two = group(&log, 2);
        append(&two, vec![entry(1, 0, 50)]).await.unwrap();
        two.truncate_after(None).await.unwrap();
        assert_eq!(two.state().last, None);
    }
    let (log, _) = open(&disk);
    let expected: Vec<_> = (0..5).map(|index| entry(1, index, 50)).chain([entry(2, 5, 60)]).collect();
    assert_eq!(all(&group(&log, 1)).await, expected);
    assert_eq!(group(&log, 2).state().last, None);
}

#[tokio::test]
async fn entries_out_of_order_and_too_large_are_refused() {
    let disk = disk();
    let (log, _) = open(&disk);
    let one = group(&log, 1);
    append(&one, vec![entry(1, 5, 1)]).await.unwrap();
    for index in [0, 5, 7] {
        let refused = append(&one, vec![entry(1, index, 1)]).await;
        assert!(matches!(refused, Err(LogError::OutOfOrder { expected: Some(6), .. })), "{refused:?}");
    }
    let refused = append(&one, vec![entry(1, 6, SEGMENT_BYTES as usize / 2)]).await;
    assert!(matches!(refused, Err(LogError::TooLarge { .. })));
    append(&one, vec![]).await.unwrap();
    append(&one, vec![entry(1, 6, 1)]).await.unwrap();
}

#[tokio::test]
async fn a_purge_beyond_the_end_makes_room_for_a_snapshot() {
    let disk = disk();
    {
        let (log, _) = open(&disk);
        let one = group(&log, 1);
        append(&one, vec![entry(1, 0, 1), entry(1, 1, 1)]).await.unwrap();
        one.purge(id(4, 100)).await.unwrap();
        assert_eq!(one.state().last, Some(id(4, 100)));
        append(&one, vec![entry(4, 101, 1)]).await.unwrap();
        assert!(matches!(one.flushed(1).await, Err(LogError::NoEntry { index: 1, .. })));
    }
    let (log, _) = open(&disk);
    assert_eq!(all(&group(&log, 1)).await, [entry(4, 101, 1)]);
}

#[tokio::test]
async fn a_dropped_group_is_gone_and_can_begin_anew() {
    let disk = disk();
    {
        let (log, _) = open(&disk);
        let one = group(&log, 1);
        append(&one, vec![entry(1, 0, 1)]).await.unwrap();
        one.drop_group().await.unwrap();
        assert!(matches!(one.save_vote(vote(1)).await, Err(LogError::Dropped { .. })));
        append(&group(&log, 1), vec![entry(7, 3, 1)]).await.unwrap();
        append(&group(&log, 2), vec![entry(1, 0, 1)]).await.unwrap();
        group(&log, 2).drop_group().await.unwrap();
        assert_eq!(log.segments().iter().map(|segment| segment.entries_unpurged).sum::<u64>(), 1);
    }
    let (log, recovery) = open(&disk);
    assert_eq!(recovery.groups.len(), 1);
    assert_eq!(all(&group(&log, 1)).await, [entry(7, 3, 1)]);
}

#[tokio::test]
async fn what_is_read_in_one_go_is_bounded_but_never_nothing() {
    let disk = disk();
    let (log, _) = open(&disk);
    let one = group(&log, 1);
    append(&one, (0..10).map(|index| entry(1, index, 1000)).collect()).await.unwrap();
    assert_eq!(one.entries(0..10, 2500).await.unwrap().len(), 2);
    assert_eq!(one.entries(3..10, 0).await.unwrap(), [entry(1, 3, 1000)]);
    assert_eq!(one.entries(10..20, 2500).await.unwrap(), []);
}

#[tokio::test]
async fn another_nodes_disk_is_refused() {
    let disk = disk();
    drop(open(&disk));
    for wrong in [
        LogOptions { node: NodeId(2), ..options(&disk) },
        LogOptions { incarnation: Incarnation(2), ..options(&disk) },
        LogOptions { deployment: DeploymentId([8; 16]), ..options(&disk) },
    ] {
        assert!(matches!(SegmentLog::open(wrong), Err(LogError::Foreign { .. })));
    }
}

#[tokio::test]
async fn a_place_of_a_removed_segment_or_beyond_the_end_is_an_error() {
    let disk = disk();
    let (log, _) = open_uncached(&disk);
    let one = group(&log, 1);
    append(&one, vec![entry(1, 0, 100)]).await.unwrap();
    let place = one.flushed(0).await.unwrap();
    let other = crate::log::Place { segment: crate::log::SegmentId(99), ..place };
    assert!(matches!(log.read_body(&other).await, Err(ReadError::Gone)));
    let beyond = crate::log::Place { offset: u32::MAX, ..place };
    assert!(matches!(log.read_body(&beyond).await, Err(ReadError::Rotten { .. })));
    let lying = crate::log::Place { body_length: u32::MAX, ..place };
    assert!(matches!(log.read_entry(&lying).await, Err(ReadError::Rotten { .. })));
}
