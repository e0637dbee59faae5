//! What a run found, as it is written to JSON and read back by `compare`.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::clock::Moment;
use crate::error::BenchError;
use crate::machine::Machine;

/// Version of the JSON layout; a reader refuses any other.
pub const SCHEMA_VERSION: u32 = 1;

/// A run against one server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Layout of this document.
    pub schema_version: u32,
    /// The server's name: `twinkeep`, `garage-fsync`, …
    pub name: String,
    /// When the run began, UTC.
    pub time: String,
    /// The command line.
    pub command: String,
    /// The benchmark's commit, with `-dirty` when files had changed; empty when unknown.
    pub commit: String,
    /// Where it ran.
    pub machine: Machine,
    /// Length of a cell's timed window in seconds.
    pub cell_seconds: f64,
    /// Keys that LIST cells list.
    pub listed_keys: u64,
    /// Copies that the server keeps.
    pub copies: u32,
    /// Server processes measured.
    pub processes: usize,
    /// The cells in the order they ran.
    pub cells: Vec<CellReport>,
}

/// What one cell found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CellReport {
    /// The cell's name, as in `put 4K c16`.
    pub cell: String,
    /// Requests answered with success.
    pub operations: u64,
    /// Requests that were not.
    pub errors: u64,
    /// The first failure.
    pub first_error: Option<String>,
    /// From the first request to the last answer.
    pub elapsed_s: f64,
    /// Successful requests per second.
    pub operations_per_s: f64,
    /// Payload per second in both directions, in MB of 10^6 bytes.
    pub megabytes_per_s: f64,
    /// Median latency.
    pub p50_us: u64,
    /// 99th percentile of latency.
    pub p99_us: u64,
    /// Longest latency.
    pub longest_us: u64,
    /// CPU time of all server processes per successful request.
    pub server_cpu_us: Option<f64>,
    /// CPU time of this client per successful request.
    pub client_cpu_us: f64,
    /// Bytes the servers wrote to disk per byte stored and copy.
    pub written_per_stored: Option<f64>,
    /// fdatasync calls of a node's log per PUT.
    pub syncs_per_put: Option<f64>,
    /// Sum of the peaks of the server processes' resident memory, in MiB.
    pub peak_memory_mib: Option<f64>,
    /// Answers compared with what was stored.
    pub checked: u64,
    /// Answers that differed.
    pub different: u64,
    /// How disturbed the cell was.
    pub noise: Noise,
}

/// What else the host did during a cell.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Noise {
    /// Load average at the end.
    pub load_average: f64,
    /// Cores that were busy with neither server nor client.
    pub other_cores: f64,
    /// Share of time in which something waited for a CPU.
    pub waited_for_cpu: f64,
    /// Share of time in which something waited for the disk.
    pub waited_for_disk: f64,
}

impl CellReport {
    /// Whether every request succeeded and every compared answer was right.
    pub fn is_clean(&self) -> bool {
        self.errors == 0 && self.different == 0 && self.operations > 0
    }
}

impl Report {
    /// A report without cells.
    pub fn begin(name: &str, cell_seconds: f64, listed_keys: u64) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            name: name.to_owned(),
            time: Moment::now().readable(),
            command: command_line(std::env::args()),
            commit: crate::machine::commit(),
            machine: Machine::here(),
            cell_seconds,
            listed_keys,
            copies: 0,
            processes: 0,
            cells: Vec::new(),
        }
    }

    /// The cell of that name.
    pub fn cell(&self, name: &str) -> Option<&CellReport> {
        self.cells.iter().find(|cell| cell.cell == name)
    }

    /// Writes the report as JSON.
    pub fn write(&self, path: &Path) -> Result<(), BenchError> {
        let mut json = serde_json::to_string_pretty(self)
            .map_err(|error| BenchError::Report { path: path.to_owned(), detail: error.to_string() })?;
        json.push('\n');
        std::fs::write(path, json).map_err(BenchError::file("write", path))
    }

    /// Reads a report back.
    pub fn read(path: &Path) -> Result<Self, BenchError> {
        let json = std::fs::read_to_string(path).map_err(BenchError::file("read", path))?;
        Self::parse(&json).map_err(|detail| BenchError::Report { path: path.to_owned(), detail })
    }

    fn parse(json: &str) -> Result<Self, String> {
        let report: Self = serde_json::from_str(json).map_err(|error| error.to_string())?;
        if report.schema_version != SCHEMA_VERSION {
            return Err(format!("its schema_version is {}, not {SCHEMA_VERSION}", report.schema_version));
        }
        Ok(report)
    }
}

/// The command line without secrets and without the folders of the machine it ran on.
pub(crate) fn command_line(arguments: impl Iterator<Item = String>) -> String {
    let mut words = vec!["bench".to_owned()];
    let mut hides_next = false;
    for argument in arguments.skip(1) {
        let hidden = std::mem::replace(&mut hides_next, argument == "--secret-key");
        words.push(if hidden || argument.starts_with("--secret-key=") { "…".to_owned() } else { argument });
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_survives_json() {
        let mut report = Report::begin("twinkeep", 5.0, 100_000);
        report.cells.push(CellReport {
            cell: "put 4K c1".to_owned(),
            operations: 7,
            server_cpu_us: Some(12.5),
            first_error: Some("503 \"slow\"".to_owned()),
            ..CellReport::default()
        });
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(Report::parse(&json).unwrap(), report);
        assert_eq!(report.cell("put 4K c1").unwrap().operations, 7);
        assert!(report.cell("put 4K c2").is_none());
    }

    #[test]
    fn another_layout_and_other_files_are_refused() {
        let mut report = Report::begin("twinkeep", 5.0, 0);
        report.schema_version = 2;
        let json = serde_json::to_string(&report).unwrap();
        assert!(Report::parse(&json).unwrap_err().contains("schema_version is 2"));
        assert!(Report::parse("{}").is_err());
    }

    #[test]
    fn the_command_line_hides_secrets() {
        let words = ["/x/bench", "run", "--secret-key", "abc", "--cells", "put", "--secret-key=abc"];
        let line = command_line(words.iter().map(|word| (*word).to_owned()));
        assert_eq!(line, "bench run --secret-key … --cells put …");
    }
}
