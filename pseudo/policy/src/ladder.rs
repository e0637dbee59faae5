//! A hierarchy as a rule takes it: one of its levels, and the coarser ones above.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use transform::{Hierarchy, TransformError};

/// Values, what they are called at one level, and what they would be called above it.
#[derive(Clone, PartialEq, Eq)]
pub struct Ladder {
    rows: Arc<str>,
    level: usize,
    names: Hierarchy,
}

impl Ladder {
    /// From rows `value;level 1;level 2;…`; `level` is 1 or more.
    pub(crate) fn new(rows: Arc<str>, level: usize) -> Result<Self, TransformError> {
        Ok(Self { names: Hierarchy::parse(&rows, level)?, rows, level })
    }

    /// The level that is taken.
    pub fn level(&self) -> usize {
        self.level
    }

    /// What values are called at the level.
    pub fn names(&self) -> &Hierarchy {
        &self.names
    }

    /// The same, `steps` levels coarser.
    pub fn climbed(&self, steps: usize) -> Result<Self, TransformError> {
        Self::new(self.rows.clone(), self.level + steps)
    }

    /// For each value, what it is called at the level and at each coarser one.
    pub fn above(&self) -> impl Iterator<Item = impl Iterator<Item = &str>> {
        self.rows.lines().filter(|row| !row.is_empty()).map(|row| row.split(';').skip(self.level))
    }

    /// Whether all rows go equally far by names that are not empty, and what shares a level shares all coarser ones: else going up could tell
    /// apart what was one, or put nulls and others together.
    pub fn is_nested(&self) -> bool {
        let mut above: HashMap<(usize, &str), &str> = HashMap::new();
        let mut lengths = HashSet::new();
        let is_nested = self.above().all(|row| {
            let cells: Vec<&str> = row.collect();
            lengths.insert(cells.len());
            if cells.contains(&"") {
                return false;
            }
            let mut steps = cells.windows(2).enumerate();
            steps.all(|(level, step)| *above.entry((level, step[0])).or_insert(step[1]) == step[1])
        });
        is_nested && lengths.len() == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ladder_is_climbed_as_far_as_its_rows_go() {
        let ladder = Ladder::new("berlin-3;berlin;de;eu\nlyon-1;lyon;fr;eu".into(), 1).unwrap();
        let above: Vec<Vec<&str>> = ladder.above().map(Iterator::collect).collect();
        assert_eq!(above, [["berlin", "de", "eu"], ["lyon", "fr", "eu"]]);
        let climbed = ladder.climbed(1).unwrap();
        assert_eq!((climbed.level(), climbed.above().next().unwrap().count()), (2, 2));
        assert!(climbed.climbed(2).is_err());
    }

    #[test]
    fn a_ladder_is_nested_when_nothing_parts_on_the_way_up() {
        let is_nested = |rows: &str| Ladder::new(rows.into(), 1).unwrap().is_nested();
        assert!(is_nested("a;x;1\nb;x;1\nc;y;1"));
        assert!(!is_nested("a;x;1\nb;x;2"));
        assert!(!is_nested("a;x;1\nb;y"));
        assert!(!is_nested("a;x;1\nb;;1"));
    }
}
