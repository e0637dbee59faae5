//! The region as a whole: asks every node about itself and puts the answers together.

use super::{Admin, Answer};
use crate::server;
use bytes::Bytes;
use futures_util::future::join_all;
use replication::{
    message::kind,
    peer::PeerClass,
    status::{NodeReport, ReplicaReport},
};
use std::{collections::BTreeMap, time::Duration};
use wire::{
    GroupId, NodeId, NodeRecord, NodeState as RecordState, ReplicaId,
    admin::{AdminResponse, DiskHealth, GroupReplica, GroupStatus, NodeState, NodeStatus, RegionStatus},
};

/// How long a node may take to describe itself.
const REPORT_WAIT: Duration = Duration::from_secs(1);

impl Admin {
    /// What each node says about itself, or nothing.
    pub(super) async fn node_reports(&self) -> BTreeMap<NodeId, Option<NodeReport>> {
        let ask = |node: NodeId| async move {
            let (class, kind) = (PeerClass::Bulk, kind::NODE_STATUS);
            let reply = self.state.peers.call(node, class, kind, Bytes::new(), Vec::new(), REPORT_WAIT).await;
            (node, reply.ok().and_then(|reply| NodeReport::decode(reply.head).ok()))
        };
        join_all(self.nodes().into_keys().map(ask)).await.into_iter().collect()
    }

    /// Every node that is not removed: as the system group has it, or, before it can be asked, as the descriptor has it.
    pub(super) fn nodes(&self) -> BTreeMap<NodeId, NodeRecord> {
        let mut nodes: BTreeMap<NodeId, NodeRecord> = self
            .state
            .descriptor
            .nodes
            .iter()
            .map(|node| {
                let record = NodeRecord {
                    state: RecordState::Active,
                    incarnation: node.incarnation,
                    disk: None,
                    zone: node.zone.clone(),
                    peer_address: node.peer_address.clone(),
                };
                (node.id, record)
            })
            .collect();
        nodes.extend(self.state.roster.entries().into_iter().map(|(node, entry)| (node, entry.record)));
        nodes.retain(|_, record| record.state != RecordState::Removed);
        nodes
    }

    pub(super) async fn status(&self) -> Answer {
        let reports = self.node_reports().await;
        let descriptor = &self.state.descriptor;
        let nodes = self
            .nodes()
            .iter()
            .map(|(node, record)| node_status(*node, record, reports.get(node).and_then(Option::as_ref)))
            .collect();
        let groups: Vec<GroupStatus> =
            (0..=descriptor.groups).map(|group| group_status(GroupId(group), &reports)).collect();
        let good = |group: &GroupStatus| group.replicas.iter().filter(|replica| replica.good).count();
        let under = groups.iter().filter(|group| good(group) < usize::from(descriptor.replication)).count();
        let leaderless = groups.iter().filter(|group| group.leader.is_none()).count();
        let up = |report: &Option<NodeReport>| report.as_ref().is_some_and(|report| report.writable);
        let lags = self.lags(REPORT_WAIT).await;
        let role = super::pair::role(&lags);
        let pair_trouble = super::pair::trouble(role, &lags, self.began.elapsed());
        let room = reports.values().filter(|report| up(report)).count() * 2 > reports.len();
        Ok(AdminResponse::Status(RegionStatus {
            deployment: descriptor.deployment,
            environment: descriptor.environment.clone(),
            region: descriptor.region.clone(),
            answered_by: self.state.name(),
            now: server::now(),
            nodes,
            under_replicated_groups: u32::try_from(under).unwrap_or(u32::MAX),
            leaderless_groups: u32::try_from(leaderless).unwrap_or(u32::MAX),
            writable: leaderless == 0 && room && role == wire::PairRole::Primary && pair_trouble.is_none(),
            follows: role == wire::PairRole::Standby,
            pair_trouble,
            groups,
        }))
    }
}

fn node_status(id: NodeId, record: &NodeRecord, report: Option<&NodeReport>) -> NodeStatus {
    let me = report.map(NodeReport::replica_id);
    let count = |wanted: &dyn Fn(&&ReplicaReport) -> bool| {
        let replicas = report.map(|report| report.replicas.iter().filter(wanted).count());
        u32::try_from(replicas.unwrap_or(0)).unwrap_or(u32::MAX)
    };
    NodeStatus {
        id,
        zone: record.zone.clone(),
        peer_address: record.peer_address.clone(),
        incarnation: report.map_or(record.incarnation, |report| report.incarnation),
        state: match (record.state, report) {
            (_, None) => NodeState::Down,
            (RecordState::Draining, Some(report)) if report.replicas.is_empty() => NodeState::Drained,
            (RecordState::Draining, Some(_)) => NodeState::Draining,
            (_, Some(report)) if !report.running => NodeState::Joining,
            (_, Some(_)) => NodeState::Up,
        },
        version: report.map(|report| report.version.clone()).unwrap_or_default(),
        uptime_ms: report.map_or(0, |report| report.uptime_ms),
        capacity_bytes: report.map_or(0, |report| report.capacity_bytes),
        used_bytes: report.map_or(0, |report| report.used_bytes),
        free_bytes: report.map_or(0, |report| report.free_bytes),
        disk: match report {
            None => DiskHealth::Unknown,
            Some(report) if report.disk_failed => DiskHealth::Failed,
            Some(report) if !report.writable => DiskHealth::ReadOnly,
            Some(_) => DiskHealth::Healthy,
        },
        replicas: count(&|_| true),
        leaders: count(&|replica| replica.leader.is_some() && replica.leader == me),
        refused_handshakes: report.map_or(0, |report| report.refused_handshakes),
    }
}

fn group_status(group: GroupId, reports: &BTreeMap<NodeId, Option<NodeReport>>) -> GroupStatus {
    let of_group =
        |report: &NodeReport| report.replicas.iter().find(|replica| replica.group == group).cloned();
    let known: BTreeMap<ReplicaId, ReplicaReport> = reports
        .values()
        .flatten()
        .filter_map(|report| Some((report.replica_id(), of_group(report)?)))
        .collect();
    // the leader of the newest term knows best; without one, whoever knows the newest membership
    let leader = known
        .iter()
        .filter(|(id, replica)| replica.leads(**id))
        .max_by_key(|(id, replica)| (replica.term, **id));
    let best = leader.or_else(|| known.iter().max_by_key(|(_, replica)| (replica.term, replica.last_index)));
    let good = |id: ReplicaId| {
        let alive = known.get(&id).is_some_and(|replica| !replica.stopped);
        alive && leader.is_none_or(|(leads, replica)| *leads == id || replica.caught_up(id))
    };
    let members = |ids: &[ReplicaId], voter: bool| -> Vec<GroupReplica> {
        ids.iter().map(|id| GroupReplica { node: id.node(), good: good(*id), voter }).collect()
    };
    let replicas =
        best.map(|(_, best)| [members(&best.voters, true), members(&best.learners, false)].concat());
    GroupStatus {
        id: group,
        leader: leader.map(|(id, _)| id.node()),
        replicas: replicas.unwrap_or_default(),
        term: best.map_or(0, |(_, best)| best.term),
    }
}
