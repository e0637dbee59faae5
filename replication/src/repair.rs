//! Repairs rotten records from other replicas, without keys: all replicas hold the same sealed bytes, so a copy is good
//! when it has the lengths and the checksum that were recorded here.
//!
//! A repaired record is written to the end of the log, and rows and log point there; the rotten bytes stay where they
//! are until their segment is freed.

pub(crate) mod message;

use crate::{
    holdings::Holdings,
    log::{EntryKind, LogEntry, LogError, Place, ReadError},
    machine::{MachineError, Move, body_row},
    message::{kind, refusal},
    peer::{CallError, CallRefusal, PeerClass, Peers, Reply},
    raft::GroupState,
};
use bytes::Bytes;
use message::Wanted;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use thiserror::Error;
use tokio::sync::Semaphore;
use tracing::{info, warn};
use wire::{Command, GroupId, NodeId};

/// Repairs under way at once. 4: rot comes in runs, and reads of clients shall not stand behind them.
const REPAIRS_MAX: usize = 4;

/// Records remembered as rotten and not repaired. 65,536: far more than an operator looks at one by one, and 2 MiB.
const UNREPAIRED_MAX: usize = 65_536;

/// How long another replica may take to send one record.
const RECORD_WAIT: Duration = Duration::from_secs(5);

/// How often an entry that Raft needs is asked for before its replica stops: its peers may be starting too.
const ENTRY_TRIES: u32 = 10;

/// Pause in between.
const ENTRY_PAUSE: Duration = Duration::from_secs(1);

/// How often a record is looked up again because it was moved while it was read.
const LOOKUPS_MAX: u32 = 3;

