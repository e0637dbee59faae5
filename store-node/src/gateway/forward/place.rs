//! One S3 endpoint of the other region: connections, used again, and whether anybody is there.
//!
//! A probe is a request that nobody signed, on a connection of its own: whoever serves S3 there refuses it without asking
//! anybody else, and any answer is a sign of life. It leaves when to probe to `circuit`.

use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::body::PassedBody;
use super::circuit::{Admission, Circuit, Verdict, Watch};
use super::{ForwardWaits, head};
use crate::config::Endpoint;
use crate::gateway::serve::stall::StallGuard;

/// Connections kept to one endpoint while nothing is asked there.
const IDLE_MAX: usize = 32;

/// How long they are kept. Half of what a gateway allows: one that is about to be closed is not used.
const IDLE_FOR: Duration = Duration::from_secs(10);

/// How long a connection may take to be ready again after an answer.
const READY_WAIT: Duration = Duration::from_millis(100);

/// Read buffer of a connection, bytes. 128 KiB: large bodies come in few pieces.
const BUFFER_BYTES_MAX: usize = 128 << 10;

/// How often the system asks whether the other end still knows a connection on which nothing comes. 10 s: a machine that was
/// started anew says that it does not, though it answers probes.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// One endpoint.
pub(super) struct Place {
    endpoint: Endpoint,
    tls: Option<Arc<ClientConfig>>,
    waits: ForwardWaits,
    tracker: TaskTracker,
    circuit: Mutex<Circuit>,
    /// Changes when a probe has ended.
    verdicts: watch::Sender<()>,
    idle: Mutex<Vec<(Instant, Lane)>>,
}

/// A connection without its place.
struct Lane {
    sender: SendRequest<PassedBody>,
    // ends the connection with this value
    _task: AbortOnDropHandle<()>,
}

/// A connection to an endpoint; it ends with this value unless it is given back.
pub(super) struct Connection {
    place: Arc<Place>,
    lane: Lane,
}

impl Place {
    pub(super) fn new(
        endpoint: Endpoint,
        tls: Option<Arc<ClientConfig>>,
        waits: ForwardWaits,
        tracker: TaskTracker,
    ) -> Self {
        let (circuit, idle) = (Mutex::default(), Mutex::default());
        Self { endpoint, tls, waits, tracker, circuit, verdicts: watch::Sender::new(()), idle }
    }

    /// Whether it takes requests. When it did not, it is probed now and then.
    pub(super) fn admits(self: &Arc<Self>) -> bool {
        let admission = self.circuit().admit(Instant::now());
        if admission == Admission::Probe {
            self.begin_probe();
        }
        admission == Admission::Ask
    }

