//! openraft's log storage, over a group's handle of the segment log. Conversions only: durability, order, caching and
//! recovery are the log's.

use super::{
    codec,
    types::{Entry, LeaderId, LogId, Types, Vote},
};
use crate::{
    log::{self, EntryId, EntryKind, GroupLog, LogEntry, LogError, Priority, ReadError},
    raft::GroupState,
    repair::Repairer,
};
use bytes::Bytes;
use openraft::{
    LogState, OptionalSend, RaftLogReader,
    storage::{IOFlushed, RaftLogStorage},
};
use std::{
    fmt::Debug,
    io,
    ops::{Bound, RangeBounds},
    sync::Arc,
};
use tokio_util::sync::CancellationToken;
use wire::ReplicaId;

/// Bytes of entries in one append request, heads and bodies: four chunks, so that one request fills a fast link
/// without delaying the next group's.
const APPEND_BYTES_MAX: usize = 4 << 20;

/// Bytes read at once when a range is asked for without a limit (start-up and apply read in pages of this).
const READ_BYTES_MAX: usize = 16 << 20;

/// A group's log in openraft's terms.
#[derive(Clone)]
pub(crate) struct LogStore {
    log: GroupLog,
    /// Who repairs entries that turn out rotten, and the state they belong to.
    repair: Option<(Arc<Repairer>, Arc<GroupState>)>,
    stop: CancellationToken,
}

impl LogStore {
    /// Over the log of `state`; entries that are rotten are fetched from other replicas. Until `stop` it waits when the
    /// disk has no room.
    pub(crate) fn new(state: Arc<GroupState>, repairer: Arc<Repairer>, stop: CancellationToken) -> Self {
        Self { log: state.log.clone(), repair: Some((repairer, state)), stop }
    }

    /// Over `log` alone.
    #[cfg(test)]
    pub(crate) fn without_repair(log: GroupLog) -> Self {
        Self { log, repair: None, stop: CancellationToken::new() }
    }

    async fn read(&self, start: u64, end: u64, bytes_max: usize) -> io::Result<Vec<Entry>> {
        let entries = match (self.log.entries(start..end, bytes_max).await, &self.repair) {
            // the log fails at the first entry it cannot read, or gives those before it
            (Err(ReadError::Rotten { .. }), Some((repairer, state))) => {
                repairer.entry_for_raft(state, start).await.map_err(io::Error::other)?;
                self.log.entries(start..end, bytes_max).await
            }
            (read, _) => read,
        };
        let entries = entries.map_err(io::Error::other)?;
        entries.into_iter().map(to_entry).collect()
    }
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> io::Result<Vec<Entry>> {
        let mut start = match range.start_bound() {
            Bound::Included(index) => *index,
            Bound::Excluded(index) => index + 1,
            Bound::Unbounded => 0,
        };
        let held = self.log.state();
        let end = match range.end_bound() {
            Bound::Included(index) => index.saturating_add(1),
            Bound::Excluded(index) => *index,
            Bound::Unbounded => u64::MAX,
        }
        .min(held.last.map_or(0, |last| last.index + 1));
        start = start.max(held.purged.map_or(0, |purged| purged.index + 1));
        // a log need not begin where it was purged
        start = start.max(held.first.map_or(0, |first| first.index));
        let mut entries = Vec::new();
        while start < end {
            let page = self.read(start, end, READ_BYTES_MAX).await?;
            let Some(last) = page.last() else { break };
            start = last.log_id.index + 1;
            entries.extend(page);
        }
        Ok(entries)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        let end = end.min(start.saturating_add(codec::APPEND_ENTRIES_MAX as u64));
        self.read(start, end, APPEND_BYTES_MAX.min(self.log.request_bytes_max())).await
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.log.state().vote.map(|vote| Vote {
            leader_id: LeaderId { term: vote.term, node_id: vote.node.0 },
            committed: vote.committed,
        }))
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let state = self.log.state();
        Ok(LogState {
            last_purged_log_id: state.purged.map(to_log_id),
            last_log_id: state.last.map(to_log_id),
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.log
            .save_vote(log::Vote {
                term: vote.leader_id.term,
                node: ReplicaId(vote.leader_id.node_id),
                committed: vote.committed,
            })
            .await
            .map_err(io::Error::other)
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.log.save_committed(committed.map(from_log_id)).map_err(io::Error::other)
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.log.state().committed.map(to_log_id))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries = entries.into_iter().map(from_entry).collect();
        // who sends or proposes entries was asked whether there is room (`service`); should it be gone by now, this
        // replica waits for some, since what is in the group's log must be taken or the replica stops
        let done =
            move |result: Result<(), LogError>| callback.io_completed(result.map_err(io::Error::other));
        let appended = self.log.append_patiently(Priority::Accepted, entries, &self.stop, done).await;
        appended.map_err(io::Error::other)
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        self.log.truncate_after(last.map(from_log_id)).await.map_err(io::Error::other)
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        self.log.purge(from_log_id(upto)).await.map_err(io::Error::other)
    }
}

/// A position in openraft's terms.
pub(crate) fn to_log_id(id: EntryId) -> LogId {
    LogId { leader_id: LeaderId { term: id.term, node_id: id.leader.0 }, index: id.index }
}

/// A position in the log's terms.
pub(crate) fn from_log_id(id: LogId) -> EntryId {
    EntryId { term: id.leader_id.term, leader: ReplicaId(id.leader_id.node_id), index: id.index }
}

pub(super) fn from_entry(entry: Entry) -> LogEntry {
    let (kind, head, body): (u8, Bytes, Bytes) = codec::entry_parts(&entry);
    let kind = match kind {
        codec::ENTRY_BLANK => EntryKind::Blank,
        codec::ENTRY_MEMBERSHIP => EntryKind::Membership,
        _ => EntryKind::Normal,
    };
    LogEntry { id: from_log_id(entry.log_id), kind, head, body }
}

fn to_entry(entry: LogEntry) -> io::Result<Entry> {
    let kind = match entry.kind {
        EntryKind::Blank => codec::ENTRY_BLANK,
        EntryKind::Normal => codec::ENTRY_NORMAL,
        EntryKind::Membership => codec::ENTRY_MEMBERSHIP,
    };
    codec::entry_from_parts(to_log_id(entry.id), kind, entry.head, entry.body)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
