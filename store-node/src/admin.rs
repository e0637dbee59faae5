//! The admin API: what the `twinkeep` command line asks, as JSON over the peer port. Only operators may ask: a node or a
//! gateway could otherwise make itself a user.

mod compare;
mod loss;
mod nodes;
mod pair;
mod refused;
mod region;
mod upkeep;
mod users;

use crate::{frontend::Frontend, server, state::ProcessState};
use bytes::Bytes;
use replication::{
    peer::{CallRefusal, Identity, PeerRole, Reply},
    router::Router,
};
use std::sync::{Arc, OnceLock};
use tokio::time::Instant;
use tracing::{info, warn};
use wire::admin::{
    ADMIN_MESSAGE_BYTES_MAX, AdminError, AdminErrorCode, AdminRequest, AdminResponse, CheckFacts, PairChange,
    PeerFact,
};

/// Answers operators.
pub(crate) struct Admin {
    state: Arc<ProcessState>,
    router: Arc<Router>,
    frontend: OnceLock<Arc<Frontend>>,
    /// When the process began to answer.
    began: Instant,
}

type Answer = Result<AdminResponse, AdminError>;

impl Admin {
    pub(crate) fn new(state: Arc<ProcessState>, router: Arc<Router>) -> Self {
        Self { state, router, frontend: OnceLock::new(), began: Instant::now() }
    }

    pub(crate) fn set_frontend(&self, frontend: Arc<Frontend>) {
        assert!(self.frontend.set(frontend).is_ok(), "a process has one gateway");
    }

    /// Answers one request.
    pub(crate) async fn call(&self, from: &Identity, head: Bytes) -> Result<Reply, CallRefusal> {
        if !matches!(from.role, PeerRole::Operator(_) | PeerRole::Witness(_)) {
            return Err(CallRefusal::new(CallRefusal::CLASS, "only operators and witnesses may ask"));
        }
        let response = if head.len() > ADMIN_MESSAGE_BYTES_MAX {
            AdminResponse::Error(invalid("the request is over its limit", ""))
        } else {
            match serde_json::from_slice::<AdminRequest>(&head) {
                Ok(request) if !may_ask(&from.role, &request) => AdminResponse::Error(AdminError {
                    code: AdminErrorCode::Denied,
                    message: format!("{} may not ask for {}", from.role, name(&request)),
                    advice: "use an operator's identity".to_owned(),
                }),
                Ok(request) => {
                    // a witness asks twice a second
                    if !matches!(request, AdminRequest::Lease { .. }) {
                        info!(request = name(&request), "admin request");
                    }
                    self.answer(request).await.unwrap_or_else(AdminResponse::Error)
                }
                Err(error) => {
                    // its text quotes what was sent
                    warn!(column = error.column(), "admin request not understood");
                    AdminResponse::Error(AdminError::not_available(
                        "this request",
                        "use a `twinkeep` of the region's own release",
                    ))
                }
            }
        };
        let head = serde_json::to_vec(&response).expect("answers are plain data");
        Ok(Reply::head(head.into()))
    }

    async fn answer(&self, request: AdminRequest) -> Answer {
        match request {
            AdminRequest::Status => self.status().await,
            AdminRequest::CheckFacts => self.check_facts().await,
            AdminRequest::UserAdd { name, admin, create_buckets } => {
                self.user_add(&name, admin, create_buckets).await
            }
            AdminRequest::UserList => self.user_list().await,
            AdminRequest::UserRemove { name } => self.user_remove(&name).await,
            AdminRequest::KeyAdd { user } => self.key_add(&user).await,
            AdminRequest::KeyList { user } => self.key_list(user.as_deref()).await,
            AdminRequest::KeyRemove { access_key } => self.key_remove(&access_key).await,
            AdminRequest::GrantAdd { principal, bucket, rights } => {
                self.grant_add(&principal, &bucket, &rights).await
            }
            AdminRequest::GrantRemove { principal, bucket } => self.grant_remove(&principal, &bucket).await,
            AdminRequest::GrantList { principal, bucket } => {
                self.grant_list(principal.as_deref(), bucket.as_deref()).await
            }
            AdminRequest::NodeAdd { node, .. } => self.node_add(node).await,
            AdminRequest::NodeDrain { node } => self.node_drain(node).await,
            AdminRequest::NodeRemove { node, lost } => self.node_remove(node, lost).await,
            AdminRequest::NodeReplace { node, incarnation, peer_address, .. } => {
                self.node_replace(node, incarnation, peer_address).await
            }
            AdminRequest::NodeProgress { node } => self.node_progress(node).await,
            AdminRequest::TenantKeyRotate => self.tenant_key_rotate().await,
            AdminRequest::RewrapStart => self.rewrap_start().await,
            AdminRequest::RewrapProgress => self.rewrap_progress().await,
            AdminRequest::ScrubStart { node } => self.scrub(node, true).await,
            AdminRequest::ScrubReport { node } => self.scrub(node, false).await,
            AdminRequest::Gc { node } => self.gc(node).await,
            AdminRequest::PairReport => self.pair_report().await,
            AdminRequest::Lease { epoch, stamp } => self.lease(epoch, stamp).await,
            AdminRequest::PairLoss { group, since, after } => self.pair_loss(group, since, after).await,
            AdminRequest::PairStep { step, epoch } => self.pair_step(step, epoch).await,
            AdminRequest::PairResync { group, epoch } => self.pair_resync(group, epoch).await,
            AdminRequest::CompareSums { group, after, bucket } => {
                self.compare_sums(group, after, bucket).await
            }
            AdminRequest::CompareEntries { group, wanted } => self.compare_entries(group, wanted).await,
            AdminRequest::RefusedPeers => self.refused_peers().await,
        }
    }

