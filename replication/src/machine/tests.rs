//! The machine against a model of S3, against itself batched otherwise, and over a snapshot.

mod compare;
mod forget;
mod format;
mod model;
mod pair;
mod repeats;
mod speed;
mod system;
mod workload;

use super::*;
use crate::{
    index::{MemoryIndex, Row, SledOptions, SledStore},
    testing::Random,
};
use model::Model;
use wire::*;
use workload::{BUCKETS, KEYS, Workload};

fn entry(index: u64, command: Command) -> AppliedEntry {
    let place = Place {
        segment: (index / 100) as u32,
        offset: index,
        head_length: 10,
        body_length: command.body.len() as u32,
        body_crc: crc32c::crc32c(&command.body),
    };
    let position = Position { term: 1, leader: ReplicaId(65536), index };
    AppliedEntry { position, payload: Payload::Command { command, place } }
}

/// A delete of one object: of this request, with a marker of its own.
fn delete(request: u8, marker: u8) -> Command {
    let operation = Operation::DeleteObject(DeleteObject {
        bucket: BUCKETS[0],
        key: ObjectKey::new("key").unwrap(),
        target: DeleteTarget::Current,
        mode: VersioningMode::Enabled,
        marker: VersionId([marker; 16]),
        condition: WriteCondition::default(),
    });
    let meta = CommandMeta { request: RequestId([request; 16]), ..Default::default() };
    Command { meta, operation, body: Bytes::new() }
}

fn open<I: Index>(index: I) -> Machine<I> {
    Machine::open(GroupId(1), index).unwrap()
}

fn rows<I: Index>(index: &I) -> Vec<Row> {
    index.scan(&[]..&[0xFF], true).collect::<Result<_, _>>().unwrap()
}

/// All but the outcomes, whose rows depend on how entries were batched.
fn state_rows<I: Index>(machine: &Machine<I>) -> Vec<Row> {
    rows(machine.index()).into_iter().filter(|(key, _)| key[0] != key::table::OUTCOME).collect()
}

fn outcomes<I: Index>(machine: &Machine<I>) -> Vec<(u64, window::CommandIdentity, Outcome)> {
    let applied = machine.state.applied.unwrap().index;
    machine.state.window.visible(machine.index(), applied).unwrap()
}

fn all_versions(model: &Model) -> Vec<(BucketId, ObjectKey, VersionRef)> {
    let names = model.names.iter();
    names.flat_map(|((b, key), records)| records.iter().map(|r| (*b, key.clone(), r.version))).collect()
}

/// Entries that the model accepted, and what it said.
fn history(seed: u64, length: u64) -> (Vec<AppliedEntry>, Vec<Outcome>) {
    let (mut workload, mut model) = (Workload::new(seed), Model::default());
    let mut history = (Vec::new(), Vec::new());
    for index in 1..=length {
        let command = workload.next(&all_versions(&model));
        history.1.push(model.apply(index, &command));
        history.0.push(entry(index, command));
    }
    history
}

#[test]
fn outcomes_and_queries_are_those_of_the_model() {
    let seed = Random::seed();
    println!("seed {seed}");
    let mut kinds = std::collections::BTreeSet::new();
    for run in 0..10 {
        let mut workload = Workload::new(seed.wrapping_add(run));
        let mut model = Model::default();
        let mut machine = open(MemoryIndex::default());
        for index in 1..=1_500 {
            let command = workload.next(&all_versions(&model));
            let expected = model.apply(index, &command);
            kinds.insert(kind(&expected));
            let found = machine.apply(&[entry(index, command.clone())]).unwrap();
            assert_eq!(found, [expected], "seed {seed} run {run} entry {index}: {:?}", command.operation);
            if index % 50 == 0 {
                let context = format!("seed {seed} run {run} after entry {index}");
                same_answers(&machine, &model, &mut workload, &context);
                same_space(&machine, &model, index, &context);
            }
        }
    }
    // else the workload does not go where it should
    let reached = [
        "BucketFrozen",
        "Committed",
        "Deleted",
        "Done",
        "Forgotten",
        "Frozen",
        "InvalidPart",
        "MissingChunks",
        "NoSuchKey",
        "NoSuchUpload",
        "NoSuchVersion",
        "PreconditionFailed",
        "StaleEpoch",
    ];
    assert!(kinds.iter().eq(reached), "{kinds:?}");
}

