//! Measuring a table: records in, figures out.
//!
//! Every record is named by the fingerprint of its quasi-identifiers and counted once per sensitive attribute. Values of
//! quasi-identifiers are not kept; those of sensitive attributes are, each once.

use crate::PseudoError;
use crate::dictionary::Dictionary;
use crate::limits::{Limits, failing};
use crate::table::{Cell, Table};
use crate::tally::{Sorted, Tally};
use risk::{
    AttributeFigures, AttributeMeter, ClassKey, ClassSizes, Distribution, Fingerprinter, Hierarchy,
    IdentityFigures, KEY_BYTES, PopulationUniqueness, ValueCount,
};
use std::collections::HashSet;
use std::path::PathBuf;
use std::rc::Rc;

/// A quasi-identifier, and how coarse it is to be.
#[derive(Clone)]
pub(crate) struct Quasi {
    pub(crate) name: String,
    pub(crate) level: usize,
    pub(crate) hierarchy: Option<Rc<Hierarchy>>,
}

/// What to measure, and with how much.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) table: Table,
    pub(crate) quasi: Vec<Quasi>,
    pub(crate) sensitive: Vec<String>,
    /// What a class must be to stay in the table; the records of others are left out.
    pub(crate) limits: Limits,
    /// People in the population that the table is a random sample of.
    pub(crate) population: Option<u64>,
    pub(crate) memory_bytes: usize,
    /// Where temporary files go.
    pub(crate) temporary: PathBuf,
}

/// What was found.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) identity: IdentityFigures,
    /// How unique people are in the population that the table was drawn from, when its size was given.
    pub(crate) population: Option<PopulationUniqueness>,
    pub(crate) attributes: Vec<(String, AttributeFigures)>,
    /// Values of the columns that were read which are not UTF-8 text.
    pub(crate) values_not_utf8: u64,
    /// Whether a temporary file was needed.
    pub(crate) on_disk: bool,
}

/// One part in this many of the memory is for the different values of sensitive attributes, the rest for counting.
const DICTIONARY_SHARE: usize = 4;
/// Measures a table.
pub(crate) fn measure(plan: &Plan) -> Result<Measured, PseudoError> {
    let key = fresh_key()?;
    let mut counting = Counting::new(plan, key);
    let wanted: Vec<String> =
        plan.quasi.iter().map(|quasi| &quasi.name).chain(&plan.sensitive).cloned().collect();
    let values_not_utf8 = plan.table.read(&wanted, &mut |number, cells| counting.record(number, cells))?;
    counting.finish(values_not_utf8)
}

/// Counts records one by one.
pub(crate) struct Counting<'a> {
    plan: &'a Plan,
    fingerprinter: Fingerprinter,
    /// One per sensitive attribute, or one for the classes alone.
    tallies: Vec<Tally>,
    dictionaries: Vec<Dictionary>,
}

impl<'a> Counting<'a> {
    /// Counts what the plan says, under a key of its own.
    pub(crate) fn new(plan: &'a Plan, key: [u8; KEY_BYTES]) -> Self {
        let tallies = plan.sensitive.len().max(1);
        let share = (plan.memory_bytes - plan.memory_bytes / DICTIONARY_SHARE) / tallies;
        Self {
            plan,
            fingerprinter: Fingerprinter::new(&key),
            tallies: (0..tallies).map(|_| Tally::new(share, &plan.temporary)).collect(),
            dictionaries: plan.sensitive.iter().map(|_| Dictionary::default()).collect(),
        }
    }

