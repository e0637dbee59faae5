//! Walks the records of one segment, past rot.
//!
//! A header that does not parse where one should be is looked for further on, at every place where one could begin.
//! What a hole or a bad record means (torn, rotten) is the caller's to judge: this only says what is there.

use super::{
    record::{ALIGN_BYTES, HEADER_BYTES, RecordHeader},
    types::{Place, SegmentId},
};
use crate::disk::{BLOCK_BYTES, DiskFile};
use bytes::Bytes;
use std::{io, sync::Arc};

/// Read from the file at once, bytes: a run of small records costs one read, and skipping a body wastes little.
const WINDOW_BYTES: usize = 128 << 10;

/// What the scanner met.
#[derive(Debug)]
pub(super) enum Scanned {
    /// A header that parses.
    Record(ScannedRecord),
    /// Bytes that belong to no record that could be read, before the next record or the end.
    Unreadable { from: u64 },
}

/// A record whose header parses.
#[derive(Debug)]
pub(super) struct ScannedRecord {
    pub(super) header: RecordHeader,
    pub(super) offset: u64,
    /// The head; empty when it is not intact.
    pub(super) head: Bytes,
    /// Whether head and body (if bodies are read) match their checksums.
    pub(super) intact: bool,
}

impl ScannedRecord {
    /// Where the bytes of this record end, padding included.
    pub(super) fn end(&self) -> u64 {
        (self.offset + self.header.record_bytes() as u64).next_multiple_of(ALIGN_BYTES as u64)
    }

    pub(super) fn place(&self) -> Place {
        place_of(&self.header, self.offset)
    }
}

/// The place of the record with `header` at `offset`.
pub(super) fn place_of(header: &RecordHeader, offset: u64) -> Place {
    Place {
        segment: header.segment,
        offset: u32::try_from(offset).expect("segments end below 4 GiB"),
        head_length: header.head_length,
        body_length: header.body_length,
        body_crc: header.body_crc,
    }
}

/// Walks one segment.
pub(super) struct Scanner {
    file: Arc<dyn DiskFile>,
    segment: SegmentId,
    length: u64,
    position: u64,
    last_sequence: u64,
    verify_bodies: bool,
    window: Vec<u8>,
    window_at: u64,
}

impl Scanner {
    /// Starts behind the segment's header block; records up to `last_sequence` are not expected in it.
    pub(super) fn new(
        file: Arc<dyn DiskFile>,
        segment: SegmentId,
        last_sequence: u64,
        verify_bodies: bool,
    ) -> io::Result<Self> {
        let length = file.length()?;
        let position = BLOCK_BYTES as u64;
        Ok(Self {
            file,
            segment,
            length,
            position,
            last_sequence,
            verify_bodies,
            window: Vec::new(),
            window_at: 0,
        })
    }

    /// Takes the segment to end at `length`, if it is longer.
    pub(super) fn stop_at(&mut self, length: u64) {
        self.length = self.length.min(length);
    }

    /// Sequence of the last record met.
    pub(super) fn last_sequence(&self) -> u64 {
        self.last_sequence
    }

    /// The next record or hole; none at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Scanned>> {
        if let Some(header) = self.header_at(self.position)? {
            return self.record(header).map(Some);
        }
        let block_end = self.position.next_multiple_of(BLOCK_BYTES as u64).min(self.length);
        let rest = block_end.saturating_sub(self.position) as usize;
        if rest > 0 && is_zero(self.bytes(self.position, rest)?) {
            // the padding of a batch: the next one begins at the next block
            self.position = block_end;
            if let Some(header) = self.header_at(self.position)? {
                return self.record(header).map(Some);
            }
        }
        self.hole()
    }

    /// Looks for the next header; none when there is nothing but zeros.
    fn hole(&mut self) -> io::Result<Option<Scanned>> {
        let from = self.position;
        let mut at = from;
        let mut blank = true;
        while at + HEADER_BYTES as u64 <= self.length {
            let block_end = (at / BLOCK_BYTES as u64 + 1) * BLOCK_BYTES as u64;
            let length = (block_end.min(self.length) - at) as usize;
            if is_zero(self.bytes(at, length)?) {
                at = block_end;
                continue;
            }
            blank = false;
            if at > from && self.header_at(at)?.is_some() {
                self.position = at;
                return Ok(Some(Scanned::Unreadable { from }));
            }
            at += ALIGN_BYTES as u64;
        }
        self.position = self.length;
        Ok((!blank).then_some(Scanned::Unreadable { from }))
    }

    /// The header at `at`, if one of this segment and later than those met parses there.
    fn header_at(&mut self, at: u64) -> io::Result<Option<RecordHeader>> {
        let (length, segment, last_sequence) = (self.length, self.segment, self.last_sequence);
        if at + HEADER_BYTES as u64 > length {
            return Ok(None);
        }
        let bytes = self.bytes(at, HEADER_BYTES)?;
        if !RecordHeader::looks_like_one(bytes) {
            return Ok(None);
        }
        Ok(RecordHeader::decode(bytes).ok().filter(|header| {
            header.segment == segment
                && header.sequence > last_sequence
                && at + header.record_bytes() as u64 <= length
        }))
    }

    fn record(&mut self, header: RecordHeader) -> io::Result<Scanned> {
        let offset = self.position;
        let head_at = offset + HEADER_BYTES as u64;
        let head = Bytes::copy_from_slice(self.bytes(head_at, header.head_length as usize)?);
        let mut intact = crc32c::crc32c(&head) == header.head_crc;
        if self.verify_bodies {
            let body_at = head_at + u64::from(header.head_length);
            let body = self.bytes(body_at, header.body_length as usize)?;
            intact &= crc32c::crc32c(body) == header.body_crc;
        }
        self.last_sequence = header.sequence;
        let head = if intact { head } else { Bytes::new() };
        let record = ScannedRecord { header, offset, head, intact };
        self.position = record.end();
        Ok(Scanned::Record(record))
    }

    /// The bytes of a range that lies within the file.
    fn bytes(&mut self, at: u64, length: usize) -> io::Result<&[u8]> {
        let inside = at >= self.window_at && at + length as u64 <= self.window_at + self.window.len() as u64;
        if !inside {
            let wanted = (length.max(WINDOW_BYTES) as u64).min(self.length - at) as usize;
            self.window.resize(wanted, 0);
            self.window_at = at;
            if let Err(error) = self.file.read_at(&mut self.window, at) {
                self.window.clear();
                return Err(error);
            }
        }
        let start = (at - self.window_at) as usize;
        Ok(&self.window[start..start + length])
    }
}

/// Whether there are only zeros.
pub(super) fn is_zero(bytes: &[u8]) -> bool {
    let (words, tail) = bytes.as_chunks::<16>();
    words.iter().all(|word| *word == [0; 16]) && tail.iter().all(|byte| *byte == 0)
}
