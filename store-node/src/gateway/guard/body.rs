//! Watches a request's body as it arrives: pace, size, chunk framing, XML nesting, digests of XML.
//!
//! Bytes pass unchanged. What is wrong is noted in the request's context, because the protocol layer hides it.

mod chunks;
mod xml;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use thiserror::Error;
use tokio::time::{Instant, Sleep};

use super::{BodyPlan, XML_BYTES_MAX};
use crate::gateway::context::{Fault, RequestContext};
use chunks::ChunkScanner;
use xml::XmlScanner;

/// A client that sends nothing for so long is cut.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// After this long a body must have come at [`RATE_MIN_BYTES_PER_SECOND`] on average.
const RATE_GRACE: Duration = Duration::from_secs(60);

/// Slower than any link that is worth holding a buffer for.
const RATE_MIN_BYTES_PER_SECOND: u64 = 1 << 10;

/// Why a body was cut.
#[derive(Debug, Error)]
#[error("the request's body was refused: {fault:?}")]
pub(crate) struct Refused {
    fault: Fault,
}

/// A body under watch.
pub(crate) struct GuardedBody {
    inner: Incoming,
    context: Arc<RequestContext>,
    chunks: Option<ChunkScanner>,
    xml: Option<XmlScanner>,
    began: Instant,
    received: u64,
    silence: Option<Pin<Box<Sleep>>>,
    // whether `silence` counts from the last byte
    armed: bool,
    done: bool,
}

impl GuardedBody {
    pub(crate) fn new(
        inner: Incoming,
        plan: BodyPlan,
        headers: &HeaderMap,
        context: Arc<RequestContext>,
    ) -> Self {
        let decoded_length = headers.get("x-amz-decoded-content-length");
        let decoded_length = decoded_length.and_then(|value| value.to_str().ok()?.parse().ok());
        let chunks = plan.chunked.then(|| ChunkScanner::new(decoded_length));
        let xml = (plan.xml && !plan.chunked).then(|| XmlScanner::new(headers, plan.completes));
        let began = Instant::now();
        Self { inner, context, chunks, xml, began, received: 0, silence: None, armed: false, done: false }
    }

    fn refuse(&mut self, fault: Fault) -> Poll<Option<Result<Frame<Bytes>, Refused>>> {
        // the first fault is the cause, later ones follow from it
        let _ = self.context.fault.set(fault);
        self.done = true;
        Poll::Ready(Some(Err(Refused { fault })))
    }

    fn inspect(&mut self, data: &[u8]) -> Result<(), Fault> {
        self.received += data.len() as u64;
        self.context.bytes_in.fetch_add(data.len() as u64, Ordering::Relaxed);
        let elapsed = self.began.elapsed();
        if elapsed > RATE_GRACE && self.received < elapsed.as_secs() * RATE_MIN_BYTES_PER_SECOND {
            return Err(Fault::TooSlow);
        }
        if let Some(chunks) = &mut self.chunks {
            chunks.scan(data)?;
        }
        if let Some(xml) = &mut self.xml {
            if self.received > XML_BYTES_MAX as u64 {
                return Err(Fault::TooLarge);
            }
            xml.scan(data)?;
        }
        Ok(())
    }

    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = Instant::now() + SILENCE_MAX;
        let silence = self.silence.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if !self.armed {
            silence.as_mut().reset(deadline);
            self.armed = true;
        }
        silence.as_mut().poll(cx)
    }
}

impl Body for GuardedBody {
    type Data = Bytes;
    type Error = Refused;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.get_mut();
        if this.done {
            return Poll::Ready(None);
        }
        let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) else {
            ready!(this.poll_silence(cx));
            return this.refuse(Fault::TooSlow);
        };
        this.armed = false;
        match frame {
            Some(Ok(frame)) => {
                let checked = frame.data_ref().map_or(Ok(()), |data| this.inspect(data));
                match checked {
                    Ok(()) => Poll::Ready(Some(Ok(frame))),
                    Err(fault) => this.refuse(fault),
                }
            }
            Some(Err(_)) => this.refuse(Fault::Cut),
            None => match this.xml.take().map_or(Ok(()), XmlScanner::finish) {
                Ok(()) => {
                    this.done = true;
                    Poll::Ready(None)
                }
                Err(fault) => this.refuse(fault),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        // XML still has its digest compared at the end
        self.done || (self.xml.is_none() && self.inner.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
