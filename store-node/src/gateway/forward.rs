//! Requests that the other region of the pair is to serve: passed on as they came, and its answer passed back.
//!
//! ```text
//! way ─▶ verify (signature, here too) ─▶ endpoints (a connection) ─▶ pass (head and body as they came) ─▶ answer
//!                                          └ place, circuit: who is left out, probes beside those who wait
//! ```
//! Promises: nothing is passed on without a right signature; method, path, query, `Host`, all end-to-end headers and every
//! byte of the body stay as they are, so that the region which serves the request checks the signature over the same bytes;
//! a request is passed on once, a second region refuses it; nothing is sent twice after any of it left; memory and waiting
//! are bounded. What the request may do is judged where it is served.

mod body;
mod circuit;
mod endpoints;
mod head;
mod pass;
mod place;

pub(crate) use head::REFUSED;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::request::Parts;
use http::{HeaderValue, Method, Request};
use http_body::Body as _;
use s3s::{Body, HttpError, HttpResponse, S3Error};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use wire::PairRole;

use super::Gateway;
use super::budget::Budget;
use super::context::RequestContext;
use super::errors;
use super::guard::body::GuardedBody;
use super::service::rendered;
use crate::config::Endpoint;
use endpoints::Endpoints;

/// What such requests are called in metrics and logs: their operation is known where they are served.
pub(crate) const OPERATION: &str = "Forwarded";

/// Requests passed on at once. 256: each may hold buffers of half a MiB, and a region far away needs many under way.
const FORWARDS_MAX: usize = 256;

/// How long a request without a body is held while neither region is the primary. 5 s: a planned switch takes less.
const SWITCH_WAIT: Duration = Duration::from_secs(5);

/// Pause before such a request is tried again.
const SWITCH_PAUSE: Duration = Duration::from_millis(50);

/// Where requests go that this region does not serve.
#[derive(Clone, Debug)]
pub struct ForwardOptions {
    /// Reads go there too, so that clients see what they wrote.
    pub reads: bool,
    /// The other region's S3 endpoints.
    pub endpoints: Vec<Endpoint>,
    /// Whom to trust there, for endpoints over TLS.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// How long they are waited for.
    pub waits: ForwardWaits,
}

/// How long the other region's endpoints are waited for.
#[derive(Clone, Copy, Debug)]
pub struct ForwardWaits {
    /// How long nothing may be heard of an endpoint where a request waits, before it is probed.
    pub patience: Duration,
    /// How long a probe may take.
    pub probe: Duration,
    /// How long an answer may take after the last of the request was passed on, while probes are answered.
    pub answer: Duration,
    /// The same for what a region may work on for long: copies above all.
    pub long_answer: Duration,
}

impl Default for ForwardWaits {
    fn default() -> Self {
        Self {
            // most answers are there before it
            patience: Duration::from_secs(5),
            // an endpoint that has too much to do says so after two
            probe: Duration::from_secs(5),
            // as long as clients wait by themselves, and three times what a region holds a request for
            answer: Duration::from_secs(60),
            // 5 GiB, the most that one copy has, at 1.5 MB/s
            long_answer: Duration::from_secs(3600),
        }
    }
}

/// The way to the other region.
pub(crate) struct Forward {
    reads: bool,
    endpoints: Endpoints,
    waits: ForwardWaits,
    room: Budget,
    /// This region's name, for the marker.
    name: HeaderValue,
    pub(crate) results: Results,
}

/// What became of requests that were to be passed on.
#[derive(Debug, Default)]
pub(crate) struct Results([AtomicU64; Outcome::ALL.len()]);

/// What became of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The other region answered, whatever it said.
    Answered,
    /// The other region is not the primary either.
    NotPrimary,
    /// No endpoint took a connection, or all are known to be away: nothing was sent.
    Unreachable,
    /// The connection ended, or the wait, before there was an answer.
    Cut,
    /// Too many are under way.
    Overloaded,
}

/// A request whose head was found to be in order.
pub(super) struct Admitted {
    pub(super) head: Parts,
    pub(super) body: Option<GuardedBody>,
}

/// An answer, and whether it is the other region's own.
pub(super) struct Dispatched {
    pub(super) response: HttpResponse,
    pub(super) is_foreign: bool,
}

enum Way {
    Here,
    /// Another region passed it on.
    Refuse,
    /// It is not known whether it belongs here.
    Unknown,
    Forward,
}

impl Outcome {
    /// All of them.
    pub(crate) const ALL: [Self; 5] =
        [Self::Answered, Self::NotPrimary, Self::Unreachable, Self::Cut, Self::Overloaded];

    /// As the metric has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::NotPrimary => "not_primary",
            Self::Unreachable => "unreachable",
            Self::Cut => "cut",
            Self::Overloaded => "overloaded",
        }
    }

    /// What the client is told; nothing when it gets the other region's answer.
    fn error(self) -> S3Error {
        match self {
            Self::Answered => errors::unexpected("an answer that was not passed back"),
            Self::NotPrimary => errors::neither_primary(),
            Self::Unreachable => errors::other_unreachable(),
            Self::Cut => errors::other_cut(),
            Self::Overloaded => errors::slow_down("Too much is in flight. Please reduce your request rate."),
        }
    }
}

