//! The opener's side: an address book, and calls and streams to any node in it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wire::{NodeId, PeerClass};

use super::metrics::Counters;
use super::slot::{Common, Slot};
use super::stream::StreamHandle;
use super::{CallError, Handler, Identity, PeerMetrics, PeerOptions, PeerRole, PeerTls, RefusedPeers, Reply};

/// Every other node of the region, as this process reaches it. Clones share everything.
#[derive(Clone)]
pub struct Peers {
    inner: Arc<Inner>,
}

struct Inner {
    common: Arc<Common>,
    identity: Arc<Identity>,
    remotes: RwLock<HashMap<NodeId, Arc<Remote>>>,
    local: RwLock<Option<Arc<dyn Handler>>>,
}

/// One node and the places for its connections.
struct Remote {
    address: Mutex<Option<SocketAddr>>,
    slots: [Vec<Arc<Slot>>; 4],
    turn: AtomicU32,
}

impl Peers {
    /// Connects nowhere yet; connections come about with the first call.
    pub fn new(tls: PeerTls, options: PeerOptions) -> Self {
        let identity = tls.identity().clone();
        let common = Common {
            tls: Mutex::new(tls),
            options,
            counters: Arc::new(Counters::default()),
            refused: Arc::new(RefusedPeers::default()),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let (remotes, local) = (RwLock::default(), RwLock::default());
        Self { inner: Arc::new(Inner { common: Arc::new(common), identity, remotes, local }) }
    }

    /// Says where `node` is. A changed address ends the connections to the old one.
    pub fn set_address(&self, node: NodeId, address: SocketAddr) {
        let remote = self.remote(node);
        let before = remote.address().replace(address);
        if before.is_some_and(|before| before != address) {
            remote.slots.iter().flatten().for_each(|slot| slot.reset());
        }
    }

    /// Every other node whose address is known.
    pub fn nodes(&self) -> Vec<NodeId> {
        let remotes = self.inner.remotes.read().unwrap_or_else(PoisonError::into_inner);
        let known = remotes.iter().filter(|(_, remote)| remote.address().is_some());
        let own = &self.inner.identity.role;
        known.map(|(node, _)| *node).filter(|node| *own != PeerRole::Node(*node)).collect()
    }

    /// Answers calls to the own node without a socket.
    pub fn set_local(&self, handler: Arc<dyn Handler>) {
        *self.inner.local.write().unwrap_or_else(PoisonError::into_inner) = Some(handler);
    }

    /// Uses a renewed certificate for connections made from now on.
    pub fn set_tls(&self, tls: PeerTls) {
        *self.inner.common.tls.lock().unwrap_or_else(PoisonError::into_inner) = tls;
    }

    /// Asks `to` and waits for its answer, at most `timeout` in all.
    pub async fn call(
        &self,
        to: NodeId,
        class: PeerClass,
        kind: u16,
        head: Bytes,
        body: Vec<Bytes>,
        timeout: Duration,
    ) -> Result<Reply, CallError> {
        let deadline = Instant::now() + timeout;
        if let Some(handler) = self.local(to) {
            let answer = handler.call(&self.inner.identity, class, kind, head, one_run(body));
            return match timeout_at(deadline, answer).await {
                Ok(answer) => answer.map_err(CallError::from),
                Err(_) => Err(CallError::TimedOut),
            };
        }
        let remote = self.remote(to);
        let turn = remote.turn.fetch_add(1, Relaxed);
        let link = remote.slot(class, turn).link(&self.inner.common, remote.known(), deadline).await?;
        link.call(kind, head, body, deadline).await
    }

    /// Opens an ordered stream. `lane` chooses among the connections of the class (a group's number, say); `timeout`
    /// bounds the opening only.
    pub async fn open_stream(
        &self,
        to: NodeId,
        class: PeerClass,
        lane: u32,
        kind: u16,
        head: Bytes,
        timeout: Duration,
    ) -> Result<StreamHandle, CallError> {
        let deadline = Instant::now() + timeout;
        let remote = self.remote(to);
        let link = remote.slot(class, lane).link(&self.inner.common, remote.known(), deadline).await?;
        StreamHandle::open(link, kind, head, deadline).await
    }

    /// Who this process is to the others.
    pub fn identity(&self) -> &Arc<Identity> {
        &self.inner.identity
    }

    /// The counters of this side.
    pub fn metrics(&self) -> PeerMetrics {
        self.inner.common.counters.snapshot(self.inner.common.refused.total())
    }

    /// Servers that were not who they should be, or turned this process away.
    pub fn refused(&self) -> &Arc<RefusedPeers> {
        &self.inner.common.refused
    }

    /// Ends every connection and waits until its task is gone. Calls fail from now on.
    pub async fn shutdown(&self) {
        self.inner.common.stop.cancel();
        self.inner.common.tasks.close();
        self.inner.common.tasks.wait().await;
        // it may hold these peers in turn
        *self.inner.local.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn local(&self, to: NodeId) -> Option<Arc<dyn Handler>> {
        if self.inner.identity.role != PeerRole::Node(to) {
            return None;
        }
        self.inner.local.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn remote(&self, node: NodeId) -> Arc<Remote> {
        let remotes = &self.inner.remotes;
        if let Some(remote) = remotes.read().unwrap_or_else(PoisonError::into_inner).get(&node) {
            return remote.clone();
        }
        let mut remotes = remotes.write().unwrap_or_else(PoisonError::into_inner);
        remotes.entry(node).or_insert_with(|| Arc::new(Remote::new(node, &self.inner.common.options))).clone()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.common.stop.cancel();
    }
}

impl Remote {
    fn new(node: NodeId, options: &PeerOptions) -> Self {
        let slots = PeerClass::ALL.map(|class| {
            (0..options.connections_of(class)).map(|_| Arc::new(Slot::new(node, class))).collect()
        });
        Self { address: Mutex::default(), slots, turn: AtomicU32::new(0) }
    }

    fn slot(&self, class: PeerClass, lane: u32) -> &Arc<Slot> {
        let slots = &self.slots[class.index()];
        &slots[lane as usize % slots.len()]
    }

    fn known(&self) -> Option<SocketAddr> {
        *self.address()
    }

    fn address(&self) -> std::sync::MutexGuard<'_, Option<SocketAddr>> {
        self.address.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A body in one piece: as it is when it has one part, joined otherwise.
fn one_run(mut body: Vec<Bytes>) -> Bytes {
    if body.len() < 2 {
        return body.pop().unwrap_or_default();
    }
    let mut joined = BytesMut::with_capacity(body.iter().map(Bytes::len).sum());
    body.iter().for_each(|part| joined.extend_from_slice(part));
    joined.freeze()
}
