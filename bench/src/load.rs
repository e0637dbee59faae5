//! Drives prepared requests over a fixed number of connections and times each.
//!
//! A run is bounded by time or by its list and always drains: it ends when the last request is answered, so every
//! request that cost the server something is counted. Failed requests are counted apart and their connection is
//! replaced.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Uri};
use http_body_util::Full;
use tokio::task::JoinSet;

use crate::connection::{Connection, consume, first_words, text};
use crate::content::{Content, ContentId};
use crate::error::BenchError;
use crate::statistics::Histogram;
use crate::target::Target;

/// Longest wait for one answer: 64 × 16 MiB in flight on the slowest peer take about half of it.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);
/// Pause after a failed request, so that a server that is down costs no busy loop.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(20);
/// A run stops early after this many failures: it can no longer be used, only explained.
const ERRORS_MAX: u64 = 1_000;

/// An object's identity and length.
#[derive(Clone, Copy, Debug)]
pub struct Body {
    /// Whose bytes.
    pub id: ContentId,
    /// How many.
    pub bytes: u64,
}

/// What an answer should hold, looked at on a sample.
#[derive(Clone, Debug)]
pub enum Expected {
    /// Nothing is looked at.
    Anything,
    /// An object's bytes.
    Object(Body),
    /// A listing of so many keys that begins with this one.
    Keys {
        /// The first key.
        first: String,
        /// How many.
        count: usize,
    },
}

/// A request that only needs to be sent.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its method.
    pub method: Method,
    /// Path and query with signature.
    pub address: Uri,
    /// What it stores.
    pub body: Option<Body>,
    /// What comes back.
    pub expected: Expected,
}

/// When a run ends.
#[derive(Clone, Copy, Debug)]
pub enum Limit {
    /// No new request after this time; the list is repeated as often as needed.
    Time(Duration),
    /// After so many requests from the list's beginning.
    Count(usize),
}

/// A run to make.
#[derive(Clone)]
pub struct Run {
    /// The prepared requests.
    pub steps: Arc<Vec<Step>>,
    /// Connections, each with one request in flight.
    pub connections: usize,
    /// When to end.
    pub limit: Limit,
    /// Requests begun in a second, all connections together; as many as are answered when absent.
    pub per_second: Option<f64>,
    /// One answer of so many is compared.
    pub sample_every: usize,
}

/// What a run did.
#[derive(Default)]
pub struct Outcome {
    /// Latency of the requests that succeeded.
    pub latency: Histogram,
    /// Requests that did not.
    pub errors: u64,
    /// The first failure.
    pub first_error: Option<String>,
    /// Payload bytes of the requests that succeeded, in both directions.
    pub payload_bytes: u64,
    /// Payload bytes stored.
    pub stored_bytes: u64,
    /// Answers compared.
    pub checked: u64,
    /// Answers that were not what was stored.
    pub different: u64,
    /// From the first request to the last answer.
    pub elapsed: Duration,
    /// Requests begun.
    pub begun: usize,
}

/// Makes a run against a target.
pub async fn drive(target: &Target, content: &Content, run: Run) -> Result<Outcome, BenchError> {
    let mut connections = Vec::new();
    for _ in 0..run.connections {
        // Opened before the clock starts; a worker that got none reports the failure with its first request.
        connections.push(Connection::open(&target.authority).await.ok());
    }
    let begin = Instant::now();
    let shared = Arc::new(Shared {
        target: target.clone(),
        content: content.clone(),
        host: HeaderValue::from_str(target.authority.as_str())
            .map_err(|error| BenchError::Transport { operation: "request", detail: error.to_string() })?,
        next: AtomicUsize::new(0),
        end: match run.limit {
            Limit::Time(time) => Some(begin + time),
            Limit::Count(_) => None,
        },
        count: match run.limit {
            Limit::Time(_) => usize::MAX,
            Limit::Count(count) => count,
        },
        steps: run.steps,
        sample_every: run.sample_every.max(1),
        begin,
        per_second: run.per_second,
    });
    let mut workers = JoinSet::new();
    for connection in connections {
        workers.spawn(work(Arc::clone(&shared), connection));
    }
    let mut outcome = Outcome::default();
    while let Some(part) = workers.join_next().await {
        let part = part.map_err(|error| BenchError::Process {
            program: "load worker".to_owned(),
            detail: error.to_string(),
        })?;
        outcome.add(part);
    }
    outcome.elapsed = begin.elapsed();
    outcome.begun = shared.next.load(Ordering::Relaxed).min(shared.count);
    Ok(outcome)
}

impl Outcome {
    fn add(&mut self, part: Outcome) {
        self.latency.merge(&part.latency);
        self.errors += part.errors;
        self.first_error = self.first_error.take().or(part.first_error);
        self.payload_bytes += part.payload_bytes;
        self.stored_bytes += part.stored_bytes;
        self.checked += part.checked;
        self.different += part.different;
    }

