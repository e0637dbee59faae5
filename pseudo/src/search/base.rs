//! The table as counted codes, and what it becomes at given levels.

use super::Question;
use crate::PseudoError;
use crate::dictionary::Dictionary;
use crate::measure::{fresh_key, missing};
use crate::table::Cell;
use crate::tally::{ENTRY_BYTES, Sorted, Tally};
use risk::{ClassKey, ColumnLoss, Distribution, Fingerprinter, Hierarchy};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

/// Bits that all codes of a record have together.
const KEY_BITS: u32 = 128;
/// Bits for what the columns without a hierarchy say together.
const FIXED_BITS: u32 = 32;
/// What one combination of values of columns without a hierarchy costs in memory.
const FIXED_BYTES: usize = 48;
/// Earlier results that are kept to start from.
const RESULTS_MAX: usize = 32;
// Of the memory, one part in so many is for each of these; together they are seven eighths.
/// The table as counted codes; what it leaves is for earlier results.
const TABLE_SHARE: usize = 4;
/// Earlier results.
const RESULTS_SHARE: usize = 8;
/// The result that is being made.
const JUDGING_SHARE: usize = 4;
/// Combinations of values of columns without a hierarchy.
const FIXED_SHARE: usize = 8;
/// Different values of sensitive attributes.
const VALUES_SHARE: usize = 8;

/// A quasi-identifier with a hierarchy.
#[derive(Clone)]
pub(super) struct Column {
    /// Its place among the quasi-identifiers.
    pub(super) quasi: usize,
    pub(super) hierarchy: Rc<Hierarchy>,
    /// The finest level that is searched, and the coarsest.
    pub(super) floor: usize,
    pub(super) ceiling: usize,
    /// Where its code lies in the key.
    shift: u32,
    mask: u128,
}

impl Column {
    /// The columns of a question, side by side in the key.
    pub(super) fn all(question: &Question) -> Vec<Self> {
        let mut columns = Vec::new();
        let mut shift = 0;
        for (quasi, hierarchy) in question.hierarchies.iter().enumerate() {
            let Some(hierarchy) = hierarchy.clone() else { continue };
            let bits = u32::BITS - (hierarchy.cardinality(0) - 1).leading_zeros();
            let fixed = question.fixed[quasi].then_some(question.plan.quasi[quasi].level);
            let (floor, ceiling) = (fixed.unwrap_or(0), fixed.unwrap_or(hierarchy.height()));
            let mask = (1_u128 << bits) - 1;
            // a column of one value takes no place, and the end of the key is none
            let place = if bits == 0 { 0 } else { shift };
            columns.push(Self { quasi, hierarchy, floor, ceiling, shift: place, mask });
            shift += bits;
        }
        columns
    }

    fn bits(&self) -> u32 {
        self.mask.count_ones()
    }

    /// What becomes of each code between two levels; `None` when they are the same.
    fn map(&self, from: usize, to: usize) -> Option<Vec<u32>> {
        if from == to {
            return None;
        }
        let mut map = vec![0; self.hierarchy.cardinality(from) as usize];
        let codes = self.hierarchy.codes(from).iter().zip(self.hierarchy.codes(to));
        codes.for_each(|(from, to)| map[*from as usize] = *to);
        Some(map)
    }
}

/// Counted codes at some levels, one tally per sensitive attribute that is limited, or one for the classes alone.
struct Counted {
    levels: Vec<usize>,
    tallies: Vec<Sorted>,
}

impl Counted {
    fn entries(&self) -> u64 {
        self.tallies.iter().map(Sorted::entries_max).sum()
    }
}

/// The whole table.
pub(super) struct Base {
    pub(super) columns: Vec<Column>,
    /// What each column loses by level.
    pub(super) losses: Vec<ColumnLoss>,
    pub(super) records: u64,
    /// The distribution of each limited sensitive attribute.
    pub(super) whole: Vec<Distribution>,
    finest: Counted,
    earlier: VecDeque<Counted>,
    /// Entries that earlier results may have together.
    results_entries_max: u64,
    memory_bytes: usize,
    temporary: std::path::PathBuf,
}

impl Base {
    /// Reads the table.
    pub(super) fn read(question: &Question) -> Result<Self, PseudoError> {
        let mut reading = Reading::new(question)?;
        let plan = &question.plan;
        let mut wanted: Vec<String> = plan.quasi.iter().map(|quasi| quasi.name.clone()).collect();
        wanted.extend(plan.sensitive.iter().take(reading.dictionaries.len()).cloned());
        plan.table.read(&wanted, &mut |number, cells| reading.record(number, cells))?;
        reading.finish()
    }

