//! Rows in the order of their ranks: a keyed permutation of the order in which they came.
//!
//! In memory while they fit; beyond that rows go to temporary files by the first bits of their rank, and each file is put in order on
//! its own, split again if it is too large. What is in these files is what the export will hold.

use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};

use crate::PipelineError;

/// Rows kept in memory, bytes, where the caller has no other wish.
pub const SHUFFLE_MEMORY_BYTES: usize = 256 << 20;
/// 64 files at once, each with a buffer of 64 KiB.
const BUCKET_BITS: u32 = 6;
const BUCKET_BUFFER_BYTES: usize = 64 << 10;
/// Rank and length before each row in a file.
const ROW_HEAD_BYTES: usize = 12;

/// A temporary file.
pub trait SpillFile: Read + Write + Seek {}

impl<T: Read + Write + Seek> SpillFile for T {}

/// Where temporary files come from. They have no name, or lose it when they are dropped.
pub trait Spill {
    /// A new, empty file.
    fn file(&mut self) -> io::Result<Box<dyn SpillFile>>;
}

impl<F: FnMut() -> io::Result<Box<dyn SpillFile>>> Spill for F {
    fn file(&mut self) -> io::Result<Box<dyn SpillFile>> {
        self()
    }
}

/// Rows on their way into order.
pub(crate) struct Shuffle<'a> {
    rows: Vec<u8>,
    index: Vec<(u64, usize, u32)>,
    memory_bytes: usize,
    spill: &'a mut dyn Spill,
    buckets: Vec<Bucket>,
}

struct Bucket {
    file: BufWriter<Box<dyn SpillFile>>,
    bytes: u64,
}

impl<'a> Shuffle<'a> {
    pub(crate) fn new(memory_bytes: usize, spill: &'a mut dyn Spill) -> Self {
        Self { rows: Vec::new(), index: Vec::new(), memory_bytes, spill, buckets: Vec::new() }
    }

    pub(crate) fn add(&mut self, rank: u64, row: &[u8]) -> Result<(), PipelineError> {
        let head = size_of::<(u64, usize, u32)>();
        if self.rows.len() + row.len() + (self.index.len() + 1) * head > self.memory_bytes
            && !self.index.is_empty()
        {
            if self.buckets.is_empty() {
                self.buckets = buckets(self.spill)?;
            }
            for (rank, from, length) in self.index.drain(..) {
                scatter(&mut self.buckets, 0, rank, &self.rows[from..from + length as usize])?;
            }
            self.rows.clear();
        }
        let length = u32::try_from(row.len()).expect("a row is far shorter than 4 GiB");
        self.index.push((rank, self.rows.len(), length));
        self.rows.extend_from_slice(row);
        Ok(())
    }

    /// Gives all rows in order. Says whether files were needed.
    pub(crate) fn finish(
        mut self,
        give: &mut dyn FnMut(&[u8]) -> Result<(), PipelineError>,
    ) -> Result<bool, PipelineError> {
        if self.buckets.is_empty() {
            in_order(&self.rows, &mut self.index, give)?;
            return Ok(false);
        }
        for (rank, from, length) in self.index.drain(..) {
            scatter(&mut self.buckets, 0, rank, &self.rows[from..from + length as usize])?;
        }
        self.rows = Vec::new();
        let buckets = std::mem::take(&mut self.buckets);
        gather(buckets, BUCKET_BITS, self.memory_bytes, self.spill, give)?;
        Ok(true)
    }
}

fn buckets(spill: &mut dyn Spill) -> Result<Vec<Bucket>, PipelineError> {
    let bucket = |_| {
        let file = spill.file().map_err(PipelineError::io("making a temporary file"))?;
        Ok(Bucket { file: BufWriter::with_capacity(BUCKET_BUFFER_BYTES, file), bytes: 0 })
    };
    (0..1_u32 << BUCKET_BITS).map(bucket).collect()
}

/// Puts a row where the bits of its rank after the first `depth` say.
fn scatter(buckets: &mut [Bucket], depth: u32, rank: u64, row: &[u8]) -> Result<(), PipelineError> {
    let place = (rank << depth) >> (u64::BITS - BUCKET_BITS);
    let bucket = &mut buckets[usize::try_from(place).expect("six bits")];
    let mut head = [0; ROW_HEAD_BYTES];
    head[..8].copy_from_slice(&rank.to_le_bytes());
    head[8..]
        .copy_from_slice(&u32::try_from(row.len()).expect("a row is far shorter than 4 GiB").to_le_bytes());
    let written = bucket.file.write_all(&head).and_then(|()| bucket.file.write_all(row));
    bucket.bytes += (head.len() + row.len()) as u64;
    written.map_err(PipelineError::io("writing a temporary file"))
}

fn gather(
    buckets: Vec<Bucket>,
    depth: u32,
    memory_bytes: usize,
    spill: &mut dyn Spill,
    give: &mut dyn FnMut(&[u8]) -> Result<(), PipelineError>,
) -> Result<(), PipelineError> {
    for bucket in buckets {
        let writing = PipelineError::io("writing a temporary file");
        let mut file = bucket.file.into_inner().map_err(|error| writing(error.into_error()))?;
        let reading = || PipelineError::io("reading a temporary file");
        file.seek(SeekFrom::Start(0)).map_err(reading())?;
        let mut reader = BufReader::with_capacity(BUCKET_BUFFER_BYTES, file);
        // ranks are as good as random, so bits run out only where rows are far too few to fill the memory
        let splits = bucket.bytes > memory_bytes as u64 && depth + BUCKET_BITS <= u64::BITS;
        let mut inner = if splits { self::buckets(spill)? } else { Vec::new() };
        let (mut rows, mut index, mut row) = (Vec::new(), Vec::new(), Vec::new());
        let mut left = bucket.bytes;
        while left > 0 {
            let mut head = [0; ROW_HEAD_BYTES];
            reader.read_exact(&mut head).map_err(reading())?;
            let rank = u64::from_le_bytes(*head.first_chunk().expect("the head is longer"));
            let length = u32::from_le_bytes(*head.last_chunk().expect("the head is longer"));
            row.resize(length as usize, 0);
            reader.read_exact(&mut row).map_err(reading())?;
            left -= ROW_HEAD_BYTES as u64 + u64::from(length);
            if splits {
                scatter(&mut inner, depth, rank, &row)?;
            } else {
                index.push((rank, rows.len(), length));
                rows.extend_from_slice(&row);
            }
        }
        if splits {
            gather(inner, depth + BUCKET_BITS, memory_bytes, spill, give)?;
        } else {
            in_order(&rows, &mut index, give)?;
        }
    }
    Ok(())
}

fn in_order(
    rows: &[u8],
    index: &mut [(u64, usize, u32)],
    give: &mut dyn FnMut(&[u8]) -> Result<(), PipelineError>,
) -> Result<(), PipelineError> {
    index.sort_unstable();
    index.iter().try_for_each(|(_, from, length)| give(&rows[*from..*from + *length as usize]))
}
