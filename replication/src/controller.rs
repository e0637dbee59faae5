//! Keeps the region as its operators want it: three good copies of each group on active nodes in different zones, and
//! leaders spread evenly. Runs wherever the system group is led, looks at the region as it is, and takes the next steps;
//! it remembers nothing that cannot be seen, so a new controller goes on where the last one stopped.

use crate::{
    membership::{self, Step},
    message::kind,
    peer::{CallError, PeerClass, Peers},
    roster::{Roster, RosterEntry},
    router::Router,
    status::{NodeReport, ReplicaReport},
};
use bytes::Bytes;
use futures_util::future::join_all;
use plan::{NodeFacts, NodeStatus};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use wire::{GroupId, NodeId, NodeState, ReplicaId};

/// How often the region is looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long a node may be silent before its replicas are made anew elsewhere. 15 minutes: a reboot takes less.
const DOWN_AFTER: Duration = Duration::from_secs(15 * 60);

/// Groups whose replicas move at the same time: moving is throttled by the receiving disks, not by waiting.
const MOVES_MAX: usize = 4;

/// How long a node may take to describe itself.
const REPORT_WAIT: Duration = Duration::from_secs(1);

/// Leaders are spread every so many rounds, and only when nothing moves.
const LEADERS_EVERY: u32 = 10;

/// Copies of everything.
const REPLICATION: usize = 3;

/// Looks after the region while this node leads the system group.
pub(crate) struct Controller {
    node: NodeId,
    groups: u32,
    peers: Peers,
    router: Arc<Router>,
    roster: Arc<Roster>,
    /// When each node was last heard of.
    heard: BTreeMap<NodeId, Instant>,
    rounds: u32,
}

/// The region at one instant.
pub struct RegionView {
    /// What each node that answers says.
    pub reports: BTreeMap<NodeId, NodeReport>,
    /// What the system group says of each node.
    pub nodes: BTreeMap<NodeId, RosterEntry>,
    groups: u32,
}

/// A group as its leader sees it.
struct GroupView<'a> {
    leader: ReplicaId,
    report: &'a ReplicaReport,
}

impl RegionView {
    /// Asks every node of the roster.
    pub async fn look(peers: &Peers, roster: &Roster, groups: u32) -> Self {
        let nodes = roster.entries();
        let ask = |node: NodeId| async move {
            let (class, kind) = (PeerClass::Bulk, kind::NODE_STATUS);
            let reply = peers.call(node, class, kind, Bytes::new(), Vec::new(), REPORT_WAIT).await.ok()?;
            Some((node, NodeReport::decode(reply.head).ok()?))
        };
        let reports = join_all(nodes.keys().map(|node| ask(*node))).await.into_iter().flatten().collect();
        Self { reports, nodes, groups }
    }

    fn leader_of(&self, group: GroupId) -> Option<GroupView<'_>> {
        let led = self.reports.values().filter_map(|report| {
            let id = report.replica_id();
            let replica = report.replicas.iter().find(|replica| replica.group == group)?;
            replica.leads(id).then_some(GroupView { leader: id, report: replica })
        });
        // a term may see more than one leader: the one with the greater id came later
        led.max_by_key(|view| (view.report.term, view.leader))
    }

    /// Whether a replica counts as a copy: its node is not removed and still has the disk that holds it.
    fn counts(&self, replica: ReplicaId) -> bool {
        self.nodes.get(&replica.node()).is_some_and(|entry| {
            entry.record.state != NodeState::Removed && entry.record.incarnation == replica.incarnation()
        })
    }

    /// Where each group's good copies are, as far as its leader is known.
    fn placement(&self) -> Vec<Option<Vec<NodeId>>> {
        (0..=self.groups)
            .map(|group| {
                let view = self.leader_of(GroupId(group))?;
                let voters = view.report.voters.iter().filter(|voter| self.counts(**voter));
                Some(voters.map(|voter| voter.node()).collect())
            })
            .collect()
    }

    /// The moves that are still to be made; nothing while a group has no leader to ask.
    pub fn moves(&self, is_down: impl Fn(NodeId) -> bool) -> Option<Vec<plan::Move>> {
        let placement: Option<Vec<Vec<NodeId>>> = self.placement().into_iter().collect();
        Some(plan::rebalance(&placement?, &self.statuses(is_down), REPLICATION))
    }

    fn statuses(&self, is_down: impl Fn(NodeId) -> bool) -> Vec<NodeStatus> {
        let status = |(node, entry): (&NodeId, &RosterEntry)| NodeStatus {
            facts: NodeFacts { id: *node, zone: entry.record.zone.clone(), capacity_bytes: 1 },
            state: match entry.record.state {
                NodeState::Removed => plan::NodeState::Removed,
                NodeState::Draining => plan::NodeState::Draining,
                NodeState::Active if is_down(*node) => plan::NodeState::Down,
                NodeState::Active => plan::NodeState::Active,
            },
        };
        self.nodes.iter().map(status).collect()
    }

    /// Replicas that `node` holds and that count.
    pub fn replicas_of(&self, node: NodeId) -> usize {
        let placement = self.placement();
        placement.iter().flatten().filter(|members| members.contains(&node)).count()
    }
}

impl Controller {
    pub(crate) fn new(
        node: NodeId,
        groups: u32,
        peers: Peers,
        router: Arc<Router>,
        roster: Arc<Roster>,
    ) -> Self {
        Self { node, groups, peers, router, roster, heard: BTreeMap::new(), rounds: 0 }
    }

