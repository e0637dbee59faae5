//! Two machines as a pair: what the primary agreed on makes the same state in the standby, through any number of switches.

use super::{
    adopt::{ADOPTED_END, is_shared, to_adopted},
    *,
};

/// One region's group.
pub(super) struct Side {
    pub(super) machine: Machine<MemoryIndex>,
    log: Vec<AppliedEntry>,
}

impl Side {
    pub(super) fn new(initial: PairRole) -> Self {
        let machine = Machine::open_as(initial, GroupId(1), MemoryIndex::default()).unwrap();
        Self { machine, log: Vec::new() }
    }

    /// Appends some entries that are none of the pair's, then the command.
    pub(super) fn apply(&mut self, random: &mut Random, command: Command) -> Outcome {
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

    pub(super) fn state(&self) -> PairState {
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
pub(super) fn drain(random: &mut Random, primary: &Side, standby: &mut Side) {
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
    let page = side.machine.snapshot_rows(id, None, usize::MAX, true).unwrap().unwrap();
    side.machine.end_snapshot(id);
    let own = |key: &[u8]| {
        [&key::APPLIED, &key::PAIR, &key::REVISION, &key::SHARED, &key::MEMBERSHIP]
            .iter()
            .any(|meta| *key == meta[..])
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
fn what_a_switch_sealed_is_promoted_by_force_alone_and_goes_on_with_its_numbers() {
    let mut random = Random::new(1);
    let mut workload = Workload::new(1);
    let mut group = Side::new(PairRole::Primary);
    group.apply(&mut random, workload.next(&[]));
    let epoch = group.state().epoch;
    group.step(&mut random, PairStep::Seal { epoch });
    let sealed = group.state();
    let relieved = group.step(&mut random, PairStep::Relieve { epoch: Epoch(2) });
    assert!(
        matches!(relieved, Outcome::Refused(Refusal::PairRole { role: PairRole::Sealed, .. })),
        "{relieved:?}"
    );
    let stale = group.step(&mut random, PairStep::Promote { epoch });
    assert_eq!(stale, Outcome::Refused(Refusal::StaleEpoch { current: epoch }));
    assert!(matches!(group.step(&mut random, PairStep::Promote { epoch: Epoch(2) }), Outcome::Pair(_)));
    let promoted = group.state();
    assert_eq!((promoted.role, promoted.epoch), (PairRole::Primary, Epoch(2)));
    assert!(promoted.since > sealed.sequence && promoted.since == promoted.sequence, "{promoted:?}");
    assert_eq!(promoted.followed, sealed.followed, "nothing of the other region's came");
}

#[test]
fn a_promoted_standby_says_up_to_where_it_has_what_the_old_primary_wrote() {
    let mut random = Random::new(1);
    let mut workload = Workload::new(1);
    let (mut primary, mut standby) = (Side::new(PairRole::Primary), Side::new(PairRole::Standby));
    primary.apply(&mut random, workload.next(&[]));
    drain(&mut random, &primary, &mut standby);
    let shipped = primary.state().sequence;
    let alone: Vec<Sequence> = (0..20)
        .map(|_| {
            primary.apply(&mut random, workload.next(&[]));
            primary.state().sequence
        })
        .collect();
    // its own log grows meanwhile: elections, membership
    for _ in 0..10 {
        standby.step(&mut random, PairStep::Promote { epoch: Epoch(0) });
    }
    standby.step(&mut random, PairStep::Promote { epoch: Epoch(2) });
    let promoted = standby.state();
    assert!(promoted.since > alone[0], "numbers of the new reign begin further on: {promoted:?}");
    assert_eq!(promoted.followed, shipped);
    let first = primary.machine.entry_after(promoted.followed).unwrap();
    assert_eq!(primary.machine.sequence_of(first).0, shipped.0 + 1, "nothing in between is passed over");
}

#[test]
fn a_write_that_a_fenced_group_refused_is_none_that_was_lost() {
    let mut random = Random::new(1);
    let mut group = Side::new(PairRole::Primary);
    group.apply(&mut random, delete(1, 1));
    let acknowledged = group.state().sequence;
    group.step(&mut random, PairStep::Seal { epoch: Epoch(0) });
    let outcome = group.apply(&mut random, delete(2, 2));
    assert!(matches!(outcome, Outcome::Refused(Refusal::PairRole { .. })), "{outcome:?}");
    let refused = group.state().sequence;
    let verdict =
        |group: &Side, request, sequence| group.machine.verdict(&delete(request, request), sequence).unwrap();
    assert_eq!(verdict(&group, 1, acknowledged), Some(Verdict::Replaced));
    assert_eq!(verdict(&group, 2, refused), None);
    for _ in 0..window::WINDOW_ENTRIES {
        group.step(&mut random, PairStep::Seal { epoch: Epoch(0) });
    }
    assert_eq!(verdict(&group, 2, refused), Some(Verdict::Uncertain), "it remembers neither now");
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

/// Takes over the primary's state as a standby's leader does, in small pages; says how many records travelled.
fn adopt(random: &mut Random, primary: &mut Side, standby: &mut Side) -> usize {
    let (id, ..) = primary.machine.begin_snapshot();
    let (state, revision) = (primary.state(), primary.machine.revision());
    let step = |standby: &mut Side, random: &mut Random, step, body| {
        let adopted = Command { body, ..command(Operation::Adopt(step)) };
        assert_eq!(standby.apply(random, adopted), Outcome::Done);
        standby.log.len() as u64
    };
    let session = step(standby, random, AdoptStep::Begin { epoch: state.epoch }, Bytes::new());
    let (mut after, mut records) = (Bytes::new(), 0);
    loop {
        let page = primary.machine.snapshot_rows(id, Some(&after), 500, false).unwrap().unwrap();
        let through = page
            .rows
            .last()
            .filter(|row| !page.last && *row.key < ADOPTED_END[..])
            .map(|row| row.key.clone());
        let shared = page.rows.into_iter().filter(|row| is_shared(&row.key));
        let mut rows = Vec::new();
        for (row, place) in shared.map(to_adopted) {
            if let (Some(sum), Some(place)) = (&row.record, place)
                && !standby.machine.holds(&row.key, sum).unwrap()
            {
                let Payload::Command { command, .. } = &primary.log[place.offset as usize - 1].payload else {
                    panic!("no command at {place:?}");
                };
                let (key, value) = (row.key.clone(), row.value.clone());
                step(standby, random, AdoptStep::Record { session, key, value }, command.body.clone());
                records += 1;
            }
            rows.push(row);
        }
        let last = through.is_none();
        let through = through.unwrap_or(Bytes::from_static(&ADOPTED_END));
        step(standby, random, AdoptStep::Rows { session, through: through.clone(), rows }, Bytes::new());
        after = through;
        if last {
            break;
        }
    }
    primary.machine.end_snapshot(id);
    let (sequence, time, since) = (state.sequence, state.time, state.since);
    let state = AdoptedState { sequence, time, since, revision };
    step(standby, random, AdoptStep::End { session, state }, Bytes::new());
    records
}

/// What the rows keep alive is what is counted.
fn assert_liveness(side: &Side, context: &str) {
    let mut expected: BTreeMap<u32, u64> = BTreeMap::new();
    for (_, place) in side.machine.live_bodies(None, usize::MAX).unwrap().0 {
        *expected.entry(place.segment).or_default() += place.live_bytes();
    }
    let counted: BTreeMap<u32, u64> =
        side.machine.segment_liveness().filter(|(_, bytes)| *bytes > 0).collect();
    assert_eq!(counted, expected, "{context}");
}

#[test]
fn an_old_primary_takes_over_the_state_of_the_new_one_and_follows_it() {
    let seed = Random::seed();
    println!("seed {seed} (repeat with SEED={seed})");
    for run in 0..20 {
        let context = format!("seed {seed} run {run}");
        let mut random = Random::new(seed.wrapping_add(run));
        let mut workload = Workload::new(seed.wrapping_add(run));
        let mut model = Model::default();
        let mut old = Side::new(PairRole::Primary);
        let mut new = Side::new(PairRole::Standby);
        let mut write = |random: &mut Random, side: &mut Side, count: u64, model: &mut Model| {
            for _ in 0..count {
                let mut next = workload.next(&all_versions(model));
                next.meta.epoch = side.state().epoch.max(Epoch(1));
                side.apply(random, next.clone());
                model.apply(side.state().sequence.0, &next);
            }
        };
        write(&mut random, &mut old, 150, &mut model);
        drain(&mut random, &old, &mut new);
        // the new one is promoted by force; the old one goes on alone for a while
        let epoch = Epoch(old.state().epoch.0 + 1);
        let count = random.below(80);
        write(&mut random, &mut old, count, &mut Model::default());
        assert!(matches!(new.step(&mut random, PairStep::Promote { epoch }), Outcome::Pair(_)));
        let count = random.below(80);
        write(&mut random, &mut new, count, &mut model);
        let fence = old.state().epoch;
        old.step(&mut random, PairStep::Seal { epoch: fence });
        assert!(matches!(old.step(&mut random, PairStep::Rejoin { epoch }), Outcome::Pair(_)), "{context}");
        if random.below(2) == 0 {
            // a leader that came to nothing
            let begin = AdoptStep::Begin { epoch };
            assert_eq!(old.apply(&mut random, command(Operation::Adopt(begin))), Outcome::Done);
        }
        let promoted = old.step(&mut random, PairStep::Promote { epoch: Epoch(epoch.0 + 1) });
        assert!(matches!(promoted, Outcome::Refused(Refusal::PairRole { .. })), "{context}: {promoted:?}");
        let records = adopt(&mut random, &mut new, &mut old);
        assert_same(&mut new, &mut old, &context);
        assert_liveness(&old, &context);
        write(&mut random, &mut new, 50, &mut model);
        drain(&mut random, &new, &mut old);
        assert_same(&mut new, &mut old, &context);
        let all = new.machine.live_bodies(None, usize::MAX).unwrap().0.len();
        println!("run {run}: {records} records of {all} travelled");
        // what is held already does not travel again
        assert!(matches!(old.step(&mut random, PairStep::Rejoin { epoch }), Outcome::Pair(_)), "{context}");
        assert_eq!(adopt(&mut random, &mut new, &mut old), 0, "{context}");
        assert_same(&mut new, &mut old, &context);
    }
}

#[test]
fn steps_of_another_session_or_out_of_order_change_nothing() {
    let mut random = Random::new(3);
    let mut side = Side::new(PairRole::Standby);
    let epoch = Epoch(2);
    let adopt = |step| command(Operation::Adopt(step));
    let out_of_order = Outcome::Refused(Refusal::OutOfOrder { applied: Sequence(0) });
    let rows = |session, through: &'static [u8]| AdoptStep::Rows {
        session,
        through: Bytes::from_static(through),
        rows: Vec::new(),
    };
    let early = side.apply(&mut random, adopt(AdoptStep::Begin { epoch }));
    assert!(
        matches!(early, Outcome::Refused(Refusal::PairRole { role: PairRole::Standby, .. })),
        "{early:?}"
    );
    side.step(&mut random, PairStep::Rejoin { epoch });
    side.apply(&mut random, adopt(AdoptStep::Begin { epoch }));
    let session = side.log.len() as u64;
    assert_eq!(side.apply(&mut random, adopt(rows(session - 1, b"\x05"))), out_of_order);
    assert_eq!(side.apply(&mut random, adopt(rows(session, b"\x05"))), Outcome::Done);
    assert_eq!(side.apply(&mut random, adopt(rows(session, b"\x05"))), out_of_order);
    assert_eq!(side.apply(&mut random, adopt(rows(session, b"\xF1"))), out_of_order);
    let state = AdoptedState {
        sequence: Sequence(9),
        time: UnixMillis(1),
        since: Sequence(1),
        revision: Revision(0),
    };
    assert_eq!(side.apply(&mut random, adopt(AdoptStep::End { session, state })), out_of_order);
    let row = AdoptedRow {
        key: Bytes::from_static(b"\x06no such chunk"),
        value: Bytes::new(),
        record: Some(RecordSum { length: 1, crc: 2 }),
    };
    let lacks = AdoptStep::Rows { session, through: Bytes::from_static(b"\x07"), rows: vec![row] };
    assert_eq!(side.apply(&mut random, adopt(lacks)), Outcome::Refused(Refusal::MissingChunks));
    assert_eq!(side.state().role, PairRole::Bootstrap);
}
