//! Where a peer's calls go: the engine's to the engine, operators' to the admin API. Until a part is up, its calls are
//! refused as "starting", which callers take as "try again".

use crate::admin::Admin;
use async_trait::async_trait;
use bytes::Bytes;
use replication::{
    handler::EngineHandler,
    message::{kind, refusal},
    peer::{CallRefusal, Handler, Identity, IncomingStream, PeerClass, Reply},
};
use std::sync::{Arc, OnceLock};

/// Routes calls to the parts of this process.
#[derive(Default)]
pub(crate) struct ProcessHandler {
    pub(crate) engine: EngineHandler,
    pub(crate) admin: OnceLock<Arc<Admin>>,
}

#[async_trait]
impl Handler for ProcessHandler {
    async fn call(
        &self,
        from: &Identity,
        class: PeerClass,
        kind: u16,
        head: Bytes,
        body: Bytes,
    ) -> Result<Reply, CallRefusal> {
        if class == PeerClass::Admin || kind == kind::ADMIN {
            let starting = || CallRefusal::new(refusal::STARTING, "the admin API is not up yet");
            return self.admin.get().ok_or_else(starting)?.call(from, head).await;
        }
        self.engine.call(from, class, kind, head, body).await
    }

    async fn stream(
        &self,
        from: &Identity,
        class: PeerClass,
        kind: u16,
        head: Bytes,
        incoming: IncomingStream,
    ) -> Result<(), CallRefusal> {
        self.engine.stream(from, class, kind, head, incoming).await
    }
}
