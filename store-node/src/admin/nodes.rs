//! Adding, draining, removing and replacing nodes: changes of their records, which the region's controller then carries
//! out, and how far it is.

use super::{Admin, Answer, invalid};
use crate::{random, server};
use bytes::Bytes;
use replication::{controller::RegionView, region::Region, roster::RosterEntry};
use std::time::Duration;
use tokio::time::Instant;
use wire::{
    Command, CommandMeta, GroupId, Incarnation, NodeId, NodeRecord, NodeState, Operation, Outcome,
    PrincipalId, RequestId, SystemChange, SystemExpect, SystemTable,
    admin::{AdminError, AdminErrorCode, AdminResponse, NodeProgress, NodeState as ShownState},
    descriptor::NodeDescriptor,
};

/// How long a change may wait for the system group.
const CHANGE_WAIT: Duration = Duration::from_secs(15);

/// Copies of everything.
const REPLICATION: usize = 3;

impl Admin {
    pub(super) async fn node_add(&self, node: NodeDescriptor) -> Answer {
        if let Some(known) = self.entry(node.id).await? {
            let again =
                known.record.state == NodeState::Active && known.record.peer_address == node.peer_address;
            if again && known.record.disk.is_none() {
                return self.node_progress(node.id).await;
            }
            return Err(AdminError {
                code: AdminErrorCode::AlreadyExists,
                message: format!("node {} is known already", node.id),
                advice: "give the new node a number that was never used, or replace the node".to_owned(),
            });
        }
        let record = NodeRecord {
            state: NodeState::Active,
            incarnation: node.incarnation,
            disk: None,
            zone: node.zone,
            peer_address: node.peer_address,
        };
        self.change(node.id, SystemExpect::Absent, &record).await?;
        self.node_progress(node.id).await
    }

    pub(super) async fn node_drain(&self, node: NodeId) -> Answer {
        let RosterEntry { mut record, changed } = self.known(node).await?;
        if record.state == NodeState::Active {
            self.check_room_without(node).await?;
            record.state = NodeState::Draining;
            self.change(node, SystemExpect::At(changed), &record).await?;
        }
        self.node_progress(node).await
    }

    pub(super) async fn node_remove(&self, node: NodeId, lost: bool) -> Answer {
        let RosterEntry { mut record, changed } = self.known(node).await?;
        let held = self.view().await.replicas_of(node);
        if held > 0 && !lost {
            return Err(invalid(
                &format!("node {node} still holds {held} copies"),
                "drain it first, or say that it is lost",
            ));
        }
        if held > 0 {
            self.check_room_without(node).await?;
        }
        record.state = NodeState::Removed;
        self.change(node, SystemExpect::At(changed), &record).await?;
        self.node_progress(node).await
    }

    pub(super) async fn node_replace(
        &self,
        node: NodeId,
        incarnation: Incarnation,
        peer_address: Option<String>,
    ) -> Answer {
        let RosterEntry { mut record, changed } = self.known(node).await?;
        if record.state == NodeState::Removed {
            return Err(invalid(&format!("node {node} was removed"), "add a node with a new number"));
        }
        if incarnation.0 == record.incarnation.0 && record.disk.is_none() {
            return self.node_progress(node).await;
        }
        if incarnation.0 != record.incarnation.0 + 1 {
            return Err(invalid(
                &format!("node {node} is at incarnation {}, the next one is one above", record.incarnation),
                "ask for its status and make a token for the next incarnation",
            ));
        }
        record.incarnation = incarnation;
        record.disk = None;
        if let Some(peer_address) = peer_address {
            record.peer_address = peer_address;
        }
        self.change(node, SystemExpect::At(changed), &record).await?;
        self.node_progress(node).await
    }

