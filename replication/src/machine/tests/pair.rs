//! Two machines as a pair: what the primary agreed on makes the same state in the standby, through any number of switches.

use super::*;

/// One region's group.
struct Side {
    machine: Machine<MemoryIndex>,
    log: Vec<AppliedEntry>,
}

impl Side {
    fn new(initial: PairRole) -> Self {
        let machine = Machine::open_as(initial, GroupId(1), MemoryIndex::default()).unwrap();
        Self { machine, log: Vec::new() }
    }

    /// Appends some entries that are none of the pair's, then the command.
    fn apply(&mut self, random: &mut Random, command: Command) -> Outcome {
        for _ in 0..random.below(3) {
            let index = self.log.len() as u64 + 1;
            let position = Position { term: 1, leader: ReplicaId(65536), index };
            self.log.push(AppliedEntry { position, payload: Payload::Blank });
            self.machine.apply(&self.log[self.log.len() - 1..]).unwrap();
        }
        self.log.push(entry(self.log.len() as u64 + 1, command));
        self.machine.apply(&self.log[self.log.len() - 1..]).unwrap().remove(0)
    }

    fn step(&mut self, random: &mut Random, step: PairStep) -> Outcome {
        self.apply(random, command(Operation::PairStep(step)))
    }

    fn state(&self) -> PairState {
        self.machine.pair()
    }

    /// The first command behind `after`, found as the primary's leader finds it.
    fn next_after(&self, after: Sequence) -> Option<(Sequence, Command)> {
        let first = self.machine.entry_after(after).expect("a standby has what came before the reign");
        self.log.iter().skip(first as usize - 1).find_map(|entry| match &entry.payload {
            Payload::Command { command, .. } => {
                Some((self.machine.sequence_of(entry.position.index), command.clone()))
            }
            _ => None,
        })
    }
}

fn command(operation: Operation) -> Command {
    Command { meta: CommandMeta::default(), operation, body: Bytes::new() }
}

/// Ships everything that the standby lacks.
fn drain(random: &mut Random, primary: &Side, standby: &mut Side) {
    loop {
        let after = standby.state().sequence;
        let Some((sequence, shipped)) = primary.next_after(after) else { return };
        let epoch = primary.state().epoch;
        let head = shipped.encode_head();
        let operation = Operation::Shipped(ShippedCommand { epoch, after, sequence, head });
        let again = Command { body: shipped.body.clone(), ..command(operation) };
        assert_eq!(standby.apply(random, again.clone()), Outcome::Done);
        if random.below(4) == 0 {
            let refused = Outcome::Refused(Refusal::OutOfOrder { applied: sequence });
            assert_eq!(standby.apply(random, again), refused, "the same again changes nothing");
        }
    }
}

/// Rows that both regions must have alike: without places, and without what each counts for itself.
fn shared_rows(side: &mut Side) -> Vec<(Bytes, Bytes)> {
    let (id, ..) = side.machine.begin_snapshot();
    let page = side.machine.snapshot_rows(id, None, usize::MAX).unwrap().unwrap();
    side.machine.end_snapshot(id);
    let own = |key: &[u8]| {
        [&key::APPLIED, &key::PAIR, &key::REVISION, &key::MEMBERSHIP].iter().any(|meta| *key == meta[..])
    };
    page.rows
        .into_iter()
        .filter(|row| row.key[0] != key::table::OUTCOME && !own(&row.key))
        .map(|row| (row.key, row.value))
        .collect()
}

fn assert_same(primary: &mut Side, standby: &mut Side, context: &str) {
    assert!(shared_rows(primary) == shared_rows(standby), "{context}: the regions differ");
    let visible = |side: &Side| {
        let reached = side.state().sequence.0;
        let window = &side.machine.state.window;
        let mut visible = window.visible(side.machine.index(), reached).unwrap();
        visible.retain(|(_, _, outcome)| !matches!(outcome, Outcome::Pair(_)));
        visible
    };
    let (one, other) = (visible(primary), visible(standby));
    let different = one.iter().zip(&other).find(|(one, other)| one != other);
    assert!(
        one == other,
        "{context}: remembered outcomes differ, {} and {}: {different:?}",
        one.len(),
        other.len()
    );
}

