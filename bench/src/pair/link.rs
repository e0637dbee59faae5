//! A slow link on one machine: a TCP proxy in user space that holds what passes for half a round trip, each way.
//!
//! Bytes keep their order and are never lost; the kernel's own handshake on loopback is not delayed, so opening a
//! connection takes one round trip less than over a real link of this length.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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

/// A link to one address; it ends when dropped.
pub struct Link {
    address: SocketAddr,
    passed_bytes: Arc<AtomicU64>,
    task: AbortHandle,
}

impl Link {
    /// Listens on loopback and passes everything on to `to`, `one_way` later.
    pub async fn start(to: SocketAddr, one_way: Duration) -> Result<Self, BenchError> {
        let failed = |error: std::io::Error| BenchError::Transport {
            operation: "listen",
            detail: format!("a link to {to}: {error}"),
        };
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let passed_bytes = Arc::new(AtomicU64::new(0));
        let task = tokio::spawn(serve(listener, to, one_way, Arc::clone(&passed_bytes))).abort_handle();
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

async fn serve(listener: TcpListener, to: SocketAddr, one_way: Duration, passed: Arc<AtomicU64>) {
    // dropped with this task, and every connection with it
    let mut connections = JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        connections.spawn(connect(near, to, one_way, Arc::clone(&passed)));
    }
}

async fn connect(near: TcpStream, to: SocketAddr, one_way: Duration, passed: Arc<AtomicU64>) {
    let Ok(far) = TcpStream::connect(to).await else { return };
    // without delay a small piece would wait for the answer to the one before
    drop(near.set_nodelay(true).and(far.set_nodelay(true)));
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    let there = pass(near_in, far_out, one_way, &passed);
    let back = pass(far_in, near_out, one_way, &passed);
    tokio::join!(there, back);
}

/// Passes one way on until either end closes; then the end is passed on too.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, one_way: Duration, passed: &AtomicU64) {
    let (sender, mut receiver) = mpsc::channel::<(Instant, Bytes)>(PIECES_MAX);
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
            if piece.is_empty() || to.write_all(&piece).await.is_err() {
                break;
            }
            passed.fetch_add(piece.len() as u64, Ordering::Relaxed);
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
        let link = Link::start(listener.local_addr().unwrap(), one_way).await.unwrap();
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
        assert!(began.elapsed() >= 2 * one_way);
        assert_eq!(received, sent);
        assert_eq!(echo.await.unwrap(), sent.len() as u64);
        assert_eq!(link.passed_bytes(), 2 * sent.len() as u64);
    }
}
