//! The modelled floor: what an operation must cost on the reference machine, however well it is written.
//!
//! Per PUT: one HTTP exchange against a server that does nothing, one AES-256-GCM-SIV pass, one MD5 (the ETag),
//! three CRC-32C passes, the body twice through loopback TCP, two round trips per group commit, and the CPU of three
//! durable writes. Per GET: the exchange, one read from the page cache, one decryption. Signature check, Raft
//! bookkeeping and the index are not in it. `docs/performance.md` (section "The floor") has the formula, the measured inputs and the
//! machine; the figures below are for that machine only.

/// CPU time and rate of one cell at its floor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Floor {
    /// The cell's name.
    pub cell: &'static str,
    /// CPU time of client and servers per operation, in microseconds.
    pub total_cpu_us: f64,
    /// The client's part of it.
    pub client_cpu_us: f64,
    /// Operations per second that two cores, the disk and the round trips allow.
    pub operations_per_s: f64,
}

impl Floor {
    /// CPU time of all servers per operation.
    pub fn server_cpu_us(&self) -> f64 {
        self.total_cpu_us - self.client_cpu_us
    }
}

/// The floor of a cell; LIST and mixed cells have none.
pub fn floor_of(cell: &str) -> Option<Floor> {
    FLOORS.iter().copied().find(|floor| floor.cell == cell)
}

const fn floor(cell: &'static str, total_cpu_us: f64, client_cpu_us: f64, operations_per_s: f64) -> Floor {
    Floor { cell, total_cpu_us, client_cpu_us, operations_per_s }
}

const FLOORS: [Floor; 24] = [
    floor("put 4K c1", 89.0, 8.0, 3_021.0),
    floor("put 4K c16", 26.0, 5.0, 34_773.0),
    floor("put 4K c64", 28.0, 7.0, 34_773.0),
    floor("put 64K c1", 261.0, 13.0, 2_173.0),
    floor("put 64K c16", 204.0, 14.0, 9_285.0),
    floor("put 64K c64", 202.0, 15.0, 9_893.0),
    floor("put 1M c1", 3_142.0, 231.0, 580.0),
    floor("put 1M c16", 3_120.0, 240.0, 620.0),
    floor("put 1M c64", 3_223.0, 302.0, 620.0),
    floor("put 16M c1", 51_304.0, 3_708.0, 39.0),
    floor("put 16M c16", 52_749.0, 6_013.0, 38.0),
    floor("put 16M c64", 52_916.0, 6_373.0, 38.0),
    floor("get 4K c1", 14.0, 6.0, 78_017.0),
    floor("get 4K c16", 11.0, 5.0, 183_260.0),
    floor("get 4K c64", 10.0, 4.0, 191_435.0),
    floor("get 64K c1", 45.0, 13.0, 23_103.0),
    floor("get 64K c16", 44.0, 13.0, 45_373.0),
    floor("get 64K c64", 48.0, 15.0, 41_549.0),
    floor("get 1M c1", 661.0, 150.0, 2_646.0),
    floor("get 1M c16", 690.0, 159.0, 2_900.0),
    floor("get 1M c64", 751.0, 183.0, 2_664.0),
    floor("get 16M c1", 12_174.0, 3_592.0, 116.0),
    floor("get 16M c16", 13_139.0, 4_571.0, 152.0),
    floor("get 16M c64", 14_603.0, 5_198.0, 137.0),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::{Operation, all_cells};

    #[test]
    fn every_put_and_get_cell_has_a_floor_and_no_other() {
        for cell in all_cells() {
            let has_floor = matches!(cell.operation, Operation::Put | Operation::Get);
            assert_eq!(floor_of(&cell.to_string()).is_some(), has_floor, "{cell}");
        }
    }

    #[test]
    fn a_small_put_costs_the_servers_twenty_one_microseconds() {
        assert_eq!(floor_of("put 4K c64").unwrap().server_cpu_us(), 21.0);
    }
}
