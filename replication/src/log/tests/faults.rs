//! Disks that fail and fill up.

use super::support::*;
use crate::{
    disk::{
        BLOCK_BYTES,
        fault::{Fault, FaultDisk},
    },
    log::{DiskHealth, LogError, LogOptions, Priority, SegmentLog},
};
use tokio_util::sync::CancellationToken;

async fn fails_for_good(fault: impl Fn(u64, u64) -> Fault) {
    let disk = disk();
    let (log, _) = open(&disk);
    let one = group(&log, 1);
    append(&one, vec![entry(1, 0, 10)]).await.unwrap();
    let (writes, syncs) = disk.counts();
    disk.plan(fault(writes + 1, syncs + 1));
    let failed = append(&one, vec![entry(1, 1, 10)]).await;
    assert!(matches!(failed, Err(LogError::DiskFailed { .. })), "{failed:?}");
    let counts = disk.counts();
    assert!(matches!(append(&one, vec![entry(1, 2, 10)]).await, Err(LogError::DiskFailed { .. })));
    assert!(matches!(group(&log, 2).save_vote(vote(1)).await, Err(LogError::DiskFailed { .. })));
    assert!(matches!(one.truncate_after(Some(id(1, 0))).await, Err(LogError::DiskFailed { .. })));
    assert!(matches!(one.flushed(1).await, Err(LogError::DiskFailed { .. })));
    assert!(matches!(log.health(), DiskHealth::Failed(_)));
    assert!(!log.capacity().unwrap().writable);
    assert_eq!(one.entries(0..1, 100).await.unwrap().len(), 1, "reading goes on");
    log.close();
    assert_eq!(disk.counts(), counts, "nothing was written or synced again");
    // what was acknowledged before is there on the next start
    let (log, _) = open(&disk.after_power_cut(&mut || false));
    assert_eq!(all(&group(&log, 1)).await, [entry(1, 0, 10)]);
}

#[tokio::test]
async fn after_a_failed_sync_nothing_is_written_again() {
    fails_for_good(|_, sync| Fault::Sync(sync)).await;
}

#[tokio::test]
async fn after_a_failed_write_nothing_is_written_again() {
    fails_for_good(|write, _| Fault::Write(write)).await;
}

#[tokio::test]
async fn after_a_torn_write_nothing_is_written_again() {
    fails_for_good(|write, _| Fault::TornWrite(write, 60)).await;
}

#[tokio::test]
async fn those_queued_and_waiting_when_the_disk_fails_are_told() {
    let disk = disk();
    let (log, _) = open(&disk);
    let one = group(&log, 1);
    disk.hold_syncs();
    let first = append_later(&one, vec![entry(1, 0, 10)]).await.unwrap();
    disk.wait_for_held_sync();
    let second = append_later(&one, vec![entry(1, 1, 10)]).await.unwrap();
    let waiter = tokio::spawn({
        let one = one.clone();
        async move { one.flushed(1).await }
    });
    tokio::task::yield_now().await;
    disk.plan(Fault::Sync(disk.counts().1 + 1));
    disk.release_syncs();
    assert!(matches!(first.await.unwrap(), Err(LogError::DiskFailed { .. })));
    assert!(matches!(second.await.unwrap(), Err(LogError::DiskFailed { .. })));
    assert!(matches!(waiter.await.unwrap(), Err(LogError::DiskFailed { .. })));
}

async fn fill(log: &SegmentLog) -> u64 {
    let one = group(log, 1);
    let mut index = 0;
    loop {
        match append(&one, vec![entry(1, index, 8000)]).await {
            Ok(()) => index += 1,
            Err(LogError::Full) => return index,
            Err(other) => panic!("{other:?}"),
        }
    }
}

