//! What a process knows of itself while it runs: the answers of health, metrics and status come from here.

use crate::{
    config::{
        Config,
        join::{self, MemberIdentity},
    },
    frontend::Frontend,
    health::{Health, Reason},
    metrics,
    refusals::RefusalRecord,
};
use replication::{node::Node, pair::CUT_OFF, peer::Peers, roster::Roster, router::Router};
use std::sync::{Arc, OnceLock};
use wire::{GroupId, admin::CertificateFact, descriptor::RegionDescriptor};

/// A process's parts, filled in as they come up.
pub(crate) struct ProcessState {
    pub(crate) descriptor: RegionDescriptor,
    pub(crate) identity_folder: std::path::PathBuf,
    pub(crate) peers: Peers,
    pub(crate) roster: Arc<Roster>,
    refusals: Arc<RefusalRecord>,
    wants_node: bool,
    wants_gateway: bool,
    router: OnceLock<Arc<Router>>,
    node: OnceLock<Arc<Node>>,
    frontend: OnceLock<Arc<Frontend>>,
}

impl ProcessState {
    pub(crate) fn new(
        config: &Config,
        identity: &MemberIdentity,
        peers: Peers,
        refusals: Arc<RefusalRecord>,
    ) -> Self {
        Self {
            descriptor: identity.descriptor.clone(),
            identity_folder: identity.folder.clone(),
            peers,
            roster: Arc::default(),
            refusals,
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

    /// The record of peers that were turned away.
    pub(crate) fn refusals(&self) -> &Arc<RefusalRecord> {
        &self.refusals
    }

    /// The region's name.
    pub(crate) fn region(&self) -> String {
        self.descriptor.region.clone()
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

    fn leaderless(&self) -> Vec<GroupId> {
        let Some(router) = self.router.get() else { return Vec::new() };
        (0..=self.descriptor.groups).map(GroupId).filter(|group| router.leader(*group).is_none()).collect()
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

    fn held(&self) -> Vec<Reason> {
        leaderless_reason(&self.leaderless()).into_iter().collect()
    }

    fn not_writable(&self) -> Vec<Reason> {
        let mut reasons = self.not_ready();
        reasons.extend(leaderless_reason(&self.leaderless()));
        let here = self.node.get().is_some_and(|node| node.service().follows());
        // a gateway that passes requests on takes writes all the same
        let gateway = self.frontend.get().map(|frontend| &frontend.gateway);
        let passes_on = gateway.is_some_and(|gateway| gateway.forward().is_some());
        if !passes_on && (here || gateway.is_some_and(|gateway| gateway.follows())) {
            reasons.push(reason("standby", "the other region of the pair takes the writes".to_owned()));
        }
        if self.node.get().is_some_and(|node| node.service().is_cut_off()) {
            reasons.push(reason("cut-off", format!("{CUT_OFF}: no write is acknowledged")));
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
        self.leaderless().len()
    }
}

/// Groups named in a reason; the rest is counted.
const NAMED_MAX: usize = 16;

fn leaderless_reason(groups: &[GroupId]) -> Option<Reason> {
    let named: Vec<String> = groups.iter().take(NAMED_MAX).map(ToString::to_string).collect();
    let (count, named) = (groups.len(), named.join(", "));
    let more = if count > NAMED_MAX { ", ..." } else { "" };
    (count > 0).then(|| reason("leaderless", format!("{count} groups have no leader: {named}{more}")))
}

fn reason(code: &'static str, message: String) -> Reason {
    Reason { code, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_without_a_leader_are_named_and_many_are_counted() {
        let groups = |count: u32| (1..=count).map(GroupId).collect::<Vec<_>>();
        assert_eq!(leaderless_reason(&[]), None);
        let few = leaderless_reason(&groups(2)).unwrap();
        assert_eq!((few.code, few.message.as_str()), ("leaderless", "2 groups have no leader: 1, 2"));
        let many = leaderless_reason(&groups(1_024)).unwrap().message;
        assert!(many.starts_with("1024 groups have no leader: 1, 2") && many.ends_with("16, ..."), "{many}");
    }
}
