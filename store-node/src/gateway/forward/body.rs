//! Bodies on their way through: a request's to the other region, and an answer's back. No byte is looked at or kept.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use thiserror::Error;
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;

use super::place::Connection;
use crate::gateway::budget::Room;
use crate::gateway::guard::body::{GuardedBody, Refused};

/// How long a client that asked is left waiting for the other region's consent before its body goes anyhow: a server may
/// leave it out (RFC 9110, section 10.1.1).
const CONSENT_WAIT: Duration = Duration::from_secs(3);

/// How long an answer may stand still. 60 s: as long as clients wait by themselves.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// How far a request's body has come.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Nothing of it is left to be passed on, because all of it was or because it was given up.
    pub(super) ended: CancellationToken,
    whole: AtomicBool,
}

impl Progress {
    /// Whether all of it was passed on.
    pub(super) fn is_whole(&self) -> bool {
        self.whole.load(Ordering::Acquire)
    }
}

/// The other region's consent to a body, for clients that wait for it (`Expect: 100-continue`).
#[derive(Clone, Debug, Default)]
pub(super) struct Consent(CancellationToken);

impl Consent {
    pub(super) fn give(&self) {
        self.0.cancel();
    }

    async fn given(self) {
        let _in_time = tokio::time::timeout(CONSENT_WAIT, self.0.cancelled()).await;
    }
}

/// A request's body on its way on.
pub(super) struct PassedBody {
    inner: Option<GuardedBody>,
    consent: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    progress: Arc<Progress>,
    done: bool,
}

impl PassedBody {
    pub(super) fn new(inner: Option<GuardedBody>, consent: Option<Consent>, progress: Arc<Progress>) -> Self {
        let consent = consent.map(|consent| Box::pin(consent.given()) as _);
        Self { done: inner.is_none(), inner, consent, progress }
    }

    /// None at all.
    pub(super) fn empty() -> Self {
        Self::new(None, None, Arc::default())
    }
}

impl Body for PassedBody {
    type Data = Bytes;
    type Error = Refused;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Refused>>> {
        if let Some(consent) = &mut self.consent {
            ready!(consent.as_mut().poll(cx));
            self.consent = None;
        }
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(inner).poll_frame(cx));
        self.done |= frame.is_none();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for PassedBody {
    fn drop(&mut self) {
        // with a known length nobody asks for the end once that many bytes have come
        let whole = self.done || self.size_hint().exact() == Some(0);
        self.progress.whole.store(whole, Ordering::Release);
        self.progress.ended.cancel();
    }
}

/// An answer's body on its way back; gives the connection back when all of it came.
pub(super) struct AnsweredBody {
    inner: Incoming,
    connection: Option<Connection>,
    progress: Arc<Progress>,
    silence: Pin<Box<Sleep>>,
    // whether `silence` counts from the last bytes
    armed: bool,
    done: bool,
    _room: Room,
}

/// Why an answer ends early.
#[derive(Debug, Error)]
pub(super) enum AnswerCut {
    /// The connection ended.
    #[error("the other region's answer was cut")]
    Connection(#[source] hyper::Error),
    /// Nothing came for too long.
    #[error("the other region's answer stands still")]
    Silence,
}

impl AnsweredBody {
    pub(super) fn new(inner: Incoming, connection: Connection, progress: Arc<Progress>, room: Room) -> Self {
        let silence = Box::pin(tokio::time::sleep(SILENCE_MAX));
        Self { inner, connection: Some(connection), progress, silence, armed: true, done: false, _room: room }
    }
}

impl Body for AnsweredBody {
    type Data = Bytes;
    type Error = AnswerCut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerCut>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) else {
            if !self.armed {
                self.silence.as_mut().reset(tokio::time::Instant::now() + SILENCE_MAX);
                self.armed = true;
            }
            ready!(self.silence.as_mut().poll(cx));
            return Poll::Ready(Some(Err(AnswerCut::Silence)));
        };
        self.armed = false;
        self.done |= frame.is_none();
        Poll::Ready(frame.map(|frame| frame.map_err(AnswerCut::Connection)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for AnsweredBody {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        // a connection with anything left on it, either way, is good for nothing else
        if (self.done || self.inner.is_end_stream()) && self.progress.is_whole() {
            connection.give_back();
        }
    }
}
