//! Whether a request's head carries the signature of a known key, without acting on the request.
//!
//! The protocol layer checks signatures before it looks for the operation; a route that takes every request with a mark ends
//! its work there. The body is not touched: the head alone decides, and chunk signatures are checked where it is served.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::{Extensions, HeaderMap, Method, Request, Uri};
use http_body::{Frame, SizeHint};
use s3s::route::S3Route;
use s3s::{Body, HttpError, HttpResponse, S3Request, S3Response, S3Result};

use super::Gateway;
use super::access::stale;
use super::context::RequestContext;
use super::directory::Directory;
use super::errors::access_denied;

/// Marks a request whose signature is to be checked and nothing more.
#[derive(Clone, Copy)]
struct HeadOnly;

/// Takes requests with the mark, once their signature is known to be right.
pub(crate) struct Verifier {
    directory: Arc<Directory>,
}

impl Verifier {
    pub(crate) fn new(directory: Arc<Directory>) -> Self {
        Self { directory }
    }
}

impl Gateway {
    /// Checks the signature of a head whose body has this size. `None` when it is right; the refusal otherwise.
    pub(super) async fn verify(
        &self,
        head: &Parts,
        body: SizeHint,
        context: &Arc<RequestContext>,
    ) -> Result<Option<HttpResponse>, HttpError> {
        let mut copy = Request::new(Body::http_body(Untouched(body)));
        *copy.method_mut() = head.method.clone();
        *copy.uri_mut() = head.uri.clone();
        *copy.version_mut() = head.version;
        *copy.headers_mut() = head.headers.clone();
        copy.extensions_mut().insert(context.clone());
        copy.extensions_mut().insert(HeadOnly);
        let answer = self.protocol.call(copy).await?;
        // only the route below knows a caller, and it sees nothing without a signature
        Ok(if context.caller.get().is_some() { None } else { Some(answer) })
    }
}

#[async_trait::async_trait]
impl S3Route for Verifier {
    fn is_match(&self, _: &Method, _: &Uri, _: &HeaderMap, extensions: &mut Extensions) -> bool {
        extensions.get::<HeadOnly>().is_some()
    }

    async fn check_access(&self, request: &mut S3Request<Body>) -> S3Result<()> {
        let credentials = request.credentials.as_ref().ok_or_else(access_denied)?;
        let caller = self.directory.caller(&credentials.access_key).await.map_err(stale)?;
        let context = super::context::of(request)?;
        let _first = context.caller.set(caller.ok_or_else(access_denied)?);
        Ok(())
    }

    async fn call(&self, _: S3Request<Body>) -> S3Result<S3Response<Body>> {
        Ok(S3Response::new(Body::empty()))
    }
}

/// Stands for a body that must not be read here.
struct Untouched(SizeHint);

/// Something read a body that stays for the other region.
#[derive(Debug, thiserror::Error)]
#[error("a body that is not for here was read")]
struct NotForHere;

impl http_body::Body for Untouched {
    type Data = Bytes;
    type Error = NotForHere;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, NotForHere>>> {
        Poll::Ready(Some(Err(NotForHere)))
    }

    fn size_hint(&self) -> SizeHint {
        self.0
    }
}