    pub(super) async fn node_progress(&self, node: NodeId) -> Answer {
        let entry = self.known(node).await?;
        let view = self.view().await;
        // copies that left the membership are dropped a moment later
        let on_disk = view.reports.get(&node).map_or(0, |report| report.replicas.len());
        let held =
            view.replicas_of(node).max(if entry.record.state == NodeState::Active { 0 } else { on_disk });
        let report = view.reports.get(&node).filter(|report| report.incarnation == entry.record.incarnation);
        let moves = view.moves(|_| false);
        let open = moves
            .as_ref()
            .map(|moves| moves.iter().filter(|step| step.to == node || step.from == Some(node)).count());
        let (state, done, total, moved) = match (entry.record.state, report, open) {
            (NodeState::Removed, ..) => (ShownState::Drained, held == 0, held, 0),
            (NodeState::Draining, ..) if held == 0 => (ShownState::Drained, true, 0, 0),
            (NodeState::Draining, ..) => (ShownState::Draining, false, held, 0),
            (NodeState::Active, None, _) if entry.record.disk.is_none() => (ShownState::Joining, false, 0, 0),
            (NodeState::Active, None, _) => (ShownState::Down, false, 0, 0),
            (NodeState::Active, Some(_), Some(open)) => (ShownState::Up, open == 0, held + open, held),
            (NodeState::Active, Some(_), None) => (ShownState::Up, false, held, held),
        };
        let waiting_for = match (state, open) {
            (ShownState::Joining, _) => "the node to start with its token".to_owned(),
            (ShownState::Down, _) => "the node to answer".to_owned(),
            (_, None) => "every group to have a leader".to_owned(),
            _ => String::new(),
        };
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Ok(AdminResponse::NodeProgress(NodeProgress {
            node,
            state,
            done,
            replicas_total: count(total),
            replicas_moved: count(moved),
            waiting_for,
        }))
    }

    /// The region as it is now.
    pub(super) async fn view(&self) -> RegionView {
        RegionView::look(&self.state.peers, &self.state.roster, self.state.descriptor.groups).await
    }

    async fn check_room_without(&self, node: NodeId) -> Result<(), AdminError> {
        let active = self
            .state
            .roster
            .entries()
            .into_iter()
            .filter(|(_, entry)| entry.record.state == NodeState::Active && entry.record.disk.is_some());
        let left = active.filter(|(other, _)| *other != node).count();
        if left >= REPLICATION {
            return Ok(());
        }
        Err(invalid(
            &format!(
                "without node {node} only {left} active nodes are left, and everything is kept three times"
            ),
            "add a node first",
        ))
    }

    async fn entry(&self, node: NodeId) -> Result<Option<RosterEntry>, AdminError> {
        self.state.roster.read(&self.router).await.map_err(|error| unavailable(&error))?;
        Ok(self.state.roster.entries().remove(&node))
    }

    async fn known(&self, node: NodeId) -> Result<RosterEntry, AdminError> {
        self.entry(node).await?.ok_or_else(|| AdminError {
            code: AdminErrorCode::NotFound,
            message: format!("there is no node {node}"),
            advice: "see `twinkeep status`".to_owned(),
        })
    }

    async fn change(
        &self,
        node: NodeId,
        expect: SystemExpect,
        record: &NodeRecord,
    ) -> Result<(), AdminError> {
        let change = SystemChange {
            table: SystemTable::Node,
            key: NodeRecord::key(node),
            expect,
            value: Some(record.encode()),
        };
        let command = Command {
            meta: CommandMeta {
                epoch: self.router.epoch(),
                time: server::now(),
                principal: PrincipalId::default(),
                request: RequestId(random::id()),
            },
            operation: Operation::System(vec![change]),
            body: Bytes::new(),
        };
        let outcome = self.router.propose(GroupId::SYSTEM, command, Instant::now() + CHANGE_WAIT).await;
        match outcome.map_err(|error| unavailable(&error))? {
            Outcome::Changed(_) => {
                self.state.roster.read(&self.router).await.map_err(|error| unavailable(&error))
            }
            _ => Err(AdminError {
                code: AdminErrorCode::Busy,
                message: format!("node {node} was changed by someone else meanwhile"),
                advice: "look at its status and ask again".to_owned(),
            }),
        }
    }
}

fn unavailable(error: &(dyn std::error::Error + 'static)) -> AdminError {
    AdminError {
        code: AdminErrorCode::Unavailable,
        message: error.to_string(),
        advice: "ask again".to_owned(),
    }
}
