//! A process from start to stop: identity, peers, storage engine, gateway, health; in this order, and back again.
//!
//! Ends on SIGTERM or SIGINT, and on end of standard input when a supervisor wants that. Tells systemd when it is ready,
//! and that it lives.

use crate::{
    admin::Admin,
    config::{Config, ConfigError, join},
    frontend::{Frontend, FrontendError},
    handler::ProcessHandler,
    health,
    pair::{self, Paired, PairingError},
    random,
    refusals::RefusalRecord,
    state::ProcessState,
};
use futures_util::future::join_all;
use replication::{
    admission::Applicant,
    nearby::NearbyDisks,
    node::{Arrival, Node, NodeOptions, StartError},
    options::RaftTimings,
    peer::{PeerOptions, PeerServer, PeerTls, Peers, TlsError},
    roster::Roster,
    router::Router,
};
use std::io::Read;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use thiserror::Error;
use tokio::{net::TcpListener, signal::unix, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info, warn};
use wire::{
    GroupId, Incarnation, NodeId, PairRole, ReplicaId, RequestId, UnixMillis,
    admin::ConnectionOpener,
    descriptor::{RegionDescriptor, TokenRole},
};

/// How long a stop may take before what is left is dropped.
const STOP_WAIT: Duration = Duration::from_secs(10);

/// How long a name may take to be resolved before it is left to the background.
const RESOLVE_WAIT: Duration = Duration::from_secs(2);

/// Pause before a name that could not be resolved is tried again.
const RESOLVE_AGAIN: Duration = Duration::from_secs(5);

