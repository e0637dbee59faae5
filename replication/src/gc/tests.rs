//! Collections on a real log and index, and what a kill in their midst leaves.

use super::*;
use crate::{
    index::{SledOptions, SledStore},
    log::{EntryId, EntryKind, LogEntry, LogOptions, SegmentLog},
    machine::{AppliedEntry, Machine, Payload, Position},
    peer::{Identity, PeerOptions, PeerRole, PeerTls, Peers},
    raft::GroupState,
    testing::Random,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use std::path::Path;
use wire::*;

const GROUP: GroupId = GroupId(1);
const STREAMS: u64 = 24;
const CHUNKS: u32 = 4;

struct Bench {
    holdings: Arc<Holdings>,
    collector: Arc<Collector>,
    state: Arc<GroupState>,
    next: u64,
}

impl Bench {
    fn open(folder: &Path) -> Self {
        let options = LogOptions::new(&folder.join("log"), DeploymentId([1; 16]), NodeId(1), Incarnation(0));
        let options = LogOptions { segment_bytes: 64 << 10, cache_bytes_max: 0, ..options.unwrap() };
        let segments = SegmentLog::open(options).unwrap().0;
        let store = SledStore::open(
            &folder.join("index"),
            SledOptions { cache_bytes_max: 1 << 20, ..SledOptions::default() },
        )
        .unwrap();
        let machine = Machine::open(GROUP, store.group(GROUP).unwrap()).unwrap();
        let state = GroupState::new(segments.group(GROUP), segments.clone(), Arc::new(store), machine);
        let holdings = Holdings::new(segments);
        holdings.add(Arc::clone(&state));
        let repairer = Repairer::new(NodeId(1), no_peers(), Arc::clone(&holdings), BTreeMap::new());
        let collector = Collector::new(Arc::clone(&holdings), repairer);
        let next = state.machine().applied().0.map_or(0, |position| position.index) + 1;
        Self { holdings, collector, state, next }
    }

    async fn apply(&mut self, operation: Operation, body: Vec<u8>) {
        let index = self.next;
        self.next += 1;
        let id = EntryId { term: 1, leader: ReplicaId::new(NodeId(1), Incarnation(0)), index };
        let mut request = [0; 16];
        request[..8].copy_from_slice(&index.to_le_bytes());
        let (time, request) = (UnixMillis(index), RequestId(request));
        let meta = CommandMeta { epoch: Epoch(1), time, principal: PrincipalId(1), request };
        let command = Command { meta, operation, body: body.clone().into() };
        let (kind, head) = (EntryKind::Normal, command.encode_head());
        self.state.log.append(vec![LogEntry { id, kind, head, body: body.into() }], |_| {}).await.unwrap();
        let place = self.state.log.flushed(index).await.unwrap();
        let position = Position { term: id.term, leader: id.leader, index };
        let payload = Payload::Command { command, place: place.into() };
        self.state.machine_mut().apply(&[AppliedEntry { position, payload }]).unwrap();
    }

    /// Streams of which three in four are dead, all purged.
    async fn fill(&mut self, random: &mut Random) -> BTreeMap<StreamId, Vec<Vec<u8>>> {
        let mut streams = BTreeMap::new();
        for number in 0..STREAMS {
            let stream = StreamId([number as u8; 16]);
            let mut chunks = Vec::new();
            for index in 0..CHUNKS {
                let length = 1 + random.below(3_000) as usize;
                chunks.push(random.bytes(length));
                let body = chunks[index as usize].clone();
                self.apply(Operation::PutChunk { stream, index }, body).await;
            }
            streams.insert(stream, chunks);
        }
        for number in (0..STREAMS).filter(|number| number % 4 != 0) {
            let stream = StreamId([number as u8; 16]);
            self.apply(Operation::AbandonStream { stream }, Vec::new()).await;
            streams.remove(&stream);
        }
        self.collector.flush().await.unwrap();
        let last = self.state.log.state().last.unwrap();
        self.state.log.purge(last).await.unwrap();
        streams
    }

    /// Whether every chunk is there and as it was.
    async fn check(&self, streams: &BTreeMap<StreamId, Vec<Vec<u8>>>) -> Result<(), crate::log::ReadError> {
        for (stream, chunks) in streams {
            let query = Query::Chunks { stream: *stream, first: 0, count: CHUNKS };
            let rows = self.state.machine().body_rows(&query).unwrap();
            assert_eq!(rows.len(), chunks.len());
            for ((_, place), chunk) in rows.iter().zip(chunks) {
                assert_eq!(self.holdings.segments.read_body(&(*place).into()).await?, chunk);
            }
        }
        Ok(())
    }

    fn segments(&self) -> usize {
        self.holdings.segments.segments().len()
    }
}

fn no_peers() -> Peers {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let role = PeerRole::Node(NodeId(1));
    let (deployment, environment) = (DeploymentId([1; 16]), "test".to_owned());
    let identity = Identity { deployment, environment, region: "one".to_owned(), role };
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI(identity.to_string().try_into().unwrap())];
    let key = KeyPair::generate().unwrap();
    let pem = params.signed_by(&key, &issuer).unwrap().pem();
    let tls = PeerTls::from_pem(pem.as_bytes(), key.serialize_pem().as_bytes(), issuer.pem().as_bytes());
    Peers::new(tls.unwrap(), PeerOptions::default())
}

