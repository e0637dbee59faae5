//! Rows into a Parquet file: groups as the policy nests its columns, statistics kept, memory bounded by the row group.

use std::io::{self, Write};
use std::sync::Arc;

use arrow_array::builder::{BinaryBuilder, BooleanBuilder, Float64Builder, Int64Builder};
use arrow_array::{ArrayRef, RecordBatch, StringArray, StructArray};
use arrow_schema::{DataType, Field, Fields, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use policy::{Column, Policy};
use transform::Kind;

use crate::PipelineError;
use crate::encode::nested_order;
use crate::row::{Row, cells};

/// Rows built before they are encoded.
const BATCH_ROWS: usize = 8192;
/// Rows of a group: small enough to hold, large enough that readers skip well.
const GROUP_ROWS: usize = 256 << 10;

/// Writes one file.
pub(crate) struct ParquetSink<W: Write + Send> {
    writer: ArrowWriter<Counted<W>>,
    schema: Arc<Schema>,
    /// Names of the columns, in the order of nesting, and their place in a row.
    columns: Vec<(Vec<String>, usize)>,
    builders: Vec<Builder>,
    rows: usize,
}

/// A writer that counts.
struct Counted<W> {
    writer: W,
    bytes: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.writer.write(bytes)?;
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// The values of one column.
pub(crate) enum Builder {
    /// Text, which is seen to be UTF-8 once a whole batch is there.
    Text(BinaryBuilder),
    Integer(Int64Builder),
    Number(Float64Builder),
    Boolean(BooleanBuilder),
}

impl<W: Write + Send> ParquetSink<W> {
    pub(crate) fn new(writer: W, policy: &Policy) -> Result<Self, PipelineError> {
        let rules: Vec<_> = policy.columns().collect();
        let paths: Vec<_> = rules.iter().map(|rule| &rule.output_path).collect();
        let order = nested_order(&paths);
        let columns: Vec<(Vec<String>, usize)> =
            order.into_iter().map(|column| (paths[column].names().to_vec(), column)).collect();
        let builders: Vec<Builder> = rules.iter().map(|rule| Builder::new(rule.column)).collect();
        let kinds: Vec<DataType> = columns.iter().map(|(_, column)| builders[*column].kind()).collect();
        let names: Vec<&[String]> = columns.iter().map(|(names, _)| names.as_slice()).collect();
        let schema = Arc::new(Schema::new(fields(&names, &kinds)));
        let compression = match policy.target.compression {
            policy::Compression::Zstd => Compression::ZSTD(ZstdLevel::default()),
            // a policy allows no other
            policy::Compression::None | policy::Compression::Gzip => Compression::UNCOMPRESSED,
        };
        let properties = WriterProperties::builder()
            .set_compression(compression)
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .set_created_by("twinkeep pseudo".to_owned())
            .build();
        let writer = Counted { writer, bytes: 0 };
        let writer = ArrowWriter::try_new(writer, schema.clone(), Some(properties)).map_err(failed)?;
        Ok(Self { writer, schema, columns, builders, rows: 0 })
    }

    /// Adds a row, as [`crate::row::pack`] wrote it.
    pub(crate) fn row(&mut self, packed: &[u8]) -> Result<(), PipelineError> {
        self.add(cells(packed))
    }

    /// Adds a row.
    pub(crate) fn row_of(&mut self, row: &Row) -> Result<(), PipelineError> {
        self.add(row.cells().map(|(kind, bytes)| (kind != Kind::Null).then_some(bytes)))
    }

    fn add<'a>(&mut self, cells: impl Iterator<Item = Option<&'a [u8]>>) -> Result<(), PipelineError> {
        for (builder, cell) in self.builders.iter_mut().zip(cells) {
            builder.add(cell);
        }
        self.rows += 1;
        if self.rows == BATCH_ROWS { self.write() } else { Ok(()) }
    }

    pub(crate) fn finish(mut self) -> Result<(W, u64), PipelineError> {
        self.write()?;
        let counted = self.writer.into_inner().map_err(failed)?;
        Ok((counted.writer, counted.bytes))
    }

    fn write(&mut self) -> Result<(), PipelineError> {
        if std::mem::take(&mut self.rows) == 0 {
            return Ok(());
        }
        let arrays: Vec<ArrayRef> =
            self.columns.iter().map(|(_, column)| self.builders[*column].finish()).collect();
        let names: Vec<&[String]> = self.columns.iter().map(|(names, _)| names.as_slice()).collect();
        let groups = groups(self.schema.fields(), &names, &arrays);
        let batch =
            RecordBatch::try_new(self.schema.clone(), groups).expect("columns are built as the schema says");
        self.writer.write(&batch).map_err(failed)
    }
}

impl Builder {
    pub(crate) fn new(column: Column) -> Self {
        match column {
            Column::Text => Self::Text(BinaryBuilder::new()),
            Column::Integer => Self::Integer(Int64Builder::new()),
            Column::Number => Self::Number(Float64Builder::new()),
            Column::Boolean => Self::Boolean(BooleanBuilder::new()),
        }
    }

    pub(crate) fn kind(&self) -> DataType {
        match self {
            Self::Text(_) => DataType::Utf8,
            Self::Integer(_) => DataType::Int64,
            Self::Number(_) => DataType::Float64,
            Self::Boolean(_) => DataType::Boolean,
        }
    }

    pub(crate) fn add(&mut self, cell: Option<&[u8]>) {
        let text = || std::str::from_utf8(cell?).ok();
        // treating brought every value to the type of its column
        match self {
            Self::Text(builder) => builder.append_option(cell),
            Self::Integer(builder) => builder.append_option(text().and_then(|text| text.parse().ok())),
            Self::Number(builder) => builder.append_option(text().and_then(|text| text.parse().ok())),
            Self::Boolean(builder) => builder.append_option(cell.map(|bytes| bytes == b"true")),
        }
    }

    pub(crate) fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Text(builder) => {
                let text = StringArray::try_from_binary(builder.finish());
                Arc::new(text.expect("techniques write UTF-8"))
            }
            Self::Integer(builder) => Arc::new(builder.finish()),
            Self::Number(builder) => Arc::new(builder.finish()),
            Self::Boolean(builder) => Arc::new(builder.finish()),
        }
    }
}

