//! What was found: cells, the bars they are held to, other programs beside them.

use std::path::Path;

use serde::Serialize;

use crate::clock::Moment;
use crate::error::BenchError;
use crate::machine::{Machine, commit};
use crate::process::load_average;
use crate::pseudo::program::Spent;
use crate::pseudo::rates::Rate;
use crate::report::command_line;
use crate::statistics::median;
use crate::table::{Table, figure, optional};

/// Version of the JSON layout.
const SCHEMA_VERSION: u32 = 1;

/// What a cell must come to (`docs/performance.md`, section "Bars").
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bar {
    /// So many a second of processor time in the best round.
    AtLeastPerCpuS(f64),
    /// So much wall time for all of it in the best round.
    AtMostS(f64),
    /// So much memory in the worst round.
    AtMostMib(f64),
}

/// The bars of each cell; a cell may have several.
const BARS: [(&str, Bar); 6] = [
    ("prf tokens", Bar::AtLeastPerCpuS(5_000_000.0)),
    ("ff1, 16 digits", Bar::AtLeastPerCpuS(1_500_000.0)),
    ("ndjson, 5 tokens", Bar::AtLeastPerCpuS(500_000.0)),
    ("parquet, 5 tokens", Bar::AtLeastPerCpuS(600_000.0)),
    // ten million rows "in seconds": fewer than a minute has
    ("risk, 6 quasi-identifiers", Bar::AtMostS(20.0)),
    // the memory that it is given, and what a program of this size takes to be there
    ("risk, 6 quasi-identifiers, 64 MiB", Bar::AtMostMib(96.0)),
];

/// One round of a cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Round {
    /// Wall time.
    pub wall_s: f64,
    /// Processor time.
    pub cpu_s: f64,
    /// Peak of resident memory; 0 where it was not measured.
    pub peak_mib: f64,
}

/// What one cell found.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Cell {
    /// Its name.
    pub cell: String,
    /// Records, rows or values of one round.
    pub count: u64,
    /// Bytes that were read; 0 where nothing was.
    pub bytes: u64,
    /// Every round.
    pub rounds: Vec<Round>,
    /// A second of processor time of the best round.
    pub best_per_cpu_s: f64,
    /// The same for the round in the middle.
    pub median_per_cpu_s: f64,
    /// A second of wall time of the best round.
    pub best_per_wall_s: Option<f64>,
    /// The highest peak of resident memory.
    pub peak_mib: Option<f64>,
}

/// What another program takes for the same, and ours on the same file.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PeerFinding {
    /// The program and its version.
    pub peer: String,
    /// What both did.
    pub work: String,
    /// Records of the file.
    pub records: u64,
    /// Its records per second of processor time, without its start.
    pub per_cpu_s: Option<f64>,
    /// Ours, start and end included.
    pub ours_per_cpu_s: Option<f64>,
    /// Why there are no figures.
    pub missing: Option<String>,
}

/// Everything that a run found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Findings {
    schema_version: u32,
    time: String,
    command: String,
    commit: String,
    machine: Machine,
    load_average: f64,
    /// The cells in the order they ran.
    pub cells: Vec<Cell>,
    /// Other programs.
    pub peers: Vec<PeerFinding>,
}

impl Round {
    /// What a run of the program took.
    pub fn of(spent: &Spent) -> Self {
        Self { wall_s: spent.wall_s, cpu_s: spent.cpu_s, peak_mib: spent.peak_mib }
    }
}

impl Cell {
    /// A cell of rounds that each treated `count`.
    pub fn of_program(name: &str, count: u64, bytes: u64, rounds: Vec<Round>) -> Self {
        let per = |seconds: f64| count as f64 / seconds.max(1e-9);
        let per_cpu: Vec<f64> = rounds.iter().map(|round| per(round.cpu_s)).collect();
        let best_wall = rounds.iter().map(|round| per(round.wall_s)).fold(0.0, f64::max);
        let peak_mib = rounds.iter().map(|round| round.peak_mib).fold(0.0, f64::max);
        Self {
            cell: name.to_owned(),
            count,
            bytes,
            best_per_cpu_s: per_cpu.iter().copied().fold(0.0, f64::max),
            median_per_cpu_s: median(&per_cpu).unwrap_or(0.0),
            best_per_wall_s: Some(best_wall),
            peak_mib: Some(peak_mib),
            rounds,
        }
    }