    /// Runs until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(INTERVAL) => {}
            }
            if self.router.leader(GroupId::SYSTEM) != Some(self.node) {
                // whoever leads then must not judge by what was heard long ago
                self.heard.clear();
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.round() => {}
            }
        }
    }

    async fn round(&mut self) {
        if let Err(error) = self.roster.read(&self.router).await {
            debug!(%error, "the region's nodes cannot be read now");
            return;
        }
        let view = RegionView::look(&self.peers, &self.roster, self.groups).await;
        let now = Instant::now();
        for node in view.nodes.keys() {
            let heard = self.heard.entry(*node).or_insert(now);
            if view.reports.contains_key(node) {
                *heard = now;
            }
        }
        let heard = &self.heard;
        let is_down = |node: NodeId| heard.get(&node).is_none_or(|at| now - *at > DOWN_AFTER);
        let Some(moves) = view.moves(is_down) else { return };
        let possible = moves.into_iter().filter(|step| view.reports.contains_key(&step.to)).take(MOVES_MAX);
        let moves: Vec<plan::Move> = possible.collect();
        join_all(moves.iter().map(|step| self.advance(&view, step))).await;
        self.open_missing(&view).await;
        self.drop_strangers(&view, &moves).await;
        self.rounds += 1;
        let full_leader = view.reports.values().any(NodeReport::leads_while_full);
        if full_leader || (moves.is_empty() && self.rounds.is_multiple_of(LEADERS_EVERY)) {
            self.spread_leaders(&view, is_down).await;
        }
    }

    /// Takes the next step of one move.
    async fn advance(&self, view: &RegionView, step: &plan::Move) {
        let group = GroupId(u32::try_from(step.group).expect("groups are counted in u32"));
        let Some(GroupView { leader, report }) = view.leader_of(group) else { return };
        let Some(target) = view.reports.get(&step.to).map(NodeReport::replica_id) else { return };
        let held = view.reports[&step.to].replicas.iter().any(|replica| replica.group == group);
        let taken = if report.learners.contains(&target) && report.caught_up(target) {
            let stays = |voter: &&ReplicaId| view.counts(**voter) && Some(voter.node()) != step.from;
            let mut voters: Vec<ReplicaId> = report.voters.iter().filter(stays).copied().collect();
            voters.push(target);
            info!(%group, to = %step.to, "a new copy is complete");
            membership::ask(&self.peers, leader.node(), group, &Step::SetVoters(voters)).await
        } else if report.learners.contains(&target) && held {
            return;
        } else {
            info!(%group, from = ?step.from, to = %step.to, "moving a copy");
            match membership::ask(&self.peers, step.to, group, &Step::Open).await {
                Ok(()) => membership::ask(&self.peers, leader.node(), group, &Step::AddLearner(target)).await,
                failed => failed,
            }
        };
        self.note(group, taken);
    }

    /// Opens replicas that are members but were never heard of on their node: it stopped before their first record.
    async fn open_missing(&self, view: &RegionView) {
        for group in (0..=self.groups).map(GroupId) {
            let Some(leader) = view.leader_of(group) else { continue };
            for voter in leader.report.voters.iter().filter(|voter| view.counts(**voter)) {
                let Some(report) = view.reports.get(&voter.node()) else { continue };
                let held = report.replicas.iter().any(|replica| replica.group == group);
                if !held && report.running && report.replica_id() == *voter {
                    let opened = membership::ask(&self.peers, voter.node(), group, &Step::Open).await;
                    self.note(group, opened);
                }
            }
        }
    }

    /// Drops replicas that are in no membership (any more) and in no move.
    async fn drop_strangers(&self, view: &RegionView, moves: &[plan::Move]) {
        let moving: BTreeSet<usize> = moves.iter().map(|step| step.group).collect();
        for report in view.reports.values() {
            for replica in &report.replicas {
                let group = replica.group;
                if moving.contains(&(group.0 as usize)) {
                    continue;
                }
                let Some(leader) = view.leader_of(group) else { continue };
                let id = report.replica_id();
                let member = leader.report.voters.contains(&id) || leader.report.learners.contains(&id);
                // a leader of an older term may not know its newest members
                let follows = replica.leader.is_none_or(|known| known <= leader.leader);
                let older =
                    replica.term < leader.report.term || (replica.term == leader.report.term && follows);
                // one that led and was left out of the group hears of nobody after itself, and still names itself
                if !member && older && leader.leader != id && leader.report.members_agreed {
                    info!(%group, node = %report.node, "dropping a copy that is no longer a member");
                    let dropped = membership::ask(&self.peers, report.node, group, &Step::Drop).await;
                    self.note(group, dropped);
                }
            }
        }
    }

    async fn spread_leaders(&self, view: &RegionView, is_down: impl Fn(NodeId) -> bool) {
        let placement: Option<Vec<Vec<NodeId>>> = view.placement().into_iter().collect();
        let Some(placement) = placement else { return };
        let leaders: Vec<Option<NodeId>> =
            (0..=self.groups).map(|group| Some(view.leader_of(GroupId(group))?.leader.node())).collect();
        // a node without room can follow but not lead: whoever leads must take writes
        let cannot_lead =
            |node: NodeId| is_down(node) || view.reports.get(&node).is_none_or(|report| !report.writable);
        for transfer in plan::balance_leaders(&placement, &leaders, &view.statuses(cannot_lead)) {
            let group = GroupId(u32::try_from(transfer.group).expect("groups are counted in u32"));
            let Some(GroupView { leader, report }) = view.leader_of(group) else { continue };
            let target = report.voters.iter().find(|voter| voter.node() == transfer.to);
            let Some(target) = target.filter(|target| report.caught_up(**target)) else { continue };
            let asked = membership::ask(&self.peers, leader.node(), group, &Step::Transfer(*target)).await;
            self.note(group, asked);
        }
    }

    fn note(&self, group: GroupId, taken: Result<(), CallError>) {
        if let Err(error) = taken {
            warn!(%group, %error, "a membership step was not taken; it is tried again");
        }
    }
}
