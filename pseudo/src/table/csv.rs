//! CSV as in RFC 4180 with any delimiter: a header line, quotes doubled inside quotes, line ends LF, CR or CRLF.
//!
//! Every record has as many fields as the header, or the file is refused: a shifted column would be measured as another.
//! Values are compared as bytes, so any encoding that is a superset of ASCII will do; the header must be UTF-8. Lines
//! without a single character are passed over, as most programs do.

use super::{COLUMNS_MAX, Cell, RECORD_BYTES_MAX, Visit, find_columns};
use crate::PseudoError;
use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use std::io::{ErrorKind, Read};
use std::path::Path;

/// Bytes read at once.
const INPUT_BYTES: usize = 1 << 20;
/// Room for a record to begin with; it grows to [`RECORD_BYTES_MAX`] when one needs it.
const RECORD_BYTES_START: usize = 64 << 10;

/// Reads records one by one into buffers that it keeps.
pub(crate) struct Records<'a> {
    path: &'a Path,
    input: Box<dyn Read + 'a>,
    parser: Reader,
    buffer: Vec<u8>,
    /// What of the buffer is not parsed yet.
    rest: std::ops::Range<usize>,
    bytes: Vec<u8>,
    ends: Vec<usize>,
    fields: usize,
}

impl<'a> Records<'a> {
    pub(crate) fn new(input: Box<dyn Read + 'a>, path: &'a Path, delimiter: u8) -> Self {
        Self {
            path,
            input,
            parser: ReaderBuilder::new().delimiter(delimiter).build(),
            buffer: vec![0; INPUT_BYTES],
            rest: 0..0,
            bytes: vec![0; RECORD_BYTES_START],
            ends: vec![0; 64],
            fields: 0,
        }
    }

    /// Reads the next record; `false` at the end of the file.
    pub(crate) fn next(&mut self) -> Result<bool, PseudoError> {
        let (mut written, mut ended) = (0, 0);
        loop {
            if self.rest.is_empty() {
                let read = self.fill()?;
                self.rest = 0..read;
            }
            let input = &self.buffer[self.rest.clone()];
            let (result, consumed, bytes, ends) =
                self.parser.read_record(input, &mut self.bytes[written..], &mut self.ends[ended..]);
            self.rest.start += consumed;
            written += bytes;
            ended += ends;
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull if self.bytes.len() >= RECORD_BYTES_MAX => {
                    let limit = format!(
                        "a record before line {} is longer than {RECORD_BYTES_MAX} bytes",
                        self.line()
                    );
                    return Err(PseudoError::table(self.path, format!("{limit}: is a quote not closed?")));
                }
                ReadRecordResult::OutputFull => self.bytes.resize(self.bytes.len() * 2, 0),
                ReadRecordResult::OutputEndsFull if self.ends.len() >= COLUMNS_MAX => {
                    let limit =
                        format!("the record at line {} has more than {COLUMNS_MAX} fields", self.line());
                    return Err(PseudoError::table(self.path, limit));
                }
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::Record => {
                    self.fields = ended;
                    return Ok(true);
                }
                ReadRecordResult::End => return Ok(false),
            }
        }
    }

    /// How many fields the record has.
    pub(crate) fn fields(&self) -> usize {
        self.fields
    }

    /// A field of the record.
    pub(crate) fn field(&self, index: usize) -> &[u8] {
        assert!(index < self.fields, "the record has this field");
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.bytes[start..self.ends[index]]
    }

    /// The line after the record's last one, or within it while it is read.
    pub(crate) fn line(&self) -> u64 {
        self.parser.line()
    }

    fn fill(&mut self) -> Result<usize, PseudoError> {
        loop {
            match self.input.read(&mut self.buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => return read.map_err(PseudoError::file("reading", self.path)),
            }
        }
    }
}

/// Reads a table with a header line.
pub(super) fn read(
    input: Box<dyn Read + '_>,
    path: &Path,
    delimiter: u8,
    wanted: &[String],
    visit: &mut Visit<'_>,
) -> Result<(), PseudoError> {
    let mut records = Records::new(input, path, delimiter);
    if !records.next()? {
        return Err(PseudoError::table(path, "the file is empty: there is no header line"));
    }
    let columns = header(&records, path, wanted)?;
    let width = records.fields();
    let mut number = 0;
    while records.next()? {
        number += 1;
        if records.fields() != width {
            let found = records.fields();
            let place = format!("record {number}, which ends before line {}", records.line());
            let problem = format!("{place}, has {found} fields; the header has {width}");
            return Err(PseudoError::table(path, problem));
        }
        let cells: Vec<Cell<'_>> = columns.iter().map(|column| Some(records.field(*column))).collect();
        visit(number, &cells)?;
    }
    Ok(())
}

fn header(records: &Records<'_>, path: &Path, wanted: &[String]) -> Result<Vec<usize>, PseudoError> {
    let mut names = Vec::with_capacity(records.fields());
    for index in 0..records.fields() {
        let name = std::str::from_utf8(records.field(index)).ok().filter(|name| !name.contains('\0'));
        let Some(name) = name else {
            let problem = format!("the header's column {} is not UTF-8 text: is this a CSV file?", index + 1);
            return Err(PseudoError::table(path, problem));
        };
        // some programs begin a file with a byte order mark
        names.push(if index == 0 { name.trim_start_matches('\u{feff}') } else { name });
    }
    find_columns(path, &names, wanted)
}
