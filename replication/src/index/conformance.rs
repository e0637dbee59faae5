//! What every index must do, run against each of them; and what the one on disk must survive.

use super::{Batch, Index, IndexError, MemoryIndex, Row, SledOptions, SledStore};
use crate::testing::Random;
use std::{collections::BTreeMap, path::Path, time::Duration};
use wire::GroupId;

type Reference = BTreeMap<Vec<u8>, Vec<u8>>;

fn rows_of(index: &impl Index, start: &[u8], end: &[u8], forward: bool) -> Vec<Row> {
    index.scan(start..end, forward).collect::<Result<_, _>>().unwrap()
}

fn assert_holds(index: &impl Index, reference: &Reference) {
    let found = rows_of(index, &[], &[0xFF; 8], true);
    assert_eq!(found.len(), reference.len());
    for ((key, value), (expected_key, expected)) in found.iter().zip(reference) {
        assert_eq!((&**key, &**value), (&**expected_key, &**expected));
    }
}

fn write_randomly(index: &impl Index, random: &mut Random, reference: &mut Reference) {
    let mut batch = Batch::default();
    for _ in 0..=random.below(20) {
        let key: Vec<u8> = (0..=random.below(3)).map(|_| random.below(6) as u8 * 51).collect();
        if random.below(3) == 0 {
            batch.delete(key.clone());
            reference.remove(&key);
        } else {
            // now and then one that sled keeps in a file of its own
            let length = if random.below(50) == 0 { 300_000 } else { 40 };
            let value = random.bytes(length);
            batch.put(key.clone(), value.clone());
            reference.insert(key, value);
        }
    }
    index.write(batch).unwrap();
}

fn conforms(index: &impl Index) {
    let seed = Random::seed();
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let mut reference = Reference::new();
    for round in 0..200 {
        write_randomly(index, &mut random, &mut reference);
        let (start, end) = (random.bytes(2), random.bytes(2));
        let mut expected: Vec<Row> = Vec::new();
        if start < end {
            let range = reference.range(start.clone()..end.clone());
            expected = range.map(|(key, value)| (key.clone().into(), value.clone().into())).collect();
        }
        assert_eq!(rows_of(index, &start, &end, true), expected, "seed {seed} round {round}");
        expected.reverse();
        assert_eq!(rows_of(index, &start, &end, false), expected, "seed {seed} round {round}");
        let key = random.bytes(1);
        assert_eq!(index.get(&key).unwrap().as_deref(), reference.get(&key).map(|value| &**value));
    }
    index.flush().unwrap();
    assert_holds(index, &reference);
    index.clear().unwrap();
    assert_holds(index, &Reference::new());
}

/// What is on the disk now, as a power cut would leave it at best.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[test]
fn the_index_in_memory_conforms() {
    conforms(&MemoryIndex::default());
}

#[test]
fn the_index_on_disk_conforms() {
    let directory = tempfile::tempdir().unwrap();
    let store = SledStore::open(directory.path(), SledOptions::default()).unwrap();
    conforms(&store.group(GroupId(1)).unwrap());
}

#[test]
fn a_later_change_of_a_batch_wins() {
    let directory = tempfile::tempdir().unwrap();
    let store = SledStore::open(directory.path(), SledOptions::default()).unwrap();
    for index in [&store.group(GroupId(1)).unwrap() as &dyn Index, &MemoryIndex::default()] {
        let mut batch = Batch::default();
        batch.put(b"a", b"1");
        batch.delete(b"a");
        batch.delete(b"b");
        batch.put(b"b", b"2");
        index.write(batch).unwrap();
        assert_eq!((index.get(b"a").unwrap(), index.get(b"b").unwrap()), (None, Some(b"2".into())));
    }
}

#[test]
fn a_store_that_is_open_elsewhere_is_not_taken_for_a_damaged_one() {
    let directory = tempfile::tempdir().unwrap();
    let store = SledStore::open(directory.path(), SledOptions::default()).unwrap();
    let at_once = SledOptions { in_use_wait: Duration::ZERO, ..SledOptions::default() };
    assert!(matches!(SledStore::open(directory.path(), at_once), Err(IndexError::InUse { .. })));
    drop(store);
    assert!(SledStore::open(directory.path(), SledOptions::default()).is_ok());
}

#[test]
fn groups_do_not_see_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let store = SledStore::open(directory.path(), SledOptions::default()).unwrap();
    let (one, two) = (store.group(GroupId(1)).unwrap(), store.group(GroupId(2)).unwrap());
    let mut batch = Batch::default();
    batch.put(b"a", b"1");
    one.write(batch).unwrap();
    assert_eq!(two.get(b"a").unwrap(), None);
    drop(two);
    drop(one);
    store.remove_group(GroupId(1)).unwrap();
    assert_eq!(store.group(GroupId(1)).unwrap().get(b"a").unwrap(), None);
}