/// The name of the outcome, or of the refusal.
fn kind(outcome: &Outcome) -> String {
    let shown = match outcome {
        Outcome::Refused(refusal) => format!("{refusal:?}"),
        other => format!("{other:?}"),
    };
    shown.split([' ', '(', '{']).next().unwrap_or_default().to_owned()
}

fn same_answers(machine: &Machine<MemoryIndex>, model: &Model, workload: &mut Workload, context: &str) {
    for bucket in BUCKETS {
        let (answer, _) = machine.query(&Query::BucketUsage { bucket }).unwrap();
        assert_eq!(answer, Answer::BucketUsage(model.usage(bucket)), "{context}");
        for key in KEYS.map(|key| ObjectKey::new(key).unwrap()) {
            same_versions(machine, model, bucket, &key, context);
        }
        for versions in [false, true] {
            same_listing(machine, model, workload, bucket, versions, context);
        }
        same_uploads(machine, model, bucket, context);
    }
    let streams = model.open.iter().map(|(stream, (_, chunks))| (stream, chunks)).chain(&model.adopted);
    for (stream, chunks) in streams {
        let (_, places) = machine.query(&Query::Chunks { stream: *stream, first: 0, count: 9 }).unwrap();
        let expected = (0..4).map_while(|chunk| chunks.get(&chunk)).copied().collect::<Vec<_>>();
        assert_eq!(places.iter().map(|place| place.offset).collect::<Vec<_>>(), expected, "{context}");
    }
}

fn same_versions(
    machine: &Machine<MemoryIndex>,
    model: &Model,
    bucket: BucketId,
    key: &ObjectKey,
    context: &str,
) {
    let none = Vec::new();
    let records = model.names.get(&(bucket, key.clone())).unwrap_or(&none);
    let mut asked = vec![(WhichVersion::Current, records.first())];
    asked.push((WhichVersion::Null, records.iter().find(|record| record.null)));
    asked.extend(records.iter().map(|record| (WhichVersion::Exactly(record.version), Some(record))));
    for (which, expected) in asked {
        let body = BodyWanted::Last(1);
        let (answer, places) =
            machine.query(&Query::Version { bucket, key: key.clone(), which, body }).unwrap();
        let Answer::Version { record, body } = answer else { panic!("{answer:?}") };
        assert_eq!(record.as_ref(), expected, "{context}");
        let Some(content) = record.as_ref().and_then(|record| record.content.as_ref()) else { continue };
        let Some(last) = content.parts.last() else { continue };
        let position = ChunkPosition { part: content.parts.len() as u32 - 1, chunk: last.chunks - 1 };
        assert_eq!(body, Some(position), "{context}");
        let holder = match model.adopted.get(&last.stream) {
            Some(chunks) => chunks[&(last.chunks - 1)],
            None => record.as_ref().unwrap().version.sequence.0,
        };
        assert_eq!(places[0].offset, holder, "{context}");
    }
}

