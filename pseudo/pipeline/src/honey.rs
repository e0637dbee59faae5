//! Rows of made-up persons, planted among the rows of an export.
//!
//! The pattern of a made-up row are real rows as they leave: those of ten people for each made-up one, whom a key and the run's seed choose
//! (the people with the smallest draws, of whom all rows are then known when the last record has passed). A made-up person has as many rows as
//! one of them, with all tokens exchanged; what stands beside the tokens comes part by part from others of them
//! ([`Policy::honey_parts`]), row by row in their order, so that what is always the same for one person stays so. The rows are numbered behind
//! the last record and go where a record of that number would go.
//!
//! Quasi-identifiers come from one row, so their combination is one that the export has: no class is new, none gets smaller. Nothing is
//! counted or measured of planted rows but how many they are. All of it follows from the records, the key, the seed and the export's
//! name: a run that is resumed plants the same rows.

use std::collections::{BTreeMap, HashMap};

use custody::{MasterKey, Purpose, Scope};
use policy::{HONEY_PEOPLE_MIN, Policy};
use transform::{Honey, Kind, Place, RunSeed, TransformError};

use crate::plan::{Plan, Treatment};
use crate::row::Row;
use crate::{PipelineError, Report};

/// Rows that a made-up person has at most; who has more is more than most.
const ROWS_MAX: usize = 256;
/// Rows of one person that are kept for a pattern, bytes: 320 people take 40 MiB at most.
const PATTERN_BYTES_MAX: usize = 128 << 10;

/// How to plant.
pub(crate) struct Planting {
    honey: Honey,
    export: String,
    persons: u32,
    /// The column whose tokens say whose row it is.
    person: usize,
    /// Which part each column belongs to, and whether its tokens are exchanged.
    columns: Vec<(usize, bool)>,
}

/// The people whose rows are the pattern, so far.
pub(crate) struct Patterns<'a> {
    planting: &'a Planting,
    people: BTreeMap<[u8; 16], Pattern>,
}

/// The rows of somebody.
#[derive(Default)]
struct Pattern {
    token: Vec<u8>,
    rows: Vec<Row>,
    bytes: usize,
    is_full: bool,
}

impl Planting {
    /// What the policy says, for an export of this name; nothing if it plants nobody.
    pub(crate) fn new(policy: &Policy, master: &MasterKey, export: &str) -> Option<Self> {
        let wanted = policy.honey.as_ref()?;
        assert!(policy.target.shuffle, "the policy checked that planted rows are hidden by their order");
        let person = policy.columns().position(|rule| rule.output_path == wanted.person);
        let person = person.expect("the policy checked that the column is there");
        let class = &policy.columns().nth(person).expect("it was found").class;
        let key = master.field_key(Purpose::Honey, class, Scope::Dataset, &policy.dataset);
        let exchanged = policy.columns().map(|rule| policy.is_exchanged(rule));
        Some(Self {
            honey: Honey::new(&key),
            export: export.to_owned(),
            persons: wanted.persons,
            person,
            columns: policy.honey_parts().into_iter().zip(exchanged).collect(),
        })
    }

    pub(crate) fn patterns(&self) -> Patterns<'_> {
        Patterns { planting: self, people: BTreeMap::new() }
    }
}

