//! Commands that come again.

use super::*;
use window::WINDOW_ENTRIES;

fn blank(index: u64) -> AppliedEntry {
    AppliedEntry { payload: Payload::Blank, ..entry(index, delete(0, 0)) }
}

#[test]
fn a_command_that_comes_again_gives_its_first_outcome_also_after_a_restart() {
    let mut machine = open(MemoryIndex::default());
    let first = machine.apply(&[entry(1, delete(1, 1)), entry(2, delete(1, 1))]).unwrap();
    assert_eq!(first[0], first[1]);
    let mut machine = open(machine.into_index());
    let mut later = delete(1, 1);
    later.meta.time = UnixMillis(77);
    assert_eq!(machine.apply(&[entry(3, later)]).unwrap(), first[..1]);
    let usage = machine.query(&Query::BucketUsage { bucket: BUCKETS[0] }).unwrap().0;
    assert_eq!(usage, Answer::BucketUsage(BucketUsage { versions: 1, bytes: 0, uploads: 0 }));
}

#[test]
fn commands_of_one_request_are_told_apart() {
    let mut machine = open(MemoryIndex::default());
    let outcomes = machine.apply(&[entry(1, delete(1, 1)), entry(2, delete(1, 2))]).unwrap();
    assert_ne!(outcomes[0], outcomes[1]);
}

#[test]
fn an_outcome_is_forgotten_by_log_index_alone_however_entries_are_batched() {
    for (again_at, remembered) in [(WINDOW_ENTRIES, true), (WINDOW_ENTRIES + 1, false)] {
        let mut entries: Vec<_> = (2..again_at).map(blank).collect();
        entries.insert(0, entry(1, delete(1, 1)));
        entries.push(entry(again_at, delete(1, 1)));
        let mut at_once = open(MemoryIndex::default());
        let outcomes = at_once.apply(&entries).unwrap();
        assert_eq!(outcomes.first() == outcomes.last(), remembered);
        let mut in_two = open(MemoryIndex::default());
        in_two.apply(&entries[..100]).unwrap();
        in_two.apply(&entries[100..entries.len() - 1]).unwrap();
        let last = in_two.apply(&entries[entries.len() - 1..]).unwrap();
        assert_eq!(last.last(), outcomes.last());
    }
}

#[test]
fn forgotten_outcomes_leave_the_index() {
    let mut machine = open(MemoryIndex::default());
    for index in 1..=WINDOW_ENTRIES + 200 {
        let mut command = delete(0, 0);
        command.meta.request.0[..8].copy_from_slice(&index.to_le_bytes());
        machine.apply(&[entry(index, command)]).unwrap();
    }
    let outcome_rows = rows(machine.index()).iter().filter(|(key, _)| key[0] == key::table::OUTCOME).count();
    assert_eq!(outcome_rows as u64, WINDOW_ENTRIES);
}

#[test]
fn entries_out_of_order_are_refused() {
    let mut machine = open(MemoryIndex::default());
    machine.apply(&[blank(1), blank(2)]).unwrap();
    assert!(matches!(machine.apply(&[blank(2)]), Err(MachineError::Order { applied: 2, found: 2 })));
}

#[test]
fn a_command_of_an_older_epoch_is_refused() {
    let mut machine = open(MemoryIndex::default());
    let mut newer = delete(1, 1);
    // learnt from another group: it begins no reign here
    newer.meta.epoch = Epoch(5);
    let mut older = delete(2, 2);
    older.meta.epoch = Epoch(0);
    let refused = Outcome::Refused(Refusal::StaleEpoch { current: FIRST_EPOCH });
    assert_eq!(machine.apply(&[entry(1, newer), entry(2, older)]).unwrap()[1], refused);
    let mut machine = open(machine.into_index());
    let mut older = delete(3, 3);
    older.meta.epoch = Epoch(0);
    assert_eq!(machine.apply(&[entry(3, older)]).unwrap(), [refused]);
}

#[test]
fn a_stream_too_long_to_be_freed_at_once_is_freed_by_later_expirations() {
    let mut machine = open(MemoryIndex::default());
    let stream = StreamId([1; 16]);
    let command =
        |operation| Command { meta: CommandMeta::default(), operation, body: Bytes::from_static(b"body") };
    let chunks = streams::FREED_ROWS_MAX as u32 + 10;
    let puts: Vec<_> = (0..chunks)
        .map(|index| entry(u64::from(index) + 1, command(Operation::PutChunk { stream, index })))
        .collect();
    machine.apply(&puts).unwrap();
    let next = u64::from(chunks) + 1;
    machine.apply(&[entry(next, command(Operation::AbandonStream { stream }))]).unwrap();
    assert_eq!(machine.segment_liveness().map(|(_, bytes)| bytes).sum::<u64>(), 10 * 14);
    let expire = Operation::ExpireStreams { created_before: UnixMillis(1) };
    machine.apply(&[entry(next + 1, command(expire))]).unwrap();
    assert_eq!(machine.segment_liveness().count(), 0);
}
