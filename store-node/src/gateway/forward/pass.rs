//! One request on one connection to the other region, up to the head of its answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use s3s::HttpResponse;

use super::body::{AnsweredBody, Consent, PassedBody, Progress};
use super::place::Connection;
use super::{Forward, Outcome, head};
use crate::gateway::guard::body::GuardedBody;

/// A body that is read though it goes nowhere, bytes. 64 KiB: what clients send in one go, and answers wait for nothing more.
const DISCARDED_BYTES_MAX: u64 = 64 << 10;

/// How long it may take to come. 1 s: it is on its way.
const DISCARD_WAIT: Duration = Duration::from_secs(1);

/// Connections tried for one request: kept ones may have ended meanwhile, which is seen before anything is sent.
const CONNECTIONS_MAX: usize = 4;

impl Forward {
    /// Passes a request on and waits for the head of the answer.
    pub(super) async fn pass(
        &self,
        head: &Parts,
        body: Option<GuardedBody>,
    ) -> Result<HttpResponse, Outcome> {
        // no place is taken, and no client kept waiting, for endpoints that are known to be away
        if !self.endpoints.admit() {
            if let Some(body) = body.filter(|_| !head.headers.contains_key(header::EXPECT)) {
                discard(body).await;
            }
            return Err(Outcome::Unreachable);
        }
        let room = self.room.request().await.map_err(|_| Outcome::Overloaded)?;
        let progress = Arc::<Progress>::default();
        let expects = head
            .headers
            .get(header::EXPECT)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        let consent = (expects && body.is_some()).then(Consent::default);
        let body = PassedBody::new(body, consent.clone(), progress.clone());
        let mut request = head::request(head, &self.name, body);
        if let Some(consent) = consent {
            hyper::ext::on_informational(&mut request, move |answer| {
                if answer.status() == StatusCode::CONTINUE {
                    consent.give();
                }
            });
        }
        let (answer, connection) = self.exchange(request, &progress).await?;
        let (mut parts, incoming) = answer.into_parts();
        if parts.status == StatusCode::SERVICE_UNAVAILABLE && parts.headers.contains_key(head::REFUSED) {
            return Err(Outcome::NotPrimary);
        }
        if let Some(id) = parts.headers.get("x-amz-request-id").and_then(|id| id.to_str().ok()) {
            tracing::debug!(other_id = id, "request forwarded");
        }
        head::strip(&mut parts.headers);
        parts.headers.insert(head::MARKER, self.name.clone());
        let body = AnsweredBody::new(incoming, connection, progress, room);
        Ok(Response::from_parts(parts, s3s::Body::http_body_unsync(body)))
    }

    async fn exchange(
        &self,
        request: Request<PassedBody>,
        progress: &Progress,
    ) -> Result<(Response<Incoming>, Connection), Outcome> {
        let mut request = request;
        let wait = if may_take_long(&request) { self.waits.long_answer } else { self.waits.answer };
        for _ in 0..CONNECTIONS_MAX {
            let Some(mut connection) = self.endpoints.connect().await else {
                if !request.headers().contains_key(header::EXPECT) {
                    discard(request.into_body()).await;
                }
                return Err(Outcome::Unreachable);
            };
            let silent = connection.until_silent(progress.ended.clone().cancelled_owned());
            let sent = connection.sender().try_send_request(request);
            let why = tokio::select! {
                answered = sent => Ok(answered),
                () = silent => Err("nobody answers there any more"),
                () = too_long(progress, wait) => Err("it took too long"),
            };
            let answered = match why {
                Ok(answered) => answered,
                Err(why) => {
                    tracing::debug!(why, "the other region's answer is not waited for");
                    return Err(Outcome::Cut);
                }
            };
            match answered {
                Ok(answer) => {
                    connection.is_well();
                    return Ok((answer, connection));
                }
                Err(mut error) => match error.take_message() {
                    // nothing of it left
                    Some(unsent) => request = unsent,
                    None => {
                        let error = error.into_error();
                        tracing::debug!(
                            error = &error as &dyn std::error::Error,
                            "the other region gave no answer"
                        );
                        return Err(Outcome::Cut);
                    }
                },
            }
        }
        Err(Outcome::Unreachable)
    }
}

/// Reads a short body that goes nowhere: otherwise its rest would end the connection, and with it, perhaps, the answer. Not
/// for clients that wait for consent, who keep theirs.
async fn discard(mut body: impl Body<Data = Bytes> + Unpin) {
    if body.size_hint().upper().is_some_and(|bytes| bytes <= DISCARDED_BYTES_MAX) {
        let rest = async { while let Some(Ok(_)) = body.frame().await {} };
        let _in_time = tokio::time::timeout(DISCARD_WAIT, rest).await;
    }
}

/// Returns when the answer is overdue.
async fn too_long(progress: &Progress, wait: Duration) {
    progress.ended.cancelled().await;
    tokio::time::sleep(wait).await;
}

/// Copies are made by the region that is asked, which says nothing before they are done; so are uploads put together and
/// lists of objects deleted, by POST.
fn may_take_long<B>(request: &Request<B>) -> bool {
    request.method() == Method::POST || request.headers().contains_key("x-amz-copy-source")
}