impl Patterns<'_> {
    /// Sees a row that leaves.
    pub(crate) fn see(&mut self, row: &Row, run: &RunSeed) {
        let (kind, _, token) = row.cell(self.planting.person);
        if kind == Kind::Null {
            return;
        }
        let draw = self.planting.honey.draw(run, token);
        if let Some(pattern) = self.people.get_mut(&draw) {
            return pattern.add(row);
        }
        // whoever is among the smallest in the end was so from their first row on, so all their rows are seen
        if self.people.len() == HONEY_PEOPLE_MIN * self.planting.persons as usize {
            if self.people.last_key_value().is_some_and(|(largest, _)| draw > *largest) {
                return;
            }
            self.people.pop_last();
        }
        let mut pattern = Pattern { token: token.to_vec(), ..Pattern::default() };
        pattern.add(row);
        self.people.insert(draw, pattern);
    }

    /// Gives every planted row with its number, and counts them in the report.
    pub(crate) fn plant(
        self,
        plan: &Plan<'_>,
        report: &mut Report,
        give: &mut dyn FnMut(u64, &Row) -> Result<(), PipelineError>,
    ) -> Result<(), PipelineError> {
        // somebody whose rows are too long to be kept is a pattern for nobody
        let people: Vec<Pattern> =
            self.people.into_values().filter(|pattern| !pattern.rows.is_empty()).collect();
        let persons = (people.len() / HONEY_PEOPLE_MIN).min(self.planting.persons as usize);
        let mut row = Row::default();
        for person in 0..persons {
            let number = u32::try_from(person).expect("they are 32 at most");
            let mut made_up = Person {
                planting: self.planting,
                plan,
                number,
                // the token of who they are modelled on is exchanged for their own
                known: HashMap::from([(people[person].token.as_slice(), 0)]),
            };
            let lot = self.planting.honey.lot(&plan.run, number);
            for place in 0..people[person].rows.len() {
                report.rows_planted += 1;
                let record = report.records_in + report.rows_planted;
                made_up.row(&people, lot, place, record, &mut row)?;
                give(record, &row)?;
            }
        }
        report.persons_planted = persons as u64;
        Ok(())
    }
}

/// A person who is being made up.
struct Person<'a, 'p> {
    planting: &'a Planting,
    plan: &'a Plan<'p>,
    number: u32,
    /// Which made-up identity stands for a token.
    known: HashMap<&'a [u8], u32>,
}

impl<'a> Person<'a, '_> {
    fn row(
        &mut self,
        people: &'a [Pattern],
        lot: u64,
        place: usize,
        record: u64,
        row: &mut Row,
    ) -> Result<(), PipelineError> {
        row.clear();
        let own = self.number as usize;
        // everybody but the own pattern, one for each part as far as there are
        let others = people.len() as u64 - 1;
        for (column, (part, is_exchanged)) in self.planting.columns.iter().enumerate() {
            let from = match part {
                0 => own,
                part => {
                    let step = (lot % others + *part as u64 - 1) % others;
                    (own + 1 + usize::try_from(step).expect("it is less than the people")) % people.len()
                }
            };
            let rows = &people[from].rows;
            let (kind, is_plain, bytes) = rows[place % rows.len()].cell(column);
            if *is_exchanged && kind != Kind::Null {
                let treatment = &self.plan.columns[column];
                let kind = self.exchange(treatment, bytes, record, &mut row.bytes).map_err(|source| {
                    let path = self.plan.policy.fields[treatment.field].path.to_string();
                    PipelineError::Technique { path, source }
                })?;
                row.close(kind, is_plain);
            } else {
                row.bytes.extend_from_slice(bytes);
                row.close(kind, is_plain);
            }
        }
        Ok(())
    }

    /// Appends what stands for a token: always the same for the same one.
    fn exchange(
        &mut self,
        treatment: &Treatment,
        token: &'a [u8],
        record: u64,
        out: &mut Vec<u8>,
    ) -> Result<Kind, TransformError> {
        let next = u32::try_from(self.known.len()).expect("a person has far fewer tokens");
        let identity = *self.known.entry(token).or_insert(next);
        let made_up = self.planting.honey.made_up(&self.planting.export, self.number, identity);
        let place = Place { run: &self.plan.run, record, person: transform::Clear::Null };
        treatment.technique.apply_made_up(&made_up, token, &place, out)
    }
}

impl Pattern {
    fn add(&mut self, row: &Row) {
        let bytes = row.size();
        // what comes after one that found no room is left out too: the rows that are kept are the first ones
        self.is_full |= self.rows.len() == ROWS_MAX || self.bytes + bytes > PATTERN_BYTES_MAX;
        if !self.is_full {
            self.bytes += bytes;
            self.rows.push(row.clone());
        }
    }
}
