//! Transport between peers: frames over mutual TLS 1.3, four classes that never wait for one another.
//!
//! It promises: nobody without this deployment's identity gets past the handshake; every frame is checked before it is
//! believed; queues, connections and waits are bounded; a call that fails says whether it may have been executed.
//!
//! It leaves to others: what frames mean ([`Handler`]), whether to try again, who lives where ([`Peers::set_address`]).
//!
//! One task drives each connection, reading and writing in turns, so a small call costs one wake-up at each end.

mod clocks;
mod frame_io;
mod incoming;
mod link;
mod metrics;
mod options;
mod peers;
mod refusals;
mod server;
mod session;
mod slot;
mod stream;
#[cfg(test)]
mod tests;
mod tls;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use thiserror::Error;
pub use wire::descriptor::{PeerIdentity as Identity, PeerRole};
pub use wire::{CallRefusal, PeerClass};

pub use incoming::{IncomingItems, IncomingStream, StreamFrame, StreamReplies};
pub use metrics::{ClassMetrics, PeerMetrics};
pub use options::PeerOptions;
pub use peers::Peers;
pub use refusals::{RefusedPeer, RefusedPeers, RefusedReason};
pub use server::PeerServer;
pub use stream::{StreamHandle, StreamReceiver, StreamSender};
pub use tls::{PeerTls, TlsError};
pub use trust::Presented;

/// An answer: head and body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// What the handler says.
    pub head: Bytes,
    /// Bulk bytes that come with it, as one run.
    pub body: Bytes,
}

impl Reply {
    /// An answer without a body.
    pub fn head(head: Bytes) -> Self {
        Self { head, body: Bytes::new() }
    }
}

/// Why a call has no answer. The variant says whether it may have been executed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CallError {
    /// Nothing was sent.
    #[error("peer is unreachable: {reason}")]
    Unreachable {
        /// What stood in the way.
        reason: Arc<str>,
    },
    /// The connection broke; the call may have been executed.
    #[error("the connection broke before an answer came")]
    Disconnected,
    /// No answer in time; the call may have been executed.
    #[error("no answer in time")]
    TimedOut,
    /// The other end refused; a handler's refusal says what it did.
    #[error("refused with code {code}: {message}")]
    Refused {
        /// The refusal's code.
        code: u16,
        /// Why.
        message: String,
    },
    /// The queue to this peer stayed full for the whole time; nothing was sent.
    #[error("the queue to this peer is full")]
    Overloaded,
    /// The frame is over its limits; nothing was sent.
    #[error("the frame is over its limits")]
    TooLarge,
}

impl CallError {
    /// Whether the call may have been executed although there is no answer.
    pub fn may_have_been_executed(&self) -> bool {
        matches!(self, Self::Disconnected | Self::TimedOut)
    }
}

impl From<CallRefusal> for CallError {
    fn from(refusal: CallRefusal) -> Self {
        Self::Refused { code: refusal.code, message: refusal.message }
    }
}

/// What a server does with calls and streams. The role of `from` has already been held against the class.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Answers one call. It runs to its end even if the caller gives up.
    async fn call(
        &self,
        from: &Identity,
        class: PeerClass,
        kind: u16,
        head: Bytes,
        body: Bytes,
    ) -> Result<Reply, CallRefusal>;

    /// Serves one stream until it ends; the return ends it for the other side.
    async fn stream(
        &self,
        from: &Identity,
        class: PeerClass,
        kind: u16,
        head: Bytes,
        incoming: IncomingStream,
    ) -> Result<(), CallRefusal>;

    /// Whether calls of this kind run on the connection's own task: cheapest, but they must never block or compute long,
    /// since the connection waits meanwhile. Other calls get a task each.
    fn inline(&self, class: PeerClass, _kind: u16) -> bool {
        matches!(class, PeerClass::Append | PeerClass::Liveness)
    }
}
