//! The paired region as a storage node reaches it: under an identity that the other region's authority issued.

use crate::{
    config::{PairConfig, join},
    server::{self, ServeError},
};
use replication::{
    pair::Standby,
    peer::{PeerOptions, PeerTls, Peers},
    router::Router,
    service::Service,
};
use std::sync::Arc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::info;

/// Follows the region whose descriptor and certificates lie in the folder that `pair` names.
pub(crate) async fn follow(
    pair: &PairConfig,
    service: &Arc<Service>,
    tracker: &TaskTracker,
    stop: CancellationToken,
) -> Result<Arc<Standby>, ServeError> {
    let folder = &pair.folder;
    let read = |name: &str| {
        let path = folder.join(name);
        std::fs::read(&path).map_err(|source| ServeError::File { path, source })
    };
    let text = String::from_utf8_lossy(&read(join::DESCRIPTOR)?).into_owned();
    let descriptor = join::parse_descriptor("the paired region", &text)?;
    let certificate = read(join::CERTIFICATE)?;
    let key = zeroize::Zeroizing::new(read(join::PRIVATE_KEY)?);
    let authority = read(join::AUTHORITY_CERTIFICATE)?;
    let tls = PeerTls::from_pem(&certificate, &key, &authority)
        .map_err(|source| ServeError::Tls { folder: folder.clone(), source })?;
    let peers = Peers::new(tls, PeerOptions::default());
    server::find_nodes(&descriptor, &peers, tracker, &stop).await;
    info!(region = descriptor.region, nodes = descriptor.nodes.len(), "paired with another region");
    let nodes = descriptor.nodes.iter().map(|node| node.id);
    let router = Router::start(peers, descriptor.groups, nodes, tracker.clone(), stop.clone());
    Ok(Standby::start(service, router, pair.bytes_per_second_max, tracker, stop))
}
