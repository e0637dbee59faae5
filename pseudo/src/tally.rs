//! Counting entries of any number of records in a memory of a fixed size.
//!
//! Entries fill a buffer. When it is full they are sorted and equal ones put together; when that frees too little, they
//! are written to a temporary file as one sorted run. At the end the runs are merged, as often as classes are asked for.
//! The temporary file has no name and is gone with the process, however that ends. It holds fingerprints under a key
//! that is only in memory, codes and counts: nothing of the table.

use crate::PseudoError;
use risk::{ClassKey, Entry, Grouper, ValueCount, sort_and_combine};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// Bytes of an entry, in memory as in the temporary file: two halves of the class, the value, the count, little-endian.
pub(crate) const ENTRY_BYTES: usize = 24;
const _: () = assert!(size_of::<Entry>() == ENTRY_BYTES);
/// Bytes that a run is read by while runs are merged, at least: below it, reading would be mostly calls.
const RUN_READ_BYTES_MIN: usize = 16 << 10;
/// Bytes that a run is read by, at most: more makes no disk faster.
const RUN_READ_BYTES_MAX: usize = 1 << 20;
/// Entries that are encoded before they are written.
const WRITE_ENTRIES: usize = 16 << 10;

/// Takes entries in any order.
pub(crate) struct Tally {
    buffer: Vec<Entry>,
    capacity: usize,
    folder: PathBuf,
    runs: Option<Runs>,
    records: u64,
}

/// All entries, ready to be read in order.
pub(crate) struct Sorted {
    entries: Vec<Entry>,
    runs: Option<Runs>,
    records: u64,
    folder: PathBuf,
    read_bytes: usize,
}

/// Sorted runs in one file without a name.
struct Runs {
    file: File,
    /// Number of entries of each run; they lie one behind another.
    lengths: Vec<u64>,
}

impl Tally {
    /// A tally that keeps at most `memory_bytes` of entries and writes what is more to a file in `folder`.
    pub(crate) fn new(memory_bytes: usize, folder: &Path) -> Self {
        let capacity = (memory_bytes / ENTRY_BYTES).max(1024);
        // untouched pages of it cost nothing
        Self {
            buffer: Vec::with_capacity(capacity),
            capacity,
            folder: folder.to_owned(),
            runs: None,
            records: 0,
        }
    }

    /// How much was counted so far.
    pub(crate) fn records(&self) -> u64 {
        self.records
    }

    /// Counts an entry.
    pub(crate) fn push(&mut self, class: ClassKey, value: u32, count: u32) -> Result<(), PseudoError> {
        if self.buffer.len() == self.capacity {
            self.make_room()?;
        }
        self.buffer.push(Entry { class, value, count });
        self.records += u64::from(count);
        Ok(())
    }

    /// Sorts what is left.
    pub(crate) fn finish(mut self) -> Result<Sorted, PseudoError> {
        sort_and_combine(&mut self.buffer, threads());
        if self.runs.is_some() {
            self.write_run()?;
            self.buffer = Vec::new();
        }
        let runs = self.runs.as_ref().map_or(0, |runs| runs.lengths.len());
        let read_bytes = (self.capacity * ENTRY_BYTES / runs.max(1)).min(RUN_READ_BYTES_MAX);
        if runs > 1 && read_bytes < RUN_READ_BYTES_MIN {
            let problem =
                format!("the records make {runs} sorted runs, too many to merge in the memory that is left");
            return Err(PseudoError::Memory { problem });
        }
        let (entries, runs, records) = (self.buffer, self.runs, self.records);
        Ok(Sorted { entries, runs, records, folder: self.folder, read_bytes })
    }

    fn make_room(&mut self) -> Result<(), PseudoError> {
        sort_and_combine(&mut self.buffer, threads());
        // less than half full: sorting again costs less than reading it back later
        if self.buffer.len() > self.capacity / 2 {
            self.write_run()?;
        }
        Ok(())
    }

    fn write_run(&mut self) -> Result<(), PseudoError> {
        if self.runs.is_none() {
            let file = tempfile::tempfile_in(&self.folder);
            let file = file.map_err(PseudoError::file("making a temporary file", &self.folder))?;
            self.runs = Some(Runs { file, lengths: Vec::new() });
        }
        let Some(runs) = &mut self.runs else { unreachable!("it was just made") };
        let mut bytes = Vec::with_capacity(WRITE_ENTRIES * ENTRY_BYTES);
        for entries in self.buffer.chunks(WRITE_ENTRIES) {
            bytes.clear();
            entries.iter().for_each(|entry| bytes.extend_from_slice(&encode(entry)));
            let written = runs.file.write_all(&bytes);
            written.map_err(PseudoError::file("writing a temporary file", &self.folder))?;
        }
        runs.lengths.push(self.buffer.len() as u64);
        self.buffer.clear();
        Ok(())
    }
}

