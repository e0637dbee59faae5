//! openraft's own test suite for storage, on the segment log and the index.
//!
//! Snapshots here travel between nodes by a transfer; the suite hands them over in memory, so a copy of the state stands
//! in for what a transfer brings.

use super::{
    LogStore, StateMachine,
    snapshot::GroupSnapshot,
    state_machine::GroupState,
    types::{LogId, StoredMembership, Types},
};
use crate::{
    index::{SledOptions, SledStore},
    log::{LogOptions, SegmentLog},
    machine::Machine,
    transfer,
};
use futures_util::Stream;
use openraft::{
    OptionalSend, RaftSnapshotBuilder, StorageError,
    alias::{SnapshotMetaOf, SnapshotOf},
    storage::{EntryResponder, RaftStateMachine},
    testing::log::{StoreBuilder, Suite},
};
use std::{io, sync::Arc};
use tokio_util::sync::CancellationToken;
use wire::{DeploymentId, GroupId, Incarnation, NodeId};

/// The state machine, whose snapshots are copies.
#[derive(Clone)]
struct Copying {
    machine: StateMachine,
    state: Arc<GroupState>,
}

impl Copying {
    fn copied(&self, snapshot: SnapshotOf<Types, GroupSnapshot>) -> SnapshotOf<Types, GroupSnapshot> {
        let mut staged = Machine::open(self.state.group, self.state.staging().unwrap()).unwrap();
        transfer::install_staged(&mut staged, &mut self.state.machine_mut(), &|| false).unwrap();
        SnapshotOf::<Types, GroupSnapshot> {
            meta: snapshot.meta,
            snapshot: GroupSnapshot::Staged(Box::new(staged)),
        }
    }
}

impl RaftSnapshotBuilder<Types> for Copying {
    type SnapshotData = GroupSnapshot;

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<Types, GroupSnapshot>> {
        let snapshot = self.machine.build_snapshot().await?;
        Ok(self.copied(snapshot))
    }
}

impl RaftStateMachine<Types> for Copying {
    type SnapshotData = GroupSnapshot;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        self.machine.applied_state().await
    }

    async fn apply<S>(&mut self, entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        self.machine.apply(entries).await
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMetaOf<Types>,
        snapshot: GroupSnapshot,
    ) -> io::Result<()> {
        self.machine.install_snapshot(meta, snapshot).await
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf<Types, GroupSnapshot>>> {
        let snapshot = self.machine.get_current_snapshot().await?;
        Ok(snapshot.map(|snapshot| self.copied(snapshot)))
    }
}

struct Builder;

impl StoreBuilder<Types, LogStore, Copying, tempfile::TempDir> for Builder {
    async fn build(&self) -> Result<(tempfile::TempDir, LogStore, Copying), StorageError<Types>> {
        let folder = tempfile::tempdir().unwrap();
        let options =
            LogOptions::new(&folder.path().join("log"), DeploymentId([1; 16]), NodeId(1), Incarnation(0));
        let options = LogOptions { segment_bytes: 64 << 10, ..options.unwrap() };
        let segments = SegmentLog::open(options).unwrap().0;
        let store = SledStore::open(
            &folder.path().join("index"),
            SledOptions { cache_bytes_max: 1 << 20, ..SledOptions::default() },
        )
        .unwrap();
        let group = GroupId(1);
        let machine = Machine::open(group, store.group(group).unwrap()).unwrap();
        let log = segments.group(group);
        let state = GroupState::new(log.clone(), segments, Arc::new(store), machine);
        let machine = StateMachine::new(Arc::clone(&state), CancellationToken::new());
        Ok((folder, LogStore::without_repair(log), Copying { machine, state }))
    }
}

#[test]
fn the_log_and_the_state_machine_are_what_openraft_expects() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(Suite::test_all(Builder)).unwrap();
}
