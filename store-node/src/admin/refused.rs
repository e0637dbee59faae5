//! What the record of refused peers has, to an operator.

use super::{Admin, Answer};
use wire::admin::{AdminError, AdminErrorCode, AdminResponse, RefusedPeersReport};

impl Admin {
    /// Whom this process turned away; the others have records of their own.
    pub(super) async fn refused_peers(&self) -> Answer {
        let record = self.state.refusals();
        let peers = record.read().await.map_err(|error| AdminError {
            code: AdminErrorCode::Internal,
            message: format!("the record of refused peers cannot be read: {error}"),
            advice: "look at the disk of its data folder; its log names every refused peer too".to_owned(),
        })?;
        Ok(AdminResponse::RefusedPeers(RefusedPeersReport {
            region: self.state.region(),
            answered_by: self.state.name(),
            peers,
            unwritten: record.unwritten(),
        }))
    }
}
