//! Parquet with flat columns: each wanted column is one value or null per record, not a list and not inside a group.
//!
//! Values become the text that CSV would have: whole numbers and decimals in digits, dates as year-month-day, booleans as
//! words, floating-point numbers in their shortest form. Texts and bytes stay as they are; timestamps stay the whole
//! numbers that they are stored as. Only the wanted columns are read, some records at a time; a page is the least that has to
//! be in memory.

use super::{Cell, Visit, find_columns};
use crate::PseudoError;
use chrono::NaiveDate;
use parquet::basic::{ConvertedType, LogicalType};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{AsBytes, DataType};
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, FileReader, RowGroupReader, SerializedFileReader};
use parquet::schema::types::ColumnDescriptor;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// What every Parquet file begins with.
pub(super) const MAGIC: &[u8; 4] = b"PAR1";
/// Records that are read at once.
const BATCH_RECORDS: usize = 8 << 10;

/// Reads a table.
pub(super) fn read<R: ChunkReader + 'static>(
    file: R,
    path: &Path,
    wanted: &[String],
    visit: &mut Visit<'_>,
) -> Result<(), PseudoError> {
    guarded(path, || read_columns(file, path, wanted, visit))
}

/// Calls `visit` with every value of every column of bytes, also of those in groups and lists.
pub(super) fn texts<R: ChunkReader + 'static>(
    file: R,
    path: &Path,
    visit: &mut dyn FnMut(&[u8]),
) -> Result<(), PseudoError> {
    guarded(path, || {
        let failed = |_: ParquetError| damaged(path);
        let reader = SerializedFileReader::new(file).map_err(failed)?;
        for group in 0..reader.num_row_groups() {
            let group = reader.get_row_group(group).map_err(failed)?;
            for column in 0..group.num_columns() {
                match group.get_column_reader(column).map_err(failed)? {
                    ColumnReader::ByteArrayColumnReader(mut reader) => {
                        values(&mut reader, &mut |value| visit(value.data()))
                    }
                    ColumnReader::FixedLenByteArrayColumnReader(mut reader) => {
                        values(&mut reader, &mut |value| visit(value.data()))
                    }
                    _ => Ok(()),
                }
                .map_err(failed)?;
            }
        }
        Ok(())
    })
}

/// Every value of a column.
fn values<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    visit: &mut dyn FnMut(&T::T),
) -> Result<(), ParquetError> {
    let (mut values, mut levels, mut repetitions) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        values.clear();
        levels.clear();
        repetitions.clear();
        let (read, _, _) =
            reader.read_records(BATCH_RECORDS, Some(&mut levels), Some(&mut repetitions), &mut values)?;
        if read == 0 {
            return Ok(());
        }
        values.iter().for_each(&mut *visit);
    }
}

/// Reads something. The decoder takes some damage for impossible; to whoever runs this it is a damaged file like any other.
fn guarded(path: &Path, read: impl FnOnce() -> Result<(), PseudoError>) -> Result<(), PseudoError> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let done = catch_unwind(AssertUnwindSafe(read));
    std::panic::set_hook(hook);
    done.unwrap_or_else(|_| Err(damaged(path)))
}

fn read_columns<R: ChunkReader + 'static>(
    file: R,
    path: &Path,
    wanted: &[String],
    visit: &mut Visit<'_>,
) -> Result<(), PseudoError> {
    // what the decoder says of an error may quote the file
    let failed = |_: ParquetError| damaged(path);
    let reader = SerializedFileReader::new(file).map_err(failed)?;
    let schema = reader.metadata().file_metadata().schema_descr_ptr();
    let names: Vec<String> = schema.columns().iter().map(|column| column.path().string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let indexes = find_columns(path, &names, wanted)?;
    let mut columns = Vec::with_capacity(indexes.len());
    for (index, name) in indexes.into_iter().zip(wanted) {
        let descriptor = schema.column(index);
        if descriptor.max_rep_level() > 0 || descriptor.path().parts().len() > 1 {
            let problem =
                format!("column {name:?} is a list or inside a group: only flat columns can be measured");
            return Err(PseudoError::table(path, problem));
        }
        let is_optional = descriptor.max_def_level() > 0;
        columns.push(Column { index, form: Form::of(&descriptor), is_optional, batch: Batch::default() });
    }
    let mut number = 0;
    for group in 0..reader.num_row_groups() {
        let group = reader.get_row_group(group).map_err(failed)?;
        read_group(&*group, path, &mut columns, &mut number, visit)?;
    }
    Ok(())
}

fn read_group(
    group: &dyn RowGroupReader,
    path: &Path,
    columns: &mut [Column],
    number: &mut u64,
    visit: &mut Visit<'_>,
) -> Result<(), PseudoError> {
    let readers = columns.iter().map(|column| group.get_column_reader(column.index));
    let mut readers: Vec<ColumnReader> = readers.collect::<Result<_, _>>().map_err(|_| damaged(path))?;
    let mut rest = usize::try_from(group.metadata().num_rows()).map_err(|_| damaged(path))?;
    while rest > 0 {
        let asked = rest.min(BATCH_RECORDS);
        for (column, reader) in columns.iter_mut().zip(&mut readers) {
            let read = column.read(reader, asked);
            if read.map_err(|_| damaged(path))? != asked {
                return Err(damaged(path));
            }
        }
        for record in 0..asked {
            *number += 1;
            let cells: Vec<Cell<'_>> = columns.iter().map(|column| column.batch.cell(record)).collect();
            visit(*number, &cells)?;
        }
        rest -= asked;
    }
    Ok(())
}

fn damaged(path: &Path) -> PseudoError {
    PseudoError::table(
        path,
        "this Parquet file is damaged, or compressed or encrypted in a way that is not known here",
    )
}

/// A wanted column.
struct Column {
    index: usize,
    form: Form,
    is_optional: bool,
    batch: Batch,
}

/// Cells of some records as text, one behind another.
#[derive(Default)]
struct Batch {
    text: String,
    bytes: Vec<u8>,
    /// Where each cell ends; `None` is a null.
    cells: Vec<Option<(usize, usize)>>,
}

impl Batch {
    fn cell(&self, record: usize) -> Cell<'_> {
        self.cells[record].map(|(start, end)| &self.bytes[start..end])
    }

    fn push(&mut self, value: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.cells.push(Some((start, self.bytes.len())));
    }

    fn push_text(&mut self, value: std::fmt::Arguments<'_>) {
        let start = self.bytes.len();
        self.text.clear();
        let _ = self.text.write_fmt(value);
        self.bytes.extend_from_slice(self.text.as_bytes());
        self.cells.push(Some((start, self.bytes.len())));
    }
}

