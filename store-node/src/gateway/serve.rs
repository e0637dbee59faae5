//! Listeners: plain HTTP on loopback addresses, HTTPS elsewhere; how many connections, how slow they may be.

pub(super) mod stall;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Gateway;
use stall::StallGuard;

/// How long a head may take to arrive, and how long an idle connection is kept.
const HEAD_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long requests under way may take to end when the server stops: as long as one may be held.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(25);

/// Headers of one request (AWS allows as many).
const HEADERS_MAX: usize = 100;

/// Read buffer of a connection, bytes. 256 KiB: large bodies come in few pieces, and a head fits many times.
const READ_BUFFER_BYTES_MAX: usize = 256 << 10;

/// Pause after the process has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves the gateway on `listener` until `shutdown`; then ends requests under way and returns.
///
/// Without `tls` the listener must be on a loopback address.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    gateway: Gateway,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let address = listener.local_addr()?;
    if tls.is_none() && !address.ip().is_loopback() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "plain HTTP is served on loopback addresses only: configure a certificate",
        ));
    }
    tracing::info!(%address, tls = tls.is_some(), "gateway serving");
    let server = Server { gateway, tls: tls.map(TlsAcceptor::from), shutdown, peers: Arc::default() };
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = server.shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                if let Some(place) = server.admit(peer) {
                    connections.spawn(server.clone().connection(stream, place));
                }
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "connection not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(DRAIN_TIMEOUT, connections.wait()).await.is_err() {
        tracing::warn!(left = connections.len(), "connections cut at the end");
    }
    tracing::info!(%address, "gateway stopped");
    Ok(())
}

#[derive(Clone)]
struct Server {
    gateway: Gateway,
    tls: Option<TlsAcceptor>,
    shutdown: CancellationToken,
    peers: Arc<Peers>,
}

/// Connections by address.
#[derive(Default)]
struct Peers(Mutex<HashMap<IpAddr, usize>>);

/// A connection's place among those allowed; given back on drop.
struct PeerPlace {
    peers: Arc<Peers>,
    address: IpAddr,
    gateway: Gateway,
}

impl Server {
    fn admit(&self, peer: SocketAddr) -> Option<PeerPlace> {
        let core = &self.gateway.core;
        let (options, metrics) = (&core.options, &core.metrics);
        let mut peers = self.peers.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = peers.entry(peer.ip()).or_default();
        let total = metrics.connections.load(Ordering::Relaxed);
        if *count >= options.connections_per_address_max || total >= options.connections_max as u64 {
            metrics.connections_refused.fetch_add(1, Ordering::Relaxed);
            if *count == 0 {
                peers.remove(&peer.ip());
            }
            return None;
        }
        *count += 1;
        metrics.connections.fetch_add(1, Ordering::Relaxed);
        Some(PeerPlace { peers: self.peers.clone(), address: peer.ip(), gateway: self.gateway.clone() })
    }

    async fn connection(self, stream: TcpStream, _place: PeerPlace) {
        // without it the last piece of an answer waits for the client's acknowledgement
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(error = &error as &dyn std::error::Error, "connection lost before it began");
            return;
        }
        match self.tls.clone() {
            None => self.requests(stream).await,
            Some(acceptor) => match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => self.requests(stream).await,
                Ok(Err(error)) => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "handshake failed");
                }
                Err(_) => tracing::debug!("handshake took too long"),
            },
        }
    }

    async fn requests<IO>(self, stream: IO)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let gateway = self.gateway;
        let service = service_fn(move |request| {
            let gateway = gateway.clone();
            async move { gateway.answer(request).await }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_headers(HEADERS_MAX)
            .max_buf_size(READ_BUFFER_BYTES_MAX)
            .serve_connection(TokioIo::new(StallGuard::new(stream)), service);
        let mut connection = std::pin::pin!(connection);
        let result = tokio::select! {
            result = connection.as_mut() => result,
            () = self.shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = result {
            tracing::debug!(error = &error as &dyn std::error::Error, "connection ended early");
        }
    }
}

impl Drop for PeerPlace {
    fn drop(&mut self) {
        let mut peers = self.peers.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = peers.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                peers.remove(&self.address);
            }
        }
        self.gateway.core.metrics.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
