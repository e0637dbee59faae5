//! The region's nodes as its system group has them: kept fresh in every process, so that addresses, polls and status
//! follow a changing region.

use crate::{
    peer::Peers,
    region::{Consistency, Region, RegionError},
    router::Router,
};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use wire::{Answer, GroupId, NodeId, NodeRecord, NodeState, Query, Revision, SystemTable};

/// How often the system group is asked whether anything changed.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long one question may take.
const ASK_WAIT: Duration = Duration::from_secs(5);

/// Nodes read at once: more than a region may have.
const NODES_MAX: u32 = 1_000;

/// A node's record and the revision at which it was changed last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RosterEntry {
    /// What the system group says of it.
    pub record: NodeRecord,
    /// Since when.
    pub changed: Revision,
}

/// The nodes that the region knows.
#[derive(Default)]
pub struct Roster {
    entries: RwLock<BTreeMap<NodeId, RosterEntry>>,
}

impl Roster {
    /// All nodes, removed ones included.
    pub fn entries(&self) -> BTreeMap<NodeId, RosterEntry> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Follows the system group until `stop`; connections and polls follow the roster.
    pub async fn follow(self: Arc<Self>, router: Arc<Router>, peers: Peers, stop: CancellationToken) {
        let mut seen = None;
        loop {
            match self.refresh(&router, &peers, seen).await {
                Ok(revision) => seen = Some(revision),
                Err(error) => debug!(%error, "the region's nodes cannot be read now"),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(INTERVAL) => {}
            }
        }
    }

    /// Reads the nodes now.
    pub async fn read(&self, router: &Router) -> Result<(), RegionError> {
        let entries = scan(router).await?;
        *self.entries.write().unwrap_or_else(PoisonError::into_inner) = entries;
        Ok(())
    }

    async fn refresh(
        &self,
        router: &Arc<Router>,
        peers: &Peers,
        seen: Option<Revision>,
    ) -> Result<Revision, RegionError> {
        let now = match ask(router, Query::SystemRevision).await? {
            Answer::SystemRevision(revision) => revision,
            _ => return Err(RegionError::Protocol { group: GroupId::SYSTEM }),
        };
        if seen == Some(now) {
            return Ok(now);
        }
        self.read(router).await?;
        let entries = self.entries();
        for (node, entry) in &entries {
            match resolve(&entry.record.peer_address).await {
                Some(address) => peers.set_address(*node, address),
                None => warn!(%node, "address of a node cannot be resolved"),
            }
        }
        let (removed, members): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|(_, entry)| entry.record.state == NodeState::Removed);
        let node = |(node, _): (NodeId, RosterEntry)| node;
        router.update_nodes(members.into_iter().map(node), removed.into_iter().map(node));
        Ok(now)
    }
}

async fn scan(router: &Router) -> Result<BTreeMap<NodeId, RosterEntry>, RegionError> {
    let mut entries = BTreeMap::new();
    let mut after = None;
    loop {
        let query = Query::SystemScan {
            table: SystemTable::Node,
            prefix: bytes::Bytes::new(),
            after,
            limit: NODES_MAX,
        };
        let Answer::SystemScan(records, more) = ask(router, query).await? else {
            return Err(RegionError::Protocol { group: GroupId::SYSTEM });
        };
        after = records.last().map(|record| record.key.clone());
        for found in records {
            let node = NodeRecord::node_of(&found.key);
            match (node, NodeRecord::decode(found.value)) {
                (Some(node), Ok(record)) => {
                    entries.insert(node, RosterEntry { record, changed: found.changed });
                }
                _ => warn!("a node's record cannot be read: written by a newer release?"),
            }
        }
        if !more || after.is_none() {
            return Ok(entries);
        }
    }
}

async fn ask(router: &Router, query: Query) -> Result<Answer, RegionError> {
    let deadline = Instant::now() + ASK_WAIT;
    Ok(router.query(GroupId::SYSTEM, query, Consistency::Linearizable, deadline).await?.0)
}

async fn resolve(address: &str) -> Option<SocketAddr> {
    tokio::net::lookup_host(address).await.ok()?.next()
}
