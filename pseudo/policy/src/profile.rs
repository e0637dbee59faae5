//! What a sample says about its fields: how often, what type, how many values, what they look like. No value is kept.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use transform::Clear;

use crate::detect::is_wordy;
use crate::{Looks, Path};

/// Fields of a sample: a file with more is no table of one kind of record.
pub const PROFILE_LEAVES_MAX: usize = 4096;
/// Distinct values counted per field; beyond it a field has many.
const DISTINCT_MAX: usize = 10_000;

/// What a sample says.
#[derive(Default)]
pub struct Profile {
    records: u64,
    leaves: BTreeMap<Path, Leaf>,
    overflows: bool,
    hasher: RandomState,
}

/// What a sample says about one field.
#[derive(Default)]
pub struct Leaf {
    /// Records that have it, and not null.
    pub present: u64,
    /// Of these, texts.
    pub texts: u64,
    /// Of these, numbers.
    pub numbers: u64,
    /// Of these, booleans.
    pub booleans: u64,
    wordy: u64,
    looks: HashMap<Looks, u64>,
    distinct: HashSet<u64>,
}

impl Profile {
    /// Begins the next record.
    pub fn begin_record(&mut self) {
        self.records += 1;
    }

    /// Records seen.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Notes one value of the record.
    pub fn observe(&mut self, path: &Path, value: &Clear<'_>) {
        if !self.leaves.contains_key(path) {
            if self.leaves.len() >= PROFILE_LEAVES_MAX {
                self.overflows = true;
                return;
            }
            self.leaves.insert(path.clone(), Leaf::default());
        }
        let Some(leaf) = self.leaves.get_mut(path) else { return };
        let text = match value {
            Clear::Null => return,
            Clear::Text(text) => {
                leaf.texts += 1;
                leaf.wordy += u64::from(is_wordy(text));
                text
            }
            Clear::Number(text) => {
                leaf.numbers += 1;
                text
            }
            Clear::Boolean(_) => {
                leaf.booleans += 1;
                leaf.present += 1;
                return;
            }
        };
        leaf.present += 1;
        if leaf.distinct.len() < DISTINCT_MAX {
            // under a key of this process: the hash is no value, and gone with the profile
            leaf.distinct.insert(self.hasher.hash_one(text));
        }
        if let Some(looks) = Looks::of(text) {
            *leaf.looks.entry(looks).or_insert(0) += 1;
        }
    }

    /// The fields, by path.
    pub fn leaves(&self) -> impl Iterator<Item = (&Path, &Leaf)> {
        self.leaves.iter()
    }

    /// One field.
    pub fn leaf(&self, path: &Path) -> Option<&Leaf> {
        self.leaves.get(path)
    }

    /// Whether there were more fields than are noted.
    pub fn overflows(&self) -> bool {
        self.overflows
    }
}

impl Leaf {
    /// Distinct values, as far as they were counted.
    pub fn distinct(&self) -> u64 {
        self.distinct.len() as u64
    }

    /// Whether there are more distinct values than were counted.
    pub fn has_many(&self) -> bool {
        self.distinct.len() >= DISTINCT_MAX
    }

    /// What one value in ten or more looks like, if that points at a person; the most frequent first.
    pub fn identifying(&self) -> Option<Looks> {
        let often =
            self.looks.iter().filter(|(looks, count)| looks.is_identifying() && **count * 10 >= self.present);
        often.max_by_key(|(looks, count)| (**count, **looks)).map(|(looks, _)| *looks)
    }

    /// Whether one text in ten or more is rather a sentence than one of a list.
    pub fn is_free_text(&self) -> bool {
        self.wordy > 0 && self.wordy * 10 >= self.texts
    }

    /// Whether most values are times.
    pub fn is_time(&self) -> bool {
        self.looks.get(&Looks::Time).is_some_and(|count| count * 2 > self.present)
    }
}
