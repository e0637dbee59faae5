//! A picture of one report: server CPU per operation as bars, measured against the floor.
//!
//! Bars are logarithmic: a step of the grid is a factor of ten, and the floor is where a bar begins.

use crate::floor::floor_of;
use crate::report::Report;

const LABEL_WIDTH: f64 = 110.0;
const DECADE_WIDTH: f64 = 190.0;
const FIGURE_WIDTH: f64 = 150.0;
const ROW_HEIGHT: f64 = 20.0;
const HEAD_HEIGHT: f64 = 56.0;
/// Ratios shown: from the floor itself to a thousand times it.
const DECADES: f64 = 3.0;

/// The report as an SVG document; cells without a floor or without CPU figures are left out.
pub fn svg(report: &Report) -> String {
    let rows: Vec<(&str, f64, f64)> = report
        .cells
        .iter()
        .filter_map(|cell| {
            let cpu = cell.server_cpu_us?;
            Some((cell.cell.as_str(), cpu, cpu / floor_of(&cell.cell)?.server_cpu_us()))
        })
        .collect();
    let width = LABEL_WIDTH + DECADES * DECADE_WIDTH + FIGURE_WIDTH;
    let height = HEAD_HEIGHT + rows.len() as f64 * ROW_HEIGHT + 12.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\" \
         font-family=\"system-ui, sans-serif\" font-size=\"12\">\n\
         <title>{name}: server CPU per operation over the floor</title>\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n\
         <text x=\"8\" y=\"20\" font-size=\"14\" font-weight=\"600\">{name}: server CPU per operation, times the floor</text>\n",
        name = escaped(&report.name),
    );
    for decade in 0..=DECADES as u32 {
        let x = LABEL_WIDTH + f64::from(decade) * DECADE_WIDTH;
        let label = if decade == 0 { "floor".to_owned() } else { format!("{}×", 10_u32.pow(decade)) };
        svg.push_str(&format!(
            "<text x=\"{x}\" y=\"{}\" text-anchor=\"middle\" fill=\"#555\">{label}</text>\n\
             <line x1=\"{x}\" y1=\"{HEAD_HEIGHT}\" x2=\"{x}\" y2=\"{}\" stroke=\"#dddddd\"/>\n",
            HEAD_HEIGHT - 8.0,
            height - 12.0,
        ));
    }
    for (row, (cell, cpu, ratio)) in rows.iter().enumerate() {
        let y = HEAD_HEIGHT + row as f64 * ROW_HEIGHT;
        let length = ratio.max(1.0).log10().min(DECADES) * DECADE_WIDTH;
        let colour = if cell.starts_with("put") { "#2f6f8f" } else { "#7fae5f" };
        svg.push_str(&format!(
            "<text x=\"8\" y=\"{text_y}\">{cell}</text>\n\
             <rect x=\"{LABEL_WIDTH}\" y=\"{bar_y}\" width=\"{length:.1}\" height=\"12\" fill=\"{colour}\"/>\n\
             <text x=\"{figure_x:.1}\" y=\"{text_y}\" fill=\"#333\">{ratio:.1}× · {cpu:.0} µs</text>\n",
            text_y = y + 14.0,
            bar_y = y + 4.0,
            figure_x = LABEL_WIDTH + length + 6.0,
            cell = escaped(cell),
        ));
    }
    svg.push_str("</svg>\n");
    svg
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::CellReport;

    #[test]
    fn a_bar_is_as_long_as_its_factor_is_high() {
        let mut report = Report::begin("a<b", 1.0, 0);
        for (cell, cpu) in [("put 4K c64", 210.0), ("list 1000 c1", 5.0), ("get 4K c64", 1.0)] {
            report.cells.push(CellReport {
                cell: cell.to_owned(),
                server_cpu_us: Some(cpu),
                ..CellReport::default()
            });
        }
        let picture = svg(&report);
        assert!(picture.contains("width=\"190.0\" height=\"12\""));
        assert!(picture.contains("10.0× · 210 µs") && picture.contains("0.2× · 1 µs"));
        assert!(!picture.contains("list") && picture.contains("a&lt;b"));
    }
}
