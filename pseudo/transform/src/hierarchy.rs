//! Generalisation by a table: each value with what it is called at coarser levels.

use std::collections::HashMap;

use crate::error::within;
use crate::{Clear, Kind, TransformError};

/// Values of one hierarchy.
pub const HIERARCHY_ROWS_MAX: usize = 100_000;
/// Levels above the value itself.
pub const HIERARCHY_LEVELS_MAX: usize = 16;
/// Anything in a hierarchy, bytes.
const CELL_BYTES_MAX: usize = 256;

const TECHNIQUE: &str = "hierarchy";

/// Values and what they are called at one level.
#[derive(Clone, PartialEq, Eq)]
pub struct Hierarchy {
    names: HashMap<String, String>,
}

impl Hierarchy {
    /// From rows `value;level 1;level 2;…`, one a line, as ARX writes them; `level` chooses the column, 1 or more.
    pub fn parse(rows: &str, level: usize) -> Result<Self, TransformError> {
        within("level of a hierarchy", level as u64, 1, HIERARCHY_LEVELS_MAX as u64)?;
        let problem = |problem| TransformError::Parameter { technique: TECHNIQUE, problem };
        let mut names = HashMap::new();
        for row in rows.lines().filter(|row| !row.is_empty()) {
            let mut cells = row.split(';');
            let value = cells.next().unwrap_or_default();
            let name = cells.nth(level - 1).ok_or(problem("a row has fewer levels than are used"))?;
            if row.contains('"') {
                return Err(problem("rows have no quotes"));
            }
            if value.len() > CELL_BYTES_MAX || name.len() > CELL_BYTES_MAX {
                return Err(problem("a cell is longer than 256 bytes"));
            }
            if names.insert(value.to_owned(), name.to_owned()).is_some() {
                return Err(problem("a value has two rows"));
            }
            if names.len() > HIERARCHY_ROWS_MAX {
                return Err(problem("more than 100,000 rows"));
            }
        }
        if names.is_empty() {
            return Err(problem("it has no rows"));
        }
        Ok(Self { names })
    }

    /// Appends what the value is called at the level. A value without a row is an error: it would pass as it is.
    pub fn apply(&self, value: &Clear<'_>, out: &mut Vec<u8>) -> Result<Kind, TransformError> {
        if value.is_null() {
            return Ok(Kind::Null);
        }
        let text = value.identifier().ok_or(TransformError::Type { technique: TECHNIQUE })?;
        let name = self.names.get(text).ok_or(TransformError::Unlisted)?;
        out.extend_from_slice(name.as_bytes());
        Ok(Kind::Text)
    }
}
