//! The admin API: what the `twinkeep` command line asks, as JSON over the peer port. Only operators may ask: a node or a
//! gateway could otherwise make itself a user.

mod loss;
mod nodes;
mod pair;
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
use tracing::{info, warn};
use wire::admin::{
    ADMIN_MESSAGE_BYTES_MAX, AdminError, AdminErrorCode, AdminRequest, AdminResponse, CheckFacts, PeerFact,
};

/// Answers operators.
pub(crate) struct Admin {
    state: Arc<ProcessState>,
    router: Arc<Router>,
    frontend: OnceLock<Arc<Frontend>>,
}

type Answer = Result<AdminResponse, AdminError>;

impl Admin {
    pub(crate) fn new(state: Arc<ProcessState>, router: Arc<Router>) -> Self {
        Self { state, router, frontend: OnceLock::new() }
    }

    pub(crate) fn set_frontend(&self, frontend: Arc<Frontend>) {
        assert!(self.frontend.set(frontend).is_ok(), "a process has one gateway");
    }

    /// Answers one request.
    pub(crate) async fn call(&self, from: &Identity, head: Bytes) -> Result<Reply, CallRefusal> {
        if !matches!(from.role, PeerRole::Operator(_)) {
            return Err(CallRefusal::new(CallRefusal::CLASS, "only operators may ask"));
        }
        let response = if head.len() > ADMIN_MESSAGE_BYTES_MAX {
            AdminResponse::Error(invalid("the request is over its limit", ""))
        } else {
            match serde_json::from_slice::<AdminRequest>(&head) {
                Ok(request) => {
                    info!(request = name(&request), "admin request");
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
            AdminRequest::PairLoss { group, since, after } => self.pair_loss(group, since, after).await,
            AdminRequest::PairStep { step, epoch } => self.pair_step(step, epoch).await,
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
        AdminRequest::PairLoss { .. } => "pair-loss",
        AdminRequest::PairStep { .. } => "pair-step",
    }
}

fn invalid(message: &str, advice: &str) -> AdminError {
    AdminError { code: AdminErrorCode::Invalid, message: message.to_owned(), advice: advice.to_owned() }
}