    /// A cell of rates, whose rounds may have treated different numbers.
    pub fn of_rates(name: &str, rates: &[Rate]) -> Self {
        let per_cpu: Vec<f64> = rates.iter().map(|rate| rate.count as f64 / rate.cpu_s).collect();
        let round = |rate: &Rate| Round { wall_s: 0.0, cpu_s: rate.cpu_s, peak_mib: 0.0 };
        Self {
            cell: name.to_owned(),
            count: rates.iter().map(|rate| rate.count).max().unwrap_or(0),
            rounds: rates.iter().map(round).collect(),
            best_per_cpu_s: per_cpu.iter().copied().fold(0.0, f64::max),
            median_per_cpu_s: median(&per_cpu).unwrap_or(0.0),
            ..Self::default()
        }
    }

    /// Its bars and whether each holds.
    pub fn bars(&self) -> Vec<(Bar, bool)> {
        let mine = BARS.iter().filter(|(name, _)| *name == self.cell);
        mine.map(|(_, bar)| (*bar, bar.holds(self))).collect()
    }

    fn best_wall_s(&self) -> Option<f64> {
        self.best_per_wall_s.map(|rate| self.count as f64 / rate)
    }
}

impl Bar {
    fn holds(self, cell: &Cell) -> bool {
        match self {
            Self::AtLeastPerCpuS(limit) => cell.best_per_cpu_s >= limit,
            Self::AtMostS(limit) => cell.best_wall_s().is_some_and(|seconds| seconds <= limit),
            Self::AtMostMib(limit) => cell.peak_mib.is_some_and(|peak| peak <= limit),
        }
    }

    fn words(self) -> String {
        match self {
            Self::AtLeastPerCpuS(limit) => format!(">= {}/s", figure(limit)),
            Self::AtMostS(limit) => format!("<= {} s", figure(limit)),
            Self::AtMostMib(limit) => format!("<= {} MiB", figure(limit)),
        }
    }
}

