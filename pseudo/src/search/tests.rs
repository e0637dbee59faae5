//! The search against brute force: every node of small random lattices, judged by generalising texts and counting them.

use super::*;
use crate::measure::Quasi;
use crate::table::Table;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

struct Random(u64);

impl Random {
    fn below(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % below
    }
}

/// A table in texts, with nested hierarchies: `hierarchies[column][value]` is the value and what stands for it.
struct Case {
    hierarchies: Vec<Option<Vec<Vec<String>>>>,
    /// Values by column, the sensitive one last.
    records: Vec<Vec<usize>>,
}

impl Case {
    fn random(random: &mut Random) -> Self {
        let columns = 1 + random.below(3);
        let hierarchies =
            (0..columns).map(|_| (random.below(5) > 0).then(|| hierarchy(random))).collect::<Vec<_>>();
        let count = 1 + random.below(60);
        let record = |random: &mut Random| {
            let values = hierarchies.iter().map(|rows| rows.as_ref().map_or(2, Vec::len));
            let mut record: Vec<usize> = values.map(|values| random.below(values)).collect();
            record.push(random.below(3));
            record
        };
        let records = (0..count).map(|_| record(random)).collect();
        Self { hierarchies, records }
    }

    fn heights(&self) -> Vec<usize> {
        self.hierarchies.iter().map(|rows| rows.as_ref().map_or(0, |rows| rows[0].len() - 1)).collect()
    }

    fn write(&self, path: &Path) {
        let names: Vec<String> = (0..self.hierarchies.len()).map(|column| format!("q{column}")).collect();
        let mut text = format!("{},s\n", names.join(","));
        for record in &self.records {
            let cells: Vec<String> = record.iter().map(|value| format!("v{value}")).collect();
            let _ = writeln!(text, "{}", cells.join(","));
        }
        std::fs::write(path, text).unwrap();
    }

    /// Classes at these levels: the sensitive values of each.
    fn classes(&self, levels: &[usize]) -> Vec<Vec<usize>> {
        let mut classes: BTreeMap<Vec<String>, Vec<usize>> = BTreeMap::new();
        for record in &self.records {
            let coarse = |(column, level): (usize, &usize)| match &self.hierarchies[column] {
                Some(rows) => rows[record[column]][*level].clone(),
                None => format!("v{}", record[column]),
            };
            let key = levels.iter().enumerate().map(coarse).collect();
            classes.entry(key).or_default().push(record[levels.len()]);
        }
        classes.into_values().collect()
    }

    fn share(&self, value: usize) -> f64 {
        let having = self.records.iter().filter(|record| record.last() == Some(&value)).count();
        having as f64 / self.records.len() as f64
    }

    /// What is left out at these levels, the classes that stay, and discernibility.
    fn judge(&self, levels: &[usize], limits: &Limits) -> (u64, Vec<u64>, u128) {
        let (mut suppressed, mut kept, mut discernibility) = (0, Vec::new(), 0);
        for class in self.classes(levels) {
            let distinct = class.iter().collect::<BTreeSet<_>>().len() as u64;
            let inside =
                |value| class.iter().filter(|one| **one == value).count() as f64 / class.len() as f64;
            let distance: f64 =
                (0..3).map(|value| (inside(value) - self.share(value)).abs()).sum::<f64>() / 2.0;
            let size = class.len() as u64;
            if size < limits.k || distinct < limits.l || distance > limits.t {
                suppressed += size;
                discernibility += u128::from(size) * self.records.len() as u128;
            } else {
                kept.push(size);
                discernibility += u128::from(size) * u128::from(size);
            }
        }
        (suppressed, kept, discernibility)
    }

    fn entropy(&self, levels: &[usize]) -> f64 {
        let mut bits = 0.0;
        for (column, level) in levels.iter().enumerate() {
            let Some(rows) = &self.hierarchies[column] else { continue };
            for record in &self.records {
                let same = |level: usize| {
                    let text = &rows[record[column]][level];
                    self.records.iter().filter(|other| &rows[other[column]][level] == text).count() as f64
                };
                bits += (same(*level) / same(0)).log2();
            }
        }
        bits
    }
}

/// Values `v0` and up, each level halving at random, the top one text.
fn hierarchy(random: &mut Random) -> Vec<Vec<String>> {
    let values = 1 + random.below(5);
    let mut rows: Vec<Vec<String>> = (0..values).map(|value| vec![format!("v{value}")]).collect();
    for level in 1..1 + random.below(4) {
        let mut parents: BTreeMap<String, String> = BTreeMap::new();
        for row in &mut rows {
            let below = row[level - 1].clone();
            let parent = parents.entry(below).or_insert_with(|| format!("l{level}-{}", random.below(3)));
            row.push(parent.clone());
        }
    }
    rows
}

fn question(case: &Case, path: &Path, limits: Limits, suppression: Suppression, metric: Metric) -> Question {
    let quasi = |column| Quasi { name: format!("q{column}"), level: 0, hierarchy: None };
    let plan = Plan {
        table: Table { path: path.to_owned(), delimiter: b',' },
        quasi: (0..case.hierarchies.len()).map(quasi).collect(),
        sensitive: vec!["s".to_owned()],
        limits: Limits::NONE,
        population: None,
        memory_bytes: 1 << 20,
        temporary: std::env::temp_dir(),
    };
    let built = case.hierarchies.iter().map(|rows| {
        rows.as_ref().map(|rows| {
            let hierarchy = Hierarchy::new(rows).unwrap();
            hierarchy.check_nested().unwrap();
            Rc::new(hierarchy)
        })
    });
    let hierarchies: Vec<_> = built.collect();
    let fixed = vec![false; hierarchies.len()];
    Question { plan, hierarchies, fixed, limits, suppression, metric }
}

