//! Where encoded rows go, in their final order.

use std::io::Write;

use policy::Policy;

use crate::PipelineError;
use crate::encode::Encoder;
use crate::packed::Packed;

/// Lines, packed on their way out.
pub(crate) struct Sink<W: Write> {
    packed: Packed<W>,
    pub(crate) bytes: u64,
}

impl<W: Write> Sink<W> {
    pub(crate) fn new(writer: W, policy: &Policy, encoder: &Encoder) -> Result<Self, PipelineError> {
        let packed = Packed::new(writer, policy.target.compression).map_err(PipelineError::io("writing"))?;
        let mut sink = Self { packed, bytes: 0 };
        sink.row(&encoder.header(policy))?;
        Ok(sink)
    }

    pub(crate) fn row(&mut self, row: &[u8]) -> Result<(), PipelineError> {
        self.bytes += row.len() as u64;
        self.packed.write_all(row).map_err(PipelineError::io("writing"))
    }

    pub(crate) fn finish(self) -> Result<W, PipelineError> {
        self.packed.finish().map_err(PipelineError::io("writing"))
    }
}
