//! Printing: one JSON object or text for people; colours only where they are wanted; a closed pipe is no error.

use crate::ClientError;
use serde::Serialize;
use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

/// Version of every JSON object that is printed; fields may be added under one version, never change meaning.
const SCHEMA_VERSION: u64 = 1;

/// How this command prints.
pub(super) struct Output {
    json: bool,
    colour: bool,
}

/// How bad something is, in colour.
#[derive(Clone, Copy)]
pub(super) enum Tint {
    Good,
    Warning,
    Bad,
    Faint,
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { json, colour: !json && !no_colour && !dumb && io::stdout().is_terminal() }
    }

    /// Prints text as it is.
    pub(super) fn text(&self, text: &str) -> Result<(), ClientError> {
        let mut out = io::stdout().lock();
        let printed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        printed.map_err(ClientError::file("printing", Path::new("standard output")))
    }

    /// Prints one object on one line, with its `schema_version`.
    pub(super) fn object(&self, value: &impl Serialize) -> Result<(), ClientError> {
        let failed = |error: serde_json::Error| ClientError::Crypto {
            what: "writing JSON",
            problem: error.to_string(),
        };
        let mut value = serde_json::to_value(value).map_err(failed)?;
        if let Some(object) = value.as_object_mut() {
            object.entry("schema_version").or_insert_with(|| SCHEMA_VERSION.into());
            // the tag of the admin protocol says nothing to a reader who knows what was asked
            object.remove("type");
        }
        self.text(&format!("{value}\n"))
    }

    /// Prints the object with `--json`, else the text.
    pub(super) fn either(
        &self,
        value: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> Result<(), ClientError> {
        if self.json { self.object(value) } else { self.text(&text()) }
    }

    /// Says what went wrong and what to do, and gives the exit code.
    pub(super) fn failure(&self, error: &ClientError) -> ExitCode {
        if let ClientError::File { source, .. } = error
            && source.kind() == io::ErrorKind::BrokenPipe
        {
            return ExitCode::SUCCESS;
        }
        let (message, advice) = (chain(error), error.advice());
        // a report was printed already
        let is_reported = matches!(
            error,
            ClientError::Degraded { .. } | ClientError::Unwell { .. } | ClientError::Drilled { .. }
        );
        if self.json && !is_reported {
            let object = serde_json::json!({
                "error": { "kind": error.kind(), "message": message, "advice": advice, "exit_code": error.exit_code() }
            });
            let _ = self.object(&object);
        }
        let mut stderr = io::stderr().lock();
        let _ = writeln!(stderr, "twinkeep: {message}");
        if !advice.is_empty() {
            let _ = writeln!(stderr, "  {advice}");
        }
        ExitCode::from(error.exit_code())
    }

    /// Text in a colour, where colours are wanted.
    pub(super) fn tint(&self, tint: Tint, text: &str) -> String {
        let code = match tint {
            Tint::Good => 32,
            Tint::Warning => 33,
            Tint::Bad => 31,
            Tint::Faint => 2,
        };
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// Whether somebody is there to be asked.
    pub(super) fn can_ask(&self) -> bool {
        !self.json && io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// Whether the screen may be redrawn.
    pub(super) fn is_screen(&self) -> bool {
        !self.json && io::stdout().is_terminal()
    }
}

/// Rows with a head, columns aligned; a column is right-aligned when its head begins with `>`.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let plain = |head: &str| head.trim_start_matches('>').to_owned();
    let heads: Vec<String> = head.iter().map(|head| plain(head)).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([heads[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    for row in std::iter::once(&heads).chain(rows) {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate().take(widths.len()) {
            let space = " ".repeat(widths[column].saturating_sub(cell.chars().count()));
            let (before, after) =
                if head[column].starts_with('>') { (space, String::new()) } else { (String::new(), space) };
            let _ = write!(line, "{before}{cell}{after}  ");
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// Bytes for people.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// A duration for people.
pub(super) fn duration(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// The error and its causes, one line.
fn chain(error: &ClientError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = vec![vec!["1".into(), "200".into()], vec!["node-22".into(), "3".into()]];
        assert_eq!(table(&["node", ">count"], &rows), "node     count\n1          200\nnode-22      3\n");
    }

    #[test]
    fn sizes_and_durations_read_well() {
        assert_eq!(
            (bytes(512).as_str(), bytes(1536).as_str(), bytes(5 << 40).as_str()),
            ("512 B", "1.5 KiB", "5.0 TiB")
        );
        assert_eq!((duration(59_000).as_str(), duration(7_200_000).as_str()), ("59 s", "2 h"));
    }
}
