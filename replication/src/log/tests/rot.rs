//! Bits that turn: at the tail, in the middle, in bodies, headers and segment headers.

use super::support::*;
use crate::{
    disk::{AlignedBuffer, BLOCK_BYTES, Disk, fault::FaultDisk},
    log::{
        Damage, FindingKind, LogError, Place, ReadError,
        header::file_name,
        record::{ALIGN_BYTES, HEADER_BYTES},
    },
};

fn flip(disk: &FaultDisk, place: &Place, within: usize) {
    assert!(disk.flip_bit(&file_name(place.segment), u64::from(place.offset) + within as u64, 3));
}

#[tokio::test]
async fn a_bit_turned_in_the_last_batch_is_a_torn_tail() {
    let disk = disk();
    let (log, _) = open(&disk);
    let one = group(&log, 1);
    append(&one, vec![entry(1, 0, 100)]).await.unwrap();
    append(&one, vec![entry(1, 1, 100), entry(1, 2, 100)]).await.unwrap();
    let place = one.flushed(2).await.unwrap();
    // not closed in order: nothing says that the last batch was synced
    let image = disk.after_kill();
    flip(&image, &place, HEADER_BYTES + 20);
    let (log, recovery) = open(&image);
    assert_eq!(recovery.findings.len(), 1);
    assert_eq!(recovery.findings[0].kind, FindingKind::TornTail);
    assert_eq!(recovery.findings[0].offset, u64::from(place.offset));
    let one = group(&log, 1);
    assert_eq!(one.state().damage, None);
    assert_eq!(all(&one).await, [entry(1, 0, 100), entry(1, 1, 100)]);
    append(&one, vec![entry(2, 2, 50)]).await.unwrap();
    drop((one, log));
    let (log, recovery) = open(&image);
    assert_eq!(recovery.findings, []);
    assert_eq!(all(&group(&log, 1)).await.len(), 3);
}

#[tokio::test]
async fn the_last_batch_of_a_log_closed_in_order_is_rot_not_a_tail() {
    let disk = disk();
    let (log, _) = open(&disk);
    append(&group(&log, 1), vec![entry(1, 0, 100)]).await.unwrap();
    let place = group(&log, 1).flushed(0).await.unwrap();
    drop(log);
    flip(&disk, &place, HEADER_BYTES + 20);
    let (_, recovery) = open(&disk);
    assert_eq!(recovery.findings[0].kind, FindingKind::RottenRecord);
    assert_eq!(recovery.groups[0].rotten, [id(1, 0)]);
}

