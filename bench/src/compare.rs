//! Puts reports side by side: ratios per cell, the distance to the floor, and which bars hold.

use crate::bars::{Verdict, all_bars, evaluate};
use crate::floor::floor_of;
use crate::report::Report;
use crate::table::{Table, figure, optional};

/// A comparison of the first report with the others.
pub struct Comparison {
    /// What to print.
    pub text: String,
    /// Every bar with its verdict.
    pub verdicts: Vec<Verdict>,
}

/// Compares `ours` with `peers`.
pub fn compare(ours: &Report, peers: &[Report]) -> Comparison {
    let verdicts: Vec<Verdict> = all_bars().iter().map(|bar| evaluate(bar, ours, peers)).collect();
    let mut text = String::new();
    for report in std::iter::once(ours).chain(peers) {
        text.push_str(&format!(
            "{}: {} commit {}, {}\n",
            report.name, report.time, report.commit, report.command
        ));
    }
    for peer in peers.iter().filter(|peer| peer.machine != ours.machine) {
        text.push_str(&format!("! {} was measured on another machine: its ratios mean little\n", peer.name));
    }
    text.push('\n');
    text.push_str(&ratios(ours, peers).render());
    text.push_str("\nop/s ×: ours over theirs, more is better · CPU ×: ours over theirs, less is better\n\n");
    text.push_str(&bars(&verdicts));
    Comparison { text, verdicts }
}

fn ratios(ours: &Report, peers: &[Report]) -> Table {
    let mut names = vec![
        "cell".to_owned(),
        "op/s".to_owned(),
        "server µs".to_owned(),
        "CPU × floor".to_owned(),
        "op/s of limit".to_owned(),
    ];
    for peer in peers {
        names.extend([format!("op/s × {}", peer.name), format!("CPU × {}", peer.name)]);
    }
    let mut table = Table::new(&names.iter().map(String::as_str).collect::<Vec<_>>());
    for cell in &ours.cells {
        let to_floor =
            cell.server_cpu_us.zip(floor_of(&cell.cell)).map(|(cpu, floor)| cpu / floor.server_cpu_us());
        let to_limit = floor_of(&cell.cell).map(|floor| cell.operations_per_s / floor.operations_per_s);
        let mark = if cell.is_clean() { "" } else { " !" };
        let mut row = vec![
            format!("{}{mark}", cell.cell),
            figure(cell.operations_per_s),
            optional(cell.server_cpu_us),
            optional(to_floor),
            to_limit.map_or_else(String::new, |share| format!("{:.1} %", share * 100.0)),
        ];
        for peer in peers {
            let theirs = peer.cell(&cell.cell);
            let speed = theirs.map(|theirs| cell.operations_per_s / theirs.operations_per_s);
            let cpu = theirs.and_then(|theirs| Some(cell.server_cpu_us? / theirs.server_cpu_us?));
            row.push(optional(speed));
            row.push(cpu.map_or_else(String::new, |ratio| format!("{ratio:.3}")));
        }
        table.row(row);
    }
    table
}

fn bars(verdicts: &[Verdict]) -> String {
    let mut table = Table::new(&["bar", "holds", "cells", "worst"]);
    let mut misses = String::new();
    for verdict in verdicts {
        let holds = match verdict.holds() {
            Some(true) => "yes",
            Some(false) => "NO",
            None => "?",
        };
        let worst = verdict.worst.map_or_else(String::new, |worst| format!("{worst:.3}"));
        table.row(vec![verdict.bar.clone(), holds.to_owned(), verdict.cells.to_string(), worst]);
        if !verdict.misses.is_empty() {
            let cells: Vec<String> =
                verdict.misses.iter().map(|(cell, value)| format!("{cell} ({value:.3})")).collect();
            misses.push_str(&format!("missed: {} in {}\n", verdict.bar, cells.join(", ")));
        }
    }
    format!("{}\n{misses}", table.render())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::CellReport;

    #[test]
    fn ratios_are_ours_over_theirs() {
        let report = |name: &str, operations_per_s, cpu| {
            let mut report = Report::begin(name, 1.0, 0);
            report.cells.push(CellReport {
                cell: "put 4K c64".to_owned(),
                operations: 1,
                operations_per_s,
                server_cpu_us: Some(cpu),
                ..CellReport::default()
            });
            report
        };
        let comparison = compare(&report("twinkeep", 900.0, 42.0), &[report("garage", 300.0, 420.0)]);
        let line = comparison.text.lines().find(|line| line.starts_with("put 4K c64 ")).unwrap();
        let words: Vec<&str> = line.split_whitespace().skip(3).collect();
        assert_eq!(words, ["900", "42.0", "2.00", "2.6", "%", "3.00", "0.100"]);
        assert!(comparison.verdicts.iter().any(|verdict| verdict.holds() == Some(true)));
    }
}