    /// What is counted.
    pub(crate) fn plan(&self) -> &'a Plan {
        self.plan
    }

    /// Whether nothing was counted yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.tallies[0].records() == 0
    }

    /// Counts a record: cells of the quasi-identifiers, then of the sensitive attributes.
    pub(crate) fn record(&mut self, number: u64, cells: &[Cell<'_>]) -> Result<(), PseudoError> {
        let (quasi, sensitive) = cells.split_at(self.plan.quasi.len());
        for (quasi, cell) in self.plan.quasi.iter().zip(quasi) {
            match (&quasi.hierarchy, cell) {
                (Some(hierarchy), cell) if quasi.level > 0 => {
                    // a hierarchy has no null: there it is the empty value
                    let row = hierarchy.find(cell.unwrap_or_default());
                    let row = row.ok_or_else(|| missing(&self.plan.table, &quasi.name, number))?;
                    self.fingerprinter.level(hierarchy.code(quasi.level, row));
                }
                (_, Some(value)) => self.fingerprinter.value(value),
                (_, None) => self.fingerprinter.null(),
            }
        }
        let class = self.fingerprinter.finish();
        if sensitive.is_empty() {
            return self.tallies[0].push(class, 0, 1);
        }
        for (index, cell) in sensitive.iter().enumerate() {
            let code = self.code(index, *cell)?;
            self.tallies[index].push(class, code, 1)?;
        }
        Ok(())
    }

    fn code(&mut self, index: usize, cell: Cell<'_>) -> Result<u32, PseudoError> {
        let bytes_max = self.plan.memory_bytes / DICTIONARY_SHARE / self.dictionaries.len();
        self.dictionaries[index]
            .code(cell, bytes_max)
            .ok_or_else(|| Dictionary::full(&self.plan.sensitive[index]))
    }

    /// The classes that are over the plan's limits, and their records; at most so many classes.
    pub(crate) fn over(self, classes_max: usize) -> Result<(HashSet<ClassKey>, u64), PseudoError> {
        let sorted: Vec<Sorted> = self.tallies.into_iter().map(Tally::finish).collect::<Result<_, _>>()?;
        let failing = failing(&sorted, &self.plan.limits, &[])?;
        let (mut over, mut records, mut class) = (HashSet::new(), 0, 0);
        sorted[0].classes(|key, values| {
            if failing.get(class).copied().unwrap_or(false) {
                records += values.iter().map(|value| value.count).sum::<u64>();
                over.insert(key);
            }
            class += 1;
            if over.len() <= classes_max {
                return Ok(());
            }
            let problem = format!(
                "more than {classes_max} classes are too rare to keep them in the memory that is left"
            );
            Err(PseudoError::Memory { problem })
        })?;
        Ok((over, records))
    }

    /// The figures of what was counted.
    pub(crate) fn finish(self, values_not_utf8: u64) -> Result<Measured, PseudoError> {
        let sorted: Vec<Sorted> = self.tallies.into_iter().map(Tally::finish).collect::<Result<_, _>>()?;
        let left_out = failing(&sorted, &self.plan.limits, &[])?;
        let left_out = left_out.as_slice();
        let mut attributes = Vec::new();
        for (index, (name, dictionary)) in self.plan.sensitive.iter().zip(&self.dictionaries).enumerate() {
            let numbers = dictionary.numbers();
            let mut counts = vec![0; numbers.len()];
            for_each_kept(&sorted[index], left_out, |values, _| {
                values.iter().for_each(|value| counts[value.value as usize] += value.count);
            })?;
            let whole = Distribution::new(counts).ordered_by(&numbers);
            let mut meter = AttributeMeter::new(&whole);
            for_each_kept(&sorted[index], left_out, |values, _| meter.class(values))?;
            attributes.extend(meter.figures().map(|figures| (name.clone(), figures)));
        }
        let mut sizes = ClassSizes::default();
        let suppressed = for_each_kept(&sorted[0], left_out, |_, records| sizes.add(records))?;
        sizes.suppress(suppressed);
        let identity = sizes.figures().ok_or_else(|| {
            let none = if suppressed == 0 {
                "there are no records below the header"
            } else {
                "every record would have to be left out"
            };
            PseudoError::table(&self.plan.table.path, none)
        })?;
        let population =
            self.plan.population.map(|people| uniqueness(&sizes, people, &identity)).transpose()?;
        let on_disk = sorted.iter().any(Sorted::is_on_disk);
        Ok(Measured { identity, population, attributes, values_not_utf8, on_disk })
    }
}

fn uniqueness(
    sizes: &ClassSizes,
    people: u64,
    identity: &IdentityFigures,
) -> Result<PopulationUniqueness, PseudoError> {
    risk::population::uniqueness(sizes, people).ok_or_else(|| {
        let problem =
            format!("a population of {people} cannot have a sample of {} records", identity.records);
        PseudoError::usage(problem, "give the number of people that the table was drawn from")
    })
}

/// Calls `visit` with every class that stays and its number of records; how many records the others have.
fn for_each_kept(
    sorted: &Sorted,
    left_out: &[bool],
    mut visit: impl FnMut(&[ValueCount], u64),
) -> Result<u64, PseudoError> {
    let (mut suppressed, mut class) = (0, 0);
    sorted.classes(|_, values| {
        let records = values.iter().map(|value| value.count).sum();
        if left_out.get(class).copied().unwrap_or(false) {
            suppressed += records
        } else {
            visit(values, records)
        }
        class += 1;
        Ok(())
    })?;
    Ok(suppressed)
}

/// A key for fingerprints that nobody else has: it is never written down.
pub(crate) fn fresh_key() -> Result<[u8; KEY_BYTES], PseudoError> {
    let mut key = [0; KEY_BYTES];
    getrandom::fill(&mut key).map_err(|error| {
        let source = std::io::Error::other(error.to_string());
        PseudoError::file("asking for random bytes", "the operating system".as_ref())(source)
    })?;
    Ok(key)
}

/// A value that its hierarchy does not have, by column and record.
pub(crate) fn missing(table: &Table, column: &str, number: u64) -> PseudoError {
    let problem =
        format!("the value of column {column:?} in record {number} is not in the column's hierarchy");
    PseudoError::table(&table.path, problem)
}