/// What the operating system has of the files at this moment: what a kill would leave.
fn image(folder: &Path) -> tempfile::TempDir {
    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for found in std::fs::read_dir(from).unwrap() {
            let found = found.unwrap();
            if found.file_type().unwrap().is_dir() {
                copy(&found.path(), &to.join(found.file_name()));
            } else {
                std::fs::copy(found.path(), to.join(found.file_name())).unwrap();
            }
        }
    }
    let image = tempfile::tempdir().unwrap();
    copy(folder, image.path());
    image
}

fn random() -> Random {
    let seed = Random::seed();
    println!("SEED={seed}");
    Random::new(seed)
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_segments_go_and_what_is_live_stays_readable() {
    let folder = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(folder.path());
    let streams = bench.fill(&mut random()).await;
    let before = bench.segments();
    let freed = bench.collector.collect_all().await.unwrap();
    assert!(freed.segments as usize > before / 2, "{freed:?} of {before}");
    assert!(freed.moved_bytes > 0);
    assert_eq!(freed.bytes, freed.segments * (64 << 10));
    bench.check(&streams).await.unwrap();
    // nothing is packed again for ever
    assert_eq!(bench.collector.collect_all().await.unwrap(), Freed::default());
    let image = image(folder.path());
    Bench::open(image.path()).check(&streams).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_between_moving_and_freeing_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(folder.path());
    let streams = bench.fill(&mut random()).await;
    let Choice { free, compact } = bench.collector.choose(Urgency::Relaxed);
    let (emptied, moved) = bench.collector.empty(&compact, Urgency::Relaxed, None).await;
    moved.unwrap();
    assert!(!emptied.is_empty());
    let moved = image(folder.path());
    Bench::open(moved.path()).check(&streams).await.unwrap();
    bench.collector.free(&[free, emptied].concat()).await.unwrap();
    let freed = image(folder.path());
    let after = Bench::open(freed.path());
    after.check(&streams).await.unwrap();
    after.collector.collect_all().await.unwrap();
    after.check(&streams).await.unwrap();
}

/// The planted bug: freeing before the index is flushed. Without it the test above would prove nothing.
#[tokio::test(flavor = "multi_thread")]
async fn freeing_before_the_index_is_flushed_would_lose_data() {
    let folder = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(folder.path());
    let streams = bench.fill(&mut random()).await;
    let Choice { compact, .. } = bench.collector.choose(Urgency::Relaxed);
    let (emptied, _) = bench.collector.empty(&compact, Urgency::Relaxed, None).await;
    for segment in emptied {
        bench.collector.remove(SegmentId(segment)).await.unwrap();
    }
    bench.check(&streams).await.unwrap();
    let image = image(folder.path());
    assert!(Bench::open(image.path()).check(&streams).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_snapshot_and_a_pin_keep_segments() {
    let folder = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(folder.path());
    let streams = bench.fill(&mut random()).await;
    let (snapshot, _, _) = bench.state.machine_mut().begin_snapshot();
    assert_eq!(bench.collector.collect_all().await.unwrap(), Freed::default());
    bench.state.machine_mut().end_snapshot(snapshot);
    let pin = bench.holdings.pin();
    let pinned_from = bench.holdings.pinned_from().unwrap();
    bench.collector.collect_all().await.unwrap();
    // what came after the pin stays, though nothing in it is live
    let moved: Vec<_> = bench.holdings.segments.segments();
    assert!(moved.iter().any(|segment| segment.id == pinned_from));
    drop(pin);
    assert_eq!(bench.holdings.pinned_from(), None);
    bench.check(&streams).await.unwrap();
}
