//! One place for a connection: connects when first needed, keeps the link, waits longer after every failure.
//!
//! While the wait lasts, callers are told at once that the peer is unreachable, so that nothing piles up behind a dead node.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use trust::Presented;
use wire::descriptor::{PairHello, PairMismatch, PeerRole};
use wire::{FrameType, NodeId, PeerClass};

use super::frame_io::{FrameReader, FrameWriter, Outgoing, ReadError};
use super::link::{ClientStream, Driver, Link};
use super::metrics::Counters;
use super::refusals::{Refusal, RefusedPeers};
use super::tls::{handshake_refusal, server_name};
use super::{CallError, CallRefusal, PeerOptions, PeerTls, RefusedReason};

/// Read ahead of TLS, bytes: TLS itself reads 4 KiB at a time, which would cost a system call each.
pub(super) const READ_BUFFER_BYTES: usize = 64 << 10;

/// What every connection of a process shares.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) tls: Mutex<PeerTls>,
    pub(super) options: PeerOptions,
    pub(super) counters: Arc<Counters>,
    pub(super) refused: Arc<RefusedPeers>,
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
}

#[derive(Debug)]
pub(super) struct Slot {
    node: NodeId,
    class: PeerClass,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    connection: Connection,
    failures: u32,
    /// Grows with every reset, so that a connect begun before it cannot put its outcome here.
    generation: u64,
}

type Outcome = Option<Result<Arc<Link>, Arc<str>>>;

#[derive(Debug, Default)]
enum Connection {
    #[default]
    Idle,
    Connecting(watch::Receiver<Outcome>),
    Up(Arc<Link>),
    Waiting {
        until: Instant,
        reason: Arc<str>,
    },
}

impl Slot {
    pub(super) fn new(node: NodeId, class: PeerClass) -> Self {
        Self { node, class, state: Mutex::default() }
    }

    /// The link, connecting first if need be.
    pub(super) async fn link(
        self: &Arc<Self>,
        common: &Arc<Common>,
        address: Option<SocketAddr>,
        deadline: Instant,
    ) -> Result<Arc<Link>, CallError> {
        let mut outcome = {
            let mut state = self.lock();
            match &state.connection {
                Connection::Up(link) if !link.is_closed() => return Ok(link.clone()),
                Connection::Connecting(outcome) => outcome.clone(),
                Connection::Waiting { until, reason } if Instant::now() < *until => {
                    return Err(CallError::Unreachable { reason: reason.clone() });
                }
                Connection::Up(_) | Connection::Waiting { .. } | Connection::Idle => {
                    let address = address.ok_or_else(|| unreachable("no address is known for this node"))?;
                    let (sender, outcome) = watch::channel(None);
                    let connecting = self.clone().run(common.clone(), address, state.generation, sender);
                    if common.stop.is_cancelled() {
                        return Err(unreachable("shutting down"));
                    }
                    common.tasks.spawn(connecting);
                    state.connection = Connection::Connecting(outcome.clone());
                    outcome
                }
            }
        };
        let known = timeout_at(deadline, outcome.wait_for(Option::is_some)).await;
        match known.as_ref().map(|known| known.as_deref()) {
            Ok(Ok(Some(Ok(link)))) => Ok(link.clone()),
            Ok(Ok(Some(Err(reason)))) => Err(CallError::Unreachable { reason: reason.clone() }),
            Ok(_) => Err(unreachable("shutting down")),
            Err(_) => Err(unreachable("no connection in time")),
        }
    }

    /// Drops the connection, and any wait, so that the next call starts afresh.
    pub(super) fn reset(&self) {
        let mut state = self.lock();
        let generation = state.generation + 1;
        let State { connection, .. } =
            std::mem::replace(&mut *state, State { generation, ..State::default() });
        drop(state);
        if let Connection::Up(link) = connection {
            link.close(std::iter::empty());
        }
    }

    /// Connects, then drives the connection to its end.
    async fn run(
        self: Arc<Self>,
        common: Arc<Common>,
        address: SocketAddr,
        generation: u64,
        outcome: watch::Sender<Outcome>,
    ) {
        let options = common.options;
        let connected = tokio::select! {
            connected = timeout(options.handshake, self.connect(&common, address)) => {
                connected.unwrap_or_else(|_| Err("no answer to the handshake in time".into()))
            }
            () = common.stop.cancelled() => Err("shutting down".into()),
        };
        let counters = common.counters.class(self.class);
        let link = Arc::new(Link::new(self.class, &options, common.counters.clone()));
        let (stream, reader) = match connected {
            Ok(connected) => connected,
            Err(reason) => {
                tracing::debug!(node = %self.node, %address, class = self.class.name(), %reason, "connect failed");
                let reason: Arc<str> = reason.into();
                self.failed(&options, generation, reason.clone());
                outcome.send_replace(Some(Err(reason)));
                return;
            }
        };
        if !self.connected(generation, &link) {
            outcome.send_replace(Some(Err("the address changed".into())));
            return;
        }
        counters.connects.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        outcome.send_replace(Some(Ok(link.clone())));
        drop(outcome);
        let mut driver = Driver::new(link, stream, reader, options);
        let reason = tokio::select! {
            reason = std::future::poll_fn(|context| driver.poll(context)) => reason,
            () = common.stop.cancelled() => "shutting down".into(),
        };
        tracing::info!(node = %self.node, %address, class = self.class.name(), %reason, "connection ended");
        counters.disconnects.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        driver.end();
    }

