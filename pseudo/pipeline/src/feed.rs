//! A window over a stream of bytes that grows up to the longest record and no further.

use std::io::{self, Read};

/// The longest record, bytes. Rows of tables are far shorter; what is longer is a document.
pub const RECORD_BYTES_MAX: usize = 1 << 20;
/// Read at once, bytes: large enough that calls do not count.
const CHUNK_BYTES: usize = 256 << 10;

/// Bytes of a stream that were read and not yet used.
pub(crate) struct Feed<R> {
    reader: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Bytes used so far.
    offset: u64,
    is_done: bool,
}

impl<R: Read> Feed<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self { reader, buffer: vec![0; CHUNK_BYTES], start: 0, end: 0, offset: 0, is_done: false }
    }

    /// What is there and not yet used.
    pub(crate) fn window(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Bytes of the stream before the window.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The first bytes of the window are used.
    pub(crate) fn consume(&mut self, count: usize) {
        assert!(count <= self.end - self.start, "more is used than there is");
        self.start += count;
        self.offset += count as u64;
    }

    /// Reads more. `false` at the end of the stream.
    pub(crate) fn more(&mut self) -> io::Result<bool> {
        if self.is_done {
            return Ok(false);
        }
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.buffer.len() {
            assert!(self.end <= RECORD_BYTES_MAX, "a record that is too long is not read on");
            self.buffer.resize((2 * self.end).min(RECORD_BYTES_MAX + CHUNK_BYTES), 0);
        }
        loop {
            match self.reader.read(&mut self.buffer[self.end..]) {
                Ok(0) => {
                    self.is_done = true;
                    return Ok(false);
                }
                Ok(count) => {
                    self.end += count;
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
