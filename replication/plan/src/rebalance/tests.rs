//! Moves are few, safe and lead to where they should.

use super::*;
use crate::{
    place_groups,
    testing::{Random, counts, nodes},
};

fn all_active(nodes: &[crate::NodeFacts]) -> Vec<NodeStatus> {
    nodes.iter().map(|facts| NodeStatus { facts: facts.clone(), state: NodeState::Active }).collect()
}

/// Carries plans out until there is nothing to do; checks every step; says how many moves it took.
fn settle(placement: &mut [Vec<NodeId>], nodes: &[NodeStatus], context: &str) -> usize {
    let good = |members: &[NodeId]| {
        members.iter().filter(|m| nodes.iter().any(|n| n.facts.id == **m && n.state.is_good())).count()
    };
    let mut total = 0;
    for _ in 0..20 {
        let moves = rebalance(placement, nodes, 3);
        if moves.is_empty() {
            return total;
        }
        let groups: BTreeSet<_> = moves.iter().map(|step| step.group).collect();
        assert_eq!(groups.len(), moves.len(), "one move per group; {context}");
        for Move { group, from, to } in moves {
            let members = &mut placement[group];
            assert!(!members.contains(&to), "{context}");
            let before = good(members);
            members.push(to);
            members.retain(|member| Some(*member) != from);
            assert!(good(members) >= before, "{context}");
            assert!(members.len() <= 3, "{context}");
            total += 1;
        }
    }
    panic!("it does not come to rest; {context}");
}

#[test]
fn a_fresh_placement_needs_no_moves() {
    for (count, zones) in [(3, 3), (6, 3), (9, 3), (5, 5), (12, 4), (7, 1)] {
        let nodes = nodes(count, zones);
        let placement = place_groups(&nodes, 256, 3).unwrap();
        assert_eq!(rebalance(&placement, &all_active(&nodes), 3), []);
    }
}

#[test]
fn a_new_node_gets_its_fair_share_and_nothing_else_moves() {
    for (count, zones) in [(4, 1), (5, 5), (6, 6), (11, 11)] {
        let mut nodes = nodes(count, zones);
        let mut placement = place_groups(&nodes, 256, 3).unwrap();
        let mut added = nodes[0].clone();
        added.id = NodeId(count + 1);
        added.zone = format!("zone {}", if zones == 1 { 0 } else { count });
        nodes.push(added);
        let moves = rebalance(&placement, &all_active(&nodes), 3);
        assert!(moves.iter().all(|step| step.to == NodeId(count + 1)));
        let moved = settle(&mut placement, &all_active(&nodes), "new node");
        let fair = 256 * 3 / (usize::from(count) + 1);
        assert!(moved.abs_diff(fair) <= 2, "{moved} moves, fair share {fair}");
    }
}

#[test]
fn a_draining_node_empties_without_other_moves() {
    let nodes = nodes(6, 3);
    let mut placement = place_groups(&nodes, 64, 3).unwrap();
    let held = counts(&placement, &nodes)[&NodeId(2)];
    let mut statuses = all_active(&nodes);
    statuses[1].state = NodeState::Draining;
    let moved = settle(&mut placement, &statuses, "drain");
    assert_eq!((moved, counts(&placement, &nodes)[&NodeId(2)]), (held, 0));
}

#[test]
fn with_nowhere_to_go_copies_stay() {
    let nodes = nodes(3, 3);
    let placement = place_groups(&nodes, 8, 3).unwrap();
    let mut statuses = all_active(&nodes);
    for state in [NodeState::Draining, NodeState::Down, NodeState::Removed] {
        statuses[0].state = state;
        assert_eq!(rebalance(&placement, &statuses, 3), []);
    }
}

#[test]
fn the_groups_with_the_fewest_good_copies_come_first() {
    let nodes = nodes(7, 7);
    let mut statuses = all_active(&nodes);
    statuses[0].state = NodeState::Down;
    statuses[1].state = NodeState::Down;
    let placement = [[1, 3, 4], [1, 2, 5], [3, 4, 5]].map(|ids| ids.map(NodeId).to_vec());
    let moves = rebalance(&placement, &statuses, 3);
    assert_eq!((moves[0].group, moves[1].group), (1, 0));
}

#[test]
fn a_missing_copy_is_added() {
    let nodes = nodes(3, 3);
    let placement = [vec![NodeId(1), NodeId(2)]];
    let moves = rebalance(&placement, &all_active(&nodes), 3);
    assert_eq!(moves, [Move { group: 0, from: None, to: NodeId(3) }]);
}

#[test]
fn copies_that_share_a_zone_part_when_there_is_another_zone() {
    let nodes = nodes(6, 3);
    let mut placement = vec![[1, 4, 2].map(NodeId).to_vec(); 4];
    settle(&mut placement, &all_active(&nodes), "zones");
    for members in &placement {
        let zones: BTreeSet<_> = members.iter().map(|member| (member.0 - 1) % 3).collect();
        assert_eq!(zones.len(), 3, "{placement:?}");
    }
}

#[test]
fn any_history_of_nodes_comes_to_rest_balanced_and_in_different_zones() {
    let seed = Random::seed();
    println!("seed {seed}");
    let mut random = Random::new(seed);
    for run in 0..30 {
        let mut nodes = nodes(9, 3);
        let mut placement = place_groups(&nodes, 64, 3).unwrap();
        let mut statuses = all_active(&nodes);
        for step in 0..8 {
            let context = format!("seed {seed} run {run} step {step}");
            let at = random.below(statuses.len() as u64) as usize;
            let active = statuses.iter().filter(|node| node.state == NodeState::Active).count();
            match random.below(5) {
                0 => {
                    let id = NodeId(statuses.len() as u16 + 1);
                    let zone = statuses[at].facts.zone.clone();
                    let facts = crate::NodeFacts { id, zone, capacity_bytes: 1 << 40 };
                    nodes.push(facts.clone());
                    statuses.push(NodeStatus { facts, state: NodeState::Active });
                }
                1 if active > 5 => statuses[at].state = NodeState::Draining,
                2 if active > 5 => statuses[at].state = NodeState::Down,
                3 if active > 5 => statuses[at].state = NodeState::Removed,
                _ => statuses[at].state = NodeState::Active,
            }
            let mut shuffled = statuses.clone();
            shuffled.reverse();
            assert_eq!(rebalance(&placement, &statuses, 3), rebalance(&placement, &shuffled, 3), "{context}");
            settle(&mut placement, &statuses, &context);
            let zones = |nodes: &mut dyn Iterator<Item = &NodeStatus>| {
                nodes.map(|node| node.facts.zone.clone()).collect::<BTreeSet<_>>().len()
            };
            let available = zones(&mut statuses.iter().filter(|node| node.state == NodeState::Active));
            for members in &placement {
                let of = zones(&mut statuses.iter().filter(|node| members.contains(&node.facts.id)));
                assert_eq!((members.len(), of), (3, available.min(3)), "{context}");
            }
            // nodes of one zone are alike to every rule but balance
            let counts = counts(&placement, &nodes);
            for zone in ["zone 0", "zone 1", "zone 2"] {
                let active = |node: &&NodeStatus| node.state == NodeState::Active && node.facts.zone == zone;
                let of =
                    statuses.iter().filter(active).map(|node| counts[&node.facts.id]).collect::<Vec<_>>();
                let spread = of.iter().max().unwrap_or(&0) - of.iter().min().unwrap_or(&0);
                assert!(spread <= 2, "{context} {zone}: {of:?}");
            }
        }
    }
}
