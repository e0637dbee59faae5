//! Aligned text tables for the terminal: the first column to the left, figures to the right.

use crate::report::{CellReport, Report};

/// A table that is built row by row.
#[derive(Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Begins with the column names.
    pub fn new(names: &[&str]) -> Self {
        Self { rows: vec![names.iter().map(|name| (*name).to_owned()).collect()] }
    }

    /// Adds a row; missing cells stay empty.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The table as lines, without trailing spaces.
    pub fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let lengths = self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
            lengths.max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let width = widths[column];
                if column == 0 {
                    line.push_str(&format!("{cell:<width$}"));
                } else {
                    line.push_str(&format!("  {cell:>width$}"));
                }
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// A figure with as many decimals as its size deserves, thousands separated.
pub fn figure(value: f64) -> String {
    if !value.is_finite() {
        return "-".to_owned();
    }
    let magnitude = value.abs();
    if magnitude >= 100.0 {
        return thousands(value.round() as i64);
    }
    if magnitude >= 10.0 { format!("{value:.1}") } else { format!("{value:.2}") }
}

/// A figure that may be missing.
pub fn optional(value: Option<f64>) -> String {
    value.map_or_else(String::new, figure)
}

/// Microseconds as milliseconds.
pub fn milliseconds(us: u64) -> String {
    figure(us as f64 / 1000.0)
}

/// The column names of [`cell_row`].
pub const CELL_COLUMNS: [&str; 14] = [
    "cell",
    "op/s",
    "MB/s",
    "p50 ms",
    "p99 ms",
    "server µs",
    "client µs",
    "written",
    "syncs",
    "MiB",
    "checked",
    "errors",
    "others",
    "waits",
];

/// One cell as a table row.
pub fn cell_row(cell: &CellReport) -> Vec<String> {
    let mark = if cell.is_clean() { "" } else { " !" };
    vec![
        format!("{}{mark}", cell.cell),
        figure(cell.operations_per_s),
        figure(cell.megabytes_per_s),
        milliseconds(cell.p50_us),
        milliseconds(cell.p99_us),
        optional(cell.server_cpu_us),
        figure(cell.client_cpu_us),
        optional(cell.written_per_stored),
        optional(cell.syncs_per_put),
        optional(cell.peak_memory_mib),
        cell.checked.to_string(),
        (cell.errors + cell.different).to_string(),
        figure(cell.noise.other_cores),
        format!("{:.0}/{:.0} %", cell.noise.waited_for_cpu * 100.0, cell.noise.waited_for_disk * 100.0),
    ]
}

/// A whole report with its explanations.
pub fn report_table(report: &Report) -> String {
    let mut table = Table::new(&CELL_COLUMNS);
    for cell in &report.cells {
        table.row(cell_row(cell));
    }
    let mut text = format!(
        "{} at {} (commit {}), {} × {}, {} s per cell, {} copies, {} server processes\n\n{}",
        report.name,
        report.time,
        if report.commit.is_empty() { "unknown" } else { &report.commit },
        report.machine.cores,
        report.machine.processor,
        report.cell_seconds,
        report.copies,
        report.processes,
        table.render(),
    );
    text.push_str(
        "\nserver µs, client µs: CPU time per operation · written: bytes written to disk per byte stored and copy\n\
         syncs: fdatasync calls per PUT and node · MiB: peak memory of all servers · others: cores busy elsewhere\n\
         waits: share of time in which something waited for CPU / disk · !: the cell has errors\n",
    );
    for cell in report.cells.iter().filter(|cell| !cell.is_clean()) {
        let first = cell.first_error.as_deref().unwrap_or("answers differ from what was stored");
        text.push_str(&format!(
            "! {}: {} errors, {} different: {first}\n",
            cell.cell, cell.errors, cell.different
        ));
    }
    text
}

fn thousands(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut text = String::new();
    if value < 0 {
        text.push('-');
    }
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_lines_have_no_trailing_spaces() {
        let mut table = Table::new(&["cell", "µs", "n"]);
        table.row(vec!["put".to_owned(), "1,000".to_owned(), "2".to_owned()]);
        table.row(vec!["list 1000".to_owned(), String::new(), String::new()]);
        assert_eq!(table.render(), "cell          µs  n\nput        1,000  2\nlist 1000\n");
    }

    #[test]
    fn figures_keep_three_digits() {
        let shown: Vec<String> =
            [0.0, 1.234, 12.34, 123.4, 1_234_567.0, -1_234.0, f64::NAN].map(figure).into();
        assert_eq!(shown, ["0.00", "1.23", "12.3", "123", "1,234,567", "-1,234", "-"]);
    }

    #[test]
    fn a_cell_with_errors_is_marked_and_explained() {
        let mut report = Report::begin("x", 1.0, 0);
        report.cells.push(CellReport {
            cell: "put 4K c1".to_owned(),
            operations: 1,
            errors: 2,
            first_error: Some("503".to_owned()),
            ..CellReport::default()
        });
        let text = report_table(&report);
        assert!(text.contains("put 4K c1 !"));
        assert!(text.contains("! put 4K c1: 2 errors, 0 different: 503"));
    }
}
