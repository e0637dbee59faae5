//! Where encoded rows go, in their final order.

use std::io::Write;

use policy::{Format, Policy};

use crate::PipelineError;
use crate::encode::Encoder;
use crate::packed::Packed;
use crate::parquet::output::ParquetSink;

/// Rows on their way out.
pub(crate) enum Sink<W: Write + Send> {
    /// Lines, and how many bytes of them.
    Lines(Box<Packed<W>>, u64),
    /// Columns.
    Parquet(Box<ParquetSink<W>>),
}

impl<W: Write + Send> Sink<W> {
    pub(crate) fn new(writer: W, policy: &Policy, encoder: &Encoder) -> Result<Self, PipelineError> {
        if policy.target.format == Format::Parquet {
            return ParquetSink::new(writer, policy).map(|sink| Self::Parquet(Box::new(sink)));
        }
        let packed = Packed::new(writer, policy.target.compression).map_err(PipelineError::io("writing"))?;
        let mut sink = Self::Lines(Box::new(packed), 0);
        sink.row(&encoder.header(policy))?;
        Ok(sink)
    }

    pub(crate) fn row(&mut self, row: &[u8]) -> Result<(), PipelineError> {
        match self {
            Self::Lines(packed, bytes) => {
                *bytes += row.len() as u64;
                packed.write_all(row).map_err(PipelineError::io("writing"))
            }
            Self::Parquet(sink) => sink.row(row),
        }
    }

    /// What was written to, and how many bytes.
    pub(crate) fn finish(self) -> Result<(W, u64), PipelineError> {
        match self {
            Self::Lines(packed, bytes) => Ok((packed.finish().map_err(PipelineError::io("writing"))?, bytes)),
            Self::Parquet(sink) => sink.finish(),
        }
    }
}
