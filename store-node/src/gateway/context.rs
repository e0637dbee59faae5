//! What belongs to one request from its first byte to its last: its id, its clock, its caller, how it went.
//!
//! Travels in the request's extensions through the protocol layer to the operations.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use s3s::{S3Error, S3Request};
use tokio::time::Instant;
use wire::{CommandMeta, Epoch, PrincipalId, RequestId, UnixMillis};

use super::directory::Caller;

/// How long a request is held while a group has no leader. 20 s: above it SDKs give up on their own.
pub(crate) const HOLD: Duration = Duration::from_secs(20);

/// Bytes of a request id that name the request; the last four number its commands, since each applies once.
const REQUEST_PREFIX_BYTES: usize = 12;

/// One request.
#[derive(Debug)]
pub(crate) struct RequestContext {
    id: [u8; REQUEST_PREFIX_BYTES],
    commands: AtomicU32,
    started: Instant,
    pub(crate) operation: OnceLock<&'static str>,
    pub(crate) caller: OnceLock<Caller>,
    /// What the guard found wrong with the body: overrides what the protocol layer makes of it.
    pub(crate) fault: OnceLock<Fault>,
    pub(crate) bytes_in: AtomicU64,
}

/// What can be wrong with a body while it arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// An aws-chunk above the limit.
    ChunkTooLarge,
    /// Not the framing that was announced.
    Framing,
    /// More bytes than allowed.
    TooLarge,
    /// Nothing came for too long.
    TooSlow,
    /// XML nested too deep, or with a document type.
    Xml,
    /// A digest that does not match.
    Digest,
    /// The client went away.
    Cut,
}

impl RequestContext {
    pub(crate) fn new() -> Self {
        let mut id = [0; REQUEST_PREFIX_BYTES];
        crate::random::fill(&mut id);
        Self {
            id,
            commands: AtomicU32::new(1),
            started: Instant::now(),
            operation: OnceLock::new(),
            caller: OnceLock::new(),
            fault: OnceLock::new(),
            bytes_in: AtomicU64::new(0),
        }
    }

    /// The id clients see.
    pub(crate) fn request_id(&self) -> RequestId {
        self.numbered(0)
    }

    /// What a new command of this request carries.
    pub(crate) fn meta(&self, epoch: Epoch) -> CommandMeta {
        CommandMeta {
            epoch,
            time: now(),
            principal: self.caller.get().map_or(PrincipalId(0), |caller| caller.principal),
            request: self.numbered(self.commands.fetch_add(1, Ordering::Relaxed)),
        }
    }

    /// Until when the engine may hold a call that begins before the request's body has arrived.
    pub(crate) fn deadline(&self) -> Instant {
        self.started + HOLD
    }

    /// Until when the engine may hold a call that follows a body, however long that took.
    pub(crate) fn deadline_after_body(&self) -> Instant {
        Instant::now() + HOLD
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn numbered(&self, number: u32) -> RequestId {
        let mut id = [0; 16];
        id[..REQUEST_PREFIX_BYTES].copy_from_slice(&self.id);
        id[REQUEST_PREFIX_BYTES..].copy_from_slice(&number.to_be_bytes());
        RequestId(id)
    }
}

/// The context of a request that came through the gateway's front.
pub(crate) fn of<T>(request: &S3Request<T>) -> Result<&std::sync::Arc<RequestContext>, S3Error> {
    request.extensions.get().ok_or_else(|| super::errors::unexpected("a request without context"))
}

/// The wall clock.
pub(crate) fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_of_a_request_has_its_own_id_under_one_prefix() {
        let context = RequestContext::new();
        let (first, second) = (context.meta(Epoch(1)).request, context.meta(Epoch(1)).request);
        assert_ne!(first, second);
        assert_eq!(first.0[..12], second.0[..12]);
        assert_eq!(context.request_id().0[..12], first.0[..12]);
    }
}
