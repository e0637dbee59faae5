//! Two servers in turns, cell by cell: both meet the same noise, so the ratio of a pair means more than two figures.

use crate::cell::Cell;
use crate::error::BenchError;
use crate::measure::Runner;
use crate::report::CellReport;
use crate::server::Server;
use crate::statistics::median;
use crate::table::{Table, figure};

/// One side of a duel.
pub struct Side {
    /// The server, kept running.
    pub server: Server,
    /// Runs its cells.
    pub runner: Runner,
}

/// Ratios of one cell, one per pair.
#[derive(Default)]
struct Ratios {
    speed: Vec<f64>,
    cpu: Vec<f64>,
    dirty: u32,
}

/// Runs every cell `rounds` times on each side in turn, and prints each pair; returns the table of ratios, first
/// side over second.
pub async fn fight(
    first: &mut Side,
    second: &mut Side,
    cells: &[Cell],
    rounds: u32,
) -> Result<String, BenchError> {
    let mut table =
        Table::new(&["cell", "op/s ×", "least", "most", "CPU ×", "least", "most", "pairs with errors"]);
    for cell in cells {
        let mut ratios = Ratios::default();
        for round in 0..rounds {
            // Which side goes first alternates: a drift of the machine then favours neither.
            let (ours, theirs) = if round % 2 == 0 {
                let ours = turn(first, *cell).await?;
                (ours, turn(second, *cell).await?)
            } else {
                let theirs = turn(second, *cell).await?;
                (turn(first, *cell).await?, theirs)
            };
            ratios.add(&ours, &theirs);
            eprintln!(
                "{cell} pair {}: {} / {} op/s, {} / {} server µs",
                round + 1,
                figure(ours.operations_per_s),
                figure(theirs.operations_per_s),
                figure(ours.server_cpu_us.unwrap_or(f64::NAN)),
                figure(theirs.server_cpu_us.unwrap_or(f64::NAN)),
            );
        }
        table.row(ratios.row(*cell));
    }
    Ok(table.render())
}

async fn turn(side: &mut Side, cell: Cell) -> Result<CellReport, BenchError> {
    side.server.check()?;
    side.runner.cell(cell).await
}

impl Ratios {
    fn add(&mut self, ours: &CellReport, theirs: &CellReport) {
        if !ours.is_clean() || !theirs.is_clean() {
            self.dirty += 1;
            return;
        }
        self.speed.push(ours.operations_per_s / theirs.operations_per_s);
        if let (Some(ours), Some(theirs)) = (ours.server_cpu_us, theirs.server_cpu_us) {
            self.cpu.push(ours / theirs);
        }
    }

    fn row(&self, cell: Cell) -> Vec<String> {
        let three = |values: &[f64]| {
            let show = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.3}"));
            let least = values.iter().copied().min_by(f64::total_cmp);
            let most = values.iter().copied().max_by(f64::total_cmp);
            [show(median(values)), show(least), show(most)]
        };
        let mut row = vec![cell.to_string()];
        row.extend(three(&self.speed));
        row.extend(three(&self.cpu));
        row.push(self.dirty.to_string());
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::all_cells;

    #[test]
    fn ratios_are_first_over_second_and_pairs_with_errors_are_left_out() {
        let cell = |operations_per_s, cpu, errors| CellReport {
            operations: 1,
            operations_per_s,
            server_cpu_us: Some(cpu),
            errors,
            ..CellReport::default()
        };
        let mut ratios = Ratios::default();
        ratios.add(&cell(200.0, 10.0, 0), &cell(100.0, 40.0, 0));
        ratios.add(&cell(400.0, 20.0, 0), &cell(100.0, 40.0, 0));
        ratios.add(&cell(900.0, 1.0, 1), &cell(1.0, 900.0, 0));
        let row = ratios.row(all_cells()[0]);
        assert_eq!(row[1..], ["3.000", "2.000", "4.000", "0.375", "0.250", "0.500", "1"]);
    }
}