    fn frontend(&self) -> Result<&Arc<Frontend>, AdminError> {
        self.frontend.get().ok_or_else(|| AdminError {
            code: AdminErrorCode::Unavailable,
            message: format!("{} has no gateway that is ready", self.state.name()),
            advice: "ask a gateway, or wait until this one is ready".to_owned(),
        })
    }

    async fn check_facts(&self) -> Answer {
        let reports = self.node_reports().await;
        let peers = reports
            .into_iter()
            .map(|(node, report)| PeerFact {
                node,
                reachable: report.is_some(),
                clock_offset_ms: None,
                version: report.map(|report| report.version),
            })
            .collect();
        Ok(AdminResponse::CheckFacts(CheckFacts {
            answered_by: self.state.name(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            now: server::now(),
            certificates: self.state.certificates(),
            root_key_open: self.frontend.get().map(|_| true),
            peers,
            open_files_max: open_files_max(),
            unrepaired_records: self.unrepaired_records().await,
        }))
    }
}

fn open_files_max() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// A witness gives leases and may let a standby take over, and nothing else; nobody but a witness gives leases.
fn may_ask(role: &PeerRole, request: &AdminRequest) -> bool {
    let lease = matches!(request, AdminRequest::Lease { .. });
    let relieve = matches!(request, AdminRequest::PairStep { step: PairChange::Relieve, .. });
    match role {
        PeerRole::Witness(_) => lease || relieve || matches!(request, AdminRequest::PairReport),
        PeerRole::Operator(_) => !lease,
        _ => false,
    }
}

/// The request's name: what it carries may be personal.
fn name(request: &AdminRequest) -> &'static str {
    match request {
        AdminRequest::Status => "status",
        AdminRequest::CheckFacts => "check-facts",
        AdminRequest::UserAdd { .. } => "user-add",
        AdminRequest::UserList => "user-list",
        AdminRequest::UserRemove { .. } => "user-remove",
        AdminRequest::KeyAdd { .. } => "key-add",
        AdminRequest::KeyList { .. } => "key-list",
        AdminRequest::KeyRemove { .. } => "key-remove",
        AdminRequest::GrantAdd { .. } => "grant-add",
        AdminRequest::GrantRemove { .. } => "grant-remove",
        AdminRequest::GrantList { .. } => "grant-list",
        AdminRequest::NodeAdd { .. } => "node-add",
        AdminRequest::NodeDrain { .. } => "node-drain",
        AdminRequest::NodeRemove { .. } => "node-remove",
        AdminRequest::NodeReplace { .. } => "node-replace",
        AdminRequest::NodeProgress { .. } => "node-progress",
        AdminRequest::TenantKeyRotate => "tenant-key-rotate",
        AdminRequest::RewrapStart => "rewrap-start",
        AdminRequest::RewrapProgress => "rewrap-progress",
        AdminRequest::ScrubStart { .. } => "scrub-start",
        AdminRequest::ScrubReport { .. } => "scrub-report",
        AdminRequest::Gc { .. } => "gc",
        AdminRequest::PairReport => "pair-report",
        AdminRequest::Lease { .. } => "lease",
        AdminRequest::PairLoss { .. } => "pair-loss",
        AdminRequest::PairStep { .. } => "pair-step",
        AdminRequest::PairResync { .. } => "pair-resync",
        AdminRequest::CompareSums { .. } => "compare-sums",
        AdminRequest::CompareEntries { .. } => "compare-entries",
        AdminRequest::RefusedPeers => "refused-peers",
    }
}

fn invalid(message: &str, advice: &str) -> AdminError {
    AdminError { code: AdminErrorCode::Invalid, message: message.to_owned(), advice: advice.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_witness_gives_leases_and_relieves_and_nobody_else_gives_leases() {
        let lease = AdminRequest::Lease { epoch: 1, stamp: None };
        let step = |step| AdminRequest::PairStep { step, epoch: 2 };
        let requests = [
            lease,
            step(PairChange::Relieve),
            AdminRequest::PairReport,
            step(PairChange::Promote),
            step(PairChange::Seal),
            AdminRequest::UserList,
            AdminRequest::Status,
        ];
        let may = |role: PeerRole| requests.each_ref().map(|request| may_ask(&role, request));
        assert_eq!(may(PeerRole::Witness("w".into())), [true, true, true, false, false, false, false]);
        assert_eq!(may(PeerRole::Operator("o".into())), [false, true, true, true, true, true, true]);
        assert_eq!(may(PeerRole::Gateway(1)), [false; 7]);
    }
}
