//! How the values of a column are made coarser, level by level: level 0 is the value itself.
//!
//! A hierarchy is a table: the first cell of a row is a value, the next ones what stands for it at level 1, 2 and so on.
//! Values that share a cell at a level cannot be told apart there. Errors name rows, never what is in them.

use std::collections::HashMap;
use thiserror::Error;

/// Rows of a hierarchy, at most: a column with more different values is an identifier and belongs in a class of rules.
pub const ROWS_MAX: usize = 16 << 20;
/// Levels of a hierarchy, at most: far beyond what people write, and small enough for one byte.
pub const LEVELS_MAX: usize = 64;

/// What is wrong with a hierarchy. Rows are counted from 1.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum HierarchyError {
    /// It has no rows.
    #[error("it is empty")]
    Empty,
    /// It has more rows than [`ROWS_MAX`].
    #[error("it has more than {ROWS_MAX} rows")]
    TooManyRows,
    /// It has more levels than [`LEVELS_MAX`].
    #[error("row {row} has more than {LEVELS_MAX} levels")]
    TooManyLevels {
        /// The row.
        row: usize,
    },
    /// Rows have different lengths.
    #[error("row {row} has {found} cells, the first row has {expected}")]
    Ragged {
        /// The row.
        row: usize,
        /// Its cells.
        found: usize,
        /// The cells of the first row.
        expected: usize,
    },
    /// A value is there twice, with different generalisations.
    #[error("rows {first} and {row} begin with the same value and go on differently")]
    Contradiction {
        /// The later row.
        row: usize,
        /// The earlier row.
        first: usize,
    },
    /// Two values share a level and part again at a coarser one.
    #[error("the value of row {row} shares its level {level} with another row, but not level {}", level + 1)]
    NotNested {
        /// A row of the two.
        row: usize,
        /// The level that they share.
        level: usize,
    },
}

/// A hierarchy with codes in place of texts.
#[derive(Clone, Debug)]
pub struct Hierarchy {
    rows: HashMap<Box<[u8]>, u32>,
    /// Code of each row, by level.
    codes: Vec<Vec<u32>>,
    /// Different codes of each level.
    cardinalities: Vec<u32>,
}

impl Hierarchy {
    /// Builds a hierarchy from its rows.
    pub fn new<Row, Cell>(rows: impl IntoIterator<Item = Row>) -> Result<Self, HierarchyError>
    where
        Row: IntoIterator<Item = Cell>,
        Cell: AsRef<[u8]>,
    {
        let mut builder = Builder::default();
        for row in rows {
            builder.row(row)?;
        }
        builder.finish()
    }

    /// The coarsest level.
    pub fn height(&self) -> usize {
        self.codes.len() - 1
    }

    /// The row of a value, which is its code at level 0 as well; `None` when the hierarchy does not have it.
    pub fn find(&self, value: &[u8]) -> Option<u32> {
        self.rows.get(value).copied()
    }

    /// The code of a row at a level.
    pub fn code(&self, level: usize, row: u32) -> u32 {
        self.codes[level][row as usize]
    }

    /// The codes of all rows at a level.
    pub fn codes(&self, level: usize) -> &[u32] {
        &self.codes[level]
    }

    /// How many different codes a level has; they are 0 and up.
    pub fn cardinality(&self, level: usize) -> u32 {
        self.cardinalities[level]
    }

    /// Checks that what shares a level shares all coarser ones: without that, going up could split classes again.
    pub fn check_nested(&self) -> Result<(), HierarchyError> {
        for level in 0..self.height() {
            let mut above: Vec<Option<u32>> = vec![None; self.cardinalities[level] as usize];
            for (index, (code, parent)) in self.codes[level].iter().zip(&self.codes[level + 1]).enumerate() {
                let known = above[*code as usize].get_or_insert(*parent);
                if known != parent {
                    return Err(HierarchyError::NotNested { row: index + 1, level });
                }
            }
        }
        Ok(())
    }
}

/// Gives texts of one level their codes, in the order in which they appear.
#[derive(Default)]
struct Level {
    known: HashMap<Box<[u8]>, u32>,
    codes: Vec<u32>,
}

impl Level {
    fn code(&mut self, cell: &[u8]) -> u32 {
        if let Some(code) = self.known.get(cell) {
            return *code;
        }
        let code =
            u32::try_from(self.known.len()).expect("a level has no more codes than the hierarchy rows");
        self.known.insert(cell.into(), code);
        code
    }
}

#[derive(Default)]
struct Builder {
    levels: Vec<Level>,
    read: usize,
    /// The row of the file that each kept row came from.
    origins: Vec<usize>,
}

impl Builder {
    fn row<Cell: AsRef<[u8]>>(&mut self, row: impl IntoIterator<Item = Cell>) -> Result<(), HierarchyError> {
        self.read += 1;
        let (is_first, mut cells, mut codes) = (self.levels.is_empty(), 0, Vec::new());
        for cell in row {
            if cells > LEVELS_MAX {
                return Err(HierarchyError::TooManyLevels { row: self.read });
            }
            if is_first && cells == self.levels.len() {
                self.levels.push(Level::default());
            }
            if let Some(level) = self.levels.get_mut(cells) {
                codes.push(level.code(cell.as_ref()));
            }
            cells += 1;
        }
        if cells != self.levels.len() || cells == 0 {
            let expected = self.levels.len();
            return Err(HierarchyError::Ragged { row: self.read, found: cells, expected });
        }
        self.keep(&codes)
    }

    fn keep(&mut self, codes: &[u32]) -> Result<(), HierarchyError> {
        let value = codes[0] as usize;
        if value < self.origins.len() {
            let is_same = self.levels.iter().zip(codes).all(|(level, code)| level.codes[value] == *code);
            let contradiction = HierarchyError::Contradiction { row: self.read, first: self.origins[value] };
            return if is_same { Ok(()) } else { Err(contradiction) };
        }
        if self.origins.len() == ROWS_MAX {
            return Err(HierarchyError::TooManyRows);
        }
        self.origins.push(self.read);
        for (level, code) in self.levels.iter_mut().zip(codes) {
            level.codes.push(*code);
        }
        Ok(())
    }

    fn finish(self) -> Result<Hierarchy, HierarchyError> {
        let mut levels = self.levels.into_iter();
        let values = levels.next().ok_or(HierarchyError::Empty)?;
        let cardinality = |level: &Level| u32::try_from(level.known.len()).expect("codes fit 32 bits");
        let (mut cardinalities, mut codes) = (vec![cardinality(&values)], vec![values.codes]);
        for level in levels {
            cardinalities.push(cardinality(&level));
            codes.push(level.codes);
        }
        Ok(Hierarchy { rows: values.known, codes, cardinalities })
    }
}

#[cfg(test)]
#[path = "hierarchy/tests.rs"]
mod tests;
