//! Rows of a Parquet file, as the slots that every format becomes. Columns without a rule are not even read.

use std::fmt::Write as _;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, BooleanArray, Int64Array, RecordBatch, StringArray};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, Fields, TimeUnit};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use policy::{OnUnknown, Policy, Spec};
use transform::Moment;

use super::guarded;
use crate::feed::RECORD_BYTES_MAX;
use crate::input::Random;
use crate::slots::{Slot, Slots};
use crate::tree::is_used;
use crate::{Fault, PipelineError};

/// Rows decoded at once: a few megabytes of the columns that a policy has.
const BATCH_ROWS: usize = 4096;
const SECONDS_PER_DAY: i64 = 86_400;

/// Reads the rows of one file.
pub(crate) struct Rows {
    reader: ParquetRecordBatchReader,
    /// Names of the columns that are read, and the field of each.
    columns: Vec<(Vec<String>, usize)>,
    input: u32,
    batch: Vec<Column>,
    row: usize,
    rows: usize,
    text: String,
    unknown: u64,
}

/// One column of a batch.
struct Column {
    field: usize,
    values: Values,
    /// Where it is null, or a group around it.
    nulls: Option<NullBuffer>,
}

/// Values of one column: of the types that most columns have, looked up once for a batch.
pub(crate) enum Values {
    Text(StringArray),
    Integer(Int64Array),
    Boolean(BooleanArray),
    Other(ArrayRef),
}

impl Rows {
    /// Compares the file's columns with the policy.
    pub(crate) fn new(file: Random, policy: &Policy, input: u32) -> Result<Self, PipelineError> {
        let damaged = || header(input, "this is no Parquet file, or a damaged one");
        let builder = guarded(|| ParquetRecordBatchReaderBuilder::try_new(file).ok()).ok_or_else(damaged)?;
        let mut found = Found::default();
        leaves(builder.schema().fields(), &mut Vec::new(), &mut found);
        let (mut columns, mut wanted, mut unknown) = (Vec::new(), Vec::new(), 0);
        for (number, (names, kind)) in found.leaves.into_iter().enumerate() {
            // a rule that drops may stand for a whole group
            let field = policy.fields.iter().position(|rule| {
                let path = rule.path.names();
                path == names || (matches!(rule.spec, Spec::Drop) && names.starts_with(path))
            });
            match field {
                Some(field) if matches!(policy.fields[field].spec, Spec::Drop) && !is_used(policy, field) => {
                }
                Some(_) if kind == Leaf::Unread => {
                    let problem = format!("column {} is of a type that is not read", number + 1);
                    return Err(header(input, &problem));
                }
                Some(field) => {
                    columns.push((names, field));
                    wanted.push(number);
                }
                None if policy.on_unknown == OnUnknown::Drop => unknown += 1,
                None => return Err(header(input, &format!("column {} is named by no rule", number + 1))),
            }
        }
        // lists and maps have leaves of their own: once there is one that is left out, places count differently
        let schema = builder.parquet_schema();
        let leaf_of = |names: &[String]| {
            (0..schema.num_columns()).find(|leaf| schema.column(*leaf).path().parts() == names)
        };
        let places: Option<Vec<usize>> = columns.iter().map(|(names, _)| leaf_of(names)).collect();
        let mask = ProjectionMask::leaves(schema, places.ok_or_else(damaged)?);
        let build = || builder.with_projection(mask).with_batch_size(BATCH_ROWS).build().ok();
        let reader = guarded(build).ok_or_else(damaged)?;
        Ok(Self { reader, columns, input, batch: Vec::new(), row: 0, rows: 0, text: String::new(), unknown })
    }

    /// Columns without a rule, each of which is left out of every row.
    pub(crate) fn unknown(&self) -> u64 {
        self.unknown
    }

