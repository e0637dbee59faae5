//! Short ways to say what the tests do.

use crate::{
    disk::fault::FaultDisk,
    log::{EntryId, EntryKind, GroupLog, LogEntry, LogError, LogOptions, Recovery, SegmentLog, Vote},
};
use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::oneshot;
use wire::{DeploymentId, GroupId, Incarnation, NodeId, ReplicaId};

pub(super) const DISK_BYTES: u64 = 64 << 20;
pub(super) const SEGMENT_BYTES: u64 = 64 << 10;

pub(super) fn disk() -> FaultDisk {
    FaultDisk::new(DISK_BYTES)
}

pub(super) fn options(disk: &FaultDisk) -> LogOptions {
    let disk = Arc::new(disk.clone());
    let deployment = DeploymentId([7; 16]);
    LogOptions { segment_bytes: SEGMENT_BYTES, ..LogOptions::on(disk, deployment, NodeId(1), Incarnation(1)) }
}

pub(super) fn open(disk: &FaultDisk) -> (SegmentLog, Recovery) {
    SegmentLog::open(options(disk)).unwrap()
}

/// Nothing stays in memory after its flush, so that reads read.
pub(super) fn open_uncached(disk: &FaultDisk) -> (SegmentLog, Recovery) {
    SegmentLog::open(LogOptions { cache_bytes_max: 0, ..options(disk) }).unwrap()
}

pub(super) fn id(term: u64, index: u64) -> EntryId {
    EntryId { term, leader: ReplicaId(0x1_0001), index }
}

pub(super) fn entry(term: u64, index: u64, body_bytes: usize) -> LogEntry {
    let body: Vec<u8> = (0..body_bytes).map(|n| (n as u64 * 31 + index * 7 + term) as u8).collect();
    let head = Bytes::from(format!("head {term}/{index}"));
    LogEntry { id: id(term, index), kind: EntryKind::Normal, head, body: body.into() }
}

pub(super) fn vote(term: u64) -> Vote {
    Vote { term, node: ReplicaId(0x1_0001), committed: true }
}

pub(super) fn group(log: &SegmentLog, number: u32) -> GroupLog {
    log.group(GroupId(number))
}

/// Appends and waits until it is durable.
pub(super) async fn append(group: &GroupLog, entries: Vec<LogEntry>) -> Result<(), LogError> {
    append_later(group, entries).await?.await.expect("completions are always called")
}

/// Appends; the receiver learns when it is durable.
pub(super) async fn append_later(
    group: &GroupLog,
    entries: Vec<LogEntry>,
) -> Result<oneshot::Receiver<Result<(), LogError>>, LogError> {
    let (sender, receiver) = oneshot::channel();
    group.append(entries, move |result| drop(sender.send(result))).await?;
    Ok(receiver)
}

/// Everything the group holds.
pub(super) async fn all(group: &GroupLog) -> Vec<LogEntry> {
    let state = group.state();
    let Some(first) = state.first else { return Vec::new() };
    let end = state.last.unwrap().index + 1;
    let mut entries = Vec::new();
    while first.index + (entries.len() as u64) < end {
        let from = first.index + entries.len() as u64;
        entries.extend(group.entries(from..end, 1 << 20).await.unwrap());
    }
    entries
}
