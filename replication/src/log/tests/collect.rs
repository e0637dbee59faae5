//! What garbage collection does: scan, move, remove.

use super::support::*;
use crate::log::{LogError, ReadError};

#[tokio::test]
async fn a_segment_is_emptied_by_moves_and_removed_and_the_log_stays_whole() {
    let disk = disk();
    let (log, _) = open_uncached(&disk);
    let one = group(&log, 1);
    let entries: Vec<_> = (0..20).map(|index| entry(1, index, 7000)).collect();
    for entry in &entries {
        append(&one, vec![entry.clone()]).await.unwrap();
    }
    one.purge(id(1, 1)).await.unwrap();
    for segment in [log.segments()[0].id, log.segments()[1].id] {
        assert!(matches!(log.remove_segment(segment), Err(LogError::InUse { .. })));
        let scanned: Vec<_> = log.scan_segment(segment).unwrap().map(Result::unwrap).collect();
        assert!(scanned.len() > 5);
        for found in scanned {
            assert_eq!(found.head, entries[found.id.index as usize].head);
            let place = log.move_entry(found.group, &found.place).await.unwrap();
            assert_eq!(log.read_body(&place).await.unwrap(), entries[found.id.index as usize].body);
            if found.id.index > 1 {
                assert_eq!(one.place(found.id.index), Some(place));
            }
        }
        let held = log.read_entry(&one.place(10).unwrap()).await.unwrap();
        log.remove_segment(segment).unwrap();
        assert!(matches!(log.scan_segment(segment), Err(LogError::NoSegment { .. })));
        assert_eq!(held, entries[10]);
    }
    let active = log.segments().last().unwrap().id;
    assert!(matches!(log.remove_segment(active), Err(LogError::InUse { .. })));
    assert_eq!(all(&one).await, entries[2..]);
    drop((one, log));
    for _ in 0..2 {
        let (log, recovery) = open(&disk);
        assert_eq!(recovery.findings, []);
        assert_eq!(group(&log, 1).state().damage, None);
        assert_eq!(all(&group(&log, 1)).await, entries[2..]);
    }
}

#[tokio::test]
async fn a_purged_entry_can_be_read_by_place_until_its_segment_goes() {
    let disk = disk();
    let (log, _) = open_uncached(&disk);
    let one = group(&log, 1);
    for index in 0..20 {
        append(&one, vec![entry(1, index, 7000)]).await.unwrap();
    }
    let place = one.flushed(0).await.unwrap();
    one.purge(id(1, 19)).await.unwrap();
    assert_eq!(log.read_body(&place).await.unwrap(), entry(1, 0, 7000).body);
    log.remove_segment(place.segment).unwrap();
    assert!(matches!(log.read_body(&place).await, Err(ReadError::Gone)));
    assert!(matches!(log.move_entry(one.id(), &place).await, Err(LogError::Read(ReadError::Gone))));
}

#[tokio::test]
async fn an_entry_that_was_replaced_is_not_moved() {
    let disk = disk();
    let (log, _) = open(&disk);
    let one = group(&log, 1);
    append(&one, vec![entry(1, 0, 10)]).await.unwrap();
    let place = one.flushed(0).await.unwrap();
    one.truncate_after(None).await.unwrap();
    append(&one, vec![entry(2, 0, 10)]).await.unwrap();
    assert!(log.move_entry(one.id(), &place).await.is_err());
    assert_eq!(all(&one).await, [entry(2, 0, 10)]);
}

#[tokio::test]
async fn a_fetched_record_is_read_by_place_beside_another_entry_of_the_log_with_its_index() {
    let disk = disk();
    let (log, _) = open_uncached(&disk);
    let one = group(&log, 1);
    for index in 0..5 {
        append(&one, vec![entry(1, index, 300)]).await.unwrap();
    }
    let fetched = entry(2, 3, 500);
    let place = log.write_fetched(one.id(), fetched.clone()).await.unwrap();
    let own: Vec<_> = (0..5).map(|index| entry(1, index, 300)).collect();
    assert_eq!((all(&one).await, log.read_entry(&place).await.unwrap()), (own.clone(), fetched.clone()));
    assert!(log.scan_segment(place.segment).unwrap().any(|found| found.unwrap().place == place));
    drop((one, log));
    let (log, recovery) = open(&disk);
    assert_eq!(recovery.findings, []);
    assert_eq!(all(&group(&log, 1)).await, own);
    assert_eq!(log.read_entry(&place).await.unwrap(), fetched);
}