fn same_listing(
    machine: &Machine<MemoryIndex>,
    model: &Model,
    workload: &mut Workload,
    bucket: BucketId,
    versions: bool,
    context: &str,
) {
    let prefix = ["", "a", "a/", "a\0", "b/", "c"][workload.random.below(6) as usize].as_bytes();
    let delimiter: Option<&[u8]> = [None, Some(&b"/"[..]), Some(b"b")][workload.random.below(3) as usize];
    let content = workload.random.below(2) == 0;
    let mut expected: Vec<ListRow> = Vec::new();
    for ((_, key), records) in model.names.iter().filter(|((of, _), _)| *of == bucket) {
        let name = key.as_bytes();
        let Some(rest) = name.strip_prefix(prefix) else { continue };
        for (age, record) in records.iter().enumerate() {
            if !versions && (age > 0 || record.is_delete_marker()) {
                continue;
            }
            let at = delimiter.and_then(|d| rest.windows(d.len()).position(|window| window == d));
            if let Some(at) = at {
                let end = prefix.len() + at + delimiter.map_or(0, <[u8]>::len);
                let row = ListRow::Prefix(Bytes::copy_from_slice(&name[..end]));
                if expected.last() != Some(&row) {
                    expected.push(row);
                }
                continue;
            }
            let mut brief = record.content.clone();
            if let Some(brief) = brief.as_mut().filter(|_| !content) {
                (brief.header, brief.metadata) = (Bytes::new(), Bytes::new());
                brief.parts.clear();
            }
            expected.push(ListRow::Version(ListedVersion {
                key: Bytes::copy_from_slice(name),
                version: record.version,
                latest: age == 0,
                null: record.null,
                modified: record.modified,
                owner: record.owner,
                content: brief,
            }));
        }
    }
    let limit = 1 + workload.random.below(4) as u32;
    let mut after = ListAfter::Start;
    let mut found = Vec::new();
    loop {
        let (prefix, delimiter) = (Bytes::copy_from_slice(prefix), delimiter.map(Bytes::copy_from_slice));
        let query = ListQuery { bucket, prefix, delimiter, after, limit, versions, content };
        let (answer, _) = machine.query(&Query::List(query)).unwrap();
        let Answer::List { rows, resume } = answer else { panic!("{answer:?}") };
        assert!(rows.len() <= limit as usize);
        found.extend(rows);
        match resume {
            Some(resume) => after = resume,
            None => break,
        }
    }
    assert_eq!(found, expected, "{context}, prefix {prefix:?}, delimiter {delimiter:?}, versions {versions}");
}

fn same_uploads(machine: &Machine<MemoryIndex>, model: &Model, bucket: BucketId, context: &str) {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let query = Query::Uploads { bucket, prefix: Bytes::new(), after: after.clone(), limit: 2 };
        let Answer::Uploads(page, more) = machine.query(&query).unwrap().0 else { panic!("not uploads") };
        found.extend(page);
        if !more {
            break;
        }
        after = found.last().map(|(key, record)| (key.clone(), record.upload));
    }
    let of_bucket = model.uploads.iter().filter(|((of, _, _), _)| *of == bucket);
    let expected: Vec<_> = of_bucket
        .clone()
        .map(|((_, key, _), (r, _))| (Bytes::copy_from_slice(key.as_bytes()), r.clone()))
        .collect();
    assert_eq!(found, expected, "{context}");
    for ((_, key, upload), (_, parts)) in of_bucket {
        let query = Query::Parts { bucket, key: key.clone(), upload: *upload, after: 1, limit: 2 };
        let above: Vec<_> = parts.range(2..).map(|(_, part)| part.clone()).collect();
        let page = above.iter().take(2).cloned().collect();
        assert_eq!(
            machine.query(&query).unwrap().0,
            Answer::Parts(Some((page, above.len() > 2))),
            "{context}"
        );
    }
}

fn same_space(machine: &Machine<MemoryIndex>, model: &Model, applied: u64, context: &str) {
    let mut expected = BTreeMap::<u32, u64>::new();
    for index in model.live() {
        *expected.entry((index / 100) as u32).or_default() += 18;
    }
    assert!(model.live().iter().all(|index| *index <= applied));
    assert_eq!(machine.segment_liveness().collect::<BTreeMap<_, _>>(), expected, "{context}");
}

