//! What is read: a stream, or bytes at any place where the format asks for jumping about in them.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

/// Bytes that can be read at any place.
pub trait RandomAccess: Send + Sync {
    /// How many there are.
    fn bytes(&self) -> u64;

    /// Fills the buffer with the bytes from `offset` on, all of which are there.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

/// One input of a run.
pub enum Input<'a> {
    /// Bytes in their order: for every format but Parquet.
    Stream(Box<dyn Read + 'a>),
    /// A file: for every format.
    File(File),
    /// Bytes at any place: for Parquet.
    Random(Arc<dyn RandomAccess>),
}

impl<'a> Input<'a> {
    /// A stream.
    pub fn stream(reader: impl Read + 'a) -> Self {
        Self::Stream(Box::new(reader))
    }

    pub(crate) fn random(self) -> Option<Random> {
        match self {
            Self::Stream(_) => None,
            Self::File(file) => {
                Some(Random(Arc::new(WholeFile { bytes: file.metadata().ok()?.len(), file })))
            }
            Self::Random(random) => Some(Random(random)),
        }
    }
}

impl Read for Input<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Stream(reader) => reader.read(buffer),
            Self::File(file) => file.read(buffer),
            Self::Random(_) => Err(io::Error::from(io::ErrorKind::Unsupported)),
        }
    }
}

struct WholeFile {
    file: File,
    bytes: u64,
}

impl RandomAccess for WholeFile {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
}

/// The same as the decoder of Parquet wants it.
pub(crate) struct Random(Arc<dyn RandomAccess>);

impl Length for Random {
    fn len(&self) -> u64 {
        self.0.bytes()
    }
}

impl ChunkReader for Random {
    type T = BufReader<From>;

    fn get_read(&self, start: u64) -> Result<BufReader<From>, ParquetError> {
        Ok(BufReader::new(From { source: self.0.clone(), offset: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        // a damaged file may name any length
        if start.checked_add(length as u64).is_none_or(|end| end > self.0.bytes()) {
            return Err(ParquetError::EOF("beyond the end".to_owned()));
        }
        let mut bytes = vec![0; length];
        self.0.read_exact_at(&mut bytes, start)?;
        Ok(bytes.into())
    }
}

/// Bytes from a place on, in their order.
pub(crate) struct From {
    source: Arc<dyn RandomAccess>,
    offset: u64,
}

impl Read for From {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.source.bytes().saturating_sub(self.offset)).unwrap_or(usize::MAX);
        let count = buffer.len().min(left);
        self.source.read_exact_at(&mut buffer[..count], self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}