    async fn connect(
        &self,
        common: &Common,
        address: SocketAddr,
    ) -> Result<(ClientStream, FrameReader), String> {
        let socket = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        socket.set_nodelay(true).map_err(|error| error.to_string())?;
        let tls = common.tls.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let socket = BufReader::with_capacity(READ_BUFFER_BYTES, socket);
        let connecting = TlsConnector::from(tls.client).connect(server_name(self.node), socket);
        let mut stream = connecting.await.map_err(|error| {
            let refusal = handshake_refusal(&error);
            let text = refusal.to_string();
            if error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) {
                common.refused.record(address, refusal);
            }
            text
        })?;
        // within a region nothing is said of pairs
        let pair = tls.pair.as_deref().filter(|_| matches!(tls.identity.role, PeerRole::Pair(_)));
        let reader = match self.greet(common, &mut stream, pair).await {
            Ok(reader) => reader,
            Err(Ungreeted::Broken(text)) => return Err(text),
            Err(Ungreeted::Refused(reason)) => {
                let text = match &reason {
                    RefusedReason::ByPeer { detail } => detail.clone(),
                    reason => reason.to_string(),
                };
                let certificates = stream.get_ref().1.peer_certificates();
                let certificate =
                    certificates.and_then(|chain| chain.first()).map(|shown| Presented::of(shown));
                common.refused.record(address, Refusal { reason, certificate });
                return Err(text);
            }
        };
        Ok((stream, reader))
    }

    /// TLS 1.3 lets the opener finish before it is accepted: a ping and its answer tell that it was. Towards the other
    /// region of a pair both say which pair.
    async fn greet(
        &self,
        common: &Common,
        stream: &mut ClientStream,
        pair: Option<&PairHello>,
    ) -> Result<FrameReader, Ungreeted> {
        let counters = common.counters.class(self.class);
        let mut writer = FrameWriter::default();
        let greeting = pair.map_or_else(Bytes::new, PairHello::encode);
        writer.push(Outgoing::greeting(FrameType::Ping, self.class, greeting));
        std::future::poll_fn(|context| writer.poll(context, stream, counters, |_| ()))
            .await
            .map_err(|error| Ungreeted::Broken(error.to_string()))?;
        let mut reader = FrameReader::new();
        reader.trust();
        let answer = std::future::poll_fn(|context| {
            reader.poll(context, stream, counters, |_, _| std::task::Poll::Ready(()))
        });
        let frame = answer.await.map_err(|error| {
            let alert = matches!(&error, ReadError::Failed(io) if io.get_ref().is_some_and(|e| e.is::<rustls::Error>()));
            let detail = error.to_string();
            if alert { Ungreeted::Refused(RefusedReason::by_peer(&detail)) } else { Ungreeted::Broken(detail) }
        })?;
        match frame.header.frame_type {
            FrameType::Pong => {
                pair.map_or(Ok(()), |own| answers_as_pair(own, frame.head)).map_err(Ungreeted::Refused)?;
                Ok(reader)
            }
            FrameType::ReplyError => {
                let refusal = CallRefusal::decode(frame.head);
                let said = refusal.map_err(|error| Ungreeted::Broken(error.to_string()))?.message;
                Err(Ungreeted::Refused(RefusedReason::by_peer(&said)))
            }
            other => Err(Ungreeted::Broken(format!("unexpected frame {other:?}"))),
        }
    }

    fn connected(&self, generation: u64, link: &Arc<Link>) -> bool {
        let mut state = self.lock();
        let current = state.generation == generation;
        if current {
            *state = State { connection: Connection::Up(link.clone()), failures: 0, generation };
        }
        current
    }

    fn failed(&self, options: &PeerOptions, generation: u64, reason: Arc<str>) {
        let mut state = self.lock();
        if state.generation != generation {
            return;
        }
        let wait = backoff(options, state.failures);
        state.failures = state.failures.saturating_add(1);
        state.connection = Connection::Waiting { until: Instant::now() + wait, reason };
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a connection did not come about although TLS did.
enum Ungreeted {
    /// It broke, or nothing sensible was answered.
    Broken(String),
    /// One end does not want the other.
    Refused(RefusedReason),
}

/// Whether the other region answers with the very same pair descriptor: it may not be asked otherwise.
fn answers_as_pair(own: &PairHello, head: Bytes) -> Result<(), RefusedReason> {
    if head.is_empty() {
        return Err(PairMismatch::NotShown.into());
    }
    let found =
        PairHello::decode(head).map_err(|error| RefusedReason::Protocol { detail: error.to_string() })?;
    Ok(own.agrees(&found)?)
}

fn backoff(options: &PeerOptions, failures: u32) -> Duration {
    options.backoff_first.saturating_mul(1 << failures.min(16)).min(options.backoff_max)
}

fn unreachable(reason: &str) -> CallError {
    CallError::Unreachable { reason: Arc::from(reason) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let options = PeerOptions::default();
        let waits: Vec<u128> = (0..9).map(|failures| backoff(&options, failures).as_millis()).collect();
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 320, 500, 500]);
        assert_eq!(backoff(&options, u32::MAX), options.backoff_max);
    }
}
