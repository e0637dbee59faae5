//! Decides whether one order of a key's operations explains what every client saw (linearizability).
//!
//! The search is Wing and Gong's with Lowe's memory of configurations already tried. Keys are judged apart, which is
//! sound because a register per key is linearizable exactly when each register is. It promises a verdict or, past its budget, a refusal.

use std::collections::HashSet;

use crate::history::{Action, Operation, Value};

/// Configurations tried before giving up: a history of the tests needs thousands; 20 million would take a minute.
const CONFIGURATIONS_MAX: usize = 20_000_000;

/// What the search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Some order explains the history.
    Linearizable,
    /// No order does. Holds the most operations, in order, that could be explained.
    Violated {
        /// The longest explained order, as places in the history sorted by beginning.
        explained: Vec<usize>,
    },
    /// The search ran out of its budget.
    Undecided,
}

/// Judges the operations of one key, which starts absent.
pub fn judge(operations: &[Operation]) -> Verdict {
    let mut sorted = operations.to_vec();
    sorted.sort_by_key(|operation| operation.begun_ns);
    Search::new(&sorted).run()
}

/// One configuration: which operations took effect, and the value they left.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Configuration {
    taken: Vec<u64>,
    value: Option<Value>,
}

impl Configuration {
    fn has(&self, place: usize) -> bool {
        self.taken[place / 64] >> (place % 64) & 1 == 1
    }

    fn with(&self, place: usize, value: Option<Value>) -> Self {
        let mut taken = self.taken.clone();
        taken[place / 64] |= 1 << (place % 64);
        Configuration { taken, value }
    }
}

struct Search<'a> {
    operations: &'a [Operation],
    seen: HashSet<Configuration>,
    longest: Vec<usize>,
}

impl<'a> Search<'a> {
    fn new(operations: &'a [Operation]) -> Self {
        Search { operations, seen: HashSet::new(), longest: Vec::new() }
    }

    fn run(mut self) -> Verdict {
        let start = Configuration { taken: vec![0; self.operations.len() / 64 + 1], value: None };
        // Depth first without recursion: each level holds its configuration's remaining next steps.
        let mut path: Vec<usize> = Vec::new();
        let mut levels = vec![self.steps(&start)];
        while let Some(steps) = levels.last_mut() {
            let Some((place, next)) = steps.pop() else {
                levels.pop();
                path.pop();
                continue;
            };
            if !self.seen.insert(next.clone()) {
                continue;
            }
            if self.seen.len() > CONFIGURATIONS_MAX {
                return Verdict::Undecided;
            }
            path.push(place);
            if path.len() > self.longest.len() {
                self.longest.clone_from(&path);
            }
            levels.push(self.steps(&next));
            if self.is_complete(&next) {
                return Verdict::Linearizable;
            }
        }
        if self.is_complete(&start) {
            Verdict::Linearizable
        } else {
            Verdict::Violated { explained: self.longest }
        }
    }

    /// Every operation that may take effect next: it began before the first end among those that have not.
    fn steps(&self, from: &Configuration) -> Vec<(usize, Configuration)> {
        let waiting = || self.operations.iter().enumerate().filter(|(place, _)| !from.has(*place));
        let first_end = waiting().filter_map(|(_, operation)| operation.ended_ns).min().unwrap_or(u64::MAX);
        let mut steps: Vec<(usize, Configuration)> = waiting()
            .take_while(|(_, operation)| operation.begun_ns <= first_end)
            .filter_map(|(place, operation)| {
                after(operation.action, from.value).map(|value| (place, from.with(place, value)))
            })
            .collect();
        // The earliest to end is tried first, those without an end last: most histories then need no second try.
        steps.sort_by_key(|(place, _)| {
            std::cmp::Reverse(self.operations[*place].ended_ns.unwrap_or(u64::MAX))
        });
        steps
    }