#[tokio::test]
async fn a_rotten_body_in_the_middle_is_reported_and_can_be_written_again() {
    let disk = disk();
    let (log, _) = open(&disk);
    let one = group(&log, 1);
    for index in 0..5 {
        append(&one, vec![entry(1, index, 300)]).await.unwrap();
    }
    let place = one.flushed(2).await.unwrap();
    let image = disk.after_kill();
    flip(&image, &place, HEADER_BYTES + 100);
    let (log, recovery) = open(&image);
    assert_eq!(recovery.findings.len(), 1, "{recovery:?}");
    let finding = recovery.findings[0];
    assert_eq!((finding.kind, finding.entry), (FindingKind::RottenRecord, Some(id(1, 2))));
    assert_eq!(recovery.groups[0].rotten, [id(1, 2)]);
    let one = group(&log, 1);
    assert_eq!((one.state().damage, one.state().last), (None, Some(id(1, 4))));
    assert_eq!(one.entries(0..5, 1 << 20).await.unwrap().len(), 2);
    assert!(matches!(one.entries(2..5, 1 << 20).await, Err(ReadError::Rotten { .. })));
    assert_eq!(one.entries(3..5, 1 << 20).await.unwrap().len(), 2);
    assert!(matches!(log.read_body(&place).await, Err(ReadError::Rotten { .. })));
    log.rewrite_entry(one.id(), entry(1, 2, 300)).await.unwrap();
    assert_eq!(all(&one).await.len(), 5);
    drop((one, log));
    let (log, recovery) = open(&image);
    assert_eq!(recovery.groups[0].rotten, [], "{recovery:?}");
    assert_eq!(all(&group(&log, 1)).await, (0..5).map(|i| entry(1, i, 300)).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_lost_header_in_the_newest_segment_puts_all_its_groups_in_doubt() {
    let disk = disk();
    let (log, _) = open(&disk);
    let (one, two) = (group(&log, 1), group(&log, 2));
    two.save_vote(vote(2)).await.unwrap();
    for index in 0..5 {
        append(&one, vec![entry(1, index, 300)]).await.unwrap();
    }
    let place = one.flushed(2).await.unwrap();
    let image = disk.after_kill();
    flip(&image, &place, 20);
    let (log, recovery) = open(&image);
    let kinds: Vec<_> = recovery.findings.iter().map(|finding| finding.kind).collect();
    assert_eq!(kinds, [FindingKind::Unreadable, FindingKind::LostRecords]);
    assert_eq!(recovery.findings[1].records_lost, 1);
    for group in recovery.groups {
        assert_eq!(group.state.damage, Some(Damage::Unknown));
    }
    let one = group(&log, 1);
    assert!(matches!(append(&one, vec![entry(1, 5, 1)]).await, Err(LogError::Damaged { .. })));
    assert!(matches!(group(&log, 2).save_vote(vote(9)).await, Err(LogError::Damaged { .. })));
    one.drop_group().await.unwrap();
    append(&group(&log, 1), vec![entry(1, 0, 1)]).await.unwrap();
    drop((one, log));
    let (log, _) = open(&image);
    assert_eq!(group(&log, 2).state().damage, Some(Damage::Unknown), "doubt outlives a restart");
}

#[tokio::test]
async fn synced_records_lost_right_before_a_torn_tail_are_missed_at_every_start() {
    let disk = disk();
    let (log, _) = open(&disk);
    let one = group(&log, 1);
    for index in 0..5 {
        append(&one, vec![entry(1, index, 300)]).await.unwrap();
    }
    let (lost, torn) = (one.flushed(3).await.unwrap(), one.flushed(4).await.unwrap());
    let image = disk.after_kill();
    flip(&image, &lost, 20);
    flip(&image, &torn, HEADER_BYTES + 20);
    for start in 0..2 {
        let (log, recovery) = open(&image);
        let lost = recovery.findings.iter().find(|finding| finding.kind == FindingKind::LostRecords);
        assert_eq!(lost.map(|finding| finding.records_lost), Some(1), "start {start}: {recovery:?}");
        assert_eq!(group(&log, 1).state().damage, Some(Damage::Unknown), "start {start}");
        assert_eq!(all(&group(&log, 1)).await.len(), 3);
    }
}

#[tokio::test]
async fn a_segment_whose_first_write_cannot_be_read_from_its_beginning_was_never_begun() {
    let disk = disk();
    disk.record();
    let (log, _) = open(&disk);
    let one = group(&log, 1);
    for index in 0..12 {
        append(&one, vec![entry(1, index, 7000)]).await.unwrap();
    }
    let [first, second] = [0, 1].map(|number| file_name(log.segments()[number].id));
    let last = (0..12).map(|index| one.flushed(index));
    let last = futures_util::future::join_all(last).await.into_iter().map(Result::unwrap);
    let last = last.filter(|place| file_name(place.segment) == first).last().unwrap();
    // killed right behind the first write to the second segment, which the disk then kept at another place
    let images = (0..disk.operations()).map(|operations| disk.image_after(operations, 0));
    let begun = |image: &FaultDisk| image.contents(&second).is_some_and(|bytes| bytes[0] != 0);
    let image = images.into_iter().find(begun).unwrap();
    let mut bytes = image.contents(&second).unwrap()[BLOCK_BYTES..2 * BLOCK_BYTES].to_vec();
    bytes.rotate_right(2 * ALIGN_BYTES);
    bytes[..2 * ALIGN_BYTES].fill(1);
    let mut shifted = AlignedBuffer::with_capacity(BLOCK_BYTES);
    shifted.extend(&bytes);
    image.open(&second).unwrap().write_at(shifted.bytes(), BLOCK_BYTES as u64).unwrap();
    // so the state of the group that it restated is not there, and it matters what the first one lost
    flip(&image, &last, 20);
    for start in 0..2 {
        let (log, recovery) = open(&image);
        assert_eq!(group(&log, 1).state().damage, Some(Damage::Unknown), "start {start}: {recovery:?}");
    }
}

#[tokio::test]
async fn a_lost_header_in_an_older_segment_is_a_gap_of_its_group_alone() {
    let disk = disk();
    let (log, _) = open(&disk);
    let (one, two) = (group(&log, 1), group(&log, 2));
    let mut place = None;
    for index in 0..20 {
        append(&one, vec![entry(1, index, 5000)]).await.unwrap();
        append(&two, vec![entry(1, index, 5000)]).await.unwrap();
        place = place.or(Some(one.flushed(3).await).filter(|_| index == 3).and_then(Result::ok));
    }
    let image = disk.after_kill();
    flip(&image, &place.unwrap(), 20);
    let (log, recovery) = open(&image);
    assert!(recovery.findings.iter().any(|finding| finding.kind == FindingKind::LostRecords));
    assert_eq!(group(&log, 1).state().damage, Some(Damage::Gap { first: 3, last: 19 }));
    assert_eq!(group(&log, 1).state().last, Some(id(1, 2)));
    assert_eq!(group(&log, 2).state().damage, None);
    assert_eq!(all(&group(&log, 2)).await.len(), 20);
}

#[tokio::test]
async fn a_rotten_segment_header_loses_nothing() {
    for newest in [false, true] {
        let disk = disk();
        let (log, _) = open(&disk);
        let one = group(&log, 1);
        for index in 0..20 {
            append(&one, vec![entry(1, index, 7000)]).await.unwrap();
        }
        let segments = log.segments();
        let segment = if newest { segments[segments.len() - 1] } else { segments[1] };
        let image = disk.after_kill();
        assert!(image.flip_bit(&file_name(segment.id), 20, 1));
        let (log, recovery) = open(&image);
        let kinds: Vec<_> = recovery.findings.iter().map(|finding| finding.kind).collect();
        assert_eq!(kinds, [FindingKind::RottenHeader]);
        assert_eq!(group(&log, 1).state().damage, None);
        assert_eq!(all(&group(&log, 1)).await.len(), 20);
        append(&group(&log, 1), vec![entry(1, 20, 7000)]).await.unwrap();
        drop(log);
        assert_eq!(all(&group(&open(&image).0, 1)).await.len(), 21);
    }
}

#[tokio::test]
async fn no_single_turned_bit_makes_a_synced_entry_vanish_unreported() {
    let disk = disk();
    let (log, _) = open(&disk);
    let one = group(&log, 1);
    for index in 0..6 {
        append(&one, vec![entry(1, index, 40), entry(2, index + 100, 0)][..1].to_vec()).await.unwrap();
    }
    let first = u64::from(one.flushed(0).await.unwrap().offset);
    let last = one.flushed(5).await.unwrap();
    let end = u64::from(last.offset) / BLOCK_BYTES as u64 * BLOCK_BYTES as u64;
    let name = file_name(last.segment);
    drop((one, log));
    for at in (BLOCK_BYTES as u64..end).filter(|at| at % BLOCK_BYTES as u64 <= 200) {
        let image = disk.after_kill();
        assert!(image.flip_bit(&name, at, (at % 8) as u8));
        let (log, recovery) = open(&image);
        let one = group(&log, 1);
        let mut intact = 0;
        for index in 0..6 {
            if let Ok(found) = one.entries(index..index + 1, 1 << 20).await {
                assert!(found.is_empty() || found == [entry(1, index, 40)], "bit at {at}");
                intact += found.len();
            }
        }
        assert!(intact == 6 || !recovery.findings.is_empty(), "bit at {at}, entries from {first}");
        assert!(intact >= 5 || one.state().damage.is_some(), "bit at {at}: {recovery:?}");
    }
}

#[tokio::test]
async fn bytes_of_another_segment_never_parse() {
    let disk = disk();
    let (log, _) = open(&disk);
    let one = group(&log, 1);
    append(&one, vec![entry(1, 0, 100)]).await.unwrap();
    let place = one.flushed(0).await.unwrap();
    let image = disk.after_kill();
    let name = file_name(place.segment);
    // the whole segment's bytes, as a recycled file would hold them behind the newest one's end
    let bytes = image.contents(&name).unwrap();
    let other = "000000ff.segment";
    let file = image.create(other, SEGMENT_BYTES).unwrap();
    let mut buffer = AlignedBuffer::with_capacity(bytes.len());
    buffer.extend(&bytes);
    file.write_at(buffer.bytes(), 0).unwrap();
    let (log, recovery) = open(&image);
    assert_eq!(recovery.findings.iter().map(|f| f.kind).collect::<Vec<_>>(), [FindingKind::TornSegment]);
    assert_eq!(all(&group(&log, 1)).await, [entry(1, 0, 100)]);
    assert_eq!(place.offset as usize % ALIGN_BYTES, 0);
}

#[tokio::test]
async fn a_scrub_of_a_segment_says_what_is_rotten() {
    let disk = disk();
    let (log, _) = open(&disk);
    let one = group(&log, 1);
    for index in 0..20 {
        append(&one, vec![entry(1, index, 7000)]).await.unwrap();
    }
    let place = one.flushed(4).await.unwrap();
    assert_eq!(log.verify_segment(place.segment).unwrap(), []);
    flip(&disk, &place, 2000);
    let findings = log.verify_segment(place.segment).unwrap();
    assert_eq!(findings.len(), 1);
    assert_eq!((findings[0].kind, findings[0].entry), (FindingKind::RottenRecord, Some(id(1, 4))));
    let active = log.segments().into_iter().find(|segment| !segment.sealed).unwrap();
    assert_eq!(log.verify_segment(active.id).unwrap(), []);
}