/// Why a process did not run.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The configuration asks for something that this process cannot do.
    #[error("the configuration cannot be used")]
    Config(#[from] ConfigError),
    /// There is no identity.
    #[error("this process has no identity in a region")]
    Join(#[from] join::JoinError),
    /// A file of the identity cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The certificates cannot be used.
    #[error("the certificates in {} cannot be used", folder.display())]
    Tls {
        /// Their folder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: TlsError,
    },
    /// This node may not be paired.
    #[error("this node may not be paired with another region")]
    Pairing(#[from] PairingError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address} for {what}: is another process using it?")]
    Listen {
        /// What for.
        what: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The storage engine did not start.
    #[error("the storage engine did not start")]
    Start(#[from] StartError),
    /// The storage engine may not run, or cannot go on.
    #[error("the storage engine does not run")]
    Engine(#[source] Arc<StartError>),
    /// The gateway did not start.
    #[error("the gateway did not start")]
    Frontend(#[from] FrontendError),
}

/// Runs until told to stop.
pub async fn run(config: Config) -> Result<(), ServeError> {
    let stop = CancellationToken::new();
    spawn_stop_signals(&config, stop.clone());
    let process = tokio::select! {
        // starting may wait for other nodes for as long as they take
        () = stop.cancelled() => return Ok(()),
        process = Process::start(config, stop.clone()) => process?,
    };
    notify("READY=1");
    info!("ready");
    process.until_stopped(&stop).await;
    notify("STOPPING=1");
    info!("stopping");
    if timeout(STOP_WAIT, process.stop()).await.is_err() {
        warn!("stopping took too long; what was acknowledged is on disk all the same");
    }
    match process.failure.cause.get() {
        Some(cause) => Err(ServeError::Engine(Arc::clone(cause))),
        None => Ok(()),
    }
}

struct Process {
    peers: Peers,
    peer_server: PeerServer,
    node: Option<Arc<Node>>,
    tracker: TaskTracker,
    background: CancellationToken,
    failure: Arc<Failure>,
}

/// Why the storage engine does not run, once it is known.
#[derive(Default)]
struct Failure {
    cause: OnceLock<Arc<StartError>>,
    known: CancellationToken,
}

impl Process {
    async fn start(config: Config, stop: CancellationToken) -> Result<Self, ServeError> {
        let identity = join::identity(&config)?;
        let descriptor = identity.descriptor.clone();
        let pair = config.pair.as_ref().map(|pair| Paired::load(&pair.folder, &config.data, &identity));
        let pair = pair.transpose()?;
        if let Some(forward) = config.gateway.as_ref().and_then(|gateway| gateway.forward.as_ref()) {
            pair::check_endpoints(forward, &identity, pair.as_ref())?;
        }
        let tls = load_tls(&identity)?;
        let tls = match &pair {
            Some(pair) => pair.welcome(tls),
            None => tls,
        };
        let tracker = TaskTracker::new();
        let background = stop.child_token();
        let peers = Peers::new(tls.clone(), PeerOptions::default());
        find_nodes(&descriptor, &peers, &tracker, &background).await;
        let handler = Arc::new(ProcessHandler::default());
        let listener = listen("peers", config.peer.listen).await?;
        let peer_server = PeerServer::start(listener, tls, handler.clone(), PeerOptions::default())
            .map_err(|source| ServeError::Listen { what: "peers", address: config.peer.listen, source })?;
        let refusals = RefusalRecord::start(&config.data, &tracker, background.clone());
        refusals.watch(ConnectionOpener::Peer, peer_server.refused());
        refusals.watch(ConnectionOpener::Here, peers.refused());
        let state = Arc::new(ProcessState::new(&config, &identity, peers.clone(), refusals.clone()));
        let health_listener = listen("health", config.health.listen).await?;
        tracker.spawn(health::serve(health_listener, state.clone(), tracker.clone(), background.clone()));
        let router = Router::start(
            peers.clone(),
            descriptor.groups,
            descriptor.nodes.iter().map(|node| node.id),
            tracker.clone(),
            background.clone(),
        );
        if let Some(gateway) = &config.gateway {
            router.set_nearby(NearbyDisks::new(gateway.local_nodes.clone()));
        }
        state.set_router(router.clone());
        tracker.spawn(state.roster.clone().follow(router.clone(), peers.clone(), background.clone()));
        let failure = Arc::new(Failure::default());
        let node = match (&config.storage, identity.role) {
            (Some(storage), TokenRole::Node { id, incarnation }) => {
                let options = node_options(&config, storage.segment_bytes, &descriptor, id, incarnation);
                let node = Arc::new(Node::open(options, peers.clone()).await?);
                if let (Some(pair), Some(settings)) = (pair, &config.pair) {
                    // before anything is led here
                    if settings.witness {
                        node.service().need_leases();
                    }
                    let standby = pair
                        .follow(
                            settings,
                            node.service(),
                            router.clone(),
                            &refusals,
                            &tracker,
                            background.clone(),
                        )
                        .await;
                    node.service().set_pair(standby);
                }
                peers.set_local(handler.clone());
                node.service().set_refused_peers(peer_server.refused().clone());
                // the only setter: this runs once in a process
                handler.engine.begin(node.service().clone());
                state.set_node(node.clone());
                spawn_node(
                    &tracker,
                    node.clone(),
                    router.clone(),
                    state.roster.clone(),
                    applicant(&descriptor, id, incarnation),
                    failure.clone(),
                    background.clone(),
                );
                Some(node)
            }
            _ => None,
        };
        let admin = Arc::new(Admin::new(state.clone(), router.clone()));
        let _first = handler.admin.set(admin.clone()).is_ok();
        if let Some(gateway) = &config.gateway {
            let frontend =
                Frontend::start(gateway, &config.limits, &identity, router, &tracker, background.clone())
                    .await?;
            state.set_frontend(frontend.clone());
            admin.set_frontend(frontend.clone());
            let stop = background.clone();
            tracker.spawn(async move { admin.follow_sync_time(&frontend.gateway, stop).await });
        }
        Ok(Self { peers, peer_server, node, tracker, background, failure })
    }

    /// Waits for the stop, telling systemd now and then that the process lives.
    async fn until_stopped(&self, stop: &CancellationToken) {
        let watchdog = sd_notify::watchdog_enabled().map(|limit| limit / 3);
        loop {
            let tick = tokio::time::sleep(watchdog.unwrap_or(Duration::from_secs(3600)));
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.failure.known.cancelled() => return,
                () = tick => notify("WATCHDOG=1"),
            }
        }
    }

    async fn stop(&self) {
        self.background.cancel();
        if let Some(node) = &self.node {
            node.shutdown().await;
        }
        self.peer_server.shutdown().await;
        self.peers.shutdown().await;
        self.tracker.close();
        self.tracker.wait().await;
    }
}

/// Starts replicas in the background: a gateway in the same process, and status, answer meanwhile.
fn spawn_node(
    tracker: &TaskTracker,
    node: Arc<Node>,
    router: Arc<Router>,
    roster: Arc<Roster>,
    applicant: Applicant,
    failure: Arc<Failure>,
    stop: CancellationToken,
) {
    tracker.spawn(async move {
        let arrival = Arrival { request: RequestId(random::id()), now: now() };
        if let Err(error) = node.run(&router, &roster, &applicant, arrival).await {
            // when the process ends anyhow, that is why
            if stop.is_cancelled() {
                return;
            }
            // the first cause is the one to tell
            let _told_already = failure.cause.set(Arc::new(error)).is_err();
            failure.known.cancel();
        }
    });
}

fn node_options(
    config: &Config,
    segment_bytes: u64,
    descriptor: &RegionDescriptor,
    node: NodeId,
    incarnation: Incarnation,
) -> NodeOptions {
    let timings = descriptor.timings;
    NodeOptions {
        deployment: descriptor.deployment,
        node,
        incarnation,
        begins_as: if descriptor.standby_of.is_some() { PairRole::Standby } else { PairRole::Primary },
        data: config.data.clone(),
        founders: founders(descriptor),
        fresh_disk: random::id(),
        timings: RaftTimings {
            heartbeat_ms: timings.heartbeat_ms.into(),
            election_min_ms: timings.election_min_ms.into(),
            election_max_ms: timings.election_max_ms.into(),
        },
        segment_bytes,
        total_bytes_max: None,
        log_cache_bytes: usize::try_from(config.limits.cache_bytes / 2).unwrap_or(usize::MAX),
        index_cache_bytes: config.limits.cache_bytes / 2,
    }
}

/// First members of every group, the same on every node: placement depends on the descriptor alone. None once a founder
/// has left: a region that lost one was founded long ago, and who joins it finds its groups there.
fn founders(descriptor: &RegionDescriptor) -> BTreeMap<GroupId, Vec<ReplicaId>> {
    let founder = |id: &NodeId| {
        let node = descriptor.node(*id)?;
        Some(plan::NodeFacts { id: node.id, zone: node.zone.clone(), capacity_bytes: 1 })
    };
    let nodes: Option<Vec<plan::NodeFacts>> = descriptor.initial_members.iter().map(founder).collect();
    let Some(nodes) = nodes else { return BTreeMap::new() };
    let replica = |id: NodeId| {
        let incarnation = descriptor.node(id).map_or(Incarnation(0), |node| node.incarnation);
        ReplicaId::new(id, incarnation)
    };
    let groups = descriptor.groups as usize + 1;
    let placed = plan::place_groups(&nodes, groups, usize::from(descriptor.replication));
    placed
        .inspect_err(|error| error!(%error, "the region's descriptor names too few founders: none is one"))
        .unwrap_or_default()
        .into_iter()
        .zip(0_u32..)
        .map(|(members, group)| (GroupId(group), members.into_iter().map(replica).collect()))
        .collect()
}

fn applicant(descriptor: &RegionDescriptor, node: NodeId, incarnation: Incarnation) -> Applicant {
    let own = descriptor.node(node);
    let founder =
        descriptor.initial_members.contains(&node) && own.is_some_and(|own| own.incarnation == incarnation);
    let others = |ids: &mut dyn Iterator<Item = NodeId>| ids.filter(|id| *id != node).collect::<Vec<_>>();
    Applicant {
        node,
        incarnation,
        zone: own.map(|own| own.zone.clone()).unwrap_or_default(),
        peer_address: own.map(|own| own.peer_address.clone()).unwrap_or_default(),
        other_founders: if founder {
            others(&mut descriptor.initial_members.iter().copied())
        } else {
            Vec::new()
        },
        others: others(&mut descriptor.nodes.iter().map(|node| node.id)),
    }
}

/// Looks up where the nodes of a region are. Names that cannot be resolved now are tried again in the background: one
/// of a node that is gone, or in a region that is lost, keeps nothing from starting.
pub(crate) async fn find_nodes(
    descriptor: &RegionDescriptor,
    peers: &Peers,
    tracker: &TaskTracker,
    stop: &CancellationToken,
) {
    let found = join_all(descriptor.nodes.iter().map(|node| resolve(&node.peer_address))).await;
    for (node, found) in descriptor.nodes.iter().zip(found) {
        let (id, address, peers) = (node.id, node.peer_address.clone(), peers.clone());
        if let Some(found) = found {
            peers.set_address(id, found);
            continue;
        }
        warn!(node = %id, "the address of a node cannot be resolved");
        let again = async move {
            loop {
                tokio::time::sleep(RESOLVE_AGAIN).await;
                // its record in the region may have told meanwhile
                if peers.nodes().contains(&id) {
                    return;
                }
                if let Some(found) = resolve(&address).await {
                    info!(node = %id, "the address of a node is known now");
                    peers.set_address(id, found);
                    return;
                }
            }
        };
        let stop = stop.clone();
        tracker.spawn(async move { stop.run_until_cancelled(again).await });
    }
}

async fn resolve(address: &str) -> Option<SocketAddr> {
    let looked_up = timeout(RESOLVE_WAIT, tokio::net::lookup_host(address)).await;
    looked_up.ok()?.ok()?.next()
}

fn load_tls(identity: &join::MemberIdentity) -> Result<PeerTls, ServeError> {
    let read = |path: PathBuf| {
        std::fs::read(&path).map_err(|source| ServeError::File { path: path.clone(), source })
    };
    let certificate = read(identity.certificate())?;
    let key = zeroize::Zeroizing::new(read(identity.private_key())?);
    let authority = read(identity.authority_certificate())?;
    PeerTls::from_pem(&certificate, &key, &authority)
        .map_err(|source| ServeError::Tls { folder: Path::new(&identity.folder).to_owned(), source })
}

pub(crate) async fn listen(what: &'static str, address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|source| ServeError::Listen { what, address, source })
}

fn spawn_stop_signals(config: &Config, stop: CancellationToken) {
    for kind in [unix::SignalKind::terminate(), unix::SignalKind::interrupt()] {
        let stop = stop.clone();
        match unix::signal(kind) {
            Ok(mut signal) => {
                tokio::spawn(async move {
                    signal.recv().await;
                    stop.cancel();
                });
            }
            Err(error) => warn!(%error, "cannot watch for a stop signal"),
        }
    }
    if config.exit_on_stdin_eof {
        // a thread of its own: a runtime would wait for the read when it ends
        std::thread::spawn(move || {
            let mut byte = [0];
            while matches!(std::io::stdin().read(&mut byte), Ok(1..)) {}
            stop.cancel();
        });
    }
}

fn notify(state: &str) {
    let state = [match state {
        "READY=1" => sd_notify::NotifyState::Ready,
        "STOPPING=1" => sd_notify::NotifyState::Stopping,
        _ => sd_notify::NotifyState::Watchdog,
    }];
    // outside systemd there is nobody to tell
    if let Err(error) = sd_notify::notify(&state) {
        warn!(%error, "systemd could not be told");
    }
}

pub(crate) fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::region;

    #[test]
    fn a_region_whose_founders_are_all_there_is_founded_by_them() {
        let founders = founders(&region(&[1, 2, 3, 4]));
        assert_eq!(founders.len(), 9);
        assert!(founders.values().all(|members| members.len() == 3));
    }

    #[test]
    fn a_region_that_lost_a_founder_has_none_any_more() {
        assert_eq!(founders(&region(&[2, 3, 4])), BTreeMap::new());
    }
}
