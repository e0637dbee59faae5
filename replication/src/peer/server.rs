//! The listening side: accepts, judges who is there, and gives each connection to a session.
//!
//! Before TLS has shown a certificate of our authority nothing is read but the handshake, and before the identity in
//! it has been accepted nothing but one frame that holds a greeting at most.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use trust::{Presented, identity_of, valid_since};
use wire::descriptor::{PairHello, PairMismatch, PeerRole};
use wire::{FrameType, PeerClass, UnixMillis};

use super::frame_io::{FrameReader, FrameWriter};
use super::metrics::Counters;
use super::options::UNIT_BYTES;
use super::refusals::Refusal;
use super::session::{ServerStream, Session, refused};
use super::slot::READ_BUFFER_BYTES;
use super::tls::handshake_refusal;
use super::{CallRefusal, Handler, Identity, PeerMetrics, PeerOptions, PeerTls, RefusedPeers, RefusedReason};

/// How long a refused peer gets to read why. 1 s: it is told, not hosted.
const FAREWELL: Duration = Duration::from_secs(1);

/// Wait after a failed accept (no file descriptors left, mostly), so that the loop does not spin.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// A running server; dropping it stops it without waiting.
pub struct PeerServer {
    shared: Arc<Shared>,
    address: SocketAddr,
}

/// What the sessions of a server share.
pub(super) struct Shared {
    tls: Mutex<PeerTls>,
    pub(super) handler: Arc<dyn Handler>,
    pub(super) options: PeerOptions,
    pub(super) counters: Counters,
    pub(super) stop: CancellationToken,
    /// Comes after `stop`, when what still runs is to be dropped.
    pub(super) abandon: CancellationToken,
    pub(super) tasks: TaskTracker,
    /// Room for bodies in handlers' hands, per class.
    pub(super) bodies: [Arc<Semaphore>; 4],
    refused: Arc<RefusedPeers>,
    connections: Arc<Semaphore>,
    per_peer: Mutex<HashMap<Identity, usize>>,
}

