//! openraft's state machine, over a group's [`Machine`]: batches committed entries, waits until they are durable on this
//! node, applies each batch with one index write, then answers those who wait.
//!
//! An index without room stops nothing: the entries are in the log, applying them waits and is tried again, and what was
//! applied before can be read meanwhile.
//!
//! Applying waits for this node's own flush although a majority may have flushed before: the index then never points at
//! bytes that a power cut could take, and no body needs pinning. The cost is the leader's own disk in the path, which on
//! equal disks is within the noise.

use super::{
    codec,
    log_store::{from_log_id, to_log_id},
    snapshot::GroupSnapshot,
    types::{LogId, StoredMembership, Types},
};
use crate::{
    index::{Index, IndexError, SledIndex, SledStore},
    log::{GroupLog, LogError, SegmentLog},
    machine::{AppliedEntry, Machine, Payload, Position},
    transfer,
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use openraft::{
    EntryPayload, OptionalSend, RaftSnapshotBuilder,
    alias::{SnapshotMetaOf, SnapshotOf},
    storage::{EntryResponder, RaftStateMachine},
};
use std::{
    collections::BTreeSet,
    io,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};
use tokio_util::sync::CancellationToken;
use wire::{Command, GroupId, NodeId, Outcome, ReplicaId};

/// Entries applied with one index write. 256: an index write's fixed cost is spread, and queries wait for at most one.
const APPLY_BATCH_MAX: usize = 256;

/// Pause before an index without room is tried again. 100 ms: little against what making room takes.
const ROOM_PAUSE: Duration = Duration::from_millis(100);

/// Added to a group's number to name the index in which a pulled state is put together.
const STAGING: u32 = 1 << 31;

/// A group's state on this node: what queries, the state machine and transfers share.
pub(crate) struct GroupState {
    /// Which group.
    pub(crate) group: GroupId,
    /// Its entries.
    pub(crate) log: GroupLog,
    /// Where bodies are read.
    pub(crate) segments: SegmentLog,
    store: Arc<SledStore>,
    machine: RwLock<Machine<SledIndex>>,
    /// Held while another replica's state is fetched: two at once would mix their rows.
    pub(crate) fetching: tokio::sync::Mutex<()>,
}

impl GroupState {
    /// Over an opened machine.
    pub(crate) fn new(
        log: GroupLog,
        segments: SegmentLog,
        store: Arc<SledStore>,
        machine: Machine<SledIndex>,
    ) -> Arc<Self> {
        Arc::new(Self {
            group: machine.group(),
            log,
            segments,
            store,
            machine: RwLock::new(machine),
            fetching: tokio::sync::Mutex::default(),
        })
    }

    /// Whether the index would take a small change now.
    pub(crate) fn has_room(&self) -> bool {
        self.store.has_room()
    }

    /// An index beside the group's own.
    pub(crate) fn staging(&self) -> Result<SledIndex, IndexError> {
        self.store.group(GroupId(self.group.0 | STAGING))
    }

    fn drop_staging(&self) -> Result<(), IndexError> {
        self.store.remove_group(GroupId(self.group.0 | STAGING))
    }

    /// For queries. A panic while applying stops the group, but what was applied before can still be read.
    pub(crate) fn machine(&self) -> RwLockReadGuard<'_, Machine<SledIndex>> {
        self.machine.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The nodes of the last membership applied; none while there is none, or none that can be read.
    pub(crate) fn members(&self) -> BTreeSet<NodeId> {
        let (_, stored) = self.machine().applied();
        let membership = stored.and_then(|stored| codec::decode_membership(stored.membership).ok());
        let nodes =
            membership.iter().flat_map(|membership| membership.nodes().map(|(id, _)| ReplicaId(*id).node()));
        nodes.collect()
    }

    /// When it returns, what was applied before survives a power cut. Blocks.
    pub(crate) fn flush(&self) -> Result<(), IndexError> {
        // the handle is taken out so that applying goes on meanwhile
        let index = self.machine().index().clone();
        index.flush()
    }

    /// For applying and relocating.
    pub(crate) fn machine_mut(&self) -> RwLockWriteGuard<'_, Machine<SledIndex>> {
        self.machine.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A group's state machine in openraft's terms.
#[derive(Clone)]
pub(crate) struct StateMachine {
    state: Arc<GroupState>,
    stop: CancellationToken,
}

impl StateMachine {
    /// Over `state`. Until `stop` it waits when the index has no room.
    pub(crate) fn new(state: Arc<GroupState>, stop: CancellationToken) -> Self {
        Self { state, stop }
    }

    /// Waits a little because the index has no room. What was applied before can be read meanwhile.
    async fn pause(&self, told: &mut bool) -> io::Result<()> {
        if !std::mem::replace(told, true) {
            tracing::warn!(group = %self.state.group, "the index has no room: what is committed waits to be applied");
        }
        tokio::select! {
            () = self.stop.cancelled() => Err(io::ErrorKind::StorageFull.into()),
            () = tokio::time::sleep(ROOM_PAUSE) => Ok(()),
        }
    }

    /// Applies entries with as few index writes as fit.
    async fn apply_all(&self, entries: &[AppliedEntry]) -> io::Result<Vec<Outcome>> {
        let (mut outcomes, mut told) = (Vec::with_capacity(entries.len()), false);
        let mut count = entries.len();
        while let Some(rest) = entries.get(outcomes.len()..).filter(|rest| !rest.is_empty()) {
            let applied = self.state.machine_mut().apply(&rest[..count.min(rest.len())]);
            match applied {
                Ok(more) => outcomes.extend(more),
                // a smaller write may still fit
                Err(error) if error.is_for_want_of_room() && count > 1 => count /= 2,
                Err(error) if error.is_for_want_of_room() => self.pause(&mut told).await?,
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        if told {
            tracing::info!(group = %self.state.group, "the index has room again");
        }
        Ok(outcomes)
    }

    /// Makes what was applied durable.
    async fn flush(&self) -> io::Result<()> {
        let mut told = false;
        loop {
            let state = Arc::clone(&self.state);
            let flushed = tokio::task::spawn_blocking(move || state.flush()).await;
            match flushed.map_err(io::Error::other)? {
                Err(error) if error.is_for_want_of_room() => self.pause(&mut told).await?,
                flushed => return flushed.map_err(io::Error::other),
            }
        }
    }

    fn applied(&self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let (applied, membership) = self.state.machine().applied();
        let membership = match membership {
            Some(stored) => StoredMembership::new(
                Some(position_to_log_id(stored.position)),
                codec::decode_membership(stored.membership).map_err(invalid)?,
            ),
            None => StoredMembership::default(),
        };
        Ok((applied.map(position_to_log_id), membership))
    }

    async fn snapshot(&self) -> io::Result<SnapshotOf<Types, GroupSnapshot>> {
        let (applied, membership) = self.applied()?;
        // what a snapshot covers may be purged from the log: the index must hold it durably first
        self.flush().await?;
        let meta = SnapshotMetaOf::<Types> { last_log_id: applied, last_membership: membership };
        Ok(SnapshotOf::<Types, GroupSnapshot> { meta, snapshot: GroupSnapshot::Live })
    }

    async fn apply_batch(&self, items: Vec<EntryResponder<Types>>) -> io::Result<()> {
        let Some((last, _)) = items.last() else { return Ok(()) };
        match self.state.log.flushed(last.log_id.index).await {
            // what the log does not hold is not waited for; a command without a place is refused below
            Ok(_) | Err(LogError::NoEntry { .. }) => {}
            Err(error) => return Err(io::Error::other(error)),
        }
        let mut entries = Vec::with_capacity(items.len());
        let mut responders = Vec::with_capacity(items.len());
        for (entry, responder) in items {
            let id = from_log_id(entry.log_id);
            let payload = match entry.payload {
                EntryPayload::Blank => Payload::Blank,
                EntryPayload::Membership(membership) => {
                    Payload::Membership(codec::encode_membership(&membership))
                }
                EntryPayload::Normal(proposal) => {
                    let place = self.state.log.place(id.index).ok_or_else(|| {
                        io::Error::other(format!(
                            "entry {} of group {} has no place",
                            id.index, self.state.group
                        ))
                    })?;
                    let command = Command::decode(proposal.head, Bytes::new()).map_err(invalid)?;
                    Payload::Command { command, place: place.into() }
                }
            };
            let position = Position { term: id.term, leader: id.leader, index: id.index };
            entries.push(AppliedEntry { position, payload });
            responders.push(responder);
        }
        let outcomes = self.apply_all(&entries).await?;
        assert_eq!(outcomes.len(), responders.len(), "one outcome for each entry");
        for (responder, outcome) in responders.into_iter().zip(outcomes) {
            if let Some(responder) = responder {
                responder.send(outcome);
            }
        }
        Ok(())
    }
}

impl RaftSnapshotBuilder<Types> for StateMachine {
    type SnapshotData = GroupSnapshot;

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<Types, GroupSnapshot>> {
        self.snapshot().await
    }
}

impl RaftStateMachine<Types> for StateMachine {
    type SnapshotData = GroupSnapshot;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        self.applied()
    }

    async fn apply<S>(&mut self, entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        let mut batches = entries.ready_chunks(APPLY_BATCH_MAX);
        while let Some(batch) = batches.next().await {
            self.apply_batch(batch.into_iter().collect::<io::Result<Vec<_>>>()?).await?;
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMetaOf<Types>,
        snapshot: GroupSnapshot,
    ) -> io::Result<()> {
        match snapshot {
            GroupSnapshot::Live => Ok(()),
            GroupSnapshot::Staged(mut staged) => {
                let position = meta.last_log_id.map(log_id_to_position);
                assert_eq!(staged.applied().0, position, "a staged state is the one its description names");
                let (state, stop) = (Arc::clone(&self.state), self.stop.clone());
                tokio::task::spawn_blocking(move || -> io::Result<()> {
                    // nobody can read a state that is being replaced, so this waits for room where it stands
                    let wait = || {
                        std::thread::sleep(ROOM_PAUSE);
                        !stop.is_cancelled()
                    };
                    transfer::install_staged(&mut state.machine_mut(), &mut staged, &wait)
                        .map_err(io::Error::other)?;
                    drop(staged);
                    state.drop_staging().map_err(io::Error::other)
                })
                .await
                .map_err(io::Error::other)?
            }
        }
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf<Types, GroupSnapshot>>> {
        let snapshot = self.snapshot().await?;
        Ok(snapshot.meta.last_log_id.is_some().then_some(snapshot))
    }
}

pub(crate) fn position_to_log_id(position: Position) -> LogId {
    to_log_id(crate::log::EntryId { term: position.term, leader: position.leader, index: position.index })
}

pub(crate) fn log_id_to_position(id: LogId) -> Position {
    Position { term: id.leader_id.term, leader: ReplicaId(id.leader_id.node_id), index: id.index }
}

fn invalid(error: wire::DecodeError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