async fn a_full_disk_can_be_freed(disk: &FaultDisk, options: LogOptions) {
    let (log, _) = SegmentLog::open(options).unwrap();
    let one = group(&log, 1);
    assert!(log.capacity().unwrap().writable);
    let entries = fill(&log).await;
    let capacity = log.capacity().unwrap();
    assert!(!capacity.writable, "{capacity:?}");
    assert!(entries > 10 && capacity.used_bytes <= 8 * SEGMENT_BYTES);
    for term in 1..5 {
        group(&log, 2).save_vote(vote(term)).await.unwrap();
    }
    let oldest = log.segments()[0].id;
    let moved = (0..entries).rfind(|index| one.place(*index).unwrap().segment == oldest).unwrap();
    let place = one.place(moved).unwrap();
    log.move_entry(one.id(), &place).await.unwrap();
    // deletes leave a spare to moves, and moves the last one to votes and purges
    let mut end = entries;
    loop {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let added = vec![entry(1, end, 8000)];
        let done = move |result: Result<(), LogError>| drop(sender.send(result));
        match one.append_as(Priority::Reclaim, added, done).await {
            Ok(()) => receiver.await.unwrap().unwrap(),
            Err(error) => {
                assert!(matches!(error, LogError::Full), "{error:?}");
                break;
            }
        }
        end += 1;
    }
    assert!(end > entries);
    let mut moves = 0;
    assert!(!log.capacity().unwrap().reclaimable);
    while let Ok(place) = log.move_entry(one.id(), &one.place(moved).unwrap()).await {
        assert_eq!(one.place(moved), Some(place));
        moves += 1;
        assert!(moves < 100, "moves end");
    }
    assert!(moves > 0, "deletes took the room that moves need");
    let entries = end;
    group(&log, 2).save_vote(vote(20)).await.unwrap();
    one.purge(id(1, entries - 2)).await.unwrap();
    assert!(matches!(log.health(), DiskHealth::Working));
    for segment in log.segments().into_iter().filter(|s| s.sealed && s.entries_unpurged == 0) {
        log.remove_segment(segment.id).unwrap();
    }
    while !log.capacity().unwrap().writable {
        std::thread::yield_now();
    }
    append(&one, vec![entry(1, entries, 8000)]).await.unwrap();
    drop((one, log));
    let (log, recovery) = open(disk);
    assert_eq!(recovery.findings, []);
    assert_eq!(group(&log, 2).state().vote, Some(vote(20)));
    assert_eq!(all(&group(&log, 1)).await.len(), 2);
}

#[tokio::test]
async fn a_full_file_system_still_takes_votes_moves_and_purges() {
    let disk = FaultDisk::new(8 * SEGMENT_BYTES);
    a_full_disk_can_be_freed(&disk, options(&disk)).await;
}

#[tokio::test]
async fn a_limit_on_the_total_acts_like_a_full_file_system() {
    let disk = disk();
    let options = LogOptions { total_bytes_max: Some(8 * SEGMENT_BYTES), ..options(&disk) };
    a_full_disk_can_be_freed(&disk, options).await;
}

#[tokio::test]
async fn what_a_group_must_take_waits_for_room_and_is_taken_then() {
    let disk = FaultDisk::new(8 * SEGMENT_BYTES);
    let (log, _) = SegmentLog::open(options(&disk)).unwrap();
    let end = fill(&log).await;
    let (stop, ended) = (CancellationToken::new(), CancellationToken::new());
    ended.cancel();
    let one = group(&log, 1);
    let refused = one.append_patiently(Priority::Ordinary, vec![entry(1, end, 8000)], &ended, |_| {}).await;
    assert!(matches!(refused, Err(LogError::Full)), "{refused:?}");
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let done = move |result: Result<(), LogError>| drop(sender.send(result));
    let waits = one.append_patiently(Priority::Ordinary, vec![entry(1, end, 8000)], &stop, done);
    tokio::pin!(waits);
    assert!(futures_util::poll!(waits.as_mut()).is_pending());
    disk.set_capacity(9 * SEGMENT_BYTES);
    waits.await.unwrap();
    receiver.await.unwrap().unwrap();
    assert_eq!(one.state().last, Some(id(1, end)));
}

