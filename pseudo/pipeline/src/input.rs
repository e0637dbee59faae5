//! What is read: a stream, or a file where the format asks for jumping about in it.

use std::fs::File;
use std::io::{self, Read};

/// One input of a run.
pub enum Input<'a> {
    /// Bytes in their order: for every format but Parquet.
    Stream(Box<dyn Read + 'a>),
    /// A file: for every format.
    File(File),
}

impl<'a> Input<'a> {
    /// A stream.
    pub fn stream(reader: impl Read + 'a) -> Self {
        Self::Stream(Box::new(reader))
    }
}

impl Read for Input<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Stream(reader) => reader.read(buffer),
            Self::File(file) => file.read(buffer),
        }
    }
}
