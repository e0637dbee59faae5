//! A storage node's engine: opens disk, log and index, starts a replica for every group that it holds, keeps them in
//! order, and stops cleanly. Keyless: all it ever sees is sealed.

mod opening;

use crate::{
    admission::{self, AdmissionError, Applicant, Disk},
    ballast::Ballast,
    controller::Controller,
    gc,
    holdings::Holdings,
    index::{IndexError, SledOptions, SledStore},
    leaderboard::Leaderboard,
    log::{LogError, LogOptions, SegmentLog},
    maintenance,
    options::RaftTimings,
    peer::Peers,
    pulse,
    raft::{Heartbeats, founding},
    region::Region,
    repair::Repairer,
    replica::{ReplicaError, Shared},
    roster::Roster,
    router::Router,
    scrub,
    service::Service,
};
use futures_util::{StreamExt, stream};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use thiserror::Error;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info, warn};
use wire::{DeploymentId, GroupId, Incarnation, NodeId, PairRole, ReplicaId, RequestId, UnixMillis};

/// Replicas opened at once at start-up. 8: opening is disk work, and elections shall not come all at once.
const OPENING_MAX: usize = 8;

/// Pause before an index that found no room to open is tried again.
const ROOM_PAUSE: Duration = Duration::from_secs(1);

/// How a node's engine is set up.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// The deployment.
    pub deployment: DeploymentId,
    /// This node.
    pub node: NodeId,
    /// How often its disk began anew.
    pub incarnation: Incarnation,
    /// Where everything is kept.
    pub data: PathBuf,
    /// The part of the groups in a pair of regions, until it changes for the first time.
    pub begins_as: PairRole,
    /// First members of every group, for groups that have never run.
    pub founders: BTreeMap<GroupId, Vec<ReplicaId>>,
    /// The identity that an empty disk gets: random.
    pub fresh_disk: [u8; 16],
    /// Raft's clocks.
    pub timings: RaftTimings,
    /// Size of a segment file, bytes.
    pub segment_bytes: u64,
    /// Most bytes that all segments may take, if less than the file system has.
    pub total_bytes_max: Option<u64>,
    /// Recent entries in memory, bytes.
    pub log_cache_bytes: usize,
    /// Index pages in memory, bytes.
    pub index_cache_bytes: u64,
}

