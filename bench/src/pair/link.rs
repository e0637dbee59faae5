//! A slow link on one machine: a TCP proxy in user space that holds what passes for half a round trip, each way.
//!
//! Bytes keep their order and are never lost; the kernel's own handshake on loopback is not delayed, so opening a
//! connection takes one round trip less than over a real link of this length.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use crate::error::BenchError;

/// Bytes read at once.
const PIECE_BYTES: usize = 64 << 10;
/// Pieces on the way at once, each way of one connection: 256 MiB, more than a gigabyte a second over 100 ms holds.
const PIECES_MAX: usize = 4_096;

/// The same of a link with a limit: what it holds is late already.
const PIECES_MAX_LIMITED: usize = 4;

/// How long a link is, and how wide.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Half a round trip.
    pub one_way: Duration,
    /// What passes in a second, both ways of all its connections together; none: as much as comes.
    pub bytes_per_second: Option<u64>,
}

impl Shape {
    /// Between two regions of one continent.
    pub const CONTINENT: Self = Self::wide(Duration::from_millis(60));

    /// Lets as much pass as comes.
    pub const fn wide(round_trip: Duration) -> Self {
        Self { one_way: Duration::from_nanos(round_trip.as_nanos() as u64 / 2), bytes_per_second: None }
    }
}

/// What the connections of a link share.
struct Shared {
    shape: Shape,
    passed_bytes: Arc<AtomicU64>,
    /// Until when it is taken.
    taken_until: Mutex<Instant>,
}

/// A link to one address; it ends when dropped.
pub struct Link {
    address: SocketAddr,
    passed_bytes: Arc<AtomicU64>,
    task: AbortHandle,
}

impl Link {
    /// Listens on loopback and passes everything on to `to`.
    pub async fn start(to: SocketAddr, shape: Shape) -> Result<Self, BenchError> {
        let failed = |error: std::io::Error| BenchError::Transport {
            operation: "listen",
            detail: format!("a link to {to}: {error}"),
        };
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let passed_bytes = Arc::new(AtomicU64::new(0));
        let taken_until = Mutex::new(Instant::now());
        let shared = Arc::new(Shared { shape, passed_bytes: Arc::clone(&passed_bytes), taken_until });
        let task = tokio::spawn(serve(listener, to, shared)).abort_handle();
        Ok(Self { address, passed_bytes, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Bytes that passed so far, both ways.
    pub fn passed_bytes(&self) -> u64 {
        self.passed_bytes.load(Ordering::Relaxed)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    /// Takes the link for so many bytes after those that came before; says until when.
    fn take(&self, bytes: usize) -> Option<Instant> {
        let rate = self.shape.bytes_per_second?;
        let mut taken_until = self.taken_until.lock().unwrap_or_else(PoisonError::into_inner);
        *taken_until =
            Instant::now().max(*taken_until) + Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64);
        Some(*taken_until)
    }
}

async fn serve(listener: TcpListener, to: SocketAddr, shared: Arc<Shared>) {
    // dropped with this task, and every connection with it
    let mut connections = JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        connections.spawn(connect(near, to, Arc::clone(&shared)));
    }
}

async fn connect(near: TcpStream, to: SocketAddr, shared: Arc<Shared>) {
    let Ok(far) = TcpStream::connect(to).await else { return };
    // without delay a small piece would wait for the answer to the one before
    drop(near.set_nodelay(true).and(far.set_nodelay(true)));
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    tokio::join!(pass(near_in, far_out, &shared), pass(far_in, near_out, &shared));
}

/// Passes one way on until either end closes; then the end is passed on too.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, shared: &Shared) {
    let Shape { one_way, bytes_per_second } = shared.shape;
    let pieces_max = if bytes_per_second.is_some() { PIECES_MAX_LIMITED } else { PIECES_MAX };
    let (sender, mut receiver) = mpsc::channel::<(Instant, Bytes)>(pieces_max);
    let read = async move {
        let mut buffer = vec![0; PIECE_BYTES];
        while let Ok(length) = from.read(&mut buffer).await {
            let piece = Bytes::copy_from_slice(&buffer[..length]);
            // an empty one is the end
            if sender.send((Instant::now() + one_way, piece)).await.is_err() || length == 0 {
                break;
            }
        }
    };
    let write = async move {
        while let Some((due, piece)) = receiver.recv().await {
            tokio::time::sleep_until(due.into()).await;
            if let Some(taken_until) = shared.take(piece.len()) {
                tokio::time::sleep_until(taken_until.into()).await;
            }
            if piece.is_empty() || to.write_all(&piece).await.is_err() {
                break;
            }
            shared.passed_bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
        }
        // the other side may be gone already
        drop(to.shutdown().await);
    };
    tokio::join!(read, write);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everything_passes_in_order_and_no_sooner_than_it_may() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let one_way = Duration::from_millis(20);
        let shape = Shape { one_way, bytes_per_second: Some(8 << 20) };
        let link = Link::start(listener.local_addr().unwrap(), shape).await.unwrap();
        let echo = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (mut from, mut to) = stream.split();
            tokio::io::copy(&mut from, &mut to).await.unwrap()
        });
        let sent: Vec<u8> = (0..1_000_000_u32).map(|number| (number % 251) as u8).collect();
        let began = Instant::now();
        let (mut from, mut to) = TcpStream::connect(link.address()).await.unwrap().into_split();
        let (there, back) = (sent.clone(), async {
            let mut received = Vec::new();
            from.read_to_end(&mut received).await.unwrap();
            received
        });
        let sending = async {
            to.write_all(&there).await.unwrap();
            to.shutdown().await.unwrap();
        };
        let ((), received) = tokio::join!(sending, back);
        // both ways share what may pass
        let least = 2.0 * sent.len() as f64 / f64::from(8 << 20);
        assert!(began.elapsed() >= 2 * one_way + Duration::from_secs_f64(least * 0.9));
        assert_eq!(received, sent);
        assert_eq!(echo.await.unwrap(), sent.len() as u64);
        assert_eq!(link.passed_bytes(), 2 * sent.len() as u64);
    }
}