/// Every combination of levels up to these heights.
fn nodes(heights: &[usize]) -> Vec<Vec<usize>> {
    heights.iter().fold(vec![vec![]], |nodes, height| {
        let longer = |node: &Vec<usize>| {
            (0..=*height)
                .map(|level| node.iter().copied().chain([level]).collect())
                .collect::<Vec<Vec<usize>>>()
        };
        nodes.iter().flat_map(longer).collect()
    })
}

fn check(case: &Case, path: &Path, limits: Limits, suppression: Suppression, metric: Metric) {
    let suppressed_max = match suppression {
        Suppression::Count(count) => count,
        Suppression::Share(share) => (case.records.len() as f64 * share).floor() as u64,
    };
    let satisfies = |levels: &[usize]| case.judge(levels, &limits).0 <= suppressed_max;
    let good: Vec<Vec<usize>> =
        nodes(&case.heights()).into_iter().filter(|levels| satisfies(levels)).collect();
    let is_below =
        |left: &[usize], right: &[usize]| left != right && left.iter().zip(right).all(|(l, r)| l <= r);
    let minimal: BTreeSet<&Vec<usize>> =
        good.iter().filter(|levels| !good.iter().any(|other| is_below(other, levels))).collect();
    let question = question(case, path, limits, suppression, metric);
    let found = match search(&question) {
        Ok(found) => found,
        Err(PseudoError::Unreachable { .. }) => return assert!(good.is_empty()),
        Err(error) => panic!("{error}"),
    };
    assert_eq!(found.minimal.iter().map(|node| &node.levels).collect::<BTreeSet<_>>(), minimal);
    for node in found.minimal.iter().chain([&found.best]) {
        let (suppressed, kept, discernibility) = case.judge(&node.levels, &limits);
        let figures = node.figures;
        assert_eq!((figures.suppressed, figures.classes), (suppressed, kept.len() as u64));
        assert_eq!(
            (figures.k, figures.discernibility),
            (kept.iter().copied().min().unwrap_or(0), discernibility)
        );
        assert!((node.entropy - case.entropy(&node.levels)).abs() < 1e-6);
    }
    let loss = |levels: &Vec<usize>| match metric {
        Metric::Entropy => case.entropy(levels),
        Metric::Discernibility => case.judge(levels, &limits).2 as f64,
        Metric::Precision => -precision(levels, &case.heights()),
    };
    let least = good.iter().map(loss).fold(f64::INFINITY, f64::min);
    assert!((loss(&found.best.levels) - least).abs() < 1e-6, "{metric:?} {:?}", found.best.levels);
    if found.best.figures.k > 0 {
        let measured = measure(&question, &found).unwrap();
        assert_eq!(measured.identity.discernibility, found.best.figures.discernibility);
    }
}

#[test]
fn the_search_finds_what_brute_force_finds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.csv");
    for seed in 0..150 {
        let mut random = Random(seed);
        let case = Case::random(&mut random);
        case.write(&path);
        for metric in [Metric::Entropy, Metric::Discernibility, Metric::Precision] {
            let k = 1 + random.below(6) as u64;
            let share = random.below(40) as f64 / 100.0;
            let diverse = Limits { k, l: 1 + random.below(3) as u64, t: 1.0 };
            // beside every distance that sixty records can make, where rounding would decide
            let close = Limits { k, l: 1, t: random.below(10) as f64 / 20.0 + 0.050_791 };
            for (limits, suppression) in [
                (Limits { k, ..Limits::NONE }, Suppression::Count(0)),
                (Limits { k, ..Limits::NONE }, Suppression::Share(share)),
                (diverse, Suppression::Count(random.below(10) as u64)),
                (close, Suppression::Count(0)),
            ] {
                eprintln!("seed {seed}: {metric:?} {limits:?} {suppression:?}");
                check(&case, &path, limits, suppression, metric);
            }
        }
    }
}

#[test]
fn a_given_level_is_kept_while_the_others_are_searched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.csv");
    let rows = |texts: [[&str; 3]; 2]| Some(texts.map(|row| row.map(str::to_owned).to_vec()).to_vec());
    let case = Case {
        hierarchies: vec![
            rows([["v0", "a", "*"], ["v1", "b", "*"]]),
            rows([["v0", "a", "*"], ["v1", "b", "*"]]),
        ],
        records: vec![vec![0, 0, 0], vec![1, 0, 0], vec![0, 1, 0], vec![1, 1, 0]],
    };
    case.write(&path);
    let limits = Limits { k: 2, ..Limits::NONE };
    let mut asked = question(&case, &path, limits, Suppression::Count(0), Metric::Entropy);
    assert_eq!(search(&asked).unwrap().minimal.len(), 2);
    asked.fixed[0] = true;
    asked.plan.quasi[0].level = 1;
    let found = search(&asked).unwrap();
    assert_eq!((found.best.levels.as_slice(), found.minimal.len(), found.nodes), ([1, 2].as_slice(), 1, 3));
}