impl Results {
    fn count(&self, outcome: Outcome) {
        self.0[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many requests ended so.
    pub(crate) fn of(&self, outcome: Outcome) -> u64 {
        self.0[outcome as usize].load(Ordering::Relaxed)
    }
}

impl Forward {
    pub(crate) fn new(options: ForwardOptions, region: &str, tracker: &TaskTracker) -> Self {
        Self {
            reads: options.reads,
            endpoints: Endpoints::new(options.endpoints, options.tls.as_ref(), options.waits, tracker),
            waits: options.waits,
            room: Budget::new(0, FORWARDS_MAX),
            // a region's name has letters, digits and hyphens only
            name: HeaderValue::from_str(region).unwrap_or(HeaderValue::from_static("unnamed")),
            results: Results::default(),
        }
    }
}

impl Gateway {
    /// Has a request served here or in the other region.
    pub(super) async fn dispatch(
        &self,
        admitted: Admitted,
        context: &Arc<RequestContext>,
    ) -> Result<Dispatched, HttpError> {
        let way = self.way(&admitted.head).await;
        if matches!(way, Way::Here) {
            return self.here(admitted, context).await;
        }
        let size = admitted
            .body
            .as_ref()
            .map_or_else(|| http_body::SizeHint::with_exact(0), |body| body.size_hint());
        if let Some(refusal) = self.verify(&admitted.head, size, context).await? {
            return Ok(Dispatched { response: refusal, is_foreign: false });
        }
        match (way, &self.core.forward) {
            (Way::Unknown, _) => {
                Ok(Dispatched { response: rendered(errors::switching()), is_foreign: false })
            }
            (Way::Forward, Some(forward)) => self.elsewhere(forward, admitted, context).await,
            _ => self.came_forwarded(admitted, context).await,
        }
    }

    /// Where a request belongs, by its head alone.
    async fn way(&self, head: &Parts) -> Way {
        let role = &self.core.role;
        let is_marked = head.headers.contains_key(head::MARKER);
        let stays = head.headers.contains_key(head::HERE) || self.core.forward.is_none();
        if stays && !is_marked {
            return Way::Here;
        }
        if !role.is_known() {
            let _ = role.look_again().await;
        }
        // a region that was promoted passes nothing on to one that may not have heard of it
        let may_pass = self.core.forward.is_some() && !is_marked && !is_read(&head.method);
        if may_pass
            && role.get() != PairRole::Primary
            && !role.is_fresh()
            && role.look_again().await.is_none()
        {
            return Way::Unknown;
        }
        match &self.core.forward {
            _ if role.get() == PairRole::Primary => Way::Here,
            _ if is_marked => Way::Refuse,
            Some(forward) if forward.reads || !is_read(&head.method) => Way::Forward,
            _ => Way::Here,
        }
    }

    /// Serves a request that was passed on once already, if this region turns out to be the primary by now.
    async fn came_forwarded(
        &self,
        admitted: Admitted,
        context: &Arc<RequestContext>,
    ) -> Result<Dispatched, HttpError> {
        if self.core.role.look_again().await == Some(PairRole::Primary) {
            return self.here(admitted, context).await;
        }
        Ok(Dispatched { response: rendered(errors::forwarded_twice()), is_foreign: false })
    }

    async fn here(&self, admitted: Admitted, context: &Arc<RequestContext>) -> Result<Dispatched, HttpError> {
        let Admitted { mut head, body } = admitted;
        head.extensions.insert(context.clone());
        let body = body.map_or_else(Body::empty, Body::http_body);
        let response = self.protocol.call(Request::from_parts(head, body)).await?;
        Ok(Dispatched { response, is_foreign: false })
    }

    async fn elsewhere(
        &self,
        forward: &Forward,
        mut admitted: Admitted,
        context: &Arc<RequestContext>,
    ) -> Result<Dispatched, HttpError> {
        let deadline = Instant::now() + SWITCH_WAIT;
        let has_body = admitted.body.is_some();
        loop {
            let passed = forward.pass(&admitted.head, admitted.body.take()).await;
            let outcome = passed.as_ref().err().copied().unwrap_or(Outcome::Answered);
            forward.results.count(outcome);
            match passed {
                Ok(response) => {
                    let _first = context.operation.set(OPERATION);
                    return Ok(Dispatched { response, is_foreign: true });
                }
                // the other region said so instead of doing anything: the request may be placed anew
                Err(Outcome::NotPrimary) => {
                    let role = self.core.role.look_again().await;
                    // nobody was the primary a moment ago, and a sealed region has all that was acknowledged
                    let can_read = role == Some(PairRole::Sealed) && is_read(&admitted.head.method);
                    if !has_body && (role == Some(PairRole::Primary) || can_read) {
                        return self.here(admitted, context).await;
                    }
                    if has_body || Instant::now() >= deadline {
                        return Ok(refused(Outcome::NotPrimary, context));
                    }
                    tokio::time::sleep(SWITCH_PAUSE).await;
                }
                Err(outcome) => return Ok(refused(outcome, context)),
            }
        }
    }
}

fn refused(outcome: Outcome, context: &RequestContext) -> Dispatched {
    let _first = context.operation.set(OPERATION);
    Dispatched { response: rendered(outcome.error()), is_foreign: false }
}

/// All that S3 reads comes by these methods.
fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}
