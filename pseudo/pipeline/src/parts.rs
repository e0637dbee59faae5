//! Rows on their way into one file or several: a part is closed once whoever keeps it says that it is full.

use std::io::{self, Write};

use policy::Policy;
use transform::Kind;

use crate::PipelineError;
use crate::encode::Encoder;
use crate::row::Row;
use crate::sink::Sink;

/// Where the parts of an output come from and go to.
pub trait Parts {
    /// What a part is written to.
    type Writer: Write + Send;

    /// A new part. Parts are asked for one after another; there is always a first.
    fn open(&mut self) -> io::Result<Self::Writer>;

    /// Whether the part that is being written shall get no further rows. Rows that are not yet encoded are not in its bytes.
    fn is_full(&self, rows: u64) -> bool;

    /// Takes a part that is whole.
    fn close(&mut self, writer: Self::Writer, rows: u64) -> io::Result<()>;
}

/// Sees each treated record before it is put in order, and says whether it stays: kind and bytes of every column, in the policy's order.
pub type Observe<'a> = dyn FnMut(&mut dyn Iterator<Item = (Kind, &[u8])>) -> io::Result<bool> + 'a;

/// The part being written, and those before it.
pub(crate) struct Files<'a, P: Parts> {
    parts: &'a mut P,
    policy: &'a Policy,
    encoder: &'a Encoder,
    sink: Sink<P::Writer>,
    rows: u64,
    bytes: u64,
}

impl<'a, P: Parts> Files<'a, P> {
    pub(crate) fn new(
        parts: &'a mut P,
        policy: &'a Policy,
        encoder: &'a Encoder,
    ) -> Result<Self, PipelineError> {
        let sink = Sink::new(parts.open().map_err(PipelineError::io("writing"))?, policy, encoder)?;
        Ok(Self { parts, policy, encoder, sink, rows: 0, bytes: 0 })
    }

    /// Writes an encoded row.
    pub(crate) fn row(&mut self, row: &[u8]) -> Result<(), PipelineError> {
        self.make_room()?;
        self.sink.row(row)
    }

    /// Encodes and writes a row.
    pub(crate) fn row_of(&mut self, row: &Row) -> Result<(), PipelineError> {
        self.make_room()?;
        self.sink.row_of(self.encoder, row)
    }

    /// Bytes of all parts, before they are packed; of Parquet as written.
    pub(crate) fn finish(self) -> Result<u64, PipelineError> {
        let (writer, bytes) = self.sink.finish()?;
        self.parts.close(writer, self.rows).map_err(PipelineError::io("writing"))?;
        Ok(self.bytes + bytes)
    }

    /// Counts a row, and begins a new part when the row has no place in this one.
    fn make_room(&mut self) -> Result<(), PipelineError> {
        if self.rows > 0 && self.parts.is_full(self.rows) {
            let writing = || PipelineError::io("writing");
            let next = Sink::new(self.parts.open().map_err(writing())?, self.policy, self.encoder)?;
            let (writer, bytes) = std::mem::replace(&mut self.sink, next).finish()?;
            self.bytes += bytes;
            self.parts.close(writer, std::mem::take(&mut self.rows)).map_err(writing())?;
        }
        self.rows += 1;
        Ok(())
    }
}

/// One file, whatever its size.
pub(crate) struct One<W> {
    pub(crate) writer: Option<W>,
}

impl<W: Write + Send> Parts for One<W> {
    type Writer = W;

    fn open(&mut self) -> io::Result<W> {
        Ok(self.writer.take().expect("one file is opened once"))
    }

    fn is_full(&self, _: u64) -> bool {
        false
    }

    fn close(&mut self, writer: W, _: u64) -> io::Result<()> {
        self.writer = Some(writer);
        Ok(())
    }
}