    /// Whether the table needed a temporary file.
    #[cfg(test)]
    pub(super) fn is_on_disk(&self) -> bool {
        self.finest.tallies.iter().any(Sorted::is_on_disk)
    }

    /// The table at these levels, one per column.
    pub(super) fn at(&mut self, levels: &[usize]) -> Result<Vec<Sorted>, PseudoError> {
        let reaches = |counted: &Counted| counted.levels.iter().zip(levels).all(|(from, to)| from <= to);
        let nearest = (0..self.earlier.len()).filter(|index| reaches(&self.earlier[*index]));
        let nearest = nearest.min_by_key(|index| self.earlier[*index].entries());
        let Some(nearest) = nearest.and_then(|index| self.earlier.remove(index)) else {
            return self.coarser(&self.finest, levels);
        };
        let found = self.coarser(&nearest, levels);
        // what was of use is the last to make room
        self.earlier.push_back(nearest);
        found
    }

    fn coarser(&self, source: &Counted, levels: &[usize]) -> Result<Vec<Sorted>, PseudoError> {
        let steps: Vec<(u32, u128, Vec<u32>)> = (self.columns.iter().enumerate())
            .filter_map(|(index, column)| {
                let map = column.map(source.levels[index], levels[index])?;
                Some((column.shift, column.mask, map))
            })
            .collect();
        let share = self.memory_bytes / JUDGING_SHARE / source.tallies.len();
        let coarser = |tally: &Sorted| {
            let mut coarser = Tally::new(share, &self.temporary);
            tally.entries(&mut |entry| {
                let mut key = u128::from(entry.class.high) << 64 | u128::from(entry.class.low);
                for (shift, mask, map) in &steps {
                    let code = (key >> shift & mask) as usize;
                    key = key & !(mask << shift) | u128::from(map[code]) << shift;
                }
                coarser.push(class(key), entry.value, entry.count)
            })?;
            coarser.finish()
        };
        source.tallies.iter().map(coarser).collect()
    }

    /// Keeps a result to start from later, when it is in memory; those that were not of use for longest make room.
    pub(super) fn remember(&mut self, levels: Vec<usize>, tallies: Vec<Sorted>) {
        if tallies.iter().any(Sorted::is_on_disk) {
            return;
        }
        let mut counted = Counted { levels, tallies };
        counted.tallies.iter_mut().for_each(Sorted::shrink);
        self.earlier.push_back(counted);
        let room = self.results_entries_max;
        while self.earlier.len() > RESULTS_MAX
            || self.earlier.iter().map(Counted::entries).sum::<u64>() > room
        {
            self.earlier.pop_front();
        }
    }
}

/// Turns records into counted codes.
pub(super) struct Reading<'a> {
    question: &'a Question,
    columns: Vec<Column>,
    /// How many records have each row of a column's hierarchy as their value.
    records_by_row: Vec<Vec<u64>>,
    tallies: Vec<Tally>,
    dictionaries: Vec<Dictionary>,
    fixed: Fixed,
    records: u64,
}

/// Combinations of the values of columns without a hierarchy, by number.
struct Fixed {
    fingerprinter: Fingerprinter,
    numbers: HashMap<ClassKey, u32>,
    shift: Option<u32>,
    combinations_max: usize,
}

impl<'a> Reading<'a> {
    pub(super) fn new(question: &'a Question) -> Result<Self, PseudoError> {
        let (plan, columns) = (&question.plan, Column::all(question));
        let bits: u32 = columns.iter().map(Column::bits).sum();
        let has_fixed = question.hierarchies.iter().any(Option::is_none);
        if bits + if has_fixed { FIXED_BITS } else { 0 } > KEY_BITS {
            let problem =
                format!("the hierarchies' values take {bits} bits per record, more than a search can hold");
            return Err(PseudoError::usage(problem, "search fewer columns"));
        }
        let limited = if question.limits.l > 1 || question.limits.t < 1.0 { plan.sensitive.len() } else { 0 };
        let share = plan.memory_bytes / TABLE_SHARE / limited.max(1);
        let rows = |column: &Column| vec![0; column.hierarchy.cardinality(0) as usize];
        Ok(Self {
            question,
            records_by_row: columns.iter().map(rows).collect(),
            columns,
            tallies: (0..limited.max(1)).map(|_| Tally::new(share, &plan.temporary)).collect(),
            dictionaries: (0..limited).map(|_| Dictionary::default()).collect(),
            fixed: Fixed {
                fingerprinter: Fingerprinter::new(&fresh_key()?),
                numbers: HashMap::new(),
                shift: has_fixed.then_some(bits),
                combinations_max: plan.memory_bytes / FIXED_SHARE / FIXED_BYTES,
            },
            records: 0,
        })
    }

