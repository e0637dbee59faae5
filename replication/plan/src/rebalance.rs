//! What to move when nodes come, go, fill up or fail.
//!
//! A plan holds at most one move per group: a move is carried out by adding first and removing then, so that a group
//! never has fewer good copies than it had, and the next plan takes the group's next move. Moves come in the order of
//! their urgency: copies that are lost, copies that shall leave, copies that share a zone, balance.

use crate::{NodeState, NodeStatus, load::Load, placement::zones_of};
use std::collections::{BTreeMap, BTreeSet};
use wire::NodeId;

/// One copy's move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// Index of the group in the placement.
    pub group: usize,
    /// The copy to remove once the new one is good; nothing if the group has a copy too few.
    pub from: Option<NodeId>,
    /// Where the new copy goes.
    pub to: NodeId,
}

struct Planner<'a> {
    placement: Vec<Vec<NodeId>>,
    states: BTreeMap<NodeId, NodeState>,
    zones: BTreeMap<NodeId, &'a str>,
    load: Load<'a>,
    moved: BTreeSet<usize>,
    moves: Vec<Move>,
}

/// The next moves towards a placement with `replication` copies on active nodes, in different zones, evenly spread.
/// Nothing when there is nothing to gain or no node to go to.
pub fn rebalance(placement: &[Vec<NodeId>], nodes: &[NodeStatus], replication: usize) -> Vec<Move> {
    let active = nodes.iter().filter(|node| node.state == NodeState::Active).map(|node| &node.facts);
    let mut load = Load::new(active);
    for member in placement.iter().flatten() {
        load.add(*member);
    }
    let mut planner = Planner {
        placement: placement.to_vec(),
        states: nodes.iter().map(|node| (node.facts.id, node.state)).collect(),
        zones: nodes.iter().map(|node| (node.facts.id, &*node.facts.zone)).collect(),
        load,
        moved: BTreeSet::new(),
        moves: Vec::new(),
    };
    planner.replace_lost(replication);
    planner.drain();
    planner.spread_over_zones();
    planner.level();
    planner.moves
}

impl Planner<'_> {
    fn is_good(&self, node: NodeId) -> bool {
        self.states.get(&node).is_some_and(|state| state.is_good())
    }

    /// Groups with the fewest good copies first.
    fn replace_lost(&mut self, replication: usize) {
        let good = |members: &[NodeId]| members.iter().filter(|member| self.is_good(**member)).count();
        let mut short: Vec<(usize, usize)> =
            self.placement.iter().map(|members| good(members)).enumerate().collect();
        short.retain(|(group, good)| *good < replication || self.placement[*group].len() > *good);
        short.sort_by_key(|(group, good)| (*good, *group));
        for (group, _) in short {
            let lost = self.placement[group].iter().copied().find(|member| !self.is_good(*member));
            if lost.is_some() || self.placement[group].len() < replication {
                self.replace(group, lost);
            }
        }
    }

    fn drain(&mut self) {
        for group in 0..self.placement.len() {
            let leaving = self.placement[group].iter().copied().find(|member| !self.load.contains(*member));
            if leaving.is_some() {
                self.replace(group, leaving);
            }
        }
    }

    fn replace(&mut self, group: usize, from: Option<NodeId>) {
        if self.moved.contains(&group) {
            return;
        }
        let members = &self.placement[group];
        let staying: Vec<_> = members.iter().copied().filter(|member| Some(*member) != from).collect();
        if let Some(to) = self.load.choose(group, members, &zones_of(&staying, &self.zones)) {
            self.push(group, from, to);
        }
    }

    /// Moves a copy out of a zone that holds another one, where a zone without any has room.
    fn spread_over_zones(&mut self) {
        for group in 0..self.placement.len() {
            let members = self.placement[group].clone();
            let sharing = members.iter().copied().filter(|member| {
                self.load.contains(*member)
                    && members
                        .iter()
                        .any(|other| other != member && self.zones.get(other) == self.zones.get(member))
            });
            let Some(from) = sharing.max_by(|a, b| self.load.compare(*a, *b).then(a.cmp(b))) else {
                continue;
            };
            let staying: Vec<_> = members.iter().copied().filter(|member| *member != from).collect();
            let zones = zones_of(&staying, &self.zones);
            let to = self.load.choose(group, &members, &zones).filter(|to| !zones.contains(&self.zones[to]));
            if let Some(to) = to.filter(|_| !self.moved.contains(&group)) {
                self.push(group, Some(from), to);
            }
        }
    }

    /// Moves copies from fuller to emptier nodes as long as that levels them.
    fn level(&mut self) {
        while let Some((group, from, to)) = self.leveling_move() {
            self.push(group, Some(from), to);
        }
    }

    fn leveling_move(&self) -> Option<(usize, NodeId, NodeId)> {
        let nodes = self.load.fullest_first();
        for from in &nodes {
            for to in nodes.iter().rev() {
                if !self.load.would_level(*from, *to) {
                    break;
                }
                let found = (0..self.placement.len()).find(|group| self.may_move(*group, *from, *to));
                if let Some(group) = found {
                    return Some((group, *from, *to));
                }
            }
        }
        None
    }

    /// Whether the group's copies are all good, and lie in no fewer zones after the move.
    fn may_move(&self, group: usize, from: NodeId, to: NodeId) -> bool {
        let members = &self.placement[group];
        let shares = |node: NodeId| {
            members
                .iter()
                .filter(|member| **member != from && self.zones.get(member) == self.zones.get(&node))
                .count()
        };
        members.contains(&from)
            && !members.contains(&to)
            && !self.moved.contains(&group)
            && members.iter().all(|member| self.is_good(*member))
            && shares(to) <= shares(from)
    }

    fn push(&mut self, group: usize, from: Option<NodeId>, to: NodeId) {
        self.placement[group].retain(|member| Some(*member) != from);
        self.placement[group].push(to);
        if let Some(from) = from {
            self.load.remove(from);
        }
        self.load.add(to);
        self.moved.insert(group);
        self.moves.push(Move { group, from, to });
    }
}

#[cfg(test)]
mod tests;