/// The columns that stand together under one first name, one run after another.
fn runs<'a>(names: &'a [&'a [String]]) -> impl Iterator<Item = std::ops::Range<usize>> + 'a {
    let mut from = 0;
    std::iter::from_fn(move || {
        let first = names.get(from)?.first()?;
        let count = names[from..].iter().take_while(|name| name.first() == Some(first)).count();
        from += count;
        Some(from - count..from)
    })
}

fn fields(names: &[&[String]], kinds: &[DataType]) -> Fields {
    let field = |run: std::ops::Range<usize>| {
        let name = names[run.start][0].clone();
        if names[run.start].len() == 1 {
            return Field::new(name, kinds[run.start].clone(), true);
        }
        let inner: Vec<&[String]> = names[run.clone()].iter().map(|name| &name[1..]).collect();
        Field::new(name, DataType::Struct(fields(&inner, &kinds[run])), false)
    };
    runs(names).map(field).collect()
}

fn groups(fields: &Fields, names: &[&[String]], arrays: &[ArrayRef]) -> Vec<ArrayRef> {
    let group = |(field, run): (&Arc<Field>, std::ops::Range<usize>)| -> ArrayRef {
        let DataType::Struct(inner) = field.data_type() else { return arrays[run.start].clone() };
        let inner_names: Vec<&[String]> = names[run.clone()].iter().map(|name| &name[1..]).collect();
        Arc::new(StructArray::new(inner.clone(), groups(inner, &inner_names, &arrays[run]), None))
    };
    fields.iter().zip(runs(names)).map(group).collect()
}

/// Writing fails where the file does. What the encoder says may quote values, so it is not passed on.
fn failed(error: ParquetError) -> PipelineError {
    let source = match error {
        ParquetError::External(inner) => match inner.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(_) => io::Error::other("the encoder failed"),
        },
        _ => io::Error::other("the encoder failed"),
    };
    PipelineError::Io { operation: "writing Parquet", source }
}