/// What a stored number stands for.
#[derive(Clone, Copy)]
enum Form {
    Plain,
    Unsigned,
    Date,
    /// Digits after the point.
    Decimal(u32),
}

impl Form {
    fn of(column: &ColumnDescriptor) -> Self {
        match (column.logical_type_ref(), column.converted_type()) {
            (Some(LogicalType::Date), _) | (None, ConvertedType::DATE) => Self::Date,
            (Some(LogicalType::Decimal(_)), _) | (None, ConvertedType::DECIMAL) => {
                Self::Decimal(u32::try_from(column.type_scale()).unwrap_or(0))
            }
            (
                _,
                ConvertedType::UINT_8
                | ConvertedType::UINT_16
                | ConvertedType::UINT_32
                | ConvertedType::UINT_64,
            ) => Self::Unsigned,
            _ => Self::Plain,
        }
    }

    fn push(self, batch: &mut Batch, signed: i64, unsigned: u64) {
        match self {
            Self::Plain => batch.push_text(format_args!("{signed}")),
            Self::Unsigned => batch.push_text(format_args!("{unsigned}")),
            Self::Date => match date(signed) {
                Some(date) => batch.push_text(format_args!("{date}")),
                None => batch.push_text(format_args!("{signed}")),
            },
            Self::Decimal(0) => batch.push_text(format_args!("{signed}")),
            Self::Decimal(scale) => {
                let (sign, digits, width) =
                    (if signed < 0 { "-" } else { "" }, signed.unsigned_abs(), scale as usize);
                let text = format!("{digits:0>width$}", width = width + 1);
                let (whole, part) = text.split_at(text.len() - width);
                batch.push_text(format_args!("{sign}{whole}.{part}"));
            }
        }
    }
}

impl Column {
    /// Reads so many records; how many there were.
    fn read(&mut self, reader: &mut ColumnReader, records: usize) -> Result<usize, ParquetError> {
        let form = self.form;
        match reader {
            ColumnReader::BoolColumnReader(reader) => {
                self.fill(reader, records, |batch, value| batch.push_text(format_args!("{value}")))
            }
            ColumnReader::Int32ColumnReader(reader) => self.fill(reader, records, move |batch, value| {
                form.push(batch, i64::from(*value), u64::from(value.cast_unsigned()));
            }),
            ColumnReader::Int64ColumnReader(reader) => self
                .fill(reader, records, move |batch, value| form.push(batch, *value, value.cast_unsigned())),
            // adding zero makes the two zeros one
            ColumnReader::FloatColumnReader(reader) => {
                self.fill(reader, records, |batch, value| batch.push_text(format_args!("{}", value + 0.0)))
            }
            ColumnReader::DoubleColumnReader(reader) => {
                self.fill(reader, records, |batch, value| batch.push_text(format_args!("{}", value + 0.0)))
            }
            ColumnReader::Int96ColumnReader(reader) => {
                self.fill(reader, records, |batch, value| batch.push(value.as_bytes()))
            }
            ColumnReader::ByteArrayColumnReader(reader) => {
                self.fill(reader, records, |batch, value| batch.push(value.data()))
            }
            ColumnReader::FixedLenByteArrayColumnReader(reader) => {
                self.fill(reader, records, |batch, value| batch.push(value.data()))
            }
        }
    }

    fn fill<T: DataType>(
        &mut self,
        reader: &mut ColumnReaderImpl<T>,
        records: usize,
        push: impl Fn(&mut Batch, &T::T),
    ) -> Result<usize, ParquetError> {
        let batch = &mut self.batch;
        batch.bytes.clear();
        batch.cells.clear();
        let (mut values, mut levels) = (Vec::with_capacity(records), Vec::with_capacity(records));
        let mut done = 0;
        while done < records {
            let levels = self.is_optional.then_some(&mut levels);
            let (read, _, _) = reader.read_records(records - done, levels, None, &mut values)?;
            if read == 0 {
                break;
            }
            done += read;
        }
        let mut values = values.iter();
        for record in 0..done {
            let is_there = !self.is_optional || levels.get(record).is_some_and(|level| *level > 0);
            match if is_there { values.next() } else { None } {
                Some(value) => push(batch, value),
                None => batch.cells.push(None),
            }
        }
        Ok(done)
    }
}

/// The day that is so many days after 1970-01-01; `None` beyond what any calendar has.
fn date(days: i64) -> Option<NaiveDate> {
    i32::try_from(days).ok().and_then(NaiveDate::from_epoch_days)
}

#[cfg(test)]
#[path = "parquet/tests.rs"]
mod tests;
