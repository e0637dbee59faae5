//! Where encoded rows go, in their final order.

use std::io::Write;

use policy::{Format, Policy};

use crate::PipelineError;
use crate::encode::Encoder;
use crate::packed::Packed;
use crate::parquet::output::ParquetSink;
use crate::row::Row;

/// Rows on their way out.
pub(crate) enum Sink<W: Write + Send> {
    /// Lines.
    Lines(Box<Lines<W>>),
    /// Columns.
    Parquet(Box<ParquetSink<W>>),
}

/// Lines, written many at a time.
pub(crate) struct Lines<W: Write + Send> {
    packed: Packed<W>,
    waiting: Vec<u8>,
    /// Bytes written, before they are packed.
    bytes: u64,
}

/// Bytes that wait for others before they are written.
const WRITE_BYTES: usize = 128 << 10;

impl<W: Write + Send> Lines<W> {
    fn write(&mut self) -> Result<(), PipelineError> {
        self.bytes += self.waiting.len() as u64;
        let written = self.packed.write_all(&self.waiting);
        self.waiting.clear();
        written.map_err(PipelineError::io("writing"))
    }
}

impl<W: Write + Send> Sink<W> {
    pub(crate) fn new(writer: W, policy: &Policy, encoder: &Encoder) -> Result<Self, PipelineError> {
        if policy.target.format == Format::Parquet {
            return ParquetSink::new(writer, policy).map(|sink| Self::Parquet(Box::new(sink)));
        }
        let packed = Packed::new(writer, policy.target.compression).map_err(PipelineError::io("writing"))?;
        let waiting = encoder.header(policy);
        Ok(Self::Lines(Box::new(Lines { packed, waiting, bytes: 0 })))
    }

    /// Writes an encoded row.
    pub(crate) fn row(&mut self, row: &[u8]) -> Result<(), PipelineError> {
        match self {
            Self::Lines(lines) => {
                lines.waiting.extend_from_slice(row);
                if lines.waiting.len() < WRITE_BYTES { Ok(()) } else { lines.write() }
            }
            Self::Parquet(sink) => sink.row(row),
        }
    }

    /// Encodes and writes a row.
    pub(crate) fn row_of(&mut self, encoder: &Encoder, row: &Row) -> Result<(), PipelineError> {
        match self {
            Self::Lines(lines) => {
                encoder.encode(row, &mut lines.waiting);
                if lines.waiting.len() < WRITE_BYTES { Ok(()) } else { lines.write() }
            }
            Self::Parquet(sink) => sink.row_of(row),
        }
    }

    /// What was written to, and how many bytes.
    pub(crate) fn finish(self) -> Result<(W, u64), PipelineError> {
        match self {
            Self::Lines(mut lines) => {
                lines.write()?;
                Ok((lines.packed.finish().map_err(PipelineError::io("writing"))?, lines.bytes))
            }
            Self::Parquet(sink) => sink.finish(),
        }
    }
}