#[tokio::test]
async fn room_that_was_promised_is_kept_and_what_was_let_in_is_taken() {
    let disk = FaultDisk::new(8 * SEGMENT_BYTES);
    let (log, _) = SegmentLog::open(options(&disk)).unwrap();
    let mut end = fill(&log).await;
    let mut promises = Vec::new();
    while let Some(promise) = log.promise(1, 8100) {
        promises.push(promise);
        assert!(promises.len() < 100, "promises end");
    }
    assert!(promises.len() > 1, "deletes have a part of the reserve");
    assert!(!log.has_room(Priority::Reclaim, 2 * 8100), "promised room is given away");
    assert!(log.promise(0, 0).is_some(), "heartbeats take none");
    let (one, stop) = (group(&log, 1), CancellationToken::new());
    for promise in promises {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let done = move |result: Result<(), LogError>| drop(sender.send(result));
        let taken = one.append_patiently(Priority::Accepted, vec![entry(1, end, 8000)], &stop, done);
        assert!(futures_util::FutureExt::now_or_never(taken).is_some(), "what was let in waits");
        receiver.await.unwrap().unwrap();
        drop(promise);
        end += 1;
    }
    assert!(log.has_room(Priority::Move, 8100), "moves keep their part");
}

#[tokio::test(flavor = "multi_thread")]
async fn even_votes_wait_when_nothing_is_left_and_are_kept_once_there_is_room() {
    let disk = FaultDisk::new(8 * SEGMENT_BYTES);
    let (log, _) = SegmentLog::open(options(&disk)).unwrap();
    // a batch each: more than all segments hold
    let votes = 8 * SEGMENT_BYTES / BLOCK_BYTES as u64;
    let voter = group(&log, 1);
    let voting = tokio::spawn(async move {
        for term in 1..=votes {
            voter.save_vote(vote(term)).await.unwrap();
        }
    });
    while log.stats().spares > 0 || log.has_room(Priority::Move, 1) {
        tokio::task::yield_now().await;
    }
    assert!(matches!(log.health(), DiskHealth::Working));
    assert!(!voting.is_finished());
    disk.set_capacity(16 * SEGMENT_BYTES);
    voting.await.unwrap();
    log.close();
    let (log, _) = open(&disk.after_power_cut(&mut || false));
    assert_eq!(group(&log, 1).state().vote, Some(vote(votes)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_waits_for_room_can_be_closed() {
    let disk = FaultDisk::new(4 * SEGMENT_BYTES);
    let (log, _) = SegmentLog::open(options(&disk)).unwrap();
    let voter = group(&log, 1);
    let voting = tokio::spawn(async move {
        let mut term = 1;
        while voter.save_vote(vote(term)).await.is_ok() {
            term += 1;
        }
    });
    while log.stats().spares > 0 || log.has_room(Priority::Move, 1) {
        tokio::task::yield_now().await;
    }
    log.close();
    voting.await.unwrap();
}

#[tokio::test]
async fn appends_wait_while_too_much_is_queued() {
    let disk = disk();
    let (log, _) = SegmentLog::open(LogOptions { queue_bytes_max: 20_000, ..options(&disk) }).unwrap();
    let one = group(&log, 1);
    disk.hold_syncs();
    let first = append_later(&one, vec![entry(1, 0, 15_000)]).await.unwrap();
    let second = append_later(&one, vec![entry(1, 1, 15_000)]);
    tokio::pin!(second);
    assert!(futures_util::poll!(second.as_mut()).is_pending());
    assert_eq!(one.state().last, Some(id(1, 0)));
    disk.release_syncs();
    second.await.unwrap().await.unwrap().unwrap();
    first.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_disk_too_small_for_one_segment_does_not_open() {
    assert!(SegmentLog::open(options(&FaultDisk::new(1000))).is_err());
}