impl Findings {
    /// Nothing found yet.
    pub fn begin() -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            time: Moment::now().readable(),
            command: command_line(std::env::args()),
            commit: commit(),
            machine: Machine::here(),
            load_average: load_average(),
            cells: Vec::new(),
            peers: Vec::new(),
        }
    }

    /// Adds a cell and says so on standard error.
    pub fn add(&mut self, cell: Cell) {
        eprintln!("{}  {}/s", cell.cell, figure(cell.best_per_cpu_s));
        self.cells.push(cell);
    }

    /// Whether every bar holds that was measured.
    pub fn holds(&self) -> bool {
        self.cells.iter().flat_map(Cell::bars).all(|(_, holds)| holds)
    }

    /// The findings as tables.
    pub fn table(&self) -> String {
        let names =
            ["cell", "count", "/s CPU, best", "median", "/s wall, best", "MB/s CPU", "MiB", "bar", "holds"];
        let mut table = Table::new(&names);
        for cell in &self.cells {
            let bars = cell.bars();
            let per_record = cell.bytes as f64 / cell.count.max(1) as f64;
            let megabytes = (cell.bytes > 0).then_some(cell.best_per_cpu_s * per_record / 1e6);
            table.row(vec![
                cell.cell.clone(),
                figure(cell.count as f64),
                figure(cell.best_per_cpu_s),
                figure(cell.median_per_cpu_s),
                optional(cell.best_per_wall_s),
                optional(megabytes),
                optional(cell.peak_mib),
                bars.iter().map(|(bar, _)| bar.words()).collect::<Vec<_>>().join(", "),
                bars.iter()
                    .map(|(_, holds)| if *holds { "yes" } else { "NO" })
                    .collect::<Vec<_>>()
                    .join(", "),
            ]);
        }
        let commit = if self.commit.is_empty() { "unknown" } else { &self.commit };
        let (cores, processor) = (self.machine.cores, &self.machine.processor);
        let mut text = format!(
            "{} at {} (commit {commit}), one core of {cores} × {processor}, load average {:.1}\n\n{}",
            self.command,
            self.time,
            self.load_average,
            table.render()
        );
        if !self.peers.is_empty() {
            let mut table = Table::new(&["peer", "work", "records", "/s CPU", "ours", "ratio"]);
            for peer in &self.peers {
                let ratio = peer.ours_per_cpu_s.zip(peer.per_cpu_s).map(|(ours, theirs)| ours / theirs);
                let per = peer.missing.clone().unwrap_or_else(|| optional(peer.per_cpu_s));
                table.row(vec![
                    peer.peer.clone(),
                    peer.work.clone(),
                    figure(peer.records as f64),
                    per,
                    optional(peer.ours_per_cpu_s),
                    optional(ratio),
                ]);
            }
            text.push_str(&format!("\n{}", table.render()));
        }
        text
    }

    /// Writes them as JSON.
    pub fn write(&self, path: &Path) -> Result<(), BenchError> {
        let json = serde_json::to_string_pretty(self)
            .map_err(|error| BenchError::Report { path: path.to_owned(), detail: error.to_string() })?;
        std::fs::write(path, json + "\n").map_err(BenchError::file("write", path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(name: &str, cpu_s: &[f64]) -> Cell {
        let round = |cpu_s: &f64| Round { wall_s: 2.0 * cpu_s, cpu_s: *cpu_s, peak_mib: 100.0 * cpu_s };
        Cell::of_program(name, 1_000_000, 500_000_000, cpu_s.iter().map(round).collect())
    }

    #[test]
    fn a_cell_is_judged_by_its_best_round_and_shows_the_one_in_the_middle() {
        let cell = cell("ndjson, 5 tokens", &[2.5, 1.0, 2.0]);
        assert_eq!((cell.best_per_cpu_s, cell.median_per_cpu_s), (1_000_000.0, 500_000.0));
        assert_eq!((cell.best_per_wall_s, cell.peak_mib), (Some(500_000.0), Some(250.0)));
        assert_eq!(cell.bars(), [(Bar::AtLeastPerCpuS(500_000.0), true)]);
    }

    #[test]
    fn a_rate_below_its_bar_and_memory_above_it_do_not_hold() {
        assert_eq!(cell("parquet, 5 tokens", &[2.0]).bars(), [(Bar::AtLeastPerCpuS(600_000.0), false)]);
        assert_eq!(cell("risk, 6 quasi-identifiers, 64 MiB", &[2.0]).bars(), [(Bar::AtMostMib(96.0), false)]);
        assert_eq!(cell("risk, 6 quasi-identifiers", &[11.0, 9.0]).bars(), [(Bar::AtMostS(20.0), true)]);
        let slow = Cell::of_rates("ff1, 16 digits", &[Rate { count: 1_000, cpu_s: 1.0 }]);
        assert_eq!(slow.bars(), [(Bar::AtLeastPerCpuS(1_500_000.0), false)]);
    }

    #[test]
    fn a_table_says_which_bars_hold_and_why_a_peer_has_no_figures() {
        let mut findings = Findings::begin();
        findings.cells = vec![cell("ndjson, 5 tokens", &[1.0]), cell("csv, 5 tokens", &[1.0])];
        assert!(findings.holds() && findings.table().contains(">= 500,000/s    yes"), "{}", findings.table());
        findings.peers = vec![
            PeerFinding { per_cpu_s: Some(2.0), ours_per_cpu_s: Some(9.0), ..PeerFinding::default() },
            PeerFinding { missing: Some("cannot be installed".to_owned()), ..PeerFinding::default() },
        ];
        let text = findings.table();
        assert!(text.contains("2.00  9.00   4.50") && text.contains("cannot be installed"), "{text}");
        findings.cells.push(cell("parquet, 5 tokens", &[9.0]));
        assert!(!findings.holds());
    }
}
