//! What is compared between two regions: at one entry of the pair both say the same, whatever way it is read, and no row of
//! the shared state can change unnoticed.

use super::{
    compare::{LeavesWalk, SumsWalk, Walk, entries_at},
    pair::{Side, drain},
    *,
};
use std::collections::{BTreeMap, BTreeSet};
use wire::{CompareTree, ComparedEntry, LeafSum, RowKey};

type Trees = BTreeMap<(CompareTree, u16), LeafSum>;

/// Everything a group holds as sums, read in pages of `steps` steps each.
fn sums_in(machine: &Machine<MemoryIndex>, steps: usize) -> Trees {
    let (mut all, mut after) = (Trees::new(), None);
    loop {
        let mut walk = SumsWalk::new(after, None);
        for _ in 0..steps {
            if walk.is_over() {
                break;
            }
            walk.step(machine).unwrap();
        }
        let (trees, next) = walk.finish();
        for (tree, leaves) in trees {
            for leaf in leaves {
                let start = LeafSum { leaf: leaf.leaf, ..LeafSum::default() };
                all.entry((tree, leaf.leaf)).or_insert(start).add(&leaf);
            }
        }
        match next {
            Some(next) => after = Some(next),
            None => return all,
        }
    }
}

fn sums(machine: &Machine<MemoryIndex>) -> Trees {
    sums_in(machine, usize::MAX)
}

fn entries(machine: &Machine<MemoryIndex>, tree: CompareTree, leaves: &[u16]) -> Vec<ComparedEntry> {
    let mut walk = LeavesWalk::new(tree, leaves.to_vec(), RowKey::default());
    while !walk.is_over() {
        walk.step(machine).unwrap();
    }
    walk.finish().0
}

/// A primary with objects, parts, uploads and streams, and a standby that has all of it.
fn sides(random: &mut Random, seed: u64) -> (Side, Side) {
    let (mut workload, mut model) = (Workload::new(seed), Model::default());
    let (mut primary, mut standby) = (Side::new(PairRole::Primary), Side::new(PairRole::Standby));
    for _ in 0..800 {
        let mut next = workload.next(&all_versions(&model));
        next.meta.epoch = Epoch(1);
        primary.apply(random, next.clone());
        model.apply(primary.state().sequence.0, &next);
    }
    drain(random, &primary, &mut standby);
    (primary, standby)
}

/// The same from the first history from `seed` on that leaves enough to compare: one in thirty ends with next to nothing.
fn full_sides(seed: u64) -> (Side, Side) {
    let all = (seed..).map(|seed| sides(&mut Random::new(seed), seed));
    let is_full = |(primary, _): &(Side, Side)| {
        let all = rows(primary.machine.index());
        let is_chunk = |row_key: &[u8]| row_key[0] == key::table::CHUNK && is_pointed_to(row_key, &all);
        let is_version = |(row_key, value): &Row| row_key[0] == key::table::VERSION && value[0] == 1;
        let has_both = all.iter().any(|(row_key, _)| is_chunk(row_key)) && all.iter().any(is_version);
        has_both && sums(&primary.machine).len() > 10
    };
    all.take(10).find(is_full).expect("ten histories in a row leave nothing")
}

fn put(machine: &Machine<MemoryIndex>, row_key: &[u8], value: Option<&[u8]>) {
    let mut batch = Batch::default();
    match value {
        Some(value) => batch.put(row_key, value),
        None => batch.delete(row_key),
    }
    machine.index.write(batch).unwrap();
}

#[test]
fn both_regions_have_the_same_sums_in_pages_of_any_size() {
    let seed = Random::seed();
    println!("seed {seed}");
    let (primary, standby) = full_sides(seed);
    let whole = sums(&primary.machine);
    for steps in [1, 2, 7] {
        assert!(sums_in(&standby.machine, steps) == whole, "seed {seed}: pages of {steps} steps");
    }
}

/// Whether something visible points to a row: of a chunk its stream, of a part its upload.
fn is_pointed_to(row_key: &[u8], all: &[Row]) -> bool {
    let uploads = || all.iter().filter(|(row_key, _)| row_key[0] == key::table::UPLOAD);
    let is_upload = |id: &[u8]| uploads().any(|(row_key, _)| row_key.ends_with(id));
    let id = |row_key: &[u8]| StreamId(row_key[1..17].try_into().unwrap());
    match row_key[0] {
        key::table::PART => is_upload(&row_key[1..17]),
        key::table::CHUNK => all.iter().any(|(other, value)| match other[0] {
            key::table::OPEN_STREAM => key::last_id(other) == Some(id(row_key).0),
            key::table::PART => {
                let part = row::read("part row", value.clone(), PartRecord::decode).unwrap().part;
                part.stream == id(row_key) && is_upload(&other[1..17])
            }
            key::table::VERSION => {
                let record = row::VersionRow::decode(value.clone()).unwrap().record;
                let mut parts = record.content.iter().flat_map(|content| &content.parts);
                parts.any(|part| !part.inline && part.chunks > 0 && part.stream == id(row_key))
            }
            _ => false,
        }),
        _ => true,
    }
}

