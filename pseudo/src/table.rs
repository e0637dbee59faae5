//! Tables as streams of records: the wanted columns of each, one record after another, in memory that does not grow with
//! the file.

mod batch;
pub(crate) mod csv;
mod parquet;

use crate::PseudoError;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// Columns of a table, at most.
pub(crate) const COLUMNS_MAX: usize = 16_384;
/// Bytes of one record, at most: no table that people are described in comes near it, and an unclosed quote that
/// swallows the rest of a file ends here.
pub(crate) const RECORD_BYTES_MAX: usize = 16 << 20;

/// What is read at once of a file of any form, bytes.
const PIECE_BYTES: usize = 64 << 10;

/// How files begin whose text is packed, and what to do about it.
const PACKED: [(&[u8], &str); 4] = [
    (b"\x1f\x8b", "packed with gzip: unpack it first"),
    (b"\x28\xb5\x2f\xfd", "packed with Zstandard: unpack it first"),
    (b"PK\x03\x04", "a ZIP archive, or a spreadsheet: unpack it, or save it as CSV, first"),
    (parquet::MAGIC, "Parquet from a stream: name a file"),
];

/// A cell of a record; `None` is a null, which CSV does not have: there an empty cell is an empty value.
pub(crate) type Cell<'a> = Option<&'a [u8]>;

/// Takes a record: its number, from 1, and the wanted cells.
pub(crate) type Visit<'a> = dyn FnMut(u64, &[Cell<'_>]) -> Result<(), PseudoError> + 'a;

/// A table to read.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    /// The file; `-` is standard input.
    pub(crate) path: PathBuf,
    /// Between the fields of a CSV file.
    pub(crate) delimiter: u8,
}

impl Table {
    /// Whether the table can be read only once.
    pub(crate) fn is_stream(&self) -> bool {
        self.path == Path::new("-")
    }

    /// Calls `visit` with the wanted columns of every record, in the order in which they were asked for. The file is read
    /// and taken apart on a thread of its own. How many of their values are not UTF-8 text.
    pub(crate) fn read(&self, wanted: &[String], visit: &mut Visit<'_>) -> Result<u64, PseudoError> {
        batch::on_a_thread(wanted.len(), |visit| self.read_here(wanted, visit), visit)
    }

    fn read_here(&self, wanted: &[String], visit: &mut Visit<'_>) -> Result<(), PseudoError> {
        if self.is_stream() {
            return csv::read(Box::new(std::io::stdin().lock()), &self.path, self.delimiter, wanted, visit);
        }
        let file = File::open(&self.path).map_err(PseudoError::file("opening", &self.path))?;
        let mut magic = [0; parquet::MAGIC.len()];
        // pipes and files shorter than the magic are no Parquet
        if file.read_at(&mut magic, 0).is_ok_and(|read| read == magic.len()) && &magic == parquet::MAGIC {
            return parquet::read(file, &self.path, wanted, visit);
        }
        csv::read(Box::new(file), &self.path, self.delimiter, wanted, visit)
    }
}

/// Calls `visit` with every text of a file: of Parquet each value of each column of bytes, of all else what is read at once, in pieces;
/// and `see` with the file as it is.
pub(crate) fn texts(
    path: &Path,
    see: &mut dyn FnMut(&[u8]),
    visit: &mut dyn FnMut(&[u8], bool),
) -> Result<(), PseudoError> {
    let mut both = |piece: &[u8], is_end: bool| {
        see(piece);
        visit(piece, is_end);
    };
    if path == Path::new("-") {
        return pieces(std::io::stdin().lock(), path, &PACKED, &mut both);
    }
    let file = File::open(path).map_err(PseudoError::file("opening", path))?;
    let mut magic = [0; parquet::MAGIC.len()];
    if file.read_at(&mut magic, 0).is_ok_and(|read| read == magic.len()) && &magic == parquet::MAGIC {
        pieces(&file, path, &[], &mut |piece, _| see(piece))?;
        return parquet::texts(file, path, &mut |value| visit(value, true));
    }
    pieces(file, path, &PACKED, &mut both)
}

/// Pieces of a stream, of which only the last is the end of a text; none of one that begins as it may not.
fn pieces(
    mut reader: impl Read,
    path: &Path,
    refused: &[(&[u8], &str)],
    visit: &mut dyn FnMut(&[u8], bool),
) -> Result<(), PseudoError> {
    let failed = |error| PseudoError::file("reading", path)(error);
    let mut buffer = Vec::with_capacity(PIECE_BYTES);
    let mut is_first = true;
    loop {
        buffer.clear();
        (&mut reader).take(PIECE_BYTES as u64).read_to_end(&mut buffer).map_err(failed)?;
        let packed = refused.iter().find(|(magic, _)| buffer.starts_with(magic));
        if let (true, Some((_, what))) = (is_first, packed) {
            return Err(PseudoError::table(path, format!("this is {what}")));
        }
        is_first = false;
        visit(&buffer, buffer.is_empty());
        if buffer.is_empty() {
            return Ok(());
        }
    }
}

/// Where the wanted columns are among those that a table has.
fn find_columns<'a>(path: &Path, header: &[&'a str], wanted: &[String]) -> Result<Vec<usize>, PseudoError> {
    let mut sorted: Vec<&'a str> = header.to_vec();
    sorted.sort_unstable();
    if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        let place = header.iter().rposition(|name| *name == pair[0]).unwrap_or(0) + 1;
        return Err(PseudoError::table(
            path,
            format!("the header names column {place} like one before it: columns are told apart by name"),
        ));
    }
    let find = |name: &String| {
        header.iter().position(|column| column == name).ok_or_else(|| {
            let problem =
                format!("there is no column {name:?} among the {} of {}", header.len(), path.display());
            PseudoError::usage(problem, "names are compared letter by letter; is the --delimiter right?")
        })
    };
    wanted.iter().map(find).collect()
}
