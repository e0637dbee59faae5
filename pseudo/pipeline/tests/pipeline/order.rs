//! The order of rows tells nothing of the order they came in.

use std::collections::BTreeSet;

use pipeline::*;
use proptest::prelude::*;

use crate::given::*;

fn numbered(count: u32) -> String {
    (0..count).map(|number| format!("{{\"pages\":{number}}}\n")).collect()
}

fn pages(output: &[u8]) -> Vec<u32> {
    let lines = std::str::from_utf8(output).unwrap().lines();
    lines
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["pages"]
                .as_u64()
                .unwrap()
                .try_into()
                .unwrap()
        })
        .collect()
}

fn shuffled(count: u32, memory: usize) -> (Report, Vec<u32>) {
    let policy = policy(&[("shuffle = false", "shuffle = true")]);
    let (report, output) = run_bytes(&policy, &[numbered(count).as_bytes()], memory).unwrap();
    (report, pages(&output))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn every_row_comes_out_once_however_little_memory_there_is(count in 0_u32..3000, memory in 200_usize..200_000) {
        let (_, whole) = shuffled(count, SHUFFLE_MEMORY_BYTES);
        let (report, tight) = shuffled(count, memory);
        prop_assert_eq!(report.records_out, u64::from(count));
        prop_assert_eq!(tight.iter().copied().collect::<BTreeSet<_>>(), (0..count).collect::<BTreeSet<_>>());
        prop_assert_eq!(tight, whole);
    }
}

#[test]
fn neighbours_are_no_neighbours_any_more() {
    let (_, order) = shuffled(10_000, SHUFFLE_MEMORY_BYTES);
    let adjacent = order.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) == 1).count();
    let in_place = (0..).zip(&order).filter(|(place, page)| place == *page).count();
    // two and one are expected of a random order
    assert!(adjacent < 15 && in_place < 12, "{adjacent} {in_place}");
    // rank correlation within four standard deviations of none
    let middle = 4999.5;
    let covariance: f64 = (0..10_000)
        .zip(&order)
        .map(|(place, page)| (f64::from(place) - middle) * (f64::from(*page) - middle))
        .sum();
    let variance: f64 = (0..10_000).map(|place| (f64::from(place) - middle).powi(2)).sum();
    assert!((covariance / variance).abs() < 0.04, "{}", covariance / variance);
}

#[test]
fn little_memory_means_temporary_files_and_a_failing_disk_is_an_error() {
    assert!(!shuffled(1000, SHUFFLE_MEMORY_BYTES).0.spilled);
    assert!(shuffled(1000, 1000).0.spilled);
    let policy = policy(&[("shuffle = false", "shuffle = true")]);
    let plan = Plan::new(&policy, &master(&policy), RUN, Rare::default()).unwrap();
    let mut full = || Err(std::io::Error::from(std::io::ErrorKind::StorageFull));
    let done = Engine::new(plan, 1000).run([Input::stream(numbered(1000).as_bytes())], Vec::new(), &mut full);
    assert!(matches!(done.map(|_| ()), Err(PipelineError::Io { .. })));
}

/// Parts of so many rows each.
struct Cut {
    rows_max: u64,
    parts: Vec<(Vec<u8>, u64)>,
}

impl Parts for Cut {
    type Writer = Vec<u8>;

    fn open(&mut self) -> std::io::Result<Vec<u8>> {
        Ok(Vec::new())
    }

    fn is_full(&self, rows: u64) -> bool {
        rows >= self.rows_max
    }

    fn close(&mut self, writer: Vec<u8>, rows: u64) -> std::io::Result<()> {
        self.parts.push((writer, rows));
        Ok(())
    }
}

#[test]
fn parts_one_after_another_are_the_rows_of_one_file_and_each_record_is_seen_once() {
    for shuffle in ["shuffle = true", "shuffle = false"] {
        let policy = policy(&[("shuffle = false", shuffle)]);
        let (_, whole) = run_bytes(&policy, &[numbered(25).as_bytes()], SHUFFLE_MEMORY_BYTES).unwrap();
        let plan = Plan::new(&policy, &master(&policy), RUN, Rare::default()).unwrap();
        let (mut cut, mut seen) = (Cut { rows_max: 10, parts: Vec::new() }, 0);
        let input = [Ok(Input::stream(std::io::Cursor::new(numbered(25))))];
        let engine = Engine::new(plan, SHUFFLE_MEMORY_BYTES);
        let report = engine.run_parts(input, &mut cut, &mut spill, &mut |cells| {
            assert_eq!(cells.count(), policy.columns().count());
            seen += 1;
            Ok(true)
        });
        assert_eq!((report.unwrap().bytes_out, seen), (whole.len() as u64, 25));
        let joined: Vec<u8> = cut.parts.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
        let rows: Vec<u64> = cut.parts.iter().map(|(_, rows)| *rows).collect();
        assert_eq!(rows, [10, 10, 5]);
        assert_eq!(pages(&joined), pages(&whole));
    }
}