#[test]
fn no_shared_row_changes_or_goes_unnoticed_and_its_leaf_names_the_entry() {
    let seed = Random::seed();
    println!("seed {seed}");
    let mut tables = BTreeSet::new();
    // one history may end without an upload, or without a stream
    for seed in seed..seed + 4 {
        tables.extend(plant_in_every_row(seed));
    }
    let all = [
        key::table::VERSION,
        key::table::UPLOAD,
        key::table::PART,
        key::table::CHUNK,
        key::table::OPEN_STREAM,
        key::table::BUCKET,
    ];
    assert!(all.iter().all(|table| tables.contains(table)), "seed {seed}: only {tables:?} were tried");
}

/// Changes and removes each row in turn, and says of which tables they were.
fn plant_in_every_row(seed: u64) -> BTreeSet<u8> {
    let (primary, standby) = sides(&mut Random::new(seed), seed);
    let (whole, machine) = (sums(&primary.machine), &standby.machine);
    let mut tables = BTreeSet::new();
    let all = rows(machine.index());
    for (row_key, value) in &all {
        if !is_shared(row_key) || row_key[0] == key::table::OUTCOME || !is_pointed_to(row_key, &all) {
            continue;
        }
        tables.insert(row_key[0]);
        let mut changed = value.to_vec();
        // of a place: the checksum, which comes last
        let at = if row_key[0] == key::table::CHUNK { changed.len() - 1 } else { changed.len() / 2 };
        changed[at] ^= 1;
        // the middle of a version with a body may be where it lies, which is no difference
        let places = row_key[0] == key::table::VERSION && value[0] == 1 && at < 1 + Place::ENCODED_BYTES;
        for planted in [Some(&changed[..]).filter(|_| !places), None] {
            if planted.is_none() || !places {
                put(machine, row_key, planted);
                let found = sums(machine);
                let leaves: Vec<_> = whole
                    .keys()
                    .chain(found.keys())
                    .filter(|leaf| whole.get(leaf) != found.get(leaf))
                    .copied()
                    .collect();
                assert!(!leaves.is_empty(), "seed {seed}: {row_key:?} became {planted:?}");
                for (tree, leaf) in leaves {
                    let [one, other] = [&primary.machine, machine].map(|side| entries(side, tree, &[leaf]));
                    let alone = one.iter().filter(|entry| !other.contains(entry)).count();
                    let other_alone = other.iter().filter(|entry| !one.contains(entry)).count();
                    assert!((1..=2).contains(&(alone + other_alone)), "seed {seed}: {row_key:?}");
                }
                put(machine, row_key, Some(value));
            }
        }
    }
    assert!(sums(machine) == whole, "all is as it was");
    tables
}

#[test]
fn where_bodies_lie_is_no_difference_but_what_they_are_is() {
    let seed = Random::seed();
    println!("seed {seed}");
    let (_, standby) = full_sides(seed);
    let (whole, machine) = (sums(&standby.machine), &standby.machine);
    let all = rows(machine.index());
    let is_chunk = |row_key: &[u8]| row_key[0] == key::table::CHUNK && is_pointed_to(row_key, &all);
    let in_chunk = all.iter().find(|(row_key, _)| is_chunk(row_key));
    let in_version = all.iter().find(|(row_key, value)| row_key[0] == key::table::VERSION && value[0] == 1);
    for ((row_key, value), start) in [(in_chunk.unwrap(), 0), (in_version.unwrap(), 1)] {
        // segment and offset
        for at in 0..12 {
            let mut moved = value.to_vec();
            moved[start + at] ^= 1;
            put(machine, row_key, Some(&moved));
            assert!(sums(machine) == whole, "{at} of a place");
        }
        // length and checksum of the body
        for at in 16..24 {
            let mut other = value.to_vec();
            other[start + at] ^= 1;
            put(machine, row_key, Some(&other));
            assert!(sums(machine) != whole, "{at} of a place");
        }
        put(machine, row_key, Some(value));
    }
}

#[test]
fn entries_are_found_by_their_rows_and_only_what_is_compared_is_told() {
    let seed = Random::seed();
    println!("seed {seed}");
    let (primary, _) = sides(&mut Random::new(seed), seed);
    let machine = &primary.machine;
    let all: Vec<RowKey> =
        rows(machine.index()).into_iter().map(|(row_key, _)| RowKey(row_key.to_vec().into())).collect();
    let found = entries_at(machine, &all).unwrap();
    let entries: u64 = sums(machine).values().map(|leaf| leaf.entries).sum();
    assert_eq!(found.len() as u64, entries);
    assert!(found.iter().all(|entry| entry.row.0[0] != key::table::META));
    let nothing = [RowKey::default(), RowKey(vec![key::table::VERSION].into())];
    assert_eq!(entries_at(machine, &nothing).unwrap(), []);
}
