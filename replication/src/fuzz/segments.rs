//! A disk with segment files of any bytes: opening it gives a defined error or a defined recovery, and what was recovered
//! is recovered again the next time.
//!
//! An input is a byte of flags and then blocks, each a length (u16) and so many bytes, filled up with zeros to
//! 4 KiB; the length [`NEXT_FILE`] begins the next file. So a file of 64 KiB fits a small input. With [`MEND`] all
//! checksums are made right first, as someone who knows the layout would.

use super::Seed;
use crate::{
    disk::{AlignedBuffer, BLOCK_BYTES, Disk, fault::FaultDisk},
    log::{EntryId, EntryKind, GroupState, LogEntry, LogError, LogOptions, SegmentId, SegmentLog, Vote},
};
use bytes::Bytes;
use std::{collections::BTreeMap, sync::Arc};
use tokio::{runtime::Runtime, sync::oneshot};
use wire::{DeploymentId, GroupId, Incarnation, NodeId, ReplicaId};

/// The smallest segment that a log takes.
const SEGMENT_BYTES: usize = 64 << 10;

/// Room for the files of an input and for what the log makes on top.
const DISK_BYTES: u64 = 32 * SEGMENT_BYTES as u64;

/// Files in one input. 3: a first, a middle and a newest one.
const FILES_MAX: usize = 3;

/// A length that no block has.
const NEXT_FILE: u16 = u16::MAX;

/// The flag that asks for right checksums.
const MEND: u8 = 1;

/// Layout of a segment's header and of a record's, as `FORMAT.md` has it.
const HEADER_CRC_AT: usize = 72;
const RECORD_BYTES: usize = 80;
const RECORD_CRC_AT: usize = 76;

/// Opens a log on what the input describes.
pub fn run(input: &[u8]) {
    let Some((flags, rest)) = input.split_first() else { return };
    let mut files = unpack(rest);
    if flags & MEND != 0 {
        files.iter_mut().for_each(|file| mend(file));
    }
    let disk = disk_with(&files);
    let Some(states) = open(&disk) else { return };
    let again = open(&disk.after_kill()).expect("what was opened once opens again");
    for (group, state) in states {
        let found = again.get(&group).copied().unwrap_or_default();
        // nothing is built on a group in doubt before another replica repairs it: what it holds may be known otherwise, but
        // the doubt stays. A crafted log may be doubted late, never be another without a doubt.
        let may_be_doubted = state.damage.is_some() || flags & MEND != 0;
        let same = found == state && state.damage.is_none();
        assert!(
            same || (may_be_doubted && found.damage.is_some()),
            "{group} was recovered as {state:?}, and the second time as {found:?}"
        );
    }
}

/// Opens the log, reads all that it says is there, closes it; nothing when it refuses with an error.
fn open(disk: &FaultDisk) -> Option<BTreeMap<GroupId, GroupState>> {
    let (log, recovery) = SegmentLog::open(options(disk)).ok()?;
    let mut states = BTreeMap::new();
    for recovered in &recovery.groups {
        let group = log.group(recovered.group);
        assert_eq!(group.state(), recovered.state, "the report says otherwise than the log");
        if let (Some(first), Some(last)) = (recovered.state.first, recovered.state.last) {
            // a crafted log may claim any number; a window shows what reading does
            let end = last.index.saturating_add(1).min(first.index.saturating_add(64));
            if let Ok(entries) = runtime().block_on(group.entries(first.index..end, 1 << 20)) {
                let follows = entries.iter().zip(first.index..).all(|(entry, index)| entry.id.index == index);
                assert!(follows, "entries came in another order than asked for");
            }
        }
        // what was known committed is written along with a later batch, so it alone may be older
        states.insert(recovered.group, GroupState { committed: None, ..recovered.state });
    }
    for segment in log.segments() {
        let findings = log.verify_segment(segment.id).map(|findings| findings.len());
        let scanned = log.scan_segment(segment.id).map(Iterator::count);
        assert!(findings.is_ok() && scanned.is_ok(), "a segment that was opened cannot be read");
    }
    log.close();
    Some(states)
}

fn options(disk: &FaultDisk) -> LogOptions {
    let (deployment, disk) = (DeploymentId([7; 16]), Arc::new(disk.clone()));
    let defaults = LogOptions::on(disk, deployment, NodeId(1), Incarnation(1));
    LogOptions { segment_bytes: SEGMENT_BYTES as u64, cache_bytes_max: 0, reserve_segments: 0, ..defaults }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime without drivers needs nothing")
}

fn name(number: usize) -> String {
    format!("{}.segment", SegmentId(number as u64 + 1))
}

fn disk_with(files: &[Vec<u8>]) -> FaultDisk {
    let disk = FaultDisk::new(DISK_BYTES);
    for (number, bytes) in files.iter().enumerate() {
        let mut aligned = AlignedBuffer::with_capacity(bytes.len());
        aligned.extend(bytes);
        let file = disk.create(&name(number), SEGMENT_BYTES as u64).expect("the disk has room for these");
        file.write_at(aligned.bytes(), 0).expect("no fault is planned");
        file.sync_data().expect("no fault is planned");
    }
    disk
}

