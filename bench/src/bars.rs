//! The bars that Twinkeep's speed is held to, as one table, and their evaluation against reports.
//!
//! The table is that of `docs/performance.md` (section "Bars"). A bar is about cells, a measure, what it is compared
//! with, and a limit; it holds when it holds in every cell that the reports have.

use crate::floor::floor_of;
use crate::report::{CellReport, Report};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Operations per second.
    Throughput,
    /// CPU time of all server processes per operation.
    ServerCpu,
    /// Bytes written to disk per byte stored and copy.
    WrittenPerStored,
    /// fdatasync calls per PUT and node.
    SyncsPerPut,
    /// Peak memory of all server processes in MiB.
    PeakMemory,
}

/// What a measure is divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Against {
    /// The same cell of a peer's report.
    Peer(&'static str),
    /// The modelled floor.
    Floor,
    /// Nothing: the measure itself has the limit.
    Nothing,
}

/// Which side of the limit is good.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// At least this.
    AtLeast(f64),
    /// At most this.
    AtMost(f64),
    /// More than this.
    MoreThan(f64),
}

/// One bar.
#[derive(Clone, Copy, Debug)]
pub struct Bar {
    /// Beginnings of the names of the cells it is about.
    pub cells: &'static [&'static str],
    /// What is measured.
    pub measure: Measure,
    /// What it is divided by.
    pub against: Against,
    /// The limit.
    pub limit: Limit,
}

/// What a bar came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The bar in words.
    pub bar: String,
    /// Cells evaluated.
    pub cells: usize,
    /// Those that do not hold, with their values.
    pub misses: Vec<(String, f64)>,
    /// The value nearest to or furthest past the limit.
    pub worst: Option<f64>,
}

const SMALL_PUTS: &[&str] = &["put 4K", "put 64K"];
const LARGE_PUTS: &[&str] = &["put 1M", "put 16M"];
const EVERY_CELL: &[&str] = &["put", "get", "list", "mixed"];

/// The two peers in their default settings, which acknowledge before anything is durable.
const UNDURABLE: [&str; 2] = ["garage", "seaweed"];
/// The peer setting that syncs before it acknowledges.
const DURABLE: &str = "garage-fsync";

/// Server CPU per operation as a share of an undurable peer's.
const CPU_SHARES: [(&[&str], f64); 7] = [
    (SMALL_PUTS, 1.0 / 8.0),
    (&["put 1M"], 1.0 / 3.0),
    (&["put 16M"], 1.0 / 2.0),
    (&["get 4K"], 1.0 / 10.0),
    (&["get 64K"], 1.0 / 6.0),
    (&["get 1M", "get 16M"], 1.0 / 2.0),
    (&["list"], 1.0 / 4.0),
];

/// Bars that do not depend on an undurable peer.
const FIXED: [Bar; 9] = [
    bar(SMALL_PUTS, Measure::Throughput, Against::Peer(DURABLE), Limit::AtLeast(10.0)),
    bar(SMALL_PUTS, Measure::ServerCpu, Against::Peer(DURABLE), Limit::AtMost(0.1)),
    bar(LARGE_PUTS, Measure::ServerCpu, Against::Peer(DURABLE), Limit::AtMost(1.0 / 3.0)),
    bar(&["put 4K", "put 64K", "get 4K", "get 64K"], Measure::ServerCpu, Against::Floor, Limit::AtMost(6.0)),
    bar(&["put 1M", "put 16M", "get 1M", "get 16M"], Measure::ServerCpu, Against::Floor, Limit::AtMost(2.0)),
    bar(LARGE_PUTS, Measure::WrittenPerStored, Against::Nothing, Limit::AtMost(1.05)),
    // Alone means a pipeline of one: every PUT needs its own sync, and no more than that.
    bar(
        &["put 4K c1", "put 64K c1", "put 1M c1", "put 16M c1"],
        Measure::SyncsPerPut,
        Against::Nothing,
        Limit::AtMost(1.0),
    ),
    // "Far below one" under concurrency, as a figure.
    bar(&["put 4K c16", "put 4K c64"], Measure::SyncsPerPut, Against::Nothing, Limit::AtMost(0.3)),
    bar(&["put 16M c64", "get 16M c64"], Measure::PeakMemory, Against::Nothing, Limit::AtMost(600.0)),
];

