//! Clients that store one small object each, again and again, and remember how long they waited.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Uri};
use http_body_util::Full;
use tokio::task::JoinSet;

use crate::connection::{Connection, consume, first_words, text};
use crate::error::BenchError;
use crate::target::{BUCKET, Target};

/// Keys, one writer each: enough that every group of a development region has some.
const KEYS: usize = 24;
/// Pause of a writer after each answer; part of every gap, and small against the limits.
const PAUSE: Duration = Duration::from_millis(10);
/// A default SDK gives up on a request after so long.
const PATIENCE: Duration = Duration::from_secs(60);
/// What is stored.
const BODY: &[u8; 64] = &[0x5a; 64];

/// One key's history.
struct Key {
    /// The last acknowledgement.
    acknowledged: Instant,
    /// When the request it answered was begun.
    begun: Instant,
    /// The longest time between two acknowledgements since it was last forgotten.
    gap: Duration,
}

/// Running writers; ended when dropped.
pub(super) struct Writers {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

struct Shared {
    target: Target,
    host: HeaderValue,
    keys: Vec<Mutex<Key>>,
    is_over: AtomicBool,
    writes: AtomicU64,
    errors: AtomicU64,
    first_error: Mutex<Option<String>>,
}

impl Writers {
    /// Starts one writer for each key.
    pub(super) fn start(target: &Target) -> Result<Self, BenchError> {
        let failed = |detail: String| BenchError::Transport { operation: "prepare", detail };
        let host =
            HeaderValue::from_str(target.authority.as_str()).map_err(|error| failed(error.to_string()))?;
        let now = Instant::now();
        let key = || Mutex::new(Key { acknowledged: now, begun: now, gap: Duration::ZERO });
        let shared = Arc::new(Shared {
            target: target.clone(),
            host,
            keys: std::iter::repeat_with(key).take(KEYS).collect(),
            is_over: AtomicBool::new(false),
            writes: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            first_error: Mutex::new(None),
        });
        let signer = target.signer();
        let mut tasks = JoinSet::new();
        for number in 0..KEYS {
            let path = format!("/{BUCKET}/failover/{number}");
            let address = signer.presign("PUT", target.authority.as_str(), &path, &[]);
            let address: Uri =
                address.parse().map_err(|error: http::uri::InvalidUri| failed(error.to_string()))?;
            tasks.spawn(write(Arc::clone(&shared), number, address));
        }
        Ok(Self { shared, tasks })
    }

    /// Begins new gaps; the one that is running goes on.
    pub(super) fn forget_gaps(&self) {
        for key in &self.shared.keys {
            lock(key).gap = Duration::ZERO;
        }
    }

    /// Waits until every key has an acknowledged write that was begun after `moment`; returns each key's longest gap
    /// in milliseconds.
    pub(super) async fn gaps_after(&self, moment: Instant, limit: Duration) -> Result<Vec<f64>, BenchError> {
        while self.shared.keys.iter().any(|key| lock(key).begun <= moment) {
            if moment.elapsed() > limit {
                let what = "the next acknowledged write of every key".to_owned();
                return Err(BenchError::Late { what, limit_s: limit.as_secs() });
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(self.shared.keys.iter().map(|key| lock(key).gap.as_secs_f64() * 1e3).collect())
    }

    /// Ends all writers; returns writes, failures and the first failure.
    pub(super) async fn end(mut self) -> (u64, u64, Option<String>) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        while self.tasks.join_next().await.is_some() {}
        let shared = &self.shared;
        let first_error = lock(&shared.first_error).clone();
        (shared.writes.load(Ordering::Relaxed), shared.errors.load(Ordering::Relaxed), first_error)
    }
}

/// Nothing here can leave a half-made value behind, so a poisoned lock is as good as another.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn write(shared: Arc<Shared>, number: usize, address: Uri) {
    let mut connection = None;
    while !shared.is_over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let result = match tokio::time::timeout(PATIENCE, put(&shared, &mut connection, &address)).await {
            Ok(result) => result,
            Err(_) => Err(BenchError::Late { what: "an answer".to_owned(), limit_s: PATIENCE.as_secs() }),
        };
        match result {
            Ok(()) => {
                shared.writes.fetch_add(1, Ordering::Relaxed);
                let now = Instant::now();
                let mut key = lock(&shared.keys[number]);
                key.gap = key.gap.max(now - key.acknowledged);
                (key.acknowledged, key.begun) = (now, begun);
            }
            Err(error) => {
                connection = None;
                shared.errors.fetch_add(1, Ordering::Relaxed);
                lock(&shared.first_error).get_or_insert_with(|| error.chain());
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn put(shared: &Shared, kept: &mut Option<Connection>, address: &Uri) -> Result<(), BenchError> {
    let connection = match kept {
        Some(connection) => connection,
        None => kept.insert(Connection::open(&shared.target.authority).await?),
    };
    let mut request = Request::new(Full::new(Bytes::from_static(BODY)));
    *request.method_mut() = Method::PUT;
    *request.uri_mut() = address.clone();
    request.headers_mut().insert(http::header::HOST, shared.host.clone());
    let answer = connection.send(request).await?;
    let status = answer.status();
    if status.is_success() {
        consume(answer.into_body(), None).await?;
        return Ok(());
    }
    let body = first_words(&text(answer.into_body()).await?);
    Err(BenchError::Answer { operation: "PUT".to_owned(), status: status.as_u16(), body })
}