    /// An error when any request failed or any answer differed: for runs that only prepare.
    pub fn all_good(self, what: &str) -> Result<Self, BenchError> {
        if self.errors == 0 && self.different == 0 {
            return Ok(self);
        }
        let detail = format!(
            "{what}: {} requests failed, {} answers differ; first failure: {}",
            self.errors,
            self.different,
            self.first_error.as_deref().unwrap_or("none"),
        );
        Err(BenchError::Verdict { detail })
    }
}

struct Shared {
    target: Target,
    content: Content,
    host: HeaderValue,
    next: AtomicUsize,
    end: Option<Instant>,
    count: usize,
    steps: Arc<Vec<Step>>,
    sample_every: usize,
    begin: Instant,
    per_second: Option<f64>,
}

struct Answered {
    received_bytes: u64,
    is_checked: bool,
    is_equal: bool,
}

async fn work(shared: Arc<Shared>, mut connection: Option<Connection>) -> Outcome {
    let mut outcome = Outcome::default();
    let mut now = Instant::now();
    while shared.end.is_none_or(|end| now < end) && outcome.errors < ERRORS_MAX {
        let number = shared.next.fetch_add(1, Ordering::Relaxed);
        if number >= shared.count {
            break;
        }
        if let Some(rate) = shared.per_second {
            let due = shared.begin + Duration::from_secs_f64(number as f64 / rate);
            tokio::time::sleep_until(due.into()).await;
            now = Instant::now();
        }
        let step = &shared.steps[number % shared.steps.len()];
        let is_sampled = number.is_multiple_of(shared.sample_every);
        let exchange = exchange(&shared, &mut connection, step, is_sampled);
        let result = match tokio::time::timeout(REQUEST_TIMEOUT, exchange).await {
            Ok(result) => result,
            Err(_) => {
                Err(BenchError::Late { what: "an answer".to_owned(), limit_s: REQUEST_TIMEOUT.as_secs() })
            }
        };
        let begun = now;
        now = Instant::now();
        match result {
            Ok(answered) => {
                let sent_bytes = step.body.map_or(0, |body| body.bytes);
                outcome.latency.record(now - begun);
                outcome.payload_bytes += sent_bytes + answered.received_bytes;
                outcome.stored_bytes += sent_bytes;
                outcome.checked += u64::from(answered.is_checked);
                outcome.different += u64::from(!answered.is_equal);
            }
            Err(error) => {
                connection = None;
                outcome.errors += 1;
                outcome.first_error.get_or_insert_with(|| error.chain());
                tokio::time::sleep(PAUSE_AFTER_ERROR).await;
                now = Instant::now();
            }
        }
    }
    outcome
}

async fn exchange(
    shared: &Shared,
    kept: &mut Option<Connection>,
    step: &Step,
    is_sampled: bool,
) -> Result<Answered, BenchError> {
    let connection = match kept {
        Some(connection) => connection,
        None => kept.insert(Connection::open(&shared.target.authority).await?),
    };
    let body = step.body.map_or_else(Bytes::new, |body| shared.content.body(body.id, body.bytes));
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = step.method.clone();
    *request.uri_mut() = step.address.clone();
    request.headers_mut().insert(http::header::HOST, shared.host.clone());
    let answer = connection.send(request).await?;
    let status = answer.status();
    if !status.is_success() {
        let body = first_words(&text(answer.into_body()).await?);
        return Err(BenchError::Answer { operation: step.method.to_string(), status: status.as_u16(), body });
    }
    match (&step.expected, is_sampled) {
        (Expected::Object(body), true) => {
            let expected = shared.content.body(body.id, body.bytes);
            let consumed = consume(answer.into_body(), Some(&expected)).await?;
            Ok(Answered { received_bytes: consumed.bytes, is_checked: true, is_equal: consumed.is_equal })
        }
        (Expected::Keys { first, count }, true) => {
            let listing = text(answer.into_body()).await?;
            let is_equal = is_listing_of(&listing, first, *count);
            Ok(Answered { received_bytes: listing.len() as u64, is_checked: true, is_equal })
        }
        (Expected::Object(body), false) => {
            let consumed = consume(answer.into_body(), None).await?;
            // Lengths are compared always: a short answer must not pass for a fast one.
            let is_equal = consumed.bytes == body.bytes;
            Ok(Answered { received_bytes: consumed.bytes, is_checked: false, is_equal })
        }
        _ => {
            let consumed = consume(answer.into_body(), None).await?;
            Ok(Answered { received_bytes: consumed.bytes, is_checked: false, is_equal: true })
        }
    }
}

fn is_listing_of(listing: &str, first: &str, count: usize) -> bool {
    let mut keys = listing.split("<Key>").skip(1);
    let begins =
        keys.next().is_some_and(|rest| rest.strip_prefix(first).is_some_and(|end| end.starts_with('<')));
    begins && keys.count() + 1 == count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_right_when_its_first_key_and_number_are() {
        let listing = "<R><Contents><Key>a/1</Key></Contents><Contents><Key>a/2</Key></Contents></R>";
        assert!(is_listing_of(listing, "a/1", 2));
        assert!(!is_listing_of(listing, "a/", 2));
        assert!(!is_listing_of(listing, "a/2", 2));
        assert!(!is_listing_of(listing, "a/1", 3));
        assert!(!is_listing_of("<R></R>", "a/1", 0));
    }
}
