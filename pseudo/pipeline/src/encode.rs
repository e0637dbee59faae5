//! Rows as bytes, ready to be put in order and written: lines of JSON or CSV.
//!
//! Every row of an export has every column in one order, so that form and order of members tell nothing about where it came from.

use policy::{Format, Path, Policy};
use transform::Kind;

use crate::json::plain_length;
use crate::row::{Row, pack};

/// Turns rows into bytes.
pub(crate) enum Encoder {
    /// Before each column's value, what belongs there; and what ends the record.
    Json { before: Vec<Vec<u8>>, after: Vec<u8>, order: Vec<usize> },
    /// The delimiter.
    Csv(u8),
    /// Cells one after another, for a sink that wants columns.
    Packed,
}

impl Encoder {
    pub(crate) fn new(policy: &Policy) -> Self {
        if policy.target.format == Format::Csv {
            return Self::Csv(policy.source.delimiter);
        }
        if policy.target.format == Format::Parquet {
            return Self::Packed;
        }
        let paths: Vec<&Path> = policy.columns().map(|rule| &rule.output_path).collect();
        let order = nested_order(&paths);
        let (mut before, mut open): (Vec<Vec<u8>>, &[String]) = (Vec::new(), &[]);
        for (place, column) in order.iter().enumerate() {
            let (last, above) = paths[*column].names().split_last().expect("a path has names");
            let shared = open.iter().zip(above).take_while(|(one, other)| one == other).count();
            let mut text = vec![b'}'; open.len() - shared];
            text.push(if place == 0 { b'{' } else { b',' });
            for name in &above[shared..] {
                name_of(name, &mut text);
                text.push(b'{');
            }
            name_of(last, &mut text);
            before.push(text);
            open = above;
        }
        let mut after = vec![b'}'; open.len() + 1];
        after.push(b'\n');
        let is_plain = order.is_sorted();
        Self::Json { before, after, order: if is_plain { Vec::new() } else { order } }
    }

    /// What comes before all rows.
    pub(crate) fn header(&self, policy: &Policy) -> Vec<u8> {
        let mut text = Vec::new();
        if let Self::Csv(delimiter) = self {
            for (place, rule) in policy.columns().enumerate() {
                if place > 0 {
                    text.push(*delimiter);
                }
                quoted(rule.output_path.column().as_bytes(), *delimiter, &mut text);
            }
            text.push(b'\n');
        }
        text
    }

    /// Appends a row.
    pub(crate) fn encode(&self, row: &Row, out: &mut Vec<u8>) {
        match self {
            Self::Json { before, after, order } => {
                if order.is_empty() {
                    for (cell, before) in row.cells_known().zip(before) {
                        out.extend_from_slice(before);
                        json(cell, out);
                    }
                } else {
                    let cells: Vec<(Kind, bool, &[u8])> = row.cells_known().collect();
                    for (column, before) in order.iter().zip(before) {
                        out.extend_from_slice(before);
                        json(cells[*column], out);
                    }
                }
                out.extend_from_slice(after);
            }
            Self::Packed => pack(row, out),
            Self::Csv(delimiter) => {
                for (place, (kind, bytes)) in row.cells().enumerate() {
                    if place > 0 {
                        out.push(*delimiter);
                    }
                    match kind {
                        Kind::Null => {}
                        // an empty text is told from a null by its quotes
                        Kind::Text if bytes.is_empty() => out.extend_from_slice(b"\"\""),
                        _ => quoted(bytes, *delimiter, out),
                    }
                }
                out.push(b'\n');
            }
        }
    }
}

/// Columns so that those of one inner record stand together, else as the policy has them.
pub(crate) fn nested_order(paths: &[&Path]) -> Vec<usize> {
    let first =
        |prefix: &[String]| paths.iter().position(|path| path.names().starts_with(prefix)).unwrap_or(0);
    let key = |path: &Path| -> Vec<usize> {
        (1..=path.names().len()).map(|end| first(&path.names()[..end])).collect()
    };
    let mut order: Vec<usize> = (0..paths.len()).collect();
    order.sort_by_key(|column| key(paths[*column]));
    order
}

/// A name with its quotes and colon; a policy's names need no escapes.
fn name_of(name: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// A value, and whether it is known to need no escapes.
fn json((kind, is_plain, bytes): (Kind, bool, &[u8]), out: &mut Vec<u8>) {
    match kind {
        Kind::Null => out.extend_from_slice(b"null"),
        Kind::Number | Kind::Boolean => out.extend_from_slice(bytes),
        Kind::Text if is_plain => {
            out.push(b'"');
            out.extend_from_slice(bytes);
            out.push(b'"');
        }
        Kind::Text => {
            out.push(b'"');
            let mut rest = bytes;
            loop {
                let plain = plain_length(rest);
                out.extend_from_slice(&rest[..plain]);
                let Some(byte) = rest.get(plain) else { break };
                match byte {
                    b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
                    b'\n' => out.extend_from_slice(b"\\n"),
                    b'\r' => out.extend_from_slice(b"\\r"),
                    b'\t' => out.extend_from_slice(b"\\t"),
                    _ => {
                        const DIGITS: &[u8; 16] = b"0123456789abcdef";
                        out.extend_from_slice(b"\\u00");
                        out.extend_from_slice(&[
                            DIGITS[usize::from(byte >> 4)],
                            DIGITS[usize::from(byte & 15)],
                        ]);
                    }
                }
                rest = &rest[plain + 1..];
            }
            out.push(b'"');
        }
    }
}

/// A value of CSV (RFC 4180), in quotes where it needs them.
fn quoted(bytes: &[u8], delimiter: u8, out: &mut Vec<u8>) {
    let special = |byte: &u8| matches!(byte, b'"' | b'\n' | b'\r') || *byte == delimiter;
    let outer_space = bytes.first() == Some(&b' ') || bytes.last() == Some(&b' ');
    if !outer_space && !bytes.iter().any(special) {
        out.extend_from_slice(bytes);
        return;
    }
    out.push(b'"');
    for byte in bytes {
        if *byte == b'"' {
            out.push(b'"');
        }
        out.push(*byte);
    }
    out.push(b'"');
}