/// Why a record could not be repaired.
#[derive(Debug, Error)]
pub(crate) enum RepairError {
    /// Nothing points to it any more.
    #[error("the record is not needed any more")]
    Gone,
    /// All other replicas answered, and none has a good copy.
    #[error("no other replica has a good copy")]
    NoGoodCopy,
    /// Nobody who was asked has one, but not everybody answered.
    #[error("no replica with a good copy answers")]
    Unreachable,
    /// The index cannot be read or written.
    #[error("the index failed")]
    Machine(#[from] MachineError),
    /// The record could not be written.
    #[error("the log failed")]
    Log(#[from] LogError),
}

/// A good copy.
pub(crate) struct Repaired {
    /// The record.
    pub(crate) entry: LogEntry,
    /// Whether it was written here; if not, it came from a peer only.
    pub(crate) kept: bool,
}

/// Fetches good copies and puts them in place.
pub(crate) struct Repairer {
    node: NodeId,
    peers: Peers,
    holdings: Arc<Holdings>,
    founders: BTreeMap<GroupId, Vec<NodeId>>,
    turns: Semaphore,
    unrepaired: Mutex<BTreeSet<Place>>,
}

impl Repairer {
    /// Of `node`. `founders` are asked while a group knows no members yet.
    pub(crate) fn new(
        node: NodeId,
        peers: Peers,
        holdings: Arc<Holdings>,
        founders: BTreeMap<GroupId, Vec<NodeId>>,
    ) -> Arc<Self> {
        let (turns, unrepaired) = (Semaphore::new(REPAIRS_MAX), Mutex::default());
        Arc::new(Self { node, peers, holdings, founders, turns, unrepaired })
    }

    /// How many records are known to be rotten and without a good copy here; [`UNREPAIRED_MAX`] at most.
    pub(crate) fn unrepaired(&self) -> u64 {
        self.unrepaired_places().len() as u64
    }

    /// Notes a record that could not be repaired.
    pub(crate) fn note_unrepaired(&self, place: Place) {
        let mut unrepaired = self.unrepaired_places();
        if unrepaired.len() < UNREPAIRED_MAX {
            unrepaired.insert(place);
        }
    }

    /// Forgets those that a whole pass over all records did not meet: they were deleted, overwritten or moved.
    pub(crate) fn keep_unrepaired(&self, met: &BTreeSet<Place>) {
        self.unrepaired_places().retain(|place| met.contains(place));
    }

    fn unrepaired_places(&self) -> MutexGuard<'_, BTreeSet<Place>> {
        self.unrepaired.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Repairs the record that a row points to.
    pub(crate) async fn row(&self, state: &GroupState, row_key: &Bytes) -> Result<Repaired, RepairError> {
        let _turn = self.turns.acquire().await.map_err(|_| RepairError::Unreachable)?;
        let looked_up = state.machine().body_place(row_key)?;
        let place = Place::from(looked_up.ok_or(RepairError::Gone)?);
        // somebody else may have repaired it while this one waited
        if let Ok(entry) = state.segments.read_entry(&place).await {
            return Ok(Repaired { entry, kept: true });
        }
        let entry = self.fetch(state, &Wanted::Row(row_key.clone()), &place).await?;
        let kept = self.keep(state, &entry, place).await;
        Ok(Repaired { entry, kept })
    }

    /// Repairs an entry of the log that is not purged.
    pub(crate) async fn entry(&self, state: &GroupState, index: u64) -> Result<Repaired, RepairError> {
        let _turn = self.turns.acquire().await.map_err(|_| RepairError::Unreachable)?;
        let held = state.log.entry_id(index).zip(state.log.place(index));
        let (id, place) = held.ok_or(RepairError::Gone)?;
        let entry = match self.fetch(state, &Wanted::Entry(id), &place).await {
            Err(error @ (RepairError::NoGoodCopy | RepairError::Unreachable)) => {
                // others may have purged it and still have what it brought
                let row_key = head_of(state, place).await.and_then(|command| {
                    let (operation, sequence) = state.machine().meaning(command.operation, index).ok()?;
                    body_row(&operation, sequence)
                });
                match row_key {
                    Some(row_key) => self.fetch(state, &Wanted::Row(row_key.into()), &place).await?,
                    None => return Err(error),
                }
            }
            other => other?,
        };
        if entry.id != id {
            return Err(RepairError::NoGoodCopy);
        }
        let kept = self.keep(state, &entry, place).await;
        Ok(Repaired { entry, kept })
    }

    /// Repairs an entry that Raft cannot go on without; waits a while for peers.
    pub(crate) async fn entry_for_raft(&self, state: &GroupState, index: u64) -> Result<(), RepairError> {
        let mut tries = 0;
        loop {
            match self.entry(state, index).await {
                Ok(Repaired { kept: true, .. }) | Err(RepairError::Gone) => return Ok(()),
                Ok(_) => return Err(RepairError::Log(LogError::Full)),
                Err(RepairError::Unreachable) if tries < ENTRY_TRIES => {
                    tries += 1;
                    tokio::time::sleep(ENTRY_PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Answers another replica that wants a record.
    pub(crate) async fn serve(&self, head: Bytes) -> Result<Reply, CallRefusal> {
        let (group, wanted) = message::decode_wanted(head)
            .map_err(|error| CallRefusal::new(refusal::MALFORMED, error.to_string()))?;
        let state = self.holdings.state(group);
        let state = state.ok_or_else(|| CallRefusal::new(refusal::NO_REPLICA, "no such replica here"))?;
        match self.own(&state, &wanted).await {
            Some(entry) => Ok(Reply { head: message::encode_record(&entry), body: entry.body }),
            None => Err(CallRefusal::new(refusal::UNREADABLE, "no good copy here")),
        }
    }

    async fn own(&self, state: &GroupState, wanted: &Wanted) -> Option<LogEntry> {
        match wanted {
            Wanted::Entry(id) => {
                let read = state.log.entries(id.index..id.index + 1, 0).await.ok()?;
                read.into_iter().find(|entry| entry.id == *id)
            }
            Wanted::Row(row_key) => {
                for _ in 0..LOOKUPS_MAX {
                    let place = state.machine().body_place(row_key).ok()??;
                    match state.segments.read_entry(&place.into()).await {
                        Err(ReadError::Gone) => {}
                        other => return other.ok(),
                    }
                }
                None
            }
        }
    }

    async fn fetch(
        &self,
        state: &GroupState,
        wanted: &Wanted,
        place: &Place,
    ) -> Result<LogEntry, RepairError> {
        let mut all_answered = true;
        for node in self.others(state) {
            let head = message::encode_wanted(state.group, wanted);
            match self.peers.call(node, PeerClass::Bulk, kind::RECORD, head, Vec::new(), RECORD_WAIT).await {
                Ok(reply) => match message::decode_record(reply.head, reply.body) {
                    Ok(entry) if is_copy(&entry, place) => return Ok(entry),
                    Ok(entry) => {
                        warn!(group = %state.group, %node, ?entry, "another replica's record differs")
                    }
                    Err(error) => warn!(group = %state.group, %node, %error, "record not understood"),
                },
                Err(CallError::Refused { code: refusal::UNREADABLE, .. }) => {}
                Err(_) => all_answered = false,
            }
        }
        Err(if all_answered { RepairError::NoGoodCopy } else { RepairError::Unreachable })
    }

    /// Puts a good copy in place; says whether that worked.
    async fn keep(&self, state: &GroupState, entry: &LogEntry, from: Place) -> bool {
        match self.put(state, entry, from).await {
            Ok(()) => {
                self.unrepaired_places().remove(&from);
                info!(group = %state.group, index = entry.id.index, segment = %from.segment, "rotten record repaired");
                true
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                warn!(group = %state.group, index = entry.id.index, error, "good copy could not be kept");
                false
            }
        }
    }

    async fn put(&self, state: &GroupState, entry: &LogEntry, from: Place) -> Result<(), RepairError> {
        let _pin = self.holdings.pin();
        let to = state.segments.rewrite_entry(state.group, entry.clone()).await?;
        if entry.kind == EntryKind::Normal {
            let command = Command::decode(entry.head.clone(), Bytes::new()).map_err(MachineError::from)?;
            let (operation, sequence) =
                state.machine().meaning(command.operation, entry.id.index).map_err(MachineError::from)?;
            let moved = Move { operation: &operation, sequence, from: from.into(), to: to.into() };
            state.machine_mut().relocate(&[moved])?;
        }
        Ok(())
    }

    fn others(&self, state: &GroupState) -> BTreeSet<NodeId> {
        let mut nodes = state.members();
        if nodes.is_empty() {
            nodes.extend(self.founders.get(&state.group).into_iter().flatten());
        }
        nodes.remove(&self.node);
        nodes
    }
}

/// Whether `entry` is what once was written at `place`.
fn is_copy(entry: &LogEntry, place: &Place) -> bool {
    entry.head.len() == place.head_length as usize
        && entry.body.len() == place.body_length as usize
        && crc32c::crc32c(&entry.body) == place.body_crc
}

/// The command at `place`, if its head is intact.
async fn head_of(state: &GroupState, place: Place) -> Option<Command> {
    let segments = state.segments.clone();
    let scan = move || {
        let mut entries = segments.scan_segment(place.segment).ok()?;
        entries.find_map(|entry| entry.ok().filter(|entry| entry.place == place))
    };
    let found = tokio::task::spawn_blocking(scan).await.ok()??;
    Command::decode(found.head, Bytes::new()).ok()
}