const fn bar(cells: &'static [&'static str], measure: Measure, against: Against, limit: Limit) -> Bar {
    Bar { cells, measure, against, limit }
}

/// All bars.
pub fn all_bars() -> Vec<Bar> {
    let mut bars = FIXED.to_vec();
    for peer in UNDURABLE {
        for (cells, share) in CPU_SHARES {
            bars.push(bar(cells, Measure::ServerCpu, Against::Peer(peer), Limit::AtMost(share)));
        }
        bars.push(bar(EVERY_CELL, Measure::Throughput, Against::Peer(peer), Limit::MoreThan(1.0)));
    }
    bars
}

/// Evaluates one bar; cells that a needed report does not have are left out.
pub fn evaluate(bar: &Bar, ours: &Report, peers: &[Report]) -> Verdict {
    let mut verdict = Verdict { bar: bar.to_string(), cells: 0, misses: Vec::new(), worst: None };
    for cell in ours.cells.iter().filter(|cell| bar.is_about(&cell.cell)) {
        let Some(value) = bar.value(cell, peers) else { continue };
        verdict.cells += 1;
        // A cell with errors cannot hold a bar, whatever its figures.
        if !bar.limit.holds(value) || !cell.is_clean() {
            verdict.misses.push((cell.cell.clone(), value));
        }
        let is_worse = verdict.worst.is_none_or(|worst| match bar.limit {
            Limit::AtMost(_) => value > worst,
            Limit::AtLeast(_) | Limit::MoreThan(_) => value < worst,
        });
        if is_worse {
            verdict.worst = Some(value);
        }
    }
    verdict
}

impl Bar {
    fn is_about(&self, cell: &str) -> bool {
        self.cells.iter().any(|begin| {
            cell.strip_prefix(begin).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        })
    }

    fn value(&self, cell: &CellReport, peers: &[Report]) -> Option<f64> {
        let ours = self.measure.of(cell)?;
        let base = match self.against {
            Against::Nothing => 1.0,
            Against::Floor => {
                let floor = floor_of(&cell.cell)?;
                match self.measure {
                    Measure::Throughput => floor.operations_per_s,
                    _ => floor.server_cpu_us(),
                }
            }
            Against::Peer(name) => {
                let peer = peers.iter().find(|report| report.name == name)?.cell(&cell.cell)?;
                // A peer's cell with errors has no figures to be compared with.
                self.measure.of(peer).filter(|base| peer.is_clean() && *base > 0.0)?
            }
        };
        Some(ours / base)
    }
}

impl Measure {
    fn of(self, cell: &CellReport) -> Option<f64> {
        match self {
            Measure::Throughput => Some(cell.operations_per_s),
            Measure::ServerCpu => cell.server_cpu_us,
            Measure::WrittenPerStored => cell.written_per_stored,
            Measure::SyncsPerPut => cell.syncs_per_put,
            Measure::PeakMemory => cell.peak_memory_mib,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Measure::Throughput => "throughput",
            Measure::ServerCpu => "server CPU per operation",
            Measure::WrittenPerStored => "bytes written per byte stored and copy",
            Measure::SyncsPerPut => "fdatasyncs per PUT and node",
            Measure::PeakMemory => "peak memory in MiB",
        }
    }
}

impl Limit {
    fn holds(self, value: f64) -> bool {
        match self {
            Limit::AtLeast(limit) => value >= limit,
            Limit::AtMost(limit) => value <= limit,
            Limit::MoreThan(limit) => value > limit,
        }
    }
}

