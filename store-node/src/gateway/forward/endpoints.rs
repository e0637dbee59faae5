//! The other region's S3 endpoints: taken in turn, left out for a moment when they do not answer, connections used again.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::body::PassedBody;
use crate::config::Endpoint;
use crate::gateway::serve::stall::StallGuard;

/// How long an endpoint may take until it can be asked: name, connection and handshake.
const CONNECT_WAIT: Duration = Duration::from_secs(3);

/// How long an endpoint that did not answer is left out.
const OUT_FOR: Duration = Duration::from_secs(1);

/// Connections kept to one endpoint while nothing is asked there.
const IDLE_MAX: usize = 32;

/// How long they are kept. Half of what a gateway allows: one that is about to be closed is not used.
const IDLE_FOR: Duration = Duration::from_secs(10);

/// How long a connection may take to be ready again after an answer.
const READY_WAIT: Duration = Duration::from_millis(100);

/// Read buffer of a connection, bytes. 128 KiB: large bodies come in few pieces.
const BUFFER_BYTES_MAX: usize = 128 << 10;

/// All endpoints.
pub(super) struct Endpoints {
    all: Vec<Arc<Place>>,
    next: AtomicUsize,
    tls: Option<Arc<ClientConfig>>,
    tracker: TaskTracker,
}

/// One endpoint.
struct Place {
    endpoint: Endpoint,
    out_until: Mutex<Option<Instant>>,
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

impl Endpoints {
    pub(super) fn new(
        endpoints: Vec<Endpoint>,
        tls: Option<Arc<ClientConfig>>,
        tracker: TaskTracker,
    ) -> Self {
        let place = |endpoint| Place { endpoint, out_until: Mutex::default(), idle: Mutex::default() };
        let all = endpoints.into_iter().map(|endpoint| Arc::new(place(endpoint))).collect();
        Self { all, next: AtomicUsize::new(0), tls, tracker }
    }

    /// A connection to the first endpoint that has one; `None` when none has.
    pub(super) async fn connect(&self) -> Option<Connection> {
        let first = self.next.fetch_add(1, Ordering::Relaxed) % self.all.len().max(1);
        let (before, after) = self.all.split_at(first);
        for place in after.iter().chain(before) {
            if place.is_out() {
                continue;
            }
            if let Some(lane) = place.idle().await {
                return Some(Connection { place: place.clone(), lane });
            }
            match tokio::time::timeout(CONNECT_WAIT, self.open(&place.endpoint)).await {
                Ok(Ok(lane)) => return Some(Connection { place: place.clone(), lane }),
                Ok(Err(error)) => place.leave_out(&error),
                Err(_) => place.leave_out(&io::ErrorKind::TimedOut.into()),
            }
        }
        None
    }

    async fn open(&self, endpoint: &Endpoint) -> io::Result<Lane> {
        let stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await?;
        stream.set_nodelay(true)?;
        if !endpoint.tls {
            return self.speak(stream).await;
        }
        let tls = self.tls.clone().ok_or(io::ErrorKind::Unsupported)?;
        let name = ServerName::try_from(endpoint.host.clone()).map_err(io::Error::other)?;
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
}

impl Place {
    fn is_out(&self) -> bool {
        let until = *self.out_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    fn leave_out(&self, error: &io::Error) {
        let until = Instant::now() + OUT_FOR;
        let before = self.out_until.lock().unwrap_or_else(PoisonError::into_inner).replace(until);
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
        if before.is_none() {
            let error = error as &dyn std::error::Error;
            tracing::warn!(endpoint = %self.endpoint, error, "the other region's S3 endpoint does not answer");
        }
    }

    async fn idle(&self) -> Option<Lane> {
        loop {
            let (since, mut lane) = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
            if since.elapsed() < IDLE_FOR
                && let Ok(Ok(())) = tokio::time::timeout(READY_WAIT, lane.sender.ready()).await
            {
                return Some(lane);
            }
        }
    }
}

impl Connection {
    /// What requests are sent by.
    pub(super) fn sender(&mut self) -> &mut SendRequest<PassedBody> {
        &mut self.lane.sender
    }

    /// The endpoint answered: it is not left out any more.
    pub(super) fn is_well(&self) {
        let before = self.place.out_until.lock().unwrap_or_else(PoisonError::into_inner).take();
        if before.is_some() {
            tracing::info!(endpoint = %self.place.endpoint, "the other region's S3 endpoint answers again");
        }
    }

    /// The endpoint took a request and said nothing: others are asked for a moment.
    pub(super) fn is_silent(&self) {
        self.place.leave_out(&io::ErrorKind::TimedOut.into());
    }

    /// Keeps the connection for another request.
    pub(super) fn give_back(self) {
        let mut idle = self.place.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(since, lane)| since.elapsed() < IDLE_FOR && !lane.sender.is_closed());
        if idle.len() < IDLE_MAX && !self.lane.sender.is_closed() {
            idle.push((Instant::now(), self.lane));
        }
    }
}