/// Why a node did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The data folder cannot be made or read.
    #[error("cannot use the data folder {}", path.display())]
    Data {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The log could not be opened.
    #[error("cannot open the segment log in {}", path.display())]
    Log {
        /// Its folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: LogError,
    },
    /// The index could not be opened, even empty.
    #[error("cannot open the index in {}", path.display())]
    Index {
        /// Its folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: IndexError,
    },
    /// A replica could not be opened.
    #[error("cannot open a replica")]
    Replica(#[from] ReplicaError),
    /// The node may not take part.
    #[error("the node may not take part")]
    Admission(#[from] AdmissionError),
}

/// What a node cannot draw or read by itself.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// The request under which the disk is registered: random.
    pub request: RequestId,
    /// The time.
    pub now: UnixMillis,
}

/// Where a node keeps its segment log, by its data folder.
pub(crate) fn log_folder(data: &Path) -> PathBuf {
    data.join("log")
}

/// A storage engine.
pub struct Node {
    service: Arc<Service>,
    shared: Shared,
    options: NodeOptions,
    held: BTreeSet<GroupId>,
    /// Groups whose logs must not be used for Raft.
    damaged: BTreeSet<GroupId>,
}

impl Node {
    /// Opens disk, log and index. Calls of peers may be handed to [`Self::service`] from here on; no replica runs yet.
    pub async fn open(options: NodeOptions, peers: Peers) -> Result<Self, StartError> {
        let log_path = log_folder(&options.data);
        let index_path = options.data.join("index");
        for path in [&log_path, &index_path] {
            std::fs::create_dir_all(path)
                .map_err(|source| StartError::Data { path: path.clone(), source })?;
        }
        let disk = Disk::open(&options.data, options.fresh_disk)?;
        let (segments, recovery) = open_log(&options, &log_path).await?;
        let ballast = Arc::new(Ballast::new(&options.data));
        let store = open_index(&options, &index_path, &ballast).await?;
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        let heartbeat_wait = Duration::from_millis(options.timings.election_max_ms);
        let heartbeats = Heartbeats::new(peers.clone(), heartbeat_wait, tracker.clone(), stop.clone());
        let leaderboard = Arc::new(Leaderboard::new());
        let holdings = Holdings::new(segments.clone());
        let founders = options.founders.iter();
        let founders =
            founders.map(|(group, ids)| (*group, ids.iter().map(|id| id.node()).collect())).collect();
        let repairer = Repairer::new(options.node, peers.clone(), Arc::clone(&holdings), founders);
        let shared = Shared {
            segments,
            holdings: Arc::clone(&holdings),
            repairer: Arc::clone(&repairer),
            store: Arc::new(store),
            ballast,
            peers,
            heartbeats,
            timings: options.timings,
            begins_as: options.begins_as,
            leaderboard: Arc::clone(&leaderboard),
            tracker,
            stop,
        };
        let service = Arc::new(Service::new(options.node, options.incarnation, disk, shared.clone()));
        let held = recovery.groups.iter().map(|found| found.group).collect();
        let damaged = recovery.groups.iter().filter(|found| found.state.damage.is_some());
        let damaged = damaged.map(|found| found.group).collect();
        Ok(Self { service, shared, options, held, damaged })
    }

    /// Takes part in the region: waits until this disk may, then starts every replica that it holds.
    pub async fn run(
        &self,
        router: &Arc<Router>,
        roster: &Arc<Roster>,
        applicant: &Applicant,
        arrival: Arrival,
    ) -> Result<(), StartError> {
        let period = Duration::from_millis(self.options.timings.heartbeat_ms);
        self.shared.tracker.spawn(pulse::run(Arc::clone(&self.service), period, self.shared.stop.clone()));
        let disk = self.service.disk_identity();
        admission::begin(&self.shared.peers, applicant, disk).await?;
        let founding = disk.is_founding();
        let mut held = self.held.clone();
        if founding {
            held.extend(self.founded_here());
        }
        // the system group first: without it no disk can be registered
        if held.remove(&GroupId::SYSTEM) {
            self.open_or_retry(GroupId::SYSTEM, founding).await?;
        }
        admission::register(router, applicant, disk, arrival.now, arrival.request).await?;
        self.open_replicas(held, founding).await?;
        if founding {
            disk.set_founded()?;
        }
        let (service, stop) = (&self.service, &self.shared.stop);
        let (peers, groups) = (self.shared.peers.clone(), router.groups());
        let controller =
            Controller::new(self.options.node, groups, peers, Arc::clone(router), Arc::clone(roster));
        self.shared.tracker.spawn(controller.run(stop.clone()));
        self.shared.tracker.spawn(maintenance::run(Arc::clone(service), stop.clone()));
        self.shared.tracker.spawn(gc::run(Arc::clone(service.collector()), stop.clone()));
        self.shared.tracker.spawn(scrub::run(Arc::clone(service.scrubber()), stop.clone()));
        self.service.set_running();
        info!(node = %self.options.node, replicas = self.service.replicas().len(), "storage engine runs");
        Ok(())
    }

    /// Answers peers' calls.
    pub fn service(&self) -> &Arc<Service> {
        &self.service
    }

    /// Stops all replicas and background work; what was acknowledged is on disk already.
    pub async fn shutdown(&self) {
        self.shared.stop.cancel();
        for replica in self.service.replicas() {
            if let Err(error) = replica.shutdown().await {
                warn!(group = %replica.address.group, %error, "replica did not stop cleanly");
            }
        }
        self.shared.tracker.close();
        self.shared.tracker.wait().await;
        // what the index does not hold would be applied again at the next start
        let store = Arc::clone(&self.shared.store);
        match tokio::task::spawn_blocking(move || store.flush()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(error = &error as &dyn std::error::Error, "the index was not flushed"),
            Err(_) => warn!("the index was not flushed: its code panicked"),
        }
        self.shared.segments.close();
    }

    fn replica_id(&self) -> ReplicaId {
        ReplicaId::new(self.options.node, self.options.incarnation)
    }

    fn founded_here(&self) -> impl Iterator<Item = GroupId> + '_ {
        let me = self.replica_id();
        self.options
            .founders
            .iter()
            .filter(move |(_, members)| members.contains(&me))
            .map(|(group, _)| *group)
    }

    async fn open_replicas(&self, groups: BTreeSet<GroupId>, founding: bool) -> Result<(), ReplicaError> {
        let mut opening = stream::iter(groups)
            .map(|group| self.open_or_retry(group, founding))
            .buffer_unordered(OPENING_MAX);
        while let Some(opened) = opening.next().await {
            opened?;
        }
        Ok(())
    }

    async fn open_replica(&self, group: GroupId, founding: bool) -> Result<(), ReplicaError> {
        let log = self.shared.segments.group(group);
        let founders = self.options.founders.get(&group);
        let founds = founders.filter(|_| founding && founding::is_unfounded(&log));
        if let Some(members) = founds {
            let failed = |source| ReplicaError::Founding { group, source };
            founding::found(&log, members, &self.shared.stop).await.map_err(failed)?;
        }
        let replica = self.service.open_replica(group).await?;
        // one of them, so that the first leader is found without waiting and leaders are spread from the start
        let first_leader = founds.and_then(|members| members.get(group.0 as usize % members.len()));
        if first_leader == Some(&self.replica_id()) {
            replica.campaign().await;
        }
        Ok(())
    }
}