fn unpack(mut rest: &[u8]) -> Vec<Vec<u8>> {
    let mut files = vec![Vec::with_capacity(SEGMENT_BYTES)];
    while let Some((length, following)) = rest.split_first_chunk::<2>() {
        let length = u16::from_le_bytes(*length);
        rest = following;
        if length == NEXT_FILE {
            if files.len() == FILES_MAX {
                break;
            }
            files.push(Vec::with_capacity(SEGMENT_BYTES));
            continue;
        }
        let (block, following) = rest.split_at(usize::from(length).min(BLOCK_BYTES).min(rest.len()));
        rest = following;
        let file = files.last_mut().expect("there is always a first file");
        if file.len() < SEGMENT_BYTES {
            file.extend_from_slice(block);
            file.resize(file.len().next_multiple_of(BLOCK_BYTES), 0);
        }
    }
    files.iter_mut().for_each(|file| file.resize(SEGMENT_BYTES, 0));
    files
}

fn pack(file: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    let used = file.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    for block in file[..used].chunks(BLOCK_BYTES) {
        let length = block.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        packed.extend((length as u16).to_le_bytes());
        packed.extend_from_slice(&block[..length]);
    }
    packed
}

/// Makes the checksums of the header and of everything that looks like a record right.
fn mend(file: &mut [u8]) {
    put_crc(file, 0..HEADER_CRC_AT, HEADER_CRC_AT);
    let mut at = BLOCK_BYTES;
    while at + RECORD_BYTES <= file.len() {
        if !file[at..].starts_with(b"TKR1") {
            at += 8;
            continue;
        }
        let length = |field: usize| {
            let bytes = file[at + field..at + field + 4].try_into().expect("4 bytes were taken");
            (u32::from_le_bytes(bytes) as usize).min(file.len())
        };
        let head = at + RECORD_BYTES..at + RECORD_BYTES + length(12);
        let body = head.end..head.end + length(64);
        let end = body.end;
        if end <= file.len() {
            put_crc(file, head, at + 72);
            put_crc(file, body, at + 68);
        }
        put_crc(file, at..at + RECORD_CRC_AT, at + RECORD_CRC_AT);
        at = if end <= file.len() { end.next_multiple_of(8) } else { at + 8 };
    }
}

fn put_crc(file: &mut [u8], of: std::ops::Range<usize>, at: usize) {
    let crc = crc32c::crc32c(&file[of]);
    file[at..at + 4].copy_from_slice(&crc.to_le_bytes());
}

/// Segments as a real log wrote them: one closed in order, one cut off while it was written, and three in a row.
pub fn seeds() -> Vec<Seed> {
    let closed = FaultDisk::new(DISK_BYTES);
    let cut = FaultDisk::new(DISK_BYTES);
    let rolled = FaultDisk::new(DISK_BYTES);
    runtime()
        .block_on(async {
            write(&closed, 2, 40).await?.close();
            let log = write(&cut, 1, 100).await?;
            let image = cut.after_kill();
            log.close();
            write(&rolled, 4, 16_000).await?.close();
            Ok::<_, LogError>(seeds_of(&[("closed", &closed), ("cut", &image), ("rolled", &rolled)]))
        })
        .expect("a disk in memory takes all that is written")
}

fn seeds_of(disks: &[(&'static str, &FaultDisk)]) -> Vec<Seed> {
    let mut seeds = Vec::new();
    for (seed, disk) in disks {
        let files = (0..FILES_MAX).map_while(|number| disk.contents(&name(number)));
        let packed: Vec<_> = files.map(|file| pack(&file)).collect();
        let input = [&[MEND], &packed.join(&NEXT_FILE.to_le_bytes()[..])[..]].concat();
        seeds.push((*seed, input));
    }
    seeds
}

/// Two groups with entries, a vote, a truncation and a purge.
async fn write(disk: &FaultDisk, entries: u64, body_bytes: usize) -> Result<SegmentLog, LogError> {
    let (log, _) = SegmentLog::open(options(disk))?;
    let id = |index| EntryId { term: 1, leader: ReplicaId(0x1_0001), index };
    for number in [1, 2] {
        let group = log.group(GroupId(number));
        group.save_vote(Vote { term: 1, node: ReplicaId(0x1_0001), committed: true }).await?;
        for index in 1..=entries {
            // zeros, so that the seed stays small
            let (head, body) = (Bytes::from_static(b"head"), Bytes::from(vec![0; body_bytes]));
            let entry = LogEntry { id: id(index), kind: EntryKind::Normal, head, body };
            let (sender, receiver) = oneshot::channel();
            group.append(vec![entry], move |result| drop(sender.send(result))).await?;
            receiver.await.expect("completions are always called")?;
        }
        group.save_committed(Some(id(entries)))?;
    }
    if entries > 1 {
        log.group(GroupId(1)).truncate_after(Some(id(entries - 1))).await?;
        log.group(GroupId(2)).purge(id(1)).await?;
    }
    Ok(log)
}
