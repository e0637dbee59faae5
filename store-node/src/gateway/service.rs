//! One request from its head to the last byte of its answer: admission, guard, protocol layer, what every answer carries.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use s3s::{Body, HttpError, HttpResponse, S3Error, S3ErrorCode};
use tracing::{Instrument as _, Span};

use super::budget::Room;
use super::context::{Fault, RequestContext};
use super::errors::{bad_digest, s3};
use super::forward::{Admitted, Dispatched};
use super::guard::{self, body::GuardedBody};
use super::{Core, Gateway, sync_time};

impl Gateway {
    /// Answers one request.
    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Result<Response<AnswerBody>, HttpError> {
        let context = Arc::new(RequestContext::new());
        let span = tracing::info_span!("request", id = %context.request_id());
        let flight = Flight::begin(self.core.clone(), context.clone(), span.clone());
        self.answer_in(request, context, flight).instrument(span).await
    }

    async fn answer_in(
        &self,
        request: Request<Incoming>,
        context: Arc<RequestContext>,
        mut flight: Flight,
    ) -> Result<Response<AnswerBody>, HttpError> {
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        let Dispatched { mut response, is_foreign } = match self.admit(request, &context, &mut flight).await {
            Ok(admitted) => self.dispatch(admitted, &context).await?,
            Err(error) => Dispatched { response: rendered(error), is_foreign: false },
        };
        // the protocol layer does not say what was wrong with a body
        let fault = context.fault.get().filter(|_| !is_foreign);
        if let Some(fault) = fault {
            response = rendered(fault_error(*fault));
        }
        // the other region's answers are whole, and its ids lead to its logs
        if !is_foreign {
            finish(&mut response, &method, &path, &context, &self.core);
        }
        flight.status = response.status();
        Ok(response.map(|inner| AnswerBody { inner, flight }))
    }

    async fn admit(
        &self,
        request: Request<Incoming>,
        context: &Arc<RequestContext>,
        flight: &mut Flight,
    ) -> Result<Admitted, S3Error> {
        let metrics = &self.core.metrics;
        let count = |counter: &AtomicU64| {
            counter.fetch_add(1, Ordering::Relaxed);
        };
        let room = self.core.budget.request().await;
        flight.room = Some(room.inspect_err(|_| count(&metrics.overloaded))?);
        let (head, incoming) = request.into_parts();
        let plan = guard::check(&head).inspect_err(|_| count(&metrics.refused_by_guard))?;
        let has_body = !incoming.is_end_stream();
        let body = has_body.then(|| GuardedBody::new(incoming, plan, &head.headers, context.clone()));
        Ok(Admitted { head, body })
    }
}

/// A request that is counted until its answer is sent or given up.
struct Flight {
    core: Arc<Core>,
    context: Arc<RequestContext>,
    span: Span,
    status: StatusCode,
    bytes_out: u64,
    room: Option<Room>,
}

impl Flight {
    fn begin(core: Arc<Core>, context: Arc<RequestContext>, span: Span) -> Self {
        core.metrics.requests_in_flight.fetch_add(1, Ordering::Relaxed);
        // what is left of it if the client goes away before there is an answer
        let status = StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST);
        Self { core, context, span, status, bytes_out: 0, room: None }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let metrics = &self.core.metrics;
        let operation = self.context.operation.get().copied();
        let took = self.context.elapsed();
        metrics.requests_in_flight.fetch_sub(1, Ordering::Relaxed);
        metrics.bytes_in.fetch_add(self.context.bytes_in.load(Ordering::Relaxed), Ordering::Relaxed);
        metrics.bytes_out.fetch_add(self.bytes_out, Ordering::Relaxed);
        metrics.count(operation, self.status, took);
        tracing::debug!(
            parent: &self.span,
            operation = operation.unwrap_or("Other"),
            status = self.status.as_u16(),
            took_us = took.as_micros() as u64,
            "request done"
        );
    }
}

/// An answer's body, counted.
pub(crate) struct AnswerBody {
    inner: Body,
    flight: Flight,
}

impl http_body::Body for AnswerBody {
    type Data = Bytes;
    type Error = s3s::StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = Pin::new(&mut self.inner).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.flight.bytes_out += data.len() as u64;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// What every answer carries, and errors as AWS writes them.
fn finish(response: &mut HttpResponse, method: &Method, path: &str, context: &RequestContext, core: &Core) {
    let id = context.request_id().to_string();
    let status = response.status();
    if status.is_client_error() || status.is_server_error() {
        complete_error(response, path, &id, core);
    } else {
        escape_controls(response);
    }
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert("x-amz-request-id", value);
    }
    headers.insert("x-amz-id-2", core.host_id.clone());
    if matches!(*method, Method::GET | Method::HEAD)
        && let Some(synced) = core.sync_time.value()
    {
        headers.insert(sync_time::HEADER, synced);
    }
    let bodiless = status == StatusCode::NOT_MODIFIED
        || (*method == Method::HEAD && (status.is_client_error() || status.is_server_error()));
    if bodiless {
        headers.remove(header::CONTENT_TYPE);
        headers.remove(header::CONTENT_LENGTH);
        *response.body_mut() = Body::empty();
    }
}