    /// Whether all that is left is allowed never to take effect.
    fn is_complete(&self, configuration: &Configuration) -> bool {
        let mut operations = self.operations.iter().enumerate();
        operations.all(|(place, operation)| operation.ended_ns.is_none() || configuration.has(place))
    }
}

/// The value after an operation, or none when it cannot have happened on this value.
fn after(action: Action, value: Option<Value>) -> Option<Option<Value>> {
    match action {
        Action::Write(written) => Some(Some(written)),
        Action::Remove => Some(None),
        Action::Read(seen) => (seen == value).then_some(value),
        Action::Create(written) => value.is_none().then_some(Some(written)),
        Action::CreateRefused => value.is_some().then_some(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(action: Action, begun_ns: u64, ended_ns: u64) -> Operation {
        Operation { action, begun_ns, ended_ns: Some(ended_ns) }
    }

    fn is_violated(history: &[Operation]) -> bool {
        matches!(judge(history), Verdict::Violated { .. })
    }

    #[test]
    fn concurrent_writes_may_be_seen_in_either_order() {
        let history = [
            operation(Action::Write(1), 0, 10),
            operation(Action::Write(2), 1, 9),
            operation(Action::Read(Some(1)), 11, 12),
            operation(Action::Read(Some(1)), 13, 14),
        ];
        assert_eq!(judge(&history), Verdict::Linearizable);
    }

    #[test]
    fn a_stale_read_is_rejected() {
        let history = [
            operation(Action::Write(1), 0, 1),
            operation(Action::Write(2), 2, 3),
            operation(Action::Read(Some(1)), 4, 5),
        ];
        assert!(is_violated(&history));
    }

    #[test]
    fn a_lost_write_is_rejected() {
        assert!(is_violated(&[operation(Action::Write(1), 0, 1), operation(Action::Read(None), 2, 3)]));
    }

    #[test]
    fn a_phantom_is_rejected() {
        assert!(is_violated(&[operation(Action::Write(1), 0, 1), operation(Action::Read(Some(9)), 2, 3)]));
    }

    #[test]
    fn a_value_that_comes_back_after_another_was_seen_is_rejected() {
        let history = [
            operation(Action::Write(1), 0, 20),
            operation(Action::Write(2), 0, 20),
            operation(Action::Read(Some(1)), 1, 2),
            operation(Action::Read(Some(2)), 3, 4),
            operation(Action::Read(Some(1)), 5, 6),
        ];
        assert!(is_violated(&history));
    }

    #[test]
    fn an_unknown_write_may_act_late_or_never() {
        let unknown = Operation { action: Action::Write(2), begun_ns: 1, ended_ns: None };
        let late = [operation(Action::Write(1), 2, 3), unknown, operation(Action::Read(Some(2)), 9, 10)];
        let never = [operation(Action::Write(1), 2, 3), unknown, operation(Action::Read(Some(1)), 9, 10)];
        assert_eq!(judge(&late), Verdict::Linearizable);
        assert_eq!(judge(&never), Verdict::Linearizable);
    }

    #[test]
    fn two_creations_of_one_key_are_rejected_unless_it_was_removed_between() {
        let twice = [operation(Action::Create(1), 0, 1), operation(Action::Create(2), 2, 3)];
        assert!(is_violated(&twice));
        let removed = [
            operation(Action::Create(1), 0, 1),
            operation(Action::CreateRefused, 2, 3),
            operation(Action::Remove, 4, 5),
            operation(Action::Create(2), 6, 7),
        ];
        assert_eq!(judge(&removed), Verdict::Linearizable);
    }

    #[test]
    fn long_histories_of_five_clients_are_decided_quickly() {
        let mut history = Vec::new();
        for step in 0..60_u64 {
            for client in 0..5_u64 {
                let value = step * 5 + client;
                history.push(operation(Action::Write(value), step * 100 + client, step * 100 + 50 + client));
            }
            history.push(operation(Action::Read(Some(step * 5 + 3)), step * 100 + 60, step * 100 + 70));
        }
        assert_eq!(judge(&history), Verdict::Linearizable);
    }
}