    pub(super) fn record(&mut self, number: u64, cells: &[Cell<'_>]) -> Result<(), PseudoError> {
        let plan = &self.question.plan;
        let (quasi, sensitive) = cells.split_at(plan.quasi.len());
        let (mut key, mut columns) = (0_u128, 0);
        for (index, cell) in quasi.iter().enumerate() {
            let Some(column) = self.columns.get(columns).filter(|column| column.quasi == index) else {
                match cell {
                    Some(value) => self.fixed.fingerprinter.value(value),
                    None => self.fixed.fingerprinter.null(),
                }
                continue;
            };
            let row = column.hierarchy.find(cell.unwrap_or_default());
            let row = row.ok_or_else(|| missing(&plan.table, &plan.quasi[index].name, number))?;
            self.records_by_row[columns][row as usize] += 1;
            key |= u128::from(row) << column.shift;
            columns += 1;
        }
        if let Some(shift) = self.fixed.shift {
            key |= u128::from(self.fixed.number()?) << shift;
        }
        self.records += 1;
        if self.dictionaries.is_empty() {
            return self.tallies[0].push(class(key), 0, 1);
        }
        let bytes_max = plan.memory_bytes / VALUES_SHARE / self.dictionaries.len();
        for (index, cell) in sensitive.iter().enumerate() {
            let code = self.dictionaries[index].code(*cell, bytes_max);
            let code = code.ok_or_else(|| Dictionary::full(&plan.sensitive[index]))?;
            self.tallies[index].push(class(key), code, 1)?;
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Base, PseudoError> {
        let plan = &self.question.plan;
        if self.records == 0 {
            return Err(PseudoError::table(&plan.table.path, "there are no records below the header"));
        }
        let tallies: Vec<Sorted> = self.tallies.into_iter().map(Tally::finish).collect::<Result<_, _>>()?;
        let mut whole = Vec::new();
        for (tally, dictionary) in tallies.iter().zip(&self.dictionaries) {
            let mut counts = vec![0; dictionary.len()];
            tally.entries(&mut |entry| {
                counts[entry.value as usize] += u64::from(entry.count);
                Ok(())
            })?;
            whole.push(Distribution::new(counts));
        }
        let losses = self.columns.iter().zip(&self.records_by_row);
        let on_disk = tallies.iter().any(Sorted::is_on_disk);
        let finest: u64 = tallies.iter().filter(|_| !on_disk).map(Sorted::entries_max).sum();
        let counting = plan.memory_bytes / TABLE_SHARE + plan.memory_bytes / RESULTS_SHARE;
        Ok(Base {
            results_entries_max: ((counting / ENTRY_BYTES) as u64).saturating_sub(finest),
            losses: losses.map(|(column, records)| ColumnLoss::new(&column.hierarchy, records)).collect(),
            finest: Counted { levels: vec![0; self.columns.len()], tallies },
            columns: self.columns,
            records: self.records,
            whole,
            earlier: VecDeque::new(),
            memory_bytes: plan.memory_bytes,
            temporary: plan.temporary.clone(),
        })
    }
}

impl Fixed {
    /// The number of the combination that was fed to the fingerprinter.
    fn number(&mut self) -> Result<u32, PseudoError> {
        let class = self.fingerprinter.finish();
        let next = u32::try_from(self.numbers.len()).ok();
        if let Some(number) = self.numbers.get(&class) {
            return Ok(*number);
        }
        let next = next.filter(|_| self.numbers.len() < self.combinations_max).ok_or_else(|| {
            PseudoError::Memory {
                problem:
                    "the columns without a hierarchy have more different combinations than fit the memory"
                        .to_owned(),
            }
        })?;
        self.numbers.insert(class, next);
        Ok(next)
    }
}

fn class(key: u128) -> ClassKey {
    ClassKey { high: (key >> 64) as u64, low: key as u64 }
}
