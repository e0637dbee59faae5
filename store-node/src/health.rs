//! Health and metrics over plain HTTP, apart from S3: `/health/live`, `/health/ready`, `/health/writable`, `/metrics`.
//!
//! Live: the process answers. Ready: it can do its job, or says why not; groups whose requests are held for want of a leader
//! are told in the body alone. Writable: every group has a leader and room.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::debug;

/// Connections at once: a scraper, a load balancer or two, a curious operator.
const CONNECTIONS_MAX: usize = 64;

/// A request's head must arrive within this.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// What the endpoints tell.
pub trait Health: Send + Sync + 'static {
    /// Why the process cannot do its job; empty when it can.
    fn not_ready(&self) -> Vec<Reason>;

    /// What makes some requests wait though the process can do its job; told along with readiness.
    fn held(&self) -> Vec<Reason>;

    /// Why writes would fail; empty when they would not.
    fn not_writable(&self) -> Vec<Reason>;

    /// All metrics in Prometheus' text format.
    fn metrics(&self) -> String;
}

/// One thing that stands in the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// A short name that does not change.
    pub code: &'static str,
    /// What it is, in one sentence.
    pub message: String,
}

#[derive(Serialize)]
struct Report {
    status: &'static str,
    reasons: Vec<Reason>,
}

/// Serves until `stop`.
pub async fn serve(
    listener: TcpListener,
    health: Arc<dyn Health>,
    tracker: TaskTracker,
    stop: CancellationToken,
) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((socket, address)) = accepted else { continue };
        let Ok(permit) = Arc::clone(&connections).try_acquire_owned() else {
            debug!(%address, "too many health connections");
            continue;
        };
        let health = Arc::clone(&health);
        let stop = stop.clone();
        tracker.spawn(async move {
            let service = service_fn(move |request| answer(Arc::clone(&health), request));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .serve_connection(TokioIo::new(socket), service);
            tokio::select! {
                () = stop.cancelled() => {}
                result = connection => {
                    if let Err(error) = result {
                        debug!(%address, %error, "health connection ended");
                    }
                }
            }
            drop(permit);
        });
    }
}

async fn answer(
    health: Arc<dyn Health>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return Ok(respond(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET\n".to_owned()));
    }
    // the aliases are what load balancers already have in their configuration
    Ok(match request.uri().path() {
        "/health/live" | "/minio/health/live" => report(Vec::new(), Vec::new()),
        "/health/ready" | "/minio/health/ready" => report(health.not_ready(), health.held()),
        "/health/writable" | "/minio/health/cluster" => report(health.not_writable(), Vec::new()),
        "/metrics" => respond(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", health.metrics()),
        _ => respond(
            StatusCode::NOT_FOUND,
            "text/plain",
            "there is /health/live, /health/ready, /health/writable and /metrics\n".to_owned(),
        ),
    })
}

/// `notes` are told but do not count.
fn report(mut reasons: Vec<Reason>, notes: Vec<Reason>) -> Response<Full<Bytes>> {
    let (code, status) = if reasons.is_empty() {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
    };
    reasons.extend(notes);
    let body = serde_json::to_string(&Report { status, reasons }).expect("plain strings serialise");
    respond(code, "application/json", body + "\n")
}

fn respond(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    response
}