    /// Puts the next row's values into the slots and gives their text; `None` at the end.
    pub(crate) fn next(&mut self, slots: &mut Slots) -> Result<Option<Result<&str, Fault>>, PipelineError> {
        while self.row == self.rows {
            let damaged = || header(self.input, "the Parquet file is damaged");
            let next = guarded(|| self.reader.next().map_or(Some(None), |batch| batch.ok().map(Some)));
            let Some(batch) = next.ok_or_else(damaged)? else { return Ok(None) };
            self.batch = self
                .columns
                .iter()
                .map(|(names, field)| column(&batch, names, *field))
                .collect::<Option<_>>()
                .ok_or_else(damaged)?;
            (self.row, self.rows) = (0, batch.num_rows());
        }
        slots.clear();
        self.text.clear();
        let mut is_long = false;
        for column in &self.batch {
            let is_null = column.nulls.as_ref().is_some_and(|nulls| nulls.is_null(self.row));
            let slot = if is_null { Slot::Null } else { column.values.slot(self.row, &mut self.text) };
            slots.set(column.field, slot);
            if self.text.len() > RECORD_BYTES_MAX {
                is_long = true;
                break;
            }
        }
        self.row += 1;
        Ok(Some(if is_long { Err(Fault::RecordTooLong) } else { Ok(&self.text) }))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Leaf {
    Read,
    Unread,
}

#[derive(Default)]
struct Found {
    leaves: Vec<(Vec<String>, Leaf)>,
}

fn leaves(fields: &Fields, names: &mut Vec<String>, found: &mut Found) {
    for field in fields {
        names.push(field.name().clone());
        match field.data_type() {
            DataType::Struct(inner) => leaves(inner, names, found),
            kind => found.leaves.push((names.clone(), if is_read(kind) { Leaf::Read } else { Leaf::Unread })),
        }
        names.pop();
    }
}

/// Whether values of a type are read.
pub(crate) fn is_read(kind: &DataType) -> bool {
    match kind {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Boolean | DataType::Date32 => {
            true
        }
        DataType::Float32 | DataType::Float64 | DataType::Timestamp(..) => true,
        kind => kind.is_integer(),
    }
}

fn column(batch: &RecordBatch, names: &[String], field: usize) -> Option<Column> {
    let (first, inner) = names.split_first()?;
    let mut values = batch.column_by_name(first)?.clone();
    let mut nulls = values.logical_nulls();
    for name in inner {
        values = values.as_struct_opt()?.column_by_name(name)?.clone();
        nulls = NullBuffer::union(nulls.as_ref(), values.logical_nulls().as_ref());
    }
    Some(Column { field, values: Values::of(values), nulls })
}

impl Values {
    pub(crate) fn of(values: ArrayRef) -> Self {
        match values.data_type() {
            DataType::Utf8 => Self::Text(values.as_string::<i32>().clone()),
            DataType::Int64 => Self::Integer(values.as_primitive::<Int64Type>().clone()),
            DataType::Boolean => Self::Boolean(values.as_boolean().clone()),
            _ => Self::Other(values),
        }
    }

    /// The value of a row where the column is not null.
    pub(crate) fn slot(&self, row: usize, text: &mut String) -> Slot {
        let from = text.len();
        match self {
            Self::Text(values) => {
                text.push_str(values.value(row));
                Slot::Text(place(from), place(text.len()))
            }
            Self::Integer(values) => {
                whole(values.value(row), text);
                Slot::Number(place(from), place(text.len()))
            }
            Self::Boolean(values) if values.value(row) => Slot::True,
            Self::Boolean(_) => Slot::False,
            Self::Other(values) => slot(values, row, text),
        }
    }
}

fn place(at: usize) -> u32 {
    u32::try_from(at).expect("a text has at most 2 GiB, and comes after less than a record")
}

/// Appends a whole number: the usual way to write one costs more than all else that is done to it.
fn whole(number: i64, text: &mut String) {
    let mut digits = [0; 20];
    let (mut from, mut rest) = (digits.len(), number.unsigned_abs());
    loop {
        from -= 1;
        digits[from] = b'0' + u8::try_from(rest % 10).expect("below ten");
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        text.push('-');
    }
    text.extend(digits[from..].iter().map(|digit| char::from(*digit)));
}

/// The value of a row of any type that [`Values`] does not name.
fn slot(values: &ArrayRef, row: usize, text: &mut String) -> Slot {
    let from = text.len();
    let mut is_number = false;
    match values.data_type() {
        DataType::LargeUtf8 => text.push_str(values.as_string::<i64>().value(row)),
        DataType::Utf8View => text.push_str(values.as_string_view().value(row)),
        DataType::Date32 => time(i64::from(primitive::<Date32Type>(values, row)), None, text),
        DataType::Timestamp(unit, zone) => {
            let (value, per_second) = match unit {
                TimeUnit::Second => (primitive::<TimestampSecondType>(values, row), 1),
                TimeUnit::Millisecond => (primitive::<TimestampMillisecondType>(values, row), 1000),
                TimeUnit::Microsecond => (primitive::<TimestampMicrosecondType>(values, row), 1_000_000),
                TimeUnit::Nanosecond => (primitive::<TimestampNanosecondType>(values, row), 1_000_000_000),
            };
            let seconds = value.div_euclid(per_second);
            let of_day = seconds.rem_euclid(SECONDS_PER_DAY);
            time(seconds.div_euclid(SECONDS_PER_DAY), Some((of_day, zone.is_some())), text);
        }
        kind => {
            is_number = number(kind, values, row, text);
        }
    }
    let (from, to) = (place(from), place(text.len()));
    if is_number { Slot::Number(from, to) } else { Slot::Text(from, to) }
}

/// Appends a number of any type but the one that [`Values`] names, as JSON writes it; what JSON cannot write becomes text. Says whether it is a number.
fn number(kind: &DataType, values: &ArrayRef, row: usize, text: &mut String) -> bool {
    let float = match kind {
        DataType::Float32 => f64::from(primitive::<Float32Type>(values, row)),
        DataType::Float64 => primitive::<Float64Type>(values, row),
        _ => 0.0,
    };
    // writing into memory does not fail
    let _ = match kind {
        DataType::Int8 => write!(text, "{}", primitive::<Int8Type>(values, row)),
        DataType::Int16 => write!(text, "{}", primitive::<Int16Type>(values, row)),
        DataType::Int32 => write!(text, "{}", primitive::<Int32Type>(values, row)),
        DataType::UInt8 => write!(text, "{}", primitive::<UInt8Type>(values, row)),
        DataType::UInt16 => write!(text, "{}", primitive::<UInt16Type>(values, row)),
        DataType::UInt32 => write!(text, "{}", primitive::<UInt32Type>(values, row)),
        DataType::UInt64 => write!(text, "{}", primitive::<UInt64Type>(values, row)),
        // `4294967296.0` and `1e300` are both JSON; infinities and NaN are text
        _ => write!(text, "{float:?}"),
    };
    float.is_finite()
}

fn primitive<T: ArrowPrimitiveType>(values: &ArrayRef, row: usize) -> T::Native {
    values.as_primitive::<T>().value(row)
}

/// A day, perhaps with its second and whether that is in UTC, as RFC 3339 writes it. What no four digits of years write is written
/// as its number, which no technique takes for a time.
fn time(days: i64, of_day: Option<(i64, bool)>, text: &mut String) {
    let epoch = Moment::parse("1970-01-01").expect("this is a date");
    let mut date = Vec::new();
    match epoch.plus_days(days) {
        Ok(moment) => moment.write(transform::TimeUnit::Day, &mut date),
        Err(_) => date.extend_from_slice(days.to_string().as_bytes()),
    }
    text.push_str(&String::from_utf8_lossy(&date));
    if let Some((second, is_utc)) = of_day {
        let zone = if is_utc { "Z" } else { "" };
        let _ = write!(text, "T{:02}:{:02}:{:02}{zone}", second / 3600, second / 60 % 60, second % 60);
    }
}

fn header(input: u32, problem: &str) -> PipelineError {
    PipelineError::Header { input, problem: problem.to_owned() }
}
