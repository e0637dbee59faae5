//! A region of real nodes in one process: real TLS on loopback, real disks in a temporary folder.

use bytes::Bytes;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use replication::{
    admission::Applicant,
    gc::Freed,
    handler::EngineHandler,
    message::kind,
    node::{Arrival, Node, NodeOptions, StartError},
    options::RaftTimings,
    pair::{GroupLag, Standby},
    peer::{Identity, PeerClass, PeerOptions, PeerRole, PeerServer, PeerTls, Peers},
    region::{Consistency, Region, RegionError},
    roster::Roster,
    router::Router,
    scrub::ScrubFigures,
};
use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    sync::atomic::{AtomicU8, AtomicU64, Ordering},
    time::Duration,
};
use tokio::{net::TcpListener, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wire::{descriptor::PairHello, *};

/// Data groups of the test region.
pub(crate) const GROUPS: u32 = 4;

/// Longer than anything here takes; only a failing test waits for it.
pub(crate) const LONG: Duration = Duration::from_secs(30);

pub(crate) struct Running {
    pub(crate) node: Node,
    server: PeerServer,
    peers: Peers,
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Running {
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.node.shutdown().await;
        self.server.shutdown().await;
        self.peers.shutdown().await;
        self.tracker.close();
        self.tracker.wait().await;
    }
}

/// A node whose engine answers its peers and does not take part yet.
struct Opened {
    running: Running,
    router: Arc<Router>,
    roster: Arc<Roster>,
    applicant: Applicant,
    arrival: Arrival,
}

impl Opened {
    /// Takes part; may be refused.
    async fn run(self) -> Result<Running, StartError> {
        let Self { running, router, roster, applicant, arrival } = self;
        match tokio::time::timeout(LONG, running.node.run(&router, &roster, &applicant, arrival))
            .await
            .unwrap()
        {
            Ok(()) => Ok(running),
            Err(error) => {
                running.stop().await;
                Err(error)
            }
        }
    }
}

pub(crate) struct TestRegion {
    folder: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
    addresses: BTreeMap<NodeId, SocketAddr>,
    pub(crate) nodes: BTreeMap<NodeId, Running>,
    pub(crate) router: Arc<Router>,
    /// As a gateway reaches the nodes.
    pub(crate) peers: Peers,
    shape: Shape,
    /// How long a proposal may take.
    pub(crate) patience: Duration,
    requests: AtomicU64,
}

/// How the nodes' disks are.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) segment_bytes: u64,
    pub(crate) total_bytes_max: Option<u64>,
    /// Another limit for node 3.
    pub(crate) third_bytes_max: Option<u64>,
    /// The groups' part in a pair.
    pub(crate) begins_as: PairRole,
    /// A founder that finds that the others have begun without waiting for it to notice.
    pub(crate) latecomer: Option<NodeId>,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            segment_bytes: 4 << 20,
            total_bytes_max: None,
            third_bytes_max: None,
            begins_as: PairRole::Primary,
            latecomer: None,
        }
    }
}

impl TestRegion {
    /// Three nodes that have formed a region.
    pub(crate) async fn start() -> Self {
        Self::start_shaped(Shape::default()).await
    }