#[test]
fn a_standby_comes_to_the_primarys_state_through_any_number_of_switches() {
    let seed = Random::seed();
    println!("seed {seed} (repeat with SEED={seed})");
    for run in 0..6 {
        let mut random = Random::new(seed.wrapping_add(run));
        let mut workload = Workload::new(seed.wrapping_add(run));
        let mut model = Model::default();
        let mut primary = Side::new(PairRole::Primary);
        let mut standby = Side::new(PairRole::Standby);
        for switch in 0..8 {
            let context = format!("seed {seed} run {run} switch {switch}");
            for _ in 0..200 {
                let mut next = workload.next(&all_versions(&model));
                next.meta.epoch = primary.state().epoch.max(Epoch(1));
                let outcome = primary.apply(&mut random, next.clone());
                let sequence = primary.state().sequence.0;
                assert_eq!(model.apply(sequence, &next), outcome, "{context}: {:?}", next.operation);
                match random.below(40) {
                    0 => {
                        let epoch = primary.state().epoch;
                        primary.step(&mut random, PairStep::Seal { epoch });
                        let before = shared_rows(&mut primary);
                        primary.apply(&mut random, workload.next(&all_versions(&model)));
                        let after = shared_rows(&mut primary);
                        assert!(after == before, "{context}: a sealed group changed");
                        primary.step(&mut random, PairStep::Unseal { epoch });
                    }
                    1..8 => drain(&mut random, &primary, &mut standby),
                    _ => {}
                }
            }
            let epoch = primary.state().epoch;
            primary.step(&mut random, PairStep::Seal { epoch });
            drain(&mut random, &primary, &mut standby);
            assert_same(&mut primary, &mut standby, &context);
            let next = Epoch(epoch.0 + 1);
            let promoted = standby.step(&mut random, PairStep::Promote { epoch: next });
            let Outcome::Pair(promoted) = promoted else { panic!("{context}: {promoted:?}") };
            assert_eq!(
                standby.step(&mut random, PairStep::Promote { epoch: next }),
                Outcome::Pair(PairState { sequence: standby.state().sequence, ..promoted })
            );
            let follow = PairStep::Follow { epoch: next, since: promoted.since };
            assert!(matches!(primary.step(&mut random, follow), Outcome::Pair(_)), "{context}");
            assert!(matches!(primary.step(&mut random, follow), Outcome::Pair(_)), "{context}: twice");
            std::mem::swap(&mut primary, &mut standby);
        }
    }
}

#[test]
fn only_the_primary_takes_writes_and_only_a_newer_epoch_makes_one() {
    let mut random = Random::new(1);
    let mut workload = Workload::new(1);
    let mut standby = Side::new(PairRole::Standby);
    let refused = standby.apply(&mut random, workload.next(&[]));
    assert!(
        matches!(refused, Outcome::Refused(Refusal::PairRole { role: PairRole::Standby, .. })),
        "{refused:?}"
    );
    let stale = standby.step(&mut random, PairStep::Promote { epoch: Epoch(0) });
    assert_eq!(stale, Outcome::Refused(Refusal::StaleEpoch { current: Epoch(0) }));
    assert!(matches!(standby.step(&mut random, PairStep::Promote { epoch: Epoch(2) }), Outcome::Pair(_)));
    let mut primary = Side::new(PairRole::Primary);
    let follow = PairStep::Follow { epoch: Epoch(2), since: Sequence(1) };
    let unsealed = primary.step(&mut random, follow);
    assert!(
        matches!(unsealed, Outcome::Refused(Refusal::PairRole { role: PairRole::Primary, .. })),
        "{unsealed:?}"
    );
    let (epoch, after, sequence) = (Epoch(2), Sequence(0), Sequence(1));
    let head = workload.next(&[]).encode_head();
    let shipped = Operation::Shipped(ShippedCommand { epoch, after, sequence, head });
    let to_primary = standby.apply(&mut random, command(shipped));
    assert!(
        matches!(to_primary, Outcome::Refused(Refusal::PairRole { role: PairRole::Primary, .. })),
        "{to_primary:?}"
    );
}

#[test]
fn a_groups_part_survives_a_restart_and_a_copy() {
    let mut random = Random::new(2);
    let mut standby = Side::new(PairRole::Standby);
    standby.step(&mut random, PairStep::Promote { epoch: Epoch(5) });
    let expected = standby.state();
    let again = Machine::open_as(PairRole::Standby, GroupId(1), standby.machine.into_index()).unwrap();
    assert_eq!(again.pair(), expected);
    assert_eq!((expected.role, expected.epoch), (PairRole::Primary, Epoch(5)));
}
