//! What a process knows of itself while it runs: the answers of health, metrics and status come from here.

use crate::{
    config::{
        Config,
        join::{self, MemberIdentity},
    },
    frontend::Frontend,
    health::{Health, Reason},
    metrics,
};
use replication::{node::Node, peer::Peers, roster::Roster, router::Router};
use std::sync::{Arc, OnceLock};
use wire::{GroupId, admin::CertificateFact, descriptor::RegionDescriptor};

/// A process's parts, filled in as they come up.
pub(crate) struct ProcessState {
    pub(crate) descriptor: RegionDescriptor,
    pub(crate) identity_folder: std::path::PathBuf,
    pub(crate) peers: Peers,
    pub(crate) roster: Arc<Roster>,
    wants_node: bool,
    wants_gateway: bool,
    router: OnceLock<Arc<Router>>,
    node: OnceLock<Arc<Node>>,
    frontend: OnceLock<Arc<Frontend>>,
}

impl ProcessState {
    pub(crate) fn new(config: &Config, identity: &MemberIdentity, peers: Peers) -> Self {
        Self {
            descriptor: identity.descriptor.clone(),
            identity_folder: identity.folder.clone(),
            peers,
            roster: Arc::default(),
            wants_node: config.storage.is_some(),
            wants_gateway: config.gateway.is_some(),
            router: OnceLock::new(),
            node: OnceLock::new(),
            frontend: OnceLock::new(),
        }
    }

    pub(crate) fn set_router(&self, router: Arc<Router>) {
        assert!(self.router.set(router).is_ok(), "a process has one router");
    }

    pub(crate) fn set_node(&self, node: Arc<Node>) {
        assert!(self.node.set(node).is_ok(), "a process has one storage engine");
    }

    pub(crate) fn set_frontend(&self, frontend: Arc<Frontend>) {
        assert!(self.frontend.set(frontend).is_ok(), "a process has one gateway");
    }

    pub(crate) fn node(&self) -> Option<&Arc<Node>> {
        self.node.get()
    }

    pub(crate) fn frontend(&self) -> Option<&Arc<Frontend>> {
        self.frontend.get()
    }

    /// `node/3`, `gateway/1`.
    pub(crate) fn name(&self) -> String {
        self.peers.identity().role.to_string()
    }

    /// The certificates in use and when they expire.
    pub(crate) fn certificates(&self) -> Vec<CertificateFact> {
        let files = [
            ("peer", join::CERTIFICATE),
            ("authority", join::AUTHORITY_CERTIFICATE),
            ("s3", join::S3_CERTIFICATE),
        ];
        let fact = |(purpose, file): (&str, &str)| {
            // a storage node has no S3 certificate
            let pem = std::fs::read(self.identity_folder.join(file)).ok()?;
            let not_after = trust::certificate_expiry(&pem)?;
            Some(CertificateFact { purpose: purpose.to_owned(), not_after })
        };
        files.into_iter().filter_map(fact).collect()
    }

    fn leaderless(&self) -> usize {
        let Some(router) = self.router.get() else { return 0 };
        (0..=self.descriptor.groups).filter(|group| router.leader(GroupId(*group)).is_none()).count()
    }
}

impl Health for ProcessState {
    fn not_ready(&self) -> Vec<Reason> {
        let mut reasons = Vec::new();
        if self.wants_node {
            match self.node.get() {
                None => reasons
                    .push(reason("storage-starting", "the storage engine is opening its disk".to_owned())),
                Some(node) if !node.service().is_running() => {
                    reasons.push(reason(
                        "storage-joining",
                        "the storage engine waits for its region".to_owned(),
                    ));
                }
                Some(node) if node.service().disk().failed => {
                    reasons.push(reason(
                        "disk-failed",
                        "a write or fsync failed: the disk is out of service".to_owned(),
                    ));
                }
                Some(_) => {}
            }
        }
        if self.wants_gateway && self.frontend.get().is_none() {
            reasons.push(reason(
                "gateway-starting",
                "the gateway has no keys or no leader to ask yet".to_owned(),
            ));
        }
        reasons
    }

    fn not_writable(&self) -> Vec<Reason> {
        let mut reasons = self.not_ready();
        let leaderless = self.leaderless();
        if leaderless > 0 {
            reasons.push(reason("leaderless", format!("{leaderless} groups have no leader")));
        }
        if let Some(node) = self.node.get()
            && !node.service().report().writable
        {
            reasons.push(reason("disk-full", "the disk is nearly full: only deletes are taken".to_owned()));
        }
        reasons
    }

    fn metrics(&self) -> String {
        metrics::render(self)
    }
}

impl ProcessState {
    /// Groups without a leader as this process sees them.
    pub(crate) fn groups_leaderless(&self) -> usize {
        self.leaderless()
    }
}

fn reason(code: &'static str, message: String) -> Reason {
    Reason { code, message }
}