    /// The same on other disks.
    pub(crate) async fn start_shaped(shape: Shape) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let mut addresses = BTreeMap::new();
        let host = own_host();
        for node in 1..=3 {
            // the port is found free now and bound again by the node, whenever it starts
            let listener = TcpListener::bind((host, 0)).await.unwrap();
            addresses.insert(NodeId(node), listener.local_addr().unwrap());
        }
        let gateway = PeerRole::Gateway(1);
        let peers = Peers::new(tls(&issuer, gateway), PeerOptions::default());
        for (node, address) in &addresses {
            peers.set_address(*node, *address);
        }
        let router = Router::start(
            peers.clone(),
            GROUPS,
            addresses.keys().copied(),
            TaskTracker::new(),
            CancellationToken::new(),
        );
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let (nodes, requests, patience) = (BTreeMap::new(), 1.into(), LONG);
        let mut region = Self { folder, issuer, addresses, nodes, router, peers, shape, patience, requests };
        let ids: Vec<NodeId> = region.addresses.keys().copied().collect();
        let opened =
            futures_util::future::join_all(ids.iter().map(|id| region.open(*id, Incarnation(0)))).await;
        let (late, punctual): (Vec<_>, Vec<_>) =
            ids.into_iter().zip(opened).partition(|(id, _)| shape.latecomer == Some(*id));
        for founders in [punctual, late] {
            let run = founders.into_iter().map(async |(id, node)| (id, node.run().await.unwrap()));
            region.nodes.extend(futures_util::future::join_all(run).await);
        }
        region
    }

    pub(crate) fn data(&self, node: NodeId) -> PathBuf {
        self.folder.path().join(format!("node-{node}"))
    }

    /// A member of another region, as this region's authority admits it.
    pub(crate) fn guest(&self) -> Peers {
        let tls = tls(&self.issuer, PeerRole::Pair(1)).with_pair(pair_hello());
        let peers = Peers::new(tls, PeerOptions::default());
        for (node, address) in &self.addresses {
            peers.set_address(*node, *address);
        }
        peers
    }

    /// Lets this region's standbys follow `other`.
    pub(crate) fn follow(&self, other: &Self) {
        self.follow_at(other, None);
    }

    /// The same over a link of so many bytes in a second.
    pub(crate) fn follow_at(&self, other: &Self, rate: Option<u64>) {
        let nodes: Vec<NodeId> = self.nodes.keys().copied().collect();
        self.follow_on(&nodes, other, rate);
    }

    /// The same on some of the nodes.
    pub(crate) fn follow_on(&self, nodes: &[NodeId], other: &Self, rate: Option<u64>) {
        for running in nodes.iter().map(|node| &self.nodes[node]) {
            let peers = other.guest();
            let nodes = other.addresses.keys().copied();
            let router = Router::start(peers, GROUPS, nodes, running.tracker.clone(), running.stop.clone());
            let own = Router::start(
                running.peers.clone(),
                GROUPS,
                self.addresses.keys().copied(),
                running.tracker.clone(),
                running.stop.clone(),
            );
            let service = running.node.service();
            let standby = Standby::start(
                service,
                own,
                router,
                rate,
                Vec::new(),
                &running.tracker,
                running.stop.clone(),
            );
            service.set_pair(standby);
        }
    }

    /// The node that leads a group.
    pub(crate) async fn leader(&self, group: GroupId) -> NodeId {
        self.query(group, Query::PairState).await;
        self.router.leader(group).expect("it has just answered")
    }

    /// Gives the lead of a group to the next node, while all of them run.
    pub(crate) async fn move_leader(&self, group: GroupId) {
        let from = self.leader(group).await;
        let to = NodeId(from.0 % 3 + 1);
        let mut head = Encoder::with_capacity(13);
        head.u32(group.0);
        head.u8(4);
        head.u64(ReplicaId::new(to, Incarnation(0)).0);
        let peers = &self.nodes[&to].peers;
        peers.call(from, PeerClass::Bulk, kind::REPLICA, head.finish(), Vec::new(), LONG).await.unwrap();
    }

    /// How far every group is behind the other region.
    pub(crate) fn lags(&self) -> BTreeMap<GroupId, GroupLag> {
        let lags = self.nodes.values().flat_map(|running| running.node.service().pair_lags());
        lags.map(|lag| (lag.group, lag)).collect()
    }

    /// Starts a stopped node again.
    pub(crate) async fn restart(&mut self, node: NodeId) {
        let running = self.boot(node).await;
        self.nodes.insert(node, running);
    }

    /// Starts stopped nodes again, together: one alone waits for the others.
    pub(crate) async fn restart_all(&mut self, nodes: &[NodeId]) {
        let started = futures_util::future::join_all(nodes.iter().map(|id| self.boot(*id))).await;
        self.nodes.extend(nodes.iter().copied().zip(started));
    }

    /// Stops a node cleanly.
    pub(crate) async fn stop(&mut self, node: NodeId) {
        self.nodes.remove(&node).unwrap().stop().await;
    }

    /// Throws a stopped node's data away.
    pub(crate) fn wipe(&self, node: NodeId) {
        std::fs::remove_dir_all(self.data(node)).unwrap();
    }

    /// Tells the region that `node` comes back with an empty disk, as `twinkeep node replace` does.
    pub(crate) async fn replace(&self, node: NodeId, incarnation: Incarnation) {
        let record = NodeRecord {
            state: NodeState::Active,
            incarnation,
            disk: None,
            zone: "a".into(),
            peer_address: self.addresses[&node].to_string(),
        };
        let change = SystemChange {
            table: SystemTable::Node,
            key: NodeRecord::key(node),
            expect: SystemExpect::Present,
            value: Some(record.encode()),
        };
        let outcome = self.propose(GroupId::SYSTEM, Operation::System(vec![change]), Bytes::new()).await;
        assert!(matches!(outcome, Outcome::Changed(_)), "{outcome:?}");
    }

    /// Starts a node under another incarnation of its disk.
    pub(crate) async fn restart_as(&mut self, node: NodeId, incarnation: Incarnation) {
        let running = self.try_boot(node, incarnation).await.unwrap();
        self.nodes.insert(node, running);
    }

    async fn boot(&self, id: NodeId) -> Running {
        self.try_boot(id, Incarnation(0)).await.unwrap()
    }

    /// Starts a node; its engine may refuse to take part.
    pub(crate) async fn try_boot(&self, id: NodeId, incarnation: Incarnation) -> Result<Running, StartError> {
        self.open(id, incarnation).await.run().await
    }

    async fn open(&self, id: NodeId, incarnation: Incarnation) -> Opened {
        let tls = tls(&self.issuer, PeerRole::Node(id)).with_pair(pair_hello());
        let peers = Peers::new(tls.clone(), PeerOptions::default());
        for (node, address) in &self.addresses {
            peers.set_address(*node, *address);
        }
        let handler = Arc::new(EngineHandler::default());
        let listener = TcpListener::bind(self.addresses[&id]).await.unwrap();
        let server = PeerServer::start(listener, tls, handler.clone(), PeerOptions::default()).unwrap();
        peers.set_local(handler.clone());
        let members: Vec<ReplicaId> =
            self.addresses.keys().map(|node| ReplicaId::new(*node, Incarnation(0))).collect();
        let options = NodeOptions {
            deployment: deployment(),
            node: id,
            incarnation,
            data: self.data(id),
            begins_as: self.shape.begins_as,
            founders: (0..=GROUPS).map(|group| (GroupId(group), members.clone())).collect(),
            fresh_disk: std::array::from_fn(|i| match i {
                0 => self.requests.fetch_add(1, Ordering::Relaxed) as u8,
                _ => id.0 as u8,
            }),
            timings: RaftTimings::default(),
            segment_bytes: self.shape.segment_bytes,
            total_bytes_max: match id {
                NodeId(3) => self.shape.third_bytes_max.or(self.shape.total_bytes_max),
                _ => self.shape.total_bytes_max,
            },
            log_cache_bytes: 8 << 20,
            index_cache_bytes: 8 << 20,
        };
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        let node = Node::open(options, peers.clone()).await.unwrap();
        // a test that damages the index takes it away; nothing else may make a node give it up
        assert!(!self.data(id).join("index.damaged").exists(), "the index was taken for a damaged one");
        handler.begin(node.service().clone());
        let router = Router::start(
            peers.clone(),
            GROUPS,
            self.addresses.keys().copied(),
            tracker.clone(),
            stop.clone(),
        );
        let roster = Arc::new(Roster::default());
        tracker.spawn(roster.clone().follow(router.clone(), peers.clone(), stop.clone()));
        let others: Vec<NodeId> = self.addresses.keys().copied().filter(|other| *other != id).collect();
        let applicant = Applicant {
            node: id,
            incarnation,
            zone: "a".into(),
            peer_address: self.addresses[&id].to_string(),
            other_founders: if incarnation == Incarnation(0) { others.clone() } else { Vec::new() },
            others,
        };
        let arrival = Arrival { request: RequestId([id.0 as u8; 16]), now: UnixMillis(1) };
        let running = Running { node, server, peers, tracker, stop };
        Opened { running, router, roster, applicant, arrival }
    }

    /// Proposes as a gateway would.
    pub(crate) async fn propose(&self, group: GroupId, operation: Operation, body: Bytes) -> Outcome {
        self.try_propose(group, operation, body).await.unwrap()
    }

    /// Proposes as a gateway would, and may fail.
    pub(crate) async fn try_propose(
        &self,
        group: GroupId,
        operation: Operation,
        body: Bytes,
    ) -> Result<Outcome, RegionError> {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let mut request = [0xAB; 16];
        request[..8].copy_from_slice(&number.to_le_bytes());
        let meta = CommandMeta {
            epoch: self.router.epoch(),
            time: UnixMillis(number),
            principal: PrincipalId(1),
            request: RequestId(request),
        };
        self.router.propose(group, Command { meta, operation, body }, Instant::now() + self.patience).await
    }

    /// Asks as a gateway would.
    pub(crate) async fn query(&self, group: GroupId, query: Query) -> (Answer, Bytes) {
        self.router.query(group, query, Consistency::Linearizable, Instant::now() + LONG).await.unwrap()
    }

    /// Writes a small object.
    pub(crate) async fn put(&self, bucket: BucketId, name: &str, version: u8, body: Bytes) -> VersionRef {
        self.try_put(bucket, name, version, body).await.unwrap()
    }

    /// Writes a small object, and may fail.
    pub(crate) async fn try_put(
        &self,
        bucket: BucketId,
        name: &str,
        version: u8,
        body: Bytes,
    ) -> Result<VersionRef, RegionError> {
        let key = ObjectKey::new(name.to_owned()).unwrap();
        let group = group_of(bucket, key.as_bytes(), GROUPS);
        let part = PartContent {
            number: 1,
            stream: StreamId([version; 16]),
            size: body.len() as u64 - 16,
            chunks: 1,
            inline: true,
            etag: "e".into(),
            checksum: Bytes::new(),
        };
        let commit = CommitVersion {
            bucket,
            key,
            version: VersionId([version; 16]),
            mode: VersioningMode::Off,
            condition: WriteCondition::default(),
            content: ObjectContent {
                size: part.size,
                etag: "e".into(),
                checksum: Bytes::new(),
                header: Bytes::from_static(b"header"),
                metadata: Bytes::new(),
                multipart: false,
                parts: vec![part],
            },
        };
        match self.try_propose(group, Operation::CommitVersion(commit), body).await? {
            Outcome::Committed(version) => Ok(version),
            other => panic!("not committed: {other:?}"),
        }
    }

    /// Deletes an object.
    pub(crate) async fn delete(&self, bucket: BucketId, name: &str) {
        let key = ObjectKey::new(name.to_owned()).unwrap();
        let group = group_of(bucket, key.as_bytes(), GROUPS);
        let delete = DeleteObject {
            bucket,
            key,
            target: DeleteTarget::Current,
            mode: VersioningMode::Off,
            marker: VersionId([0xEE; 16]),
            condition: WriteCondition::default(),
        };
        let outcome = self.propose(group, Operation::DeleteObject(delete), Bytes::new()).await;
        assert!(matches!(outcome, Outcome::Deleted(_)), "{outcome:?}");
    }

    /// Asks a node until it answers: one that was just restarted may refuse connections for a moment.
    async fn ask(&self, node: NodeId, kind: u16, head: &Bytes) -> Bytes {
        let deadline = Instant::now() + LONG;
        loop {
            match self.peers.call(node, PeerClass::Bulk, kind, head.clone(), Vec::new(), LONG * 2).await {
                Ok(reply) => return reply.head,
                Err(error) => assert!(Instant::now() < deadline, "node {node}: {error:?}"),
            }
            tokio::task::yield_now().await;
        }
    }

    /// Lets a node free what it can.
    pub(crate) async fn collect(&self, node: NodeId) -> Freed {
        Freed::decode(self.ask(node, kind::GC, &Bytes::new()).await).unwrap()
    }

    /// Lets a node read everything, and says what it found.
    pub(crate) async fn scrub(&self, node: NodeId) -> ScrubFigures {
        let mut start = true;
        let deadline = Instant::now() + LONG;
        loop {
            let head = Bytes::from(vec![u8::from(std::mem::take(&mut start))]);
            let figures = ScrubFigures::decode(self.ask(node, kind::SCRUB, &head).await).unwrap();
            if !figures.running {
                return figures;
            }
            assert!(Instant::now() < deadline, "a scrub pass takes too long: {figures:?}");
            tokio::task::yield_now().await;
        }
    }

    /// What one node has of a small object, leader or not; an error if it has no good copy and finds none. A node that
    /// was just restarted is asked until it answers.
    pub(crate) async fn get_from(
        &self,
        node: NodeId,
        bucket: BucketId,
        name: &str,
    ) -> Result<Option<Bytes>, RegionError> {
        let key = ObjectKey::new(name.to_owned()).unwrap();
        let group = group_of(bucket, key.as_bytes(), GROUPS);
        let query = Query::Version { bucket, key, which: WhichVersion::Current, body: BodyWanted::At(0) };
        let deadline = Instant::now() + LONG;
        loop {
            match self.router.query_node(node, group, &query, LONG).await {
                Ok((Answer::Version { record: Some(_), .. }, body)) => return Ok(Some(body)),
                Ok(_) => return Ok(None),
                Err(RegionError::Unavailable { .. }) if Instant::now() < deadline => {
                    tokio::task::yield_now().await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads a small object.
    pub(crate) async fn get(&self, bucket: BucketId, name: &str) -> Option<(VersionId, Bytes)> {
        let key = ObjectKey::new(name.to_owned()).unwrap();
        let group = group_of(bucket, key.as_bytes(), GROUPS);
        let query = Query::Version { bucket, key, which: WhichVersion::Current, body: BodyWanted::At(0) };
        match self.query(group, query).await {
            (Answer::Version { record, .. }, body) => record.map(|record| (record.version.version, body)),
            other => panic!("not a version: {other:?}"),
        }
    }
}

/// A loopback host that no other region of this run has: nobody else takes a port there while its node is stopped.
fn own_host() -> Ipv4Addr {
    static REGIONS: AtomicU8 = AtomicU8::new(1);
    let [high, low] = (std::process::id() as u16).to_be_bytes();
    Ipv4Addr::new(127, high.max(1), low, REGIONS.fetch_add(1, Ordering::Relaxed).max(1))
}

fn deployment() -> DeploymentId {
    DeploymentId([5; 16])
}

/// What the regions of a test say of their pair.
fn pair_hello() -> PairHello {
    PairHello { sha256: Digest([1; 32]), serial: 1, jurisdiction: "eu".into() }
}

fn tls(issuer: &CertifiedIssuer<'static, KeyPair>, role: PeerRole) -> PeerTls {
    let identity =
        Identity { deployment: deployment(), environment: "test".into(), region: "one".into(), role };
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI(identity.to_string().try_into().unwrap())];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, issuer).unwrap();
    PeerTls::from_pem(certificate.pem().as_bytes(), key.serialize_pem().as_bytes(), issuer.pem().as_bytes())
        .unwrap()
}