    /// A connection, kept or new; without one the endpoint is left out.
    pub(super) async fn connect(self: &Arc<Self>, until: Instant) -> Option<Connection> {
        if let Some(lane) = self.kept().await {
            return Some(Connection { place: self.clone(), lane });
        }
        let opened = tokio::time::timeout_at(until, self.open()).await;
        match opened.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(lane) => Some(Connection { place: self.clone(), lane }),
            Err(error) => {
                let is_news = self.circuit().failed(Instant::now());
                self.left_out(is_news, &error);
                None
            }
        }
    }

    async fn kept(&self) -> Option<Lane> {
        loop {
            let (since, mut lane) = self.idle().pop()?;
            if since.elapsed() < IDLE_FOR
                && let Ok(Ok(())) = tokio::time::timeout(READY_WAIT, lane.sender.ready()).await
            {
                return Some(lane);
            }
        }
    }

    async fn open(&self) -> io::Result<Lane> {
        let stream = TcpStream::connect((self.endpoint.host.as_str(), self.endpoint.port)).await?;
        stream.set_nodelay(true)?;
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
        SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
        if !self.endpoint.tls {
            return self.speak(stream).await;
        }
        let tls = self.tls.clone().ok_or(io::ErrorKind::Unsupported)?;
        let name = ServerName::try_from(self.endpoint.host.clone()).map_err(io::Error::other)?;
        self.speak(TlsConnector::from(tls).connect(name, stream).await?).await
    }

    async fn speak<IO>(&self, stream: IO) -> io::Result<Lane>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let stream = TokioIo::new(StallGuard::new(stream));
        let mut builder = http1::Builder::new();
        builder.max_buf_size(BUFFER_BYTES_MAX);
        let (sender, connection) = builder.handshake(stream).await.map_err(io::Error::other)?;
        let task = self.tracker.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "a connection to the other region ended"
                );
            }
        });
        Ok(Lane { sender, _task: AbortOnDropHandle::new(task) })
    }

    /// Returns once nobody is there any more for a request that was sent at `since`.
    async fn until_silent(self: Arc<Self>, since: Instant) {
        let mut verdicts = self.verdicts.subscribe();
        loop {
            let watch = self.circuit().watch(since, self.waits.patience, Instant::now());
            match watch {
                Watch::Until(due) => tokio::time::sleep_until(due).await,
                Watch::Probe => self.begin_probe(),
                // it ends with this place only, which is held here
                Watch::Wait => _ = verdicts.changed().await,
                Watch::GiveUp => return,
            }
        }
    }

    /// Sends the one probe that the circuit allowed; it ends by itself, whoever waits for it.
    fn begin_probe(self: &Arc<Self>) {
        let place = self.clone();
        self.tracker.spawn(async move {
            let probed = tokio::time::timeout(place.waits.probe, place.ask()).await;
            let error = match probed.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                // what stands in front of an endpoint says so of one that is away
                Ok(status @ (StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT)) => {
                    Some(io::Error::other(format!("answers {status}")))
                }
                Ok(_) => None,
                Err(error) => Some(error),
            };
            let verdict = match &error {
                None => Verdict::Answered,
                Some(error) if is_silence(error) => Verdict::Silent,
                Some(_) => Verdict::TurnedAway,
            };
            let is_news = place.circuit().probed(verdict, Instant::now());
            match error {
                None => place.back(is_news),
                Some(error) => place.left_out(is_news, &error),
            }
            place.verdicts.send_replace(());
        });
    }

    async fn ask(&self) -> io::Result<StatusCode> {
        let mut lane = self.open().await?;
        let request = head::probe(&self.endpoint, PassedBody::empty())?;
        Ok(lane.sender.send_request(request).await.map_err(io::Error::other)?.status())
    }

    fn left_out(&self, is_news: bool, error: &io::Error) {
        self.idle().clear();
        if is_news {
            let error = error as &dyn std::error::Error;
            tracing::warn!(endpoint = %self.endpoint, error, "the other region's S3 endpoint does not answer");
        }
    }

    fn back(&self, is_news: bool) {
        if is_news {
            tracing::info!(endpoint = %self.endpoint, "the other region's S3 endpoint answers again");
        }
    }

    fn circuit(&self) -> MutexGuard<'_, Circuit> {
        self.circuit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<(Instant, Lane)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nothing came back, not even a refusal.
fn is_silence(error: &io::Error) -> bool {
    use io::ErrorKind::{HostUnreachable, NetworkDown, NetworkUnreachable, TimedOut};
    matches!(error.kind(), TimedOut | HostUnreachable | NetworkUnreachable | NetworkDown)
}

impl Connection {
    /// What requests are sent by.
    pub(super) fn sender(&mut self) -> &mut SendRequest<PassedBody> {
        &mut self.lane.sender
    }

    /// Returns once nobody is there any more who could answer; asked from when all of it is `sent`, since bytes that are taken
    /// are a sign of life.
    pub(super) fn until_silent<F>(&self, sent: F) -> impl Future<Output = ()> + Send + use<F>
    where
        F: Future<Output = ()> + Send,
    {
        let place = self.place.clone();
        async move {
            sent.await;
            place.until_silent(Instant::now()).await;
        }
    }

    /// The endpoint answered: it is not left out any more.
    pub(super) fn is_well(&self) {
        let is_news = self.place.circuit().answered(Instant::now());
        self.place.back(is_news);
    }

    /// Keeps the connection for another request.
    pub(super) fn give_back(self) {
        let mut idle = self.place.idle();
        idle.retain(|(since, lane)| since.elapsed() < IDLE_FOR && !lane.sender.is_closed());
        if idle.len() < IDLE_MAX && !self.lane.sender.is_closed() {
            idle.push((Instant::now(), self.lane));
        }
    }
}