/// Control characters of names in an XML answer, as references: a reader would take a bare carriage return for a line
/// feed, and others for the end of the document.
fn escape_controls(response: &mut HttpResponse) {
    let is_xml = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/xml");
    if !is_xml {
        return;
    }
    let is_control = |byte: &u8| *byte < 0x20 && !matches!(byte, b'\t' | b'\n');
    let Some(document) = response.body().bytes().filter(|document| document.iter().any(is_control)) else {
        return;
    };
    let mut escaped = Vec::with_capacity(document.len() + 64);
    for byte in &document {
        if is_control(byte) {
            escaped.extend_from_slice(format!("&#{byte};").as_bytes());
        } else {
            escaped.push(*byte);
        }
    }
    response.headers_mut().remove(header::CONTENT_LENGTH);
    *response.body_mut() = Body::from(escaped);
}

/// Adds to an error document what the protocol layer leaves out.
fn complete_error(response: &mut HttpResponse, path: &str, id: &str, core: &Core) {
    let Some(document) = response.body().bytes() else { return };
    let Some(text) = std::str::from_utf8(&document).ok().and_then(|text| text.strip_suffix("</Error>"))
    else {
        return;
    };
    let code =
        text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>")).map(|(code, _)| code);
    let mut completed = String::with_capacity(text.len() + 256);
    completed.push_str(text);
    if !text.contains("<Message>") {
        let message = code.map_or("", usual_message);
        completed.push_str(&format!("<Message>{message}</Message>"));
    }
    if code == Some("RequestTimeTooSkewed") {
        let mut now = Vec::new();
        let shown = s3s::dto::Timestamp::from(std::time::SystemTime::now());
        if shown.format(s3s::dto::TimestampFormat::DateTime, &mut now).is_ok() {
            completed.push_str(&format!("<ServerTime>{}</ServerTime>", String::from_utf8_lossy(&now)));
        }
    }
    if code == Some("AuthorizationHeaderMalformed") {
        completed.push_str(&format!("<Region>{}</Region>", core.options.region_name));
    }
    completed.push_str("<Resource>");
    for character in path.chars() {
        match character {
            '&' => completed.push_str("&amp;"),
            '<' => completed.push_str("&lt;"),
            '>' => completed.push_str("&gt;"),
            _ => completed.push(character),
        }
    }
    let host_id = core.host_id.to_str().unwrap_or("");
    completed.push_str(&format!("</Resource><RequestId>{id}</RequestId><HostId>{host_id}</HostId></Error>"));
    response.headers_mut().remove(header::CONTENT_LENGTH);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    *response.body_mut() = Body::from(completed);
}

/// Messages for codes that the protocol layer gives without one.
fn usual_message(code: &str) -> &'static str {
    match code {
        "SignatureDoesNotMatch" => {
            "The request signature we calculated does not match the signature you provided. Check your key and \
             signing method."
        }
        "InvalidBucketName" => "The specified bucket is not valid.",
        "KeyTooLongError" => "Your key is too long",
        "MalformedXML" => {
            "The XML you provided was not well-formed or did not validate against our published schema"
        }
        "MissingContentLength" => "You must provide the Content-Length HTTP header.",
        "MaxMessageLengthExceeded" => "Your request was too big.",
        "InvalidURI" => "Couldn't parse the specified URI.",
        "MissingRequestBodyError" => "Request Body is empty",
        "IncompleteBody" => {
            "You did not provide the number of bytes specified by the Content-Length HTTP header"
        }
        "AccessDenied" => "Access Denied",
        "MethodNotAllowed" => "The specified method is not allowed against this resource.",
        "InternalError" => "We encountered an internal error. Please try again.",
        _ => "The request was refused.",
    }
}

pub(super) fn rendered(error: S3Error) -> HttpResponse {
    error.to_http_response().unwrap_or_else(|_| {
        let mut response = HttpResponse::new(Body::empty());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}

fn fault_error(fault: Fault) -> S3Error {
    match fault {
        Fault::ChunkTooLarge => {
            let mut error = s3(
                S3ErrorCode::Custom("InvalidChunkSizeError".into()),
                "A chunk of the body is larger than 16 MiB. Configure the client to send smaller chunks.",
            );
            error.set_status_code(StatusCode::BAD_REQUEST);
            error
        }
        Fault::Framing => s3(S3ErrorCode::InvalidRequest, "The body's chunks are not framed as announced."),
        Fault::TooLarge => s3(S3ErrorCode::MaxMessageLengthExceeded, "Your request was too big."),
        Fault::TooSlow => s3(
            S3ErrorCode::RequestTimeout,
            "Your socket connection to the server was not read from or written to within the timeout period.",
        ),
        Fault::Xml => s3(
            S3ErrorCode::MalformedXML,
            "The XML you provided was not well-formed or did not validate against our published schema",
        ),
        Fault::Digest => bad_digest(),
        Fault::Cut => s3(
            S3ErrorCode::IncompleteBody,
            "You did not provide the number of bytes specified by the Content-Length HTTP header",
        ),
    }
}