#[test]
fn what_was_flushed_is_there_after_a_crash_and_later_batches_are_whole_or_absent() {
    let directory = tempfile::tempdir().unwrap();
    let (live, crashed) = (directory.path().join("live"), directory.path().join("crashed"));
    let store = SledStore::open(&live, SledOptions::default()).unwrap();
    let index = store.group(GroupId(7)).unwrap();
    let seed = Random::seed();
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let mut reference = Reference::new();
    for _ in 0..100 {
        write_randomly(&index, &mut random, &mut reference);
    }
    index.flush().unwrap();
    let mut unflushed = Batch::default();
    unflushed.put(b"later 1", b"x");
    unflushed.put(b"later 2", b"x");
    index.write(unflushed).unwrap();
    copy(&live, &crashed);

    let store = SledStore::open(&crashed, SledOptions::default()).unwrap();
    let index = store.group(GroupId(7)).unwrap();
    let later = [index.get(b"later 1").unwrap(), index.get(b"later 2").unwrap()];
    assert_eq!(later[0].is_some(), later[1].is_some());
    let mut batch = Batch::default();
    batch.delete(b"later 1");
    batch.delete(b"later 2");
    index.write(batch).unwrap();
    assert_holds(&index, &reference);
}

#[test]
fn a_damaged_store_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let store = SledStore::open(directory.path(), SledOptions::default()).unwrap();
    let index = store.group(GroupId(1)).unwrap();
    for number in 0..2_000_u32 {
        let mut batch = Batch::default();
        batch.put(&number.to_be_bytes(), vec![7; 100]);
        index.write(batch).unwrap();
    }
    store.flush().unwrap();
    drop((index, store));
    let path = directory.path().join("db");
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 3;
    bytes[middle..middle + 4096].fill(0xA5);
    std::fs::write(&path, bytes).unwrap();
    let opened = SledStore::open(directory.path(), SledOptions::default());
    assert!(matches!(opened, Err(IndexError::Damaged { .. } | IndexError::WentBack { .. })));
}

#[test]
fn a_store_without_its_generation_file_is_whole_if_it_was_never_flushed() {
    let directory = tempfile::tempdir().unwrap();
    drop(SledStore::open(directory.path(), SledOptions::default()).unwrap());
    assert!(SledStore::open(directory.path(), SledOptions::default()).is_ok());
}

#[test]
fn a_damaged_generation_file_is_reported() {
    let directory = tempfile::tempdir().unwrap();
    let store = SledStore::open(directory.path(), SledOptions::default()).unwrap();
    store.flush().unwrap();
    drop(store);
    let path = directory.path().join("generation");
    let golden = [b'T', b'K', b'I', b'N', b'D', b'G', b'E', 1, 1, 0, 0, 0, 0, 0, 0, 0];
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!((&bytes[..16], &bytes[16..]), (&golden[..], &crc32c::crc32c(&golden).to_le_bytes()[..]));
    std::fs::write(&path, [0; 20]).unwrap();
    let opened = SledStore::open(directory.path(), SledOptions::default());
    assert!(matches!(opened, Err(IndexError::Damaged { .. })));
}

#[test]
fn rows_are_the_same_in_the_buffer_on_their_way_and_in_the_tree() {
    let directory = tempfile::tempdir().unwrap();
    let store = SledStore::open(directory.path(), SledOptions::default()).unwrap();
    let index = store.group(GroupId(1)).unwrap();
    let seed = Random::seed();
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let mut reference = Reference::new();
    // many times what a layer holds, over keys that come again
    for round in 0..300 {
        let mut batch = Batch::default();
        for _ in 0..50 {
            let key = (random.below(3_000) as u32).to_be_bytes();
            if random.below(4) == 0 {
                batch.delete(&key);
                reference.remove(&key[..]);
            } else {
                let value = random.bytes(30);
                batch.put(&key, value.clone());
                reference.insert(key.to_vec(), value);
            }
        }
        index.write(batch).unwrap();
        // another handle to the group sees the same rows
        assert_holds(&store.group(GroupId(1)).unwrap(), &reference);
        if round % 100 == 99 {
            index.flush().unwrap();
            assert_holds(&index, &reference);
        }
    }
    let backwards: Vec<_> = rows_of(&index, &[], &[0xFF; 8], false).into_iter().map(|(key, _)| key).collect();
    assert!(backwards.iter().rev().map(|key| &**key).eq(reference.keys().map(|key| &**key)), "seed {seed}");
}