#[test]
fn rows_do_not_depend_on_batches_or_restarts_or_the_index() {
    let seed = Random::seed();
    println!("seed {seed}");
    let (entries, expected) = history(seed, 3_000);
    let mut one_by_one = open(MemoryIndex::default());
    let mut found = Vec::new();
    for entry in &entries {
        found.extend(one_by_one.apply(std::slice::from_ref(entry)).unwrap());
    }
    assert_eq!(found, expected);

    let mut at_once = open(MemoryIndex::default());
    assert_eq!(at_once.apply(&entries).unwrap(), expected);

    let directory = tempfile::tempdir().unwrap();
    let mut random = Random::new(seed);
    let (mut rest, mut found) = (&entries[..], Vec::new());
    while !rest.is_empty() {
        let store = SledStore::open(directory.path(), SledOptions::default()).unwrap();
        let mut machine = open(store.group(GroupId(1)).unwrap());
        for _ in 0..20 {
            let batch;
            (batch, rest) = rest.split_at((random.below(60) as usize).min(rest.len()));
            found.extend(machine.apply(batch).unwrap());
        }
        machine.flush().unwrap();
    }
    assert_eq!(found, expected);
    let store = SledStore::open(directory.path(), SledOptions::default()).unwrap();
    let reopened = open(store.group(GroupId(1)).unwrap());

    assert_eq!(state_rows(&one_by_one), state_rows(&at_once));
    assert_eq!(state_rows(&one_by_one), state_rows(&reopened));
    assert_eq!(outcomes(&one_by_one), outcomes(&at_once));
    assert_eq!(outcomes(&one_by_one), outcomes(&reopened));
}

/// An index that has no room for the next so many writes.
#[derive(Default)]
struct Crowded {
    rows: MemoryIndex,
    refusals: std::sync::atomic::AtomicU64,
}

impl Index for Crowded {
    fn get(&self, key: &[u8]) -> Result<Option<RowBytes>, IndexError> {
        self.rows.get(key)
    }

    fn scan(&self, range: std::ops::Range<&[u8]>, forward: bool) -> crate::index::Rows<'_> {
        self.rows.scan(range, forward)
    }

    fn write(&self, batch: Batch) -> Result<(), IndexError> {
        use std::sync::atomic::Ordering::Relaxed;
        if self.refusals.load(Relaxed) > 0 {
            self.refusals.fetch_sub(1, Relaxed);
            return Err(IndexError::NoRoom { path: "memory".into() });
        }
        self.rows.write(batch)
    }

    fn flush(&self) -> Result<(), IndexError> {
        self.rows.flush()
    }

    fn clear(&self) -> Result<(), IndexError> {
        self.rows.clear()
    }
}

#[test]
fn what_the_index_had_no_room_for_changes_nothing_and_can_be_applied_again() {
    let seed = Random::seed();
    println!("seed {seed}");
    let (entries, expected) = history(seed, 1_000);
    let mut random = Random::new(seed);
    let (mut roomy, mut crowded) = (open(MemoryIndex::default()), open(Crowded::default()));
    assert_eq!(roomy.apply(&entries).unwrap(), expected);
    let (mut found, mut snapshot) = (Vec::new(), None);
    while found.len() < entries.len() {
        let rest = &entries[found.len()..];
        let batch = &rest[..(1 + random.below(30) as usize).min(rest.len())];
        if random.below(3) == 0 {
            snapshot = Some((crowded.begin_snapshot().0, state_rows(&crowded)));
        }
        let (before, refusals) = (rows(crowded.index()), random.below(3));
        crowded.index().refusals.store(refusals, std::sync::atomic::Ordering::Relaxed);
        for _ in 0..refusals {
            assert!(crowded.apply(batch).unwrap_err().is_for_want_of_room(), "seed {seed}");
            assert_eq!(rows(crowded.index()), before, "seed {seed}");
        }
        found.extend(crowded.apply(batch).unwrap());
    }
    assert_eq!(found, expected, "seed {seed}");
    assert_eq!(state_rows(&crowded), state_rows(&roomy), "seed {seed}");
    assert_eq!(crowded.state.liveness, roomy.state.liveness, "seed {seed}");
    // a snapshot that was open all the while shows nothing of what was refused, nor of what came later
    let (id, at_begin) = snapshot.expect("one in three rounds begins one");
    let page =
        crowded.snapshot_rows(id, None, usize::MAX, true).unwrap().expect("it is the last that was begun");
    let shown: Vec<&[u8]> = page.rows.iter().map(|row| &*row.key).collect();
    let begun = at_begin.iter().map(|(key, _)| &**key);
    let not_sent = |key: &&[u8]| key[0] != key::table::LIVENESS && **key != key::FORMAT;
    let shown = shown.into_iter().filter(|key| key[0] != key::table::OUTCOME);
    assert!(shown.eq(begun.filter(not_sent)), "seed {seed}");
}

