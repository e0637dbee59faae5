//! Who should lead: leaders do more work than followers, so every node should lead as many groups as any other.

use crate::{NodeState, NodeStatus};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use wire::NodeId;

/// A leadership that should pass on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Index of the group in the placement.
    pub group: usize,
    /// Who leads.
    pub from: NodeId,
    /// Who should.
    pub to: NodeId,
}

struct Leaders<'a> {
    placement: &'a [Vec<NodeId>],
    leaders: Vec<Option<NodeId>>,
    counts: BTreeMap<NodeId, usize>,
}

/// The transfers after which active nodes lead as evenly as their copies allow and no other node leads. `leaders`
/// goes with `placement`; groups without a leader are left alone.
pub fn balance_leaders(
    placement: &[Vec<NodeId>],
    leaders: &[Option<NodeId>],
    nodes: &[NodeStatus],
) -> Vec<Transfer> {
    assert_eq!(placement.len(), leaders.len(), "each group has its place in both");
    let active = nodes.iter().filter(|node| node.state == NodeState::Active);
    let mut state = Leaders {
        placement,
        leaders: leaders.to_vec(),
        counts: active.map(|node| (node.facts.id, 0)).collect(),
    };
    for leader in leaders.iter().flatten() {
        if let Some(count) = state.counts.get_mut(leader) {
            *count += 1;
        }
    }
    state.leave_inactive();
    while state.level() {}
    let before = leaders.iter().zip(&state.leaders).enumerate();
    before
        .filter_map(|(group, (from, to))| Some(Transfer { group, from: (*from)?, to: (*to)? }))
        .filter(|transfer| transfer.from != transfer.to)
        .collect()
}

impl Leaders<'_> {
    fn leave_inactive(&mut self) {
        for group in 0..self.leaders.len() {
            if self.leaders[group].is_some_and(|leader| !self.counts.contains_key(&leader)) {
                let followers =
                    self.placement[group].iter().filter(|member| self.counts.contains_key(member));
                if let Some(to) = followers.copied().min_by_key(|member| (self.counts[member], *member)) {
                    self.leaders[group] = Some(to);
                    *self.counts.entry(to).or_default() += 1;
                }
            }
        }
    }

    /// Takes a leadership from one of the nodes that lead most, over others if need be, to one that leads two fewer.
    fn level(&mut self) -> bool {
        let mut fullest: Vec<_> = self.counts.iter().map(|(node, count)| (*count, *node)).collect();
        fullest.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        for (count, from) in fullest {
            if let Some(path) = self.path(from, count) {
                for (group, to) in &path {
                    self.leaders[*group] = Some(*to);
                }
                let (_, last) = path.last().expect("a path has a step");
                *self.counts.entry(from).or_default() -= 1;
                *self.counts.entry(*last).or_default() += 1;
                return true;
            }
        }
        false
    }

    /// The shortest chain of transfers from `from`, which leads `count` groups, to a node that leads two fewer.
    fn path(&self, from: NodeId, count: usize) -> Option<Vec<(usize, NodeId)>> {
        let mut came_by: BTreeMap<NodeId, (usize, NodeId)> = BTreeMap::new();
        let mut seen = BTreeSet::from([from]);
        let mut queue = VecDeque::from([from]);
        while let Some(node) = queue.pop_front() {
            let led = self.leaders.iter().enumerate().filter(|(_, leader)| **leader == Some(node));
            for (group, to) in
                led.flat_map(|(group, _)| self.placement[group].iter().map(move |to| (group, *to)))
            {
                let Some(to_count) = self.counts.get(&to).filter(|_| seen.insert(to)) else { continue };
                came_by.insert(to, (group, node));
                if to_count + 2 <= count {
                    let mut path = vec![];
                    let mut at = to;
                    while at != from {
                        let (group, before) = came_by[&at];
                        path.push((group, at));
                        at = before;
                    }
                    path.reverse();
                    return Some(path);
                }
                queue.push_back(to);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        place_groups,
        testing::{Random, nodes},
    };

    fn statuses(count: u16) -> Vec<NodeStatus> {
        nodes(count, count).into_iter().map(|facts| NodeStatus { facts, state: NodeState::Active }).collect()
    }

    fn carried_out(leaders: &[Option<NodeId>], transfers: &[Transfer]) -> Vec<Option<NodeId>> {
        let mut leaders = leaders.to_vec();
        for transfer in transfers {
            assert_eq!(leaders[transfer.group], Some(transfer.from));
            leaders[transfer.group] = Some(transfer.to);
        }
        leaders
    }

    #[test]
    fn leaders_end_up_even_among_their_copies_and_stay() {
        let seed = Random::seed();
        println!("seed {seed}");
        let mut random = Random::new(seed);
        for count in [3, 4, 6, 10] {
            let placement = place_groups(&nodes(count, count), 64, 3).unwrap();
            let leaders: Vec<_> =
                placement.iter().map(|members| Some(members[random.below(3) as usize])).collect();
            let transfers = balance_leaders(&placement, &leaders, &statuses(count));
            let after = carried_out(&leaders, &transfers);
            for (leader, members) in after.iter().zip(&placement) {
                assert!(members.contains(&leader.unwrap()), "seed {seed}");
            }
            let led = |node: u16| after.iter().filter(|leader| **leader == Some(NodeId(node))).count();
            let (least, most) = ((1..=count).map(led).min(), (1..=count).map(led).max());
            assert!(most.unwrap() - least.unwrap() <= 1, "seed {seed}, {count} nodes: {least:?} to {most:?}");
            assert_eq!(balance_leaders(&placement, &after, &statuses(count)), [], "seed {seed}");
        }
    }

    #[test]
    fn a_draining_node_stops_leading() {
        let placement = place_groups(&nodes(4, 4), 16, 3).unwrap();
        let leaders: Vec<_> = placement.iter().map(|members| Some(members[0])).collect();
        let mut statuses = statuses(4);
        statuses[0].state = NodeState::Draining;
        let after = carried_out(&leaders, &balance_leaders(&placement, &leaders, &statuses));
        assert!(after.iter().all(|leader| *leader != Some(NodeId(1))));
    }

    #[test]
    fn a_group_without_a_leader_is_left_alone() {
        let placement = place_groups(&nodes(3, 3), 4, 3).unwrap();
        assert_eq!(balance_leaders(&placement, &[None; 4], &statuses(3)), []);
    }
}