impl Sorted {
    /// Whether a temporary file was needed.
    pub(crate) fn is_on_disk(&self) -> bool {
        self.runs.is_some()
    }

    /// How many entries there are, at most: equal ones of different runs are counted each.
    pub(crate) fn entries_max(&self) -> u64 {
        self.runs.as_ref().map_or(self.entries.len() as u64, |runs| runs.lengths.iter().sum())
    }

    /// Gives back what room was kept for more entries.
    pub(crate) fn shrink(&mut self) {
        self.entries.shrink_to_fit();
    }

    /// Calls `visit` with every entry in order. Equal entries of different runs come one after another.
    pub(crate) fn entries(
        &self,
        visit: &mut impl FnMut(&Entry) -> Result<(), PseudoError>,
    ) -> Result<(), PseudoError> {
        let Some(runs) = &self.runs else {
            return self.entries.iter().try_for_each(visit);
        };
        let mut readers: Vec<RunReader<'_>> = Vec::with_capacity(runs.lengths.len());
        let mut heap = BinaryHeap::with_capacity(runs.lengths.len());
        let mut start = 0;
        for (index, length) in runs.lengths.iter().enumerate() {
            let mut reader = RunReader::new(&runs.file, start, *length, self.read_bytes);
            if let Some(entry) = reader.next(&self.folder)? {
                heap.push(Reverse((entry, index)));
            }
            readers.push(reader);
            start += length;
        }
        let mut records = 0;
        while let Some(mut top) = heap.peek_mut() {
            let Reverse((entry, index)) = *top;
            records += u64::from(entry.count);
            visit(&entry)?;
            match readers[index].next(&self.folder)? {
                Some(next) => *top = Reverse((next, index)),
                None => drop(std::collections::binary_heap::PeekMut::pop(top)),
            }
        }
        if records != self.records {
            let problem = "a temporary file does not hold what was written to it";
            return Err(PseudoError::table(&self.folder, problem));
        }
        Ok(())
    }

    /// Calls `visit` with every class and its values.
    pub(crate) fn classes(
        &self,
        mut visit: impl FnMut(ClassKey, &[ValueCount]) -> Result<(), PseudoError>,
    ) -> Result<(), PseudoError> {
        let mut grouper = Grouper::default();
        self.entries(&mut |entry| grouper.push(entry, &mut visit))?;
        grouper.finish(&mut visit)
    }
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Reads one run piece by piece.
struct RunReader<'a> {
    file: &'a File,
    next: u64,
    end: u64,
    bytes: Vec<u8>,
    position: usize,
    piece_entries: usize,
}

impl<'a> RunReader<'a> {
    fn new(file: &'a File, start: u64, length: u64, read_bytes: usize) -> Self {
        let piece_entries = (read_bytes / ENTRY_BYTES).max(1);
        Self { file, next: start, end: start + length, bytes: Vec::new(), position: 0, piece_entries }
    }

    fn next(&mut self, folder: &Path) -> Result<Option<Entry>, PseudoError> {
        if self.position == self.bytes.len() {
            let entries = usize::try_from(self.end - self.next).unwrap_or(usize::MAX).min(self.piece_entries);
            if entries == 0 {
                return Ok(None);
            }
            self.bytes.resize(entries * ENTRY_BYTES, 0);
            let read = self.file.read_exact_at(&mut self.bytes, self.next * ENTRY_BYTES as u64);
            read.map_err(PseudoError::file("reading a temporary file", folder))?;
            (self.position, self.next) = (0, self.next + entries as u64);
        }
        let bytes = &self.bytes[self.position..self.position + ENTRY_BYTES];
        self.position += ENTRY_BYTES;
        Ok(Some(decode(bytes)))
    }
}

fn encode(entry: &Entry) -> [u8; ENTRY_BYTES] {
    let mut bytes = [0; ENTRY_BYTES];
    bytes[..8].copy_from_slice(&entry.class.high.to_le_bytes());
    bytes[8..16].copy_from_slice(&entry.class.low.to_le_bytes());
    bytes[16..20].copy_from_slice(&entry.value.to_le_bytes());
    bytes[20..].copy_from_slice(&entry.count.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Entry {
    let long = |from: usize| u64::from_le_bytes(bytes[from..from + 8].try_into().expect("eight bytes"));
    let short = |from: usize| u32::from_le_bytes(bytes[from..from + 4].try_into().expect("four bytes"));
    let class = ClassKey { high: long(0), low: long(8) };
    Entry { class, value: short(16), count: short(20) }
}

#[cfg(test)]
#[path = "tally/tests.rs"]
mod tests;
