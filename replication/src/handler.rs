//! The engine behind a peer server that listens before the engine is up: calls that come too early are refused as
//! "starting", which callers take as "try again".

use crate::{
    message::refusal,
    peer::{CallRefusal, Handler, Identity, IncomingStream, PeerClass, Reply},
    service::Service,
};
use async_trait::async_trait;
use bytes::Bytes;
use std::sync::{Arc, OnceLock};

/// Hands calls to the engine once it is there.
#[derive(Default)]
pub struct EngineHandler {
    service: OnceLock<Arc<Service>>,
}

impl EngineHandler {
    /// The engine is up; a second one changes nothing.
    pub fn begin(&self, service: Arc<Service>) {
        let _second = self.service.set(service).is_err();
    }

    fn service(&self) -> Result<&Arc<Service>, CallRefusal> {
        self.service.get().ok_or_else(|| CallRefusal::new(refusal::STARTING, "no storage engine (yet)"))
    }
}

#[async_trait]
impl Handler for EngineHandler {
    async fn call(
        &self,
        from: &Identity,
        class: PeerClass,
        kind: u16,
        head: Bytes,
        body: Bytes,
    ) -> Result<Reply, CallRefusal> {
        self.service()?.call(from, class, kind, head, body).await
    }

    async fn stream(
        &self,
        from: &Identity,
        class: PeerClass,
        kind: u16,
        head: Bytes,
        incoming: IncomingStream,
    ) -> Result<(), CallRefusal> {
        self.service()?.stream(from, class, kind, head, incoming).await
    }
}
