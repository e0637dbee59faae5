//! Garbage collection and scrubbing on an operator's behalf: asks the nodes and puts their answers together.

use super::{Admin, Answer};
use bytes::Bytes;
use futures_util::future::join_all;
use replication::{gc::Freed, message::kind, peer::PeerClass, scrub::ScrubFigures};
use std::time::Duration;
use wire::{
    Encoder, NodeId,
    admin::{AdminError, AdminErrorCode, AdminResponse, GcReport, NodeGc, NodeScrub, ScrubReport},
};

/// How long a node may collect before the answer says that it did not.
const GC_WAIT: Duration = Duration::from_secs(90);

/// How long a node may take to say what it found.
const SCRUB_WAIT: Duration = Duration::from_secs(5);

impl Admin {
    /// Frees what can be freed now.
    pub(super) async fn gc(&self, node: Option<NodeId>) -> Answer {
        let answers = self.ask_nodes(node, kind::GC, &Bytes::new(), GC_WAIT).await?;
        let mut nodes = Vec::with_capacity(answers.len());
        for (node, head) in answers {
            let freed = Freed::decode(head).map_err(|error| not_understood(node, &error))?;
            nodes.push(NodeGc {
                node,
                segments_freed: freed.segments,
                bytes_freed: freed.bytes,
                bytes_moved: freed.moved_bytes,
            });
        }
        Ok(AdminResponse::Gc(GcReport { nodes }))
    }

    /// Begins a pass if `start`, and says what was found so far.
    pub(super) async fn scrub(&self, node: Option<NodeId>, start: bool) -> Answer {
        let mut e = Encoder::new();
        e.flag(start);
        let answers = self.ask_nodes(node, kind::SCRUB, &e.finish(), SCRUB_WAIT).await?;
        let mut nodes = Vec::with_capacity(answers.len());
        for (node, head) in answers {
            let found = ScrubFigures::decode(head).map_err(|error| not_understood(node, &error))?;
            nodes.push(NodeScrub {
                node,
                running: found.running,
                finished: found.finished,
                bytes_checked: found.bytes_checked,
                bytes_total: found.bytes_total,
                corrupt: found.corrupt,
                repaired: found.repaired,
            });
        }
        Ok(AdminResponse::Scrub(ScrubReport { nodes }))
    }

    /// Records that scrubbing found rotten on any node and could not repair.
    pub(super) async fn unrepaired_records(&self) -> u64 {
        match self.scrub(None, false).await {
            Ok(AdminResponse::Scrub(report)) => {
                report.nodes.iter().map(|node| node.corrupt.saturating_sub(node.repaired)).sum()
            }
            _ => 0,
        }
    }

    /// Asks one node, or all: then those that answer are enough, if there are any.
    async fn ask_nodes(
        &self,
        only: Option<NodeId>,
        kind: u16,
        head: &Bytes,
        wait: Duration,
    ) -> Result<Vec<(NodeId, Bytes)>, AdminError> {
        let all = self.nodes().into_keys();
        let asked: Vec<NodeId> = all.filter(|node| only.is_none_or(|only| only == *node)).collect();
        if asked.is_empty() {
            return Err(AdminError {
                code: AdminErrorCode::NotFound,
                message: "there is no such node".to_owned(),
                advice: "`twinkeep status` lists the nodes".to_owned(),
            });
        }
        let answers = join_all(asked.into_iter().map(|node| async move {
            let called =
                self.state.peers.call(node, PeerClass::Bulk, kind, head.clone(), Vec::new(), wait).await;
            Some((node, called.ok()?.head))
        }));
        let answers: Vec<(NodeId, Bytes)> = answers.await.into_iter().flatten().collect();
        if answers.is_empty() {
            return Err(AdminError {
                code: AdminErrorCode::Unavailable,
                message: "no node answered".to_owned(),
                advice: "`twinkeep status` says which nodes are up".to_owned(),
            });
        }
        Ok(answers)
    }
}

fn not_understood(node: NodeId, error: &wire::DecodeError) -> AdminError {
    AdminError {
        code: AdminErrorCode::Internal,
        message: format!("node {node} answered in a way that makes no sense: {error}"),
        advice: "let all processes of the region run the same release".to_owned(),
    }
}
