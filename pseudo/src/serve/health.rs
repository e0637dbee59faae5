//! Health and metrics over plain HTTP on this machine alone: `/health/live`, `/health/ready`, `/metrics`.
//!
//! Live: the process answers. Ready: it is open and none of its jobs fails, or it says why not.

use super::metrics;
use super::state::{Reason, Shared};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::debug;

/// Connections at once: a scraper, a check or two, a curious operator.
const CONNECTIONS_MAX: usize = 64;
/// A request's head must arrive within this.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Serialize)]
struct Report {
    status: &'static str,
    reasons: Vec<Reason>,
}

/// Serves until `stop`.
pub(crate) async fn serve(
    listener: TcpListener,
    shared: Arc<Shared>,
    tracker: TaskTracker,
    stop: CancellationToken,
) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((socket, _)) = accepted else { continue };
        let Ok(permit) = Arc::clone(&connections).try_acquire_owned() else {
            debug!("too many health connections");
            continue;
        };
        let (shared, stop) = (Arc::clone(&shared), stop.clone());
        tracker.spawn(async move {
            let service = service_fn(move |request| answer(Arc::clone(&shared), request));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .serve_connection(TokioIo::new(socket), service);
            tokio::select! {
                () = stop.cancelled() => {}
                result = connection => {
                    if let Err(error) = result {
                        debug!(%error, "health connection ended");
                    }
                }
            }
            drop(permit);
        });
    }
}

async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return Ok(respond(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET\n".to_owned()));
    }
    Ok(match request.uri().path() {
        "/health/live" => report(Vec::new()),
        "/health/ready" => report(shared.not_ready()),
        "/metrics" => {
            respond(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", metrics::render(&shared))
        }
        _ => respond(
            StatusCode::NOT_FOUND,
            "text/plain",
            "there is /health/live, /health/ready and /metrics\n".to_owned(),
        ),
    })
}

fn report(reasons: Vec<Reason>) -> Response<Full<Bytes>> {
    let (code, status) = if reasons.is_empty() {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
    };
    let body = serde_json::to_string(&Report { status, reasons }).expect("plain strings serialise");
    respond(code, "application/json", body + "\n")
}

fn respond(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    response
}
