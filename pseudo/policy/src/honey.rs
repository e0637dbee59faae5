//! Rows of made-up persons in an export: how many, by which column, and which columns are taken over together.
//!
//! A made-up row is mixed from rows of several real people, so that it looks like a row and is none. What belongs together in it comes
//! from one row: columns of one field, all quasi-identifiers (so that their combination is one that a class of the export has), and what the
//! policy names. Columns of tokens are one such part, in which every token is exchanged for a made-up one, except those that many
//! people have in common and that the policy names.

use custody::Scope;

use crate::file::HoneyFile;
use crate::sections::columns;
use crate::{Path, Policy, PolicyError, Rule, Spec};

/// Made-up persons of one export: enough to find some of them in a small part of it, and few enough that counts stay what they are.
pub const HONEY_PERSONS_MAX: u32 = 32;
/// Real people for each made-up one, at least: among fewer it would hardly be hidden, and spoil what is counted.
pub const HONEY_PEOPLE_MIN: usize = 10;

const PLACE: &str = "honey";

/// Made-up persons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Honey {
    /// How many an export gets at most.
    pub persons: u32,
    /// The column whose tokens say whose row it is.
    pub person: Path,
    /// Columns of tokens that many people have in common: they are taken over.
    pub shared: Vec<Path>,
    /// Columns that only make sense with each other.
    pub together: Vec<Vec<Path>>,
}

pub(crate) fn honey(file: HoneyFile) -> Result<Honey, PolicyError> {
    if !(1..=HONEY_PERSONS_MAX).contains(&file.persons) {
        return Err(PolicyError::value(PLACE, format!("persons is from 1 to {HONEY_PERSONS_MAX}")));
    }
    let person = columns(PLACE, &[file.person])?.pop().expect("one path was read");
    let together = file.together.iter().map(|group| columns(PLACE, group)).collect::<Result<_, _>>()?;
    Ok(Honey { persons: file.persons, person, shared: columns(PLACE, &file.shared)?, together })
}

impl Policy {
    /// For each column, in their order, the part of a made-up row that it belongs to: 0 is the person's own. Every part comes from a row of
    /// another person. Nothing without made-up persons.
    pub fn honey_parts(&self) -> Vec<usize> {
        let Some(honey) = &self.honey else { return Vec::new() };
        let rules: Vec<&Rule> = self.columns().collect();
        let at = |path: &Path| rules.iter().position(|rule| rule.output_path == *path);
        // each column points to another of its part, or to itself
        let mut above: Vec<usize> = (0..rules.len()).collect();
        for column in 0..rules.len() {
            let first = rules.iter().position(|rule| rule.path == rules[column].path);
            join(&mut above, first.unwrap_or(column), column);
        }
        let person = at(&honey.person).expect("the policy checked that the column is there");
        for column in (0..rules.len()).filter(|column| self.is_exchanged(rules[*column])) {
            join(&mut above, person, column);
        }
        let quasi = self.gate.iter().map(|gate| &gate.quasi_identifiers);
        for group in quasi.chain(&honey.together) {
            let columns: Vec<usize> = group.iter().filter_map(at).collect();
            columns.windows(2).for_each(|pair| join(&mut above, pair[0], pair[1]));
        }
        let mut tops = vec![top(&above, person)];
        let mut part = |column| {
            let top = top(&above, column);
            tops.iter().position(|known| *known == top).unwrap_or_else(|| {
                tops.push(top);
                tops.len() - 1
            })
        };
        (0..rules.len()).map(&mut part).collect()
    }

    /// Whether a column's tokens are exchanged for made-up ones.
    pub fn is_exchanged(&self, rule: &Rule) -> bool {
        rule.spec.is_token()
            && self.honey.as_ref().is_some_and(|honey| !honey.shared.contains(&rule.output_path))
    }

    /// Tokens of one export that lead to nobody in a vault since their person is made up: one for each column of such tokens.
    pub fn made_up_in_vault(&self) -> u64 {
        let columns =
            self.columns().filter(|rule| matches!(rule.spec, Spec::Vault(_)) && self.is_exchanged(rule));
        self.honey.as_ref().map_or(0, |honey| u64::from(honey.persons) * columns.count() as u64)
    }

    pub(crate) fn check_honey(&self) -> Result<(), PolicyError> {
        let Some(honey) = &self.honey else { return Ok(()) };
        let wrong = |problem: &str| Err(PolicyError::value(PLACE, problem));
        let find = |path: &Path| self.columns().find(|rule| rule.output_path == *path);
        let is_person =
            |rule: &Rule| matches!(rule.spec, Spec::Token(_) | Spec::Vault(_)) && rule.scope != Scope::Record;
        if !find(&honey.person).is_some_and(is_person) {
            return wrong(
                "person names a column of the export that is prf or prf+vault and not of scope record: without tokens that say whose row it is nobody can be made up",
            );
        }
        let is_shared =
            |path: &Path| *path != honey.person && find(path).is_some_and(|rule| rule.spec.is_token());
        if !honey.shared.iter().all(is_shared) {
            return wrong(
                "shared names columns of tokens, and not the person's: every other column is taken over anyway",
            );
        }
        let is_group = |group: &Vec<Path>| group.len() > 1 && group.iter().all(|path| find(path).is_some());
        if !honey.together.iter().all(is_group) {
            return wrong("together has lists of two or more columns of the export");
        }
        if !self.target.shuffle {
            return wrong("made-up rows are hidden by the order of rows: the target has shuffle = true");
        }
        let quasi = self.gate.iter().flat_map(|gate| &gate.quasi_identifiers);
        if quasi.filter_map(find).any(|rule| self.is_exchanged(rule)) {
            return wrong(
                "a quasi-identifier is a token, so that each made-up person would be alone in their class: leave it out of the gate, or name it as shared",
            );
        }
        let parts = self.honey_parts();
        let taken: Vec<(usize, &Path)> = (parts.into_iter().zip(self.columns()))
            .filter(|(_, rule)| !self.is_exchanged(rule))
            .map(|(part, rule)| (part, &rule.path))
            .collect();
        let (is_one_part, is_one_field) = (
            taken.windows(2).all(|pair| pair[0].0 == pair[1].0),
            taken.windows(2).all(|pair| pair[0].1 == pair[1].1),
        );
        if !honey.together.is_empty() && is_one_part && !is_one_field {
            return wrong(
                "together joins all columns, so that a made-up row would be a real one under another token",
            );
        }
        Ok(())
    }
}

/// The column that stands for a part.
fn top(above: &[usize], mut column: usize) -> usize {
    while above[column] != column {
        column = above[column];
    }
    column
}

fn join(above: &mut [usize], one: usize, other: usize) {
    let (one, other) = (top(above, one), top(above, other));
    above[other] = one;
}
