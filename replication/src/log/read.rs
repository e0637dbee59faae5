//! Reading by place: bodies for clients, entries for Raft, whole segments for garbage collection and scrubbing.
//!
//! What the page cache has is read at once on the caller's thread; what the device must fetch goes to a blocking one.
//! Every byte handed out matched its checksum.

use super::{
    error::{LogError, ReadError},
    record::{HEADER_BYTES, PAYLOAD_BYTES_MAX, RecordHeader},
    replay::entry_of,
    report::{Finding, findings_of},
    scan::{Scanned, ScannedRecord, Scanner, place_of},
    store::SegmentLog,
    types::{LogEntry, Place, ScannedEntry, SegmentId},
};
use crate::disk::DiskFile;
use bytes::Bytes;
use std::{
    io,
    sync::{Arc, atomic::Ordering::Relaxed},
};

impl SegmentLog {
    /// The body at `place`.
    pub async fn read_body(&self, place: &Place) -> Result<Bytes, ReadError> {
        let at = u64::from(place.offset) + HEADER_BYTES as u64 + u64::from(place.head_length);
        let crc = place.body_crc;
        let check = move |bytes: Bytes| (crc32c::crc32c(&bytes) == crc).then_some(bytes);
        self.read_checked(place, at, place.body_length as usize, check).await
    }

    /// The whole entry at `place`.
    pub async fn read_entry(&self, place: &Place) -> Result<LogEntry, ReadError> {
        let length = HEADER_BYTES + place.head_length as usize + place.body_length as usize;
        let expected = *place;
        let check = move |bytes: Bytes| parse_entry(&expected, bytes);
        self.read_checked(place, u64::from(place.offset), length, check).await
    }

    /// The whole entry at `place` as the device has it, whatever the page cache holds: for scrubbing.
    pub async fn reread_entry(&self, place: &Place) -> Result<LogEntry, ReadError> {
        let place_read = *place;
        let failed = move |source| ReadError::Io { place: place_read, source: Arc::new(source) };
        let file = self.shared().segments.file(place.segment).map_err(failed)?.ok_or(ReadError::Gone)?;
        let length = HEADER_BYTES as u64 + u64::from(place.head_length) + u64::from(place.body_length);
        file.forget(u64::from(place.offset), length).map_err(failed)?;
        self.read_entry(place).await
    }

    /// Walks a segment's entries in order without reading their bodies. Blocks.
    pub fn scan_segment(&self, segment: SegmentId) -> Result<SegmentScan, LogError> {
        Ok(SegmentScan { scanner: self.scanner(segment, false)?, log: self.clone() })
    }

    /// Reads a whole segment and says what in it is rotten. Blocks.
    pub fn verify_segment(&self, segment: SegmentId) -> Result<Vec<Finding>, LogError> {
        let mut scanner = self.scanner(segment, true)?;
        let mut findings = Vec::new();
        loop {
            let before = scanner.last_sequence();
            let next = scanner.next().map_err(|source| self.shared().io("reading a segment", source))?;
            let Some(scanned) = next else { return Ok(findings) };
            findings.extend(findings_of(segment, before, &scanned));
        }
    }

    fn scanner(&self, segment: SegmentId, verify_bodies: bool) -> Result<Scanner, LogError> {
        let shared = self.shared();
        let io = |source| shared.io("opening a segment", source);
        // before the question which one is active: a segment sealed meanwhile is read up to here
        let room_bytes = shared.counters.active_room_bytes.load(Relaxed);
        let active = shared.segments.usage(segment).is_some_and(|(_, active)| active);
        let file = shared.segments.file(segment).map_err(io)?.ok_or(LogError::NoSegment { segment })?;
        let mut scanner = Scanner::new(file, segment, 0, verify_bodies).map_err(io)?;
        if active {
            // a batch may be under way behind what is synced
            scanner.stop_at(shared.options.segment_bytes.saturating_sub(room_bytes));
        }
        Ok(scanner)
    }

    async fn read_checked<T>(
        &self,
        place: &Place,
        at: u64,
        length: usize,
        check: impl Fn(Bytes) -> Option<T>,
    ) -> Result<T, ReadError> {
        let place = *place;
        if place.head_length as usize + place.body_length as usize > PAYLOAD_BYTES_MAX {
            return Err(ReadError::Rotten { place });
        }
        let failed = |source| ReadError::Io { place, source: Arc::new(source) };
        let file = self.shared().segments.file(place.segment).map_err(failed)?.ok_or(ReadError::Gone)?;
        let counters = &self.shared().counters;
        let mut buffer = vec![0; length];
        if file.read_at_once(&mut buffer, at).map_err(failed)? {
            counters.reads_at_once.fetch_add(1, Relaxed);
            if let Some(value) = check(buffer.into()) {
                return Ok(value);
            }
            // perhaps only the cached copy is bad: ask the device
            file.forget(at, length as u64).map_err(failed)?;
        } else {
            counters.reads_waited.fetch_add(1, Relaxed);
        }
        let read = self.read_waiting(file, at, length).await;
        match read {
            Ok(bytes) => match check(bytes) {
                Some(value) => return Ok(value),
                None => tracing::warn!(segment = %place.segment, offset = place.offset, "rotten bytes read"),
            },
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            Err(error) => return Err(failed(error)),
        }
        counters.reads_rotten.fetch_add(1, Relaxed);
        Err(ReadError::Rotten { place })
    }

    async fn read_waiting(&self, file: Arc<dyn DiskFile>, at: u64, length: usize) -> io::Result<Bytes> {
        let _permit = self.shared().reads.acquire().await.map_err(io::Error::other)?;
        let read = move || {
            let mut buffer = vec![0; length];
            file.read_at(&mut buffer, at).map(|()| Bytes::from(buffer))
        };
        tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?
    }
}

/// Entries of a segment, in the order they were written; rotten ones are left out.
pub struct SegmentScan {
    scanner: Scanner,
    log: SegmentLog,
}

impl Iterator for SegmentScan {
    type Item = Result<ScannedEntry, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.scanner.next() {
                Err(source) => return Some(Err(self.log.shared().io("scanning a segment", source))),
                Ok(None) => return None,
                Ok(Some(Scanned::Unreadable { .. })) => {}
                Ok(Some(Scanned::Record(record))) => {
                    if let Some(entry) = scanned_entry(record) {
                        return Some(Ok(entry));
                    }
                }
            }
        }
    }
}

fn scanned_entry(record: ScannedRecord) -> Option<ScannedEntry> {
    let (id, kind) = entry_of(record.header.kind)?;
    let place = record.place();
    record.intact.then_some(ScannedEntry { place, group: record.header.group, id, kind, head: record.head })
}

fn parse_entry(place: &Place, mut bytes: Bytes) -> Option<LogEntry> {
    let header = RecordHeader::decode(&bytes).ok()?;
    let (id, kind) = entry_of(header.kind)?;
    if place_of(&header, u64::from(place.offset)) != *place {
        return None;
    }
    let mut payload = bytes.split_off(HEADER_BYTES);
    let body = payload.split_off(header.head_length as usize);
    let intact = crc32c::crc32c(&payload) == header.head_crc && crc32c::crc32c(&body) == header.body_crc;
    intact.then_some(LogEntry { id, kind, head: payload, body })
}