#[test]
fn a_snapshot_is_the_state_at_its_begin_whatever_is_applied_meanwhile() {
    let seed = Random::seed();
    println!("seed {seed}");
    let (entries, expected) = history(seed, 3_000);
    let mut source = open(MemoryIndex::default());
    source.apply(&entries[..2_000]).unwrap();
    let at_begin = state_rows(&source);
    let (id, position, _) = source.begin_snapshot();
    assert_eq!(position.unwrap().index, 2_000);
    let mut target = open(MemoryIndex::default());
    target.apply(&entries[..10]).unwrap();
    target.begin_install().unwrap();
    let (mut meanwhile, mut after) = (entries[2_000..].iter(), None);
    loop {
        let page = source.snapshot_rows(id, after.as_deref(), 2_000, true).unwrap().unwrap();
        let rows: Vec<_> = page
            .rows
            .into_iter()
            .map(|row| InstalledRow { key: row.key, value: row.value, place: row.body })
            .collect();
        target.install_rows(&rows).unwrap();
        after = rows.last().map(|row| row.key.clone());
        source.apply(&meanwhile.by_ref().take(10).cloned().collect::<Vec<_>>()).unwrap();
        if page.last {
            break;
        }
    }
    source.end_snapshot(id);
    assert!(matches!(target.apply(&entries[2_000..]), Err(MachineError::Installing)));
    target.finish_install().unwrap();
    assert_eq!(state_rows(&target), at_begin);
    assert_eq!(target.apply(&entries[2_000..]).unwrap(), expected[2_000..]);
    source.apply(&meanwhile.cloned().collect::<Vec<_>>()).unwrap();
    assert_eq!(state_rows(&source), state_rows(&target));
    assert_eq!(outcomes(&source), outcomes(&target));
}

#[test]
fn an_interrupted_install_leaves_an_empty_machine() {
    let (entries, _) = history(1, 200);
    let mut machine = open(MemoryIndex::default());
    machine.apply(&entries).unwrap();
    let (id, ..) = machine.begin_snapshot();
    let page = machine.snapshot_rows(id, None, usize::MAX, true).unwrap().unwrap();
    let rows: Vec<_> = page
        .rows
        .into_iter()
        .map(|row| InstalledRow { key: row.key, value: row.value, place: row.body })
        .collect();
    machine.begin_install().unwrap();
    machine.install_rows(&rows).unwrap();
    let reopened = open(machine.into_index());
    assert_eq!(reopened.applied(), (None, None));
    assert_eq!(rows_without_format(&reopened), []);
}

fn rows_without_format(machine: &Machine<MemoryIndex>) -> Vec<Row> {
    rows(machine.index()).into_iter().filter(|(key, _)| **key != key::FORMAT).collect()
}

#[test]
fn a_relocated_body_is_live_at_its_new_place_only() {
    let (entries, _) = history(7, 1_000);
    let mut machine = open(MemoryIndex::default());
    machine.apply(&entries).unwrap();
    let live_before: u64 = machine.segment_liveness().map(|(_, bytes)| bytes).sum();
    let mut moves = Vec::new();
    for entry in &entries {
        let Payload::Command { command, place } = &entry.payload else { continue };
        let sequence = Sequence(entry.position.index);
        if machine.is_live(&command.operation, sequence, place).unwrap() {
            let to = Place { segment: 999, ..*place };
            moves.push(Move { operation: &command.operation, sequence, from: *place, to });
        }
    }
    assert!(!moves.is_empty());
    assert_eq!(machine.relocate(&moves).unwrap(), moves.len());
    assert_eq!(machine.segment_liveness().collect::<Vec<_>>(), [(999, live_before)]);
    for Move { operation, sequence, from, to } in &moves {
        assert!(!machine.is_live(operation, *sequence, from).unwrap());
        assert!(machine.is_live(operation, *sequence, to).unwrap());
    }
    assert_eq!(machine.relocate(&moves).unwrap(), 0);
    let live: Vec<_> = open(machine.into_index()).segment_liveness().collect();
    assert_eq!(live, [(999, live_before)]);
}