impl std::fmt::Display for Bar {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let cells = if self.cells == EVERY_CELL { "every cell".to_owned() } else { self.cells.join(", ") };
        write!(formatter, "{cells}: {}", self.measure.words())?;
        match self.against {
            Against::Peer(name) => write!(formatter, " / {name}'s")?,
            Against::Floor => write!(formatter, " / floor")?,
            Against::Nothing => {}
        }
        match self.limit {
            Limit::AtLeast(limit) => write!(formatter, " >= {limit}"),
            Limit::AtMost(limit) if limit > 0.0 && limit <= 0.5 && self.measure == Measure::ServerCpu => {
                write!(formatter, " <= 1/{:.0}", 1.0 / limit)
            }
            Limit::AtMost(limit) => write!(formatter, " <= {limit}"),
            Limit::MoreThan(limit) => write!(formatter, " > {limit}"),
        }
    }
}

impl Verdict {
    /// Whether the bar holds; `None` when the reports do not say.
    pub fn holds(&self) -> Option<bool> {
        (self.cells > 0).then_some(self.misses.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(name: &str, cells: &[(&str, f64, f64)]) -> Report {
        let mut report = Report::begin(name, 1.0, 0);
        for (cell, operations_per_s, server_cpu_us) in cells {
            report.cells.push(CellReport {
                cell: (*cell).to_owned(),
                operations: 100,
                operations_per_s: *operations_per_s,
                server_cpu_us: Some(*server_cpu_us),
                ..CellReport::default()
            });
        }
        report
    }

    #[test]
    fn a_bar_holds_when_all_its_cells_hold_and_names_those_that_do_not() {
        let ours = report("twinkeep", &[("put 4K c1", 100.0, 10.0), ("put 4K c16", 90.0, 30.0)]);
        let peer = report("garage-fsync", &[("put 4K c1", 10.0, 100.0), ("put 4K c16", 10.0, 100.0)]);
        let throughput = evaluate(&FIXED[0], &ours, std::slice::from_ref(&peer));
        assert_eq!(throughput.misses, [("put 4K c16".to_owned(), 9.0)]);
        assert_eq!((throughput.cells, throughput.worst), (2, Some(9.0)));
        let cpu = evaluate(&FIXED[1], &ours, &[peer]);
        assert_eq!(cpu.misses, [("put 4K c16".to_owned(), 0.3)]);
        assert_eq!(cpu.holds(), Some(false));
    }

    #[test]
    fn a_bar_without_figures_says_nothing() {
        let ours = report("twinkeep", &[("put 4K c1", 100.0, 10.0)]);
        assert_eq!(evaluate(&FIXED[0], &ours, &[]).holds(), None);
    }

    #[test]
    fn a_cell_with_errors_never_holds() {
        let mut ours = report("twinkeep", &[("put 4K c1", 1000.0, 1.0)]);
        ours.cells[0].errors = 1;
        let peer = report("garage-fsync", &[("put 4K c1", 10.0, 100.0)]);
        assert_eq!(evaluate(&FIXED[0], &ours, &[peer]).holds(), Some(false));
    }

    #[test]
    fn equal_speed_is_not_ahead() {
        let ours = report("twinkeep", &[("get 1M c1", 10.0, 1.0)]);
        let peer = report("garage", &[("get 1M c1", 10.0, 1.0)]);
        let ahead = all_bars()
            .into_iter()
            .find(|bar| bar.against == Against::Peer("garage") && bar.measure == Measure::Throughput)
            .unwrap();
        assert_eq!(evaluate(&ahead, &ours, &[peer]).holds(), Some(false));
    }

    #[test]
    fn names_are_matched_by_whole_words() {
        let small = &FIXED[0];
        assert!(small.is_about("put 4K c1") && !small.is_about("put 4Ki c1") && !small.is_about("get 4K c1"));
        let alone = &FIXED[6];
        assert!(alone.is_about("put 4K c1") && !alone.is_about("put 4K c16"));
    }

    #[test]
    fn bars_read_as_sentences() {
        let words: Vec<String> = all_bars().iter().map(Bar::to_string).collect();
        assert!(
            words.contains(&"put 4K, put 64K: server CPU per operation / garage-fsync's <= 1/10".to_owned())
        );
        assert!(words.contains(&"every cell: throughput / seaweed's > 1".to_owned()));
        assert!(
            words.contains(&"put 1M, put 16M: bytes written per byte stored and copy <= 1.05".to_owned())
        );
    }
}