async fn open_log(
    options: &NodeOptions,
    path: &Path,
) -> Result<(SegmentLog, crate::log::Recovery), StartError> {
    let failed = |source| StartError::Log { path: path.to_owned(), source };
    let mut log_options = LogOptions::new(path, options.deployment, options.node, options.incarnation)
        .map_err(|source| StartError::Data { path: path.to_owned(), source })?;
    log_options.segment_bytes = options.segment_bytes;
    log_options.total_bytes_max = options.total_bytes_max;
    log_options.cache_bytes_max = options.log_cache_bytes;
    tokio::task::spawn_blocking(move || SegmentLog::open(log_options))
        .await
        .expect("opening the log does not panic")
        .map_err(failed)
}

/// Opens the index; a damaged one is put aside and begun anew, to be filled from the log and the other replicas.
async fn open_index(
    options: &NodeOptions,
    path: &Path,
    ballast: &Arc<Ballast>,
) -> Result<SledStore, StartError> {
    let sled_options = SledOptions { cache_bytes_max: options.index_cache_bytes, ..SledOptions::default() };
    let (directory, ballast) = (path.to_owned(), Arc::clone(ballast));
    let opened =
        tokio::task::spawn_blocking(move || match open_with_room(&directory, sled_options, &ballast) {
            Err(error @ (IndexError::Damaged { .. } | IndexError::WentBack { .. })) => {
                let aside = directory.with_extension("damaged");
                error!(
                    error = &error as &dyn std::error::Error,
                    aside = %aside.display(),
                    "the index is damaged: it is put aside and rebuilt from the log and the other replicas"
                );
                put_aside(&directory, &aside)?;
                SledStore::open(&directory, sled_options)
            }
            other => other,
        });
    opened
        .await
        .expect("opening the index does not panic")
        .map_err(|source| StartError::Index { path: path.to_owned(), source })
}

/// Waits while the disk is too full even for opening.
fn open_with_room(
    directory: &Path,
    options: SledOptions,
    ballast: &Ballast,
) -> Result<SledStore, IndexError> {
    let mut told = false;
    loop {
        match SledStore::open(directory, options) {
            Err(error) if error.is_for_want_of_room() => {
                if !std::mem::replace(&mut told, true) {
                    error!(
                        error = &error as &dyn std::error::Error,
                        "the node waits for room on its disk to start"
                    );
                }
                ballast.release()?;
                std::thread::sleep(ROOM_PAUSE);
            }
            opened => return opened,
        }
    }
}

fn put_aside(directory: &Path, aside: &Path) -> Result<(), IndexError> {
    let failed = |source| IndexError::Disk { operation: "put aside", path: directory.to_owned(), source };
    match std::fs::remove_dir_all(aside) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    std::fs::rename(directory, aside).and_then(|()| std::fs::create_dir_all(directory)).map_err(failed)
}