impl PeerServer {
    /// Serves `listener` until [`PeerServer::shutdown`].
    pub fn start(
        listener: TcpListener,
        tls: PeerTls,
        handler: Arc<dyn Handler>,
        options: PeerOptions,
    ) -> std::io::Result<Self> {
        let address = listener.local_addr()?;
        let units = (options.bodies_bytes / UNIT_BYTES).max(1);
        let shared = Arc::new(Shared {
            tls: Mutex::new(tls),
            handler,
            options,
            counters: Counters::default(),
            stop: CancellationToken::new(),
            abandon: CancellationToken::new(),
            tasks: TaskTracker::new(),
            bodies: PeerClass::ALL.map(|_| Arc::new(Semaphore::new(units))),
            refused: Arc::default(),
            connections: Arc::new(Semaphore::new(options.connections)),
            per_peer: Mutex::default(),
        });
        shared.tasks.spawn(shared.clone().accept(listener));
        Ok(Self { shared, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Uses a renewed certificate for connections accepted from now on.
    pub fn set_tls(&self, tls: PeerTls) {
        *self.shared.tls.lock().unwrap_or_else(PoisonError::into_inner) = tls;
    }

    /// The counters of this side.
    pub fn metrics(&self) -> PeerMetrics {
        self.shared.counters.snapshot(self.shared.refused.total())
    }

    /// Peers that were turned away.
    pub fn refused(&self) -> &Arc<RefusedPeers> {
        &self.shared.refused
    }

    /// Accepts no more, lets running calls finish (within the drain limit), ends streams, closes, and waits for all of it.
    pub async fn shutdown(&self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        if timeout(self.shared.options.drain, self.shared.tasks.wait()).await.is_err() {
            tracing::warn!("calls were still running when shutdown ran out of time");
            self.shared.abandon.cancel();
            self.shared.tasks.wait().await;
        }
    }
}

impl Drop for PeerServer {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

impl Shared {
    async fn accept(self: Arc<Self>, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.stop.cancelled() => return,
            };
            match accepted {
                Ok((socket, address)) => match self.connections.clone().try_acquire_owned() {
                    Ok(permit) => {
                        self.tasks.spawn(self.clone().serve(socket, address, permit));
                    }
                    Err(_) => self.refused.record(address, RefusedReason::TooMany),
                },
                Err(error) => {
                    tracing::warn!(%error, "accept failed, will retry");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }

    async fn serve(self: Arc<Self>, socket: TcpStream, address: SocketAddr, _permit: OwnedSemaphorePermit) {
        let greeted = tokio::select! {
            greeted = timeout(self.options.handshake, self.greet(socket)) => greeted,
            () = self.stop.cancelled() => return,
        };
        let Greeted { stream, reader, from, class, head, shown, since } = match greeted {
            Ok(Ok(greeted)) => greeted,
            Ok(Err(refusal)) => return self.refused.record(address, refusal),
            Err(_) => return self.refused.record(address, RefusedReason::HandshakeTimeout),
        };
        let (from, place, greeting) = match self.judge(from, since, class, head) {
            Ok(judged) => judged,
            // what it says is not of the form: it is told nothing
            Err((CallRefusal::PROTOCOL, reason)) => {
                return self.refused.record(address, Refusal { reason, certificate: Some(shown) });
            }
            Err((code, reason)) => {
                let refusal = CallRefusal::new(code, reason.to_string());
                self.refused.record(address, Refusal { reason, certificate: Some(shown) });
                // it may not stay to listen
                _ = timeout(FAREWELL, self.farewell(stream, class, &refusal)).await;
                return;
            }
        };
        tracing::debug!(%address, peer = %from.role, class = class.name(), "peer connected");
        let counters = self.counters.class(class);
        counters.connects.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let reason = Session::new(self.clone(), from.clone(), class, stream, reader, greeting).run().await;
        counters.disconnects.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        tracing::debug!(%address, peer = %from.role, class = class.name(), %reason, "peer disconnected");
        drop(place);
    }

    /// TLS, then the first frame, which tells the class.
    async fn greet(&self, socket: TcpStream) -> Result<Greeted, Refusal> {
        let failed = |error: std::io::Error| handshake_refusal(&error);
        socket.set_nodelay(true).map_err(failed)?;
        let config = self.tls.lock().unwrap_or_else(PoisonError::into_inner).server.clone();
        let socket = BufReader::with_capacity(READ_BUFFER_BYTES, socket);
        let mut stream = TlsAcceptor::from(config).accept(socket).await.map_err(failed)?;
        let certificates = stream.get_ref().1.peer_certificates();
        let certificate: &[u8] =
            certificates.and_then(|chain| chain.first()).map_or(&[], |certificate| certificate);
        let (shown, since) = (Presented::of(certificate), valid_since(certificate));
        let refuse = |reason| Refusal { reason, certificate: Some(shown.clone()) };
        let from = identity_of(certificate)
            .map_err(|error| refuse(RefusedReason::Identity { detail: error.to_string() }))?;
        let mut reader = FrameReader::new();
        let counters = self.counters.class(PeerClass::Admin);
        let first = std::future::poll_fn(|context| {
            reader.poll(context, &mut stream, counters, |_, _| std::task::Poll::Ready(()))
        });
        let protocol = |detail: String| refuse(RefusedReason::Protocol { detail });
        let first = first.await.map_err(|error| protocol(error.to_string()))?;
        if first.header.frame_type != FrameType::Ping {
            return Err(protocol("the first frame is not a ping".into()));
        }
        let class = first.header.class;
        Ok(Greeted { stream, reader, from, class, head: first.head, shown, since })
    }

    fn judge(
        self: &Arc<Self>,
        from: Identity,
        since: Option<UnixMillis>,
        class: PeerClass,
        head: Bytes,
    ) -> Result<(Arc<Identity>, Place, Bytes), (u16, RefusedReason)> {
        let tls = self.tls.lock().unwrap_or_else(PoisonError::into_inner).clone();
        tls.identity().accepts(&from).map_err(|foreign| (CallRefusal::IDENTITY, foreign.into()))?;
        if !from.may_use(class) {
            let reason = RefusedReason::Class { role: from.role.to_string(), class: class.name() };
            return Err((CallRefusal::CLASS, reason));
        }
        let greeting = match from.role {
            PeerRole::Pair(_) => {
                counts_still(tls.pair_members_since, since)?;
                same_pair(tls.pair.as_deref(), head)?
            }
            _ if head.is_empty() => Bytes::new(),
            _ => return Err((CallRefusal::PROTOCOL, not_bare())),
        };
        let place = Place::take(self, &from).ok_or((CallRefusal::TOO_MANY, RefusedReason::TooMany))?;
        Ok((Arc::new(from), place, greeting))
    }

    async fn farewell(&self, mut stream: ServerStream, class: PeerClass, refusal: &CallRefusal) {
        let mut writer = FrameWriter::default();
        writer.push(refused(class, 0, 0, refusal));
        let counters = self.counters.class(class);
        let written =
            std::future::poll_fn(|context| writer.poll(context, &mut stream, counters, |_| ())).await;
        if written.is_ok() && stream.shutdown().await.is_ok() {
            // closing with bytes unread would reset the connection and take the refusal with it
            let mut rest = [0; 1024];
            while stream.read(&mut rest).await.is_ok_and(|length| length > 0) {}
        }
    }
}

/// Who is there, before it is judged.
struct Greeted {
    stream: ServerStream,
    reader: FrameReader,
    from: Identity,
    class: PeerClass,
    /// What the first frame said.
    head: Bytes,
    shown: Presented,
    /// From when on its certificate is valid.
    since: Option<UnixMillis>,
}

/// Whether the pair descriptor lets a certificate that is valid from `since` on count.
fn counts_still(wanted: Option<UnixMillis>, since: Option<UnixMillis>) -> Result<(), (u16, RefusedReason)> {
    match wanted {
        Some(wanted) if since.is_none_or(|since| since < wanted) => {
            Err((CallRefusal::PAIR, RefusedReason::Revoked { since: wanted }))
        }
        _ => Ok(()),
    }
}

/// Whether a member of the other region is under the same pair descriptor; what it is answered.
fn same_pair(own: Option<&PairHello>, head: Bytes) -> Result<Bytes, (u16, RefusedReason)> {
    let refuse = |mismatch: PairMismatch| (CallRefusal::PAIR, mismatch.into());
    let own = own.ok_or_else(|| refuse(PairMismatch::NotHere))?;
    if head.is_empty() {
        return Err(refuse(PairMismatch::NotShown));
    }
    let found = PairHello::decode(head)
        .map_err(|error| (CallRefusal::PROTOCOL, RefusedReason::Protocol { detail: error.to_string() }))?;
    own.agrees(&found).map_err(refuse)?;
    Ok(own.encode())
}

fn not_bare() -> RefusedReason {
    RefusedReason::Protocol { detail: "the first frame is not a bare ping".into() }
}

/// One of the connections that a peer may have.
struct Place {
    shared: Arc<Shared>,
    peer: Identity,
}

impl Place {
    fn take(shared: &Arc<Shared>, peer: &Identity) -> Option<Self> {
        let mut per_peer = shared.per_peer.lock().unwrap_or_else(PoisonError::into_inner);
        let count = per_peer.entry(peer.clone()).or_default();
        if *count >= shared.options.connections_per_peer {
            return None;
        }
        *count += 1;
        drop(per_peer);
        Some(Self { shared: shared.clone(), peer: peer.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut per_peer = self.shared.per_peer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = per_peer.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                per_peer.remove(&self.peer);
            }
        }
    }
}
