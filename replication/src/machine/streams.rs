//! Streams: runs of sealed chunks, invisible until a version or a part adopts them.
//!
//! A stream is open (it has an open-stream row) or adopted (by exactly one version or part) or gone. One that is too
//! long to be freed at once becomes an open stream that began at time 0, which the next `ExpireStreams` takes on.

use super::{
    Place,
    apply::{Applying, Halt, Judged},
    key, row,
};
use crate::index::Index;
use std::collections::BTreeSet;
use wire::{Decoder, Outcome, PartContent, Refusal, StreamId, UnixMillis};

/// Chunk rows that one entry may remove. 16,384: 16 GiB of data, some 50 ms of index writes.
pub(super) const FREED_ROWS_MAX: usize = 16 << 10;

impl<I: Index> Applying<'_, I> {
    pub(super) fn put_chunk(&mut self, stream: StreamId, index: u32) -> Judged {
        let chunk = key::chunk(stream, index);
        let open = key::open_stream(stream);
        if self.transaction.get(&open)?.is_none() {
            let prefix = key::chunks(stream);
            if self.transaction.first(&prefix..&key::after(prefix.clone()))?.is_some() {
                // adopted: this is a late copy of a chunk that is there, or one that nobody counted
                return Ok(Outcome::Done);
            }
            self.transaction.put(open, &self.entry.meta.time.0.to_le_bytes());
        }
        if self.transaction.get(&chunk)?.is_none() {
            self.put_chunk_row(chunk);
        }
        Ok(Outcome::Done)
    }

    pub(super) fn abandon_stream(&mut self, stream: StreamId) -> Judged {
        let open = key::open_stream(stream);
        if self.transaction.get(&open)?.is_some() {
            self.transaction.delete(open);
            self.free_stream(stream)?;
        }
        Ok(Outcome::Done)
    }

    pub(super) fn expire_streams(&mut self, created_before: UnixMillis) -> Judged {
        let mut expired = Vec::new();
        let (start, end) = ([key::table::OPEN_STREAM], key::table_end(key::table::OPEN_STREAM));
        for found in self.transaction.scan(&start..&end) {
            let (row_key, value) = found?;
            if row::read("open stream row", value, Decoder::u64)? < created_before.0 {
                expired.push(key::last_id(&row_key).map(StreamId).ok_or_else(|| damaged("open stream key"))?);
            }
            if expired.len() == FREED_ROWS_MAX {
                break;
            }
        }
        for stream in expired {
            if self.freed_rows_left == 0 {
                break;
            }
            self.transaction.delete(key::open_stream(stream));
            self.free_stream(stream)?;
        }
        Ok(Outcome::Done)
    }

    /// Checks that every part's chunks are there for the taking, before anything is changed.
    pub(super) fn check_streams(&self, parts: &[PartContent]) -> Result<(), Halt> {
        let mut seen = BTreeSet::new();
        for part in parts.iter().filter(|part| !part.inline && part.chunks > 0) {
            if !seen.insert(part.stream) || self.transaction.get(&key::open_stream(part.stream))?.is_none() {
                return Err(Refusal::MissingChunks.into());
            }
            let (start, end) = (key::chunk(part.stream, 0), key::chunk(part.stream, part.chunks));
            let mut expected = 0;
            for found in self.transaction.scan(&start..&end) {
                if key::last_u32(&found?.0) != Some(expected) {
                    break;
                }
                expected += 1;
            }
            if expected != part.chunks {
                return Err(Refusal::MissingChunks.into());
            }
        }
        Ok(())
    }

    /// Takes the part's stream over; chunks beyond those it counts are freed.
    pub(super) fn adopt_stream(&mut self, part: &PartContent) -> Result<(), Halt> {
        if part.inline || part.chunks == 0 {
            return Ok(());
        }
        self.transaction.delete(key::open_stream(part.stream));
        let prefix = key::chunks(part.stream);
        self.free_chunks(&key::chunk(part.stream, part.chunks), &key::after(prefix)).map(drop)
    }

    /// Makes the entry's body the only chunk of `stream`.
    pub(super) fn adopt_body(&mut self, stream: StreamId) -> Result<(), Halt> {
        let prefix = key::chunks(stream);
        if self.transaction.first(&prefix..&key::after(prefix.clone()))?.is_some() {
            return Err(Refusal::MissingChunks.into());
        }
        self.put_chunk_row(key::chunk(stream, 0));
        Ok(())
    }

    /// Removes a stream's chunks; what the entry may not remove any more is left to `ExpireStreams`.
    pub(super) fn free_stream(&mut self, stream: StreamId) -> Result<(), Halt> {
        let prefix = key::chunks(stream);
        if !self.free_chunks(&prefix, &key::after(prefix.clone()))? {
            self.transaction.put(key::open_stream(stream), &0_u64.to_le_bytes());
        }
        Ok(())
    }

    /// Says whether all chunks in the range are gone.
    fn free_chunks(&mut self, start: &[u8], end: &[u8]) -> Result<bool, Halt> {
        let limit = self.freed_rows_left;
        let rows = self.transaction.scan(start..end).take(limit + 1).collect::<Result<Vec<_>, _>>()?;
        let freed = rows.len().min(limit);
        for (row_key, value) in rows.iter().take(freed) {
            let place = row::read("chunk row", value.clone(), Place::decode)?;
            self.transaction.release(&place);
            self.transaction.delete(row_key);
        }
        self.freed_rows_left -= freed;
        Ok(rows.len() <= limit)
    }

    fn put_chunk_row(&mut self, chunk: Vec<u8>) {
        let place = self.entry.place;
        self.transaction.hold(&place);
        self.transaction.put(chunk, row::value(|e| place.encode(e)));
    }
}

pub(super) fn damaged(row: &'static str) -> Halt {
    Halt::Failed(super::MachineError::Row { row })
}
