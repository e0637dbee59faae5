//! The different values of a sensitive attribute, each kept once and known by a code.

use crate::PseudoError;
use crate::table::Cell;
use std::collections::HashMap;

/// What a kept value costs beside its bytes: its place in the table of hashes, its code, its allocation.
const VALUE_BYTES: usize = 96;

/// The different values of a sensitive attribute.
#[derive(Default)]
pub(crate) struct Dictionary {
    codes: HashMap<Box<[u8]>, u32>,
    null: Option<u32>,
    bytes: usize,
}

impl Dictionary {
    /// The code of a value; `None` when it is new and there is no room for it.
    pub(crate) fn code(&mut self, cell: Cell<'_>, bytes_max: usize) -> Option<u32> {
        let known = cell.map_or(self.null, |value| self.codes.get(value).copied());
        if known.is_some() {
            return known;
        }
        let bytes = self.bytes + VALUE_BYTES + cell.map_or(0, <[u8]>::len);
        let code = u32::try_from(self.len()).ok();
        let code = code.filter(|_| bytes <= bytes_max)?;
        self.bytes = bytes;
        match cell {
            Some(value) => drop(self.codes.insert(value.into(), code)),
            None => self.null = Some(code),
        }
        Some(code)
    }

    /// How many values there are.
    pub(crate) fn len(&self) -> usize {
        self.codes.len() + usize::from(self.null.is_some())
    }

    /// There is no room for another value of this column.
    pub(crate) fn full(column: &str) -> PseudoError {
        let problem = format!("sensitive column {column:?} has more different values than fit the memory");
        PseudoError::Memory { problem }
    }

    /// The values as numbers, by code; not a number where a value is none.
    pub(crate) fn numbers(&self) -> Vec<f64> {
        let mut numbers = vec![f64::NAN; self.len()];
        for (value, code) in &self.codes {
            let number = std::str::from_utf8(value).ok().and_then(|text| text.trim().parse().ok());
            numbers[*code as usize] = number.unwrap_or(f64::NAN);
        }
        numbers
    }
}
