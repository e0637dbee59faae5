//! The cells of the benchmark: which operation, how large, over how many connections.
//!
//! A cell's name (`put 4K c16`) is its identity in reports, bars and the floor table.

use std::fmt;

use crate::error::BenchError;

/// Bytes in a KiB.
pub const KIB: u64 = 1024;
/// Bytes in a MiB.
pub const MIB: u64 = 1024 * KIB;
/// The object sizes of the matrix.
pub const SIZES: [u64; 4] = [4 * KIB, 64 * KIB, MIB, 16 * MIB];
/// The connection counts of the matrix.
pub const CONNECTIONS: [usize; 3] = [1, 16, 64];
/// Size of the objects in the mixed cell.
pub const MIXED_BYTES: u64 = 64 * KIB;

/// What a cell does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Stores new objects.
    Put,
    /// Reads whole objects.
    Get,
    /// Lists 1,000 keys from a random place among all.
    List,
    /// 45 % GET, 15 % PUT, 30 % HEAD, 10 % DELETE.
    Mixed,
}

/// One cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// What it does.
    pub operation: Operation,
    /// Bytes per object; 0 where the operation has no body.
    pub object_bytes: u64,
    /// Connections, each with one request in flight.
    pub connections: usize,
}

impl Cell {
    /// Whether a request stores bytes whose writing can be counted.
    pub fn is_put(self) -> bool {
        self.operation == Operation::Put
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connections = self.connections;
        match self.operation {
            Operation::Put => write!(formatter, "put {} c{connections}", size_name(self.object_bytes)),
            Operation::Get => write!(formatter, "get {} c{connections}", size_name(self.object_bytes)),
            Operation::List => write!(formatter, "list 1000 c{connections}"),
            Operation::Mixed => write!(formatter, "mixed {} c{connections}", size_name(self.object_bytes)),
        }
    }
}

/// Every cell in the order of a full run: each size is written, then read, so that reads find warm data.
pub fn all_cells() -> Vec<Cell> {
    let mut cells = Vec::new();
    for object_bytes in SIZES {
        for operation in [Operation::Put, Operation::Get] {
            cells.extend(CONNECTIONS.map(|connections| Cell { operation, object_bytes, connections }));
        }
    }
    cells.extend([1, 16].map(|connections| Cell {
        operation: Operation::List,
        object_bytes: 0,
        connections,
    }));
    cells.push(Cell { operation: Operation::Mixed, object_bytes: MIXED_BYTES, connections: 16 });
    cells
}

/// Cells that match a comma-separated list of filters; a filter's words must all occur in the name:
/// `put`, `get 4K`, `c16`, `put 1M c64`.
pub fn select(filters: &str) -> Result<Vec<Cell>, BenchError> {
    let mut chosen: Vec<Cell> = Vec::new();
    for filter in filters.split(',').map(str::trim).filter(|filter| !filter.is_empty()) {
        let mut known = false;
        for cell in all_cells() {
            if matches(cell, filter) {
                known = true;
                if !chosen.contains(&cell) {
                    chosen.push(cell);
                }
            }
        }
        if !known {
            let detail = format!("no cell matches {filter:?}; a cell is, for example, \"put 4K c16\"");
            return Err(BenchError::Argument { what: "--cells", detail });
        }
    }
    Ok(if filters.trim().is_empty() { all_cells() } else { chosen })
}

fn matches(cell: Cell, filter: &str) -> bool {
    let name = cell.to_string().to_lowercase();
    filter.to_lowercase().split_whitespace().all(|word| name.split(' ').any(|part| part == word))
}

fn size_name(bytes: u64) -> String {
    if bytes.is_multiple_of(MIB) { format!("{}M", bytes / MIB) } else { format!("{}K", bytes / KIB) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_matrix_has_twenty_seven_cells_with_different_names() {
        let mut names: Vec<String> = all_cells().iter().map(Cell::to_string).collect();
        assert_eq!(names.len(), 27);
        assert!(names.contains(&"put 4K c1".to_owned()) && names.contains(&"get 16M c64".to_owned()));
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 27);
    }

    #[test]
    fn filters_match_whole_words_and_add_up() {
        assert_eq!(select("put 4K").unwrap().len(), 3);
        assert_eq!(select("put 4K, put c1").unwrap().len(), 6);
        assert_eq!(select("get 1M c1").unwrap().len(), 1);
        assert_eq!(select("").unwrap().len(), 27);
    }

    #[test]
    fn an_unknown_filter_is_named() {
        assert!(select("put 5K").unwrap_err().to_string().contains("put 5K"));
    }
}
