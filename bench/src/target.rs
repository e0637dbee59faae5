//! A server under test: where it is, how to sign, and which processes are it.

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;

use crate::clock::Moment;
use crate::connection::{Authority, Connection, first_words, text};
use crate::error::BenchError;
use crate::metrics::MetricsAddress;
use crate::sign::{Canonical, Credentials, Signer, UNSIGNED_PAYLOAD};

/// The bucket that every run uses.
pub const BUCKET: &str = "bench";

/// A server under test.
#[derive(Clone)]
pub struct Target {
    /// Name in reports: `twinkeep`, `garage-fsync`, …
    pub name: String,
    /// Where it listens.
    pub authority: Authority,
    /// The key pair.
    pub credentials: Arc<Credentials>,
    /// The region it signs for.
    pub region: String,
    /// All its processes on this host; empty when they are elsewhere or unknown.
    pub processes: Vec<u32>,
    /// Prometheus endpoints of its storage nodes, where it has any.
    pub metrics: Vec<MetricsAddress>,
    /// How many copies it keeps of each byte.
    pub copies: u32,
}

impl Target {
    /// A signer for requests that are prepared now.
    pub fn signer(&self) -> Signer {
        Signer::new(&self.credentials, &self.region, Moment::now())
    }

    /// Makes the bucket unless it is there.
    pub async fn make_bucket(&self) -> Result<(), BenchError> {
        let mut connection = Connection::open(&self.authority).await?;
        let request = self.signed("PUT", &format!("/{BUCKET}"), Bytes::new())?;
        let answer = connection.send(request).await?;
        let status = answer.status();
        let body = text(answer.into_body()).await?;
        if status.is_success() || body.contains("BucketAlreadyOwnedByYou") {
            return Ok(());
        }
        let operation = format!("CreateBucket {BUCKET}");
        Err(BenchError::Answer { operation, status: status.as_u16(), body: first_words(&body) })
    }

    /// Stores one object, for readiness and start-up times.
    pub async fn put_once(&self, key: &str, body: Bytes) -> Result<(), BenchError> {
        let mut connection = Connection::open(&self.authority).await?;
        let answer = connection.send(self.signed("PUT", &format!("/{BUCKET}/{key}"), body)?).await?;
        let status = answer.status();
        let body = text(answer.into_body()).await?;
        if status.is_success() {
            return Ok(());
        }
        let operation = format!("PutObject {key}");
        Err(BenchError::Answer { operation, status: status.as_u16(), body: first_words(&body) })
    }

    /// A request with signed headers, for what is not timed.
    pub fn signed(&self, method: &str, path: &str, body: Bytes) -> Result<Request<Full<Bytes>>, BenchError> {
        let signer = self.signer();
        let headers = [
            ("host", self.authority.as_str()),
            ("x-amz-content-sha256", UNSIGNED_PAYLOAD),
            ("x-amz-date", signer.moment()),
        ];
        let canonical = Canonical { method, path, query: &[], headers: &headers, payload: UNSIGNED_PAYLOAD };
        let authorization = signer.authorization(canonical);
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        request
            .header("authorization", authorization)
            .body(Full::new(body))
            .map_err(|error| BenchError::Transport { operation: "request", detail: error.to_string() })
    }
}
