//! The tally in memory, on disk and in between, against plain counting.

use super::*;
use std::collections::BTreeMap;

type Counts = BTreeMap<(u64, u64), BTreeMap<u32, u64>>;

/// Pushes `records` records of a small generator; what comes out, what went in, and whether the disk was used.
fn run(memory_bytes: usize, records: u64, classes: u64, values: u64) -> (Counts, Counts, bool) {
    let folder = std::env::temp_dir();
    let mut tally = Tally::new(memory_bytes, &folder);
    let (mut expected, mut found) = (Counts::new(), Counts::new());
    let mut state = 11_u64;
    for _ in 0..records {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let class = (state >> 33) % classes;
        let class = ClassKey { high: class / 3, low: class % 3 };
        let value = u32::try_from((state >> 7) % values).unwrap();
        tally.push(class, value, 1).unwrap();
        *expected.entry((class.high, class.low)).or_default().entry(value).or_default() += 1;
    }
    let sorted = tally.finish().unwrap();
    let mut last = None;
    // twice: classes may be asked for again
    for _ in 0..2 {
        found.clear();
        last = None;
        sorted
            .classes(|class, values| {
                assert!(last < Some(class), "classes come in order, each once");
                last = Some(class);
                let values = values.iter().map(|value| (value.value, value.count)).collect();
                found.insert((class.high, class.low), values);
                Ok(())
            })
            .unwrap();
    }
    assert_eq!(last.is_some(), records > 0);
    (found, expected, sorted.is_on_disk())
}

#[test]
fn what_fits_stays_in_memory() {
    let (found, expected, on_disk) = run(1 << 20, 10_000, 700, 5);
    assert_eq!(found, expected);
    assert!(!on_disk);
}

#[test]
fn large_classes_stay_in_memory_however_many_records_there_are() {
    let (found, expected, on_disk) = run(1024 * ENTRY_BYTES, 200_000, 50, 5);
    assert_eq!(found, expected);
    assert!(!on_disk);
}

#[test]
fn what_does_not_fit_goes_through_sorted_runs() {
    let (found, expected, on_disk) = run(256 << 10, 40_000, 20_000, 5);
    assert_eq!(found, expected);
    assert!(on_disk);
}

#[test]
fn more_runs_than_the_memory_can_merge_are_refused() {
    let mut tally = Tally::new(1024 * ENTRY_BYTES, &std::env::temp_dir());
    for class in 0..200_000 {
        tally.push(ClassKey { high: class, low: 0 }, 0, 1).unwrap();
    }
    assert!(matches!(tally.finish(), Err(PseudoError::Memory { .. })));
}

#[test]
fn nothing_is_no_class() {
    let (found, expected, on_disk) = run(1 << 20, 0, 1, 1);
    assert_eq!((found, on_disk), (expected, false));
}

#[test]
fn an_entry_has_golden_bytes() {
    let class = ClassKey { high: 0x0102_0304_0506_0708, low: 0x1112_1314_1516_1718 };
    let entry = Entry { class, value: 0x2122_2324, count: 0x3132_3334 };
    let golden = [8, 7, 6, 5, 4, 3, 2, 1, 24, 23, 22, 21, 20, 19, 18, 17, 36, 35, 34, 33, 52, 51, 50, 49];
    assert_eq!(encode(&entry), golden);
    assert_eq!(decode(&golden), entry);
}
