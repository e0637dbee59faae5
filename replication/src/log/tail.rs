//! The end of the newest segment: what of it is kept, what was torn, and making what is kept durable.
//!
//! At most one batch is ever written and not yet synced. So whatever is bad after the last sequence that some record
//! calls synced was under way when the power went, and nobody was told that it was there. Bad before it is rot.

use super::{
    header::SegmentHeader,
    record::RecordKind,
    scan::{Scanned, ScannedRecord, Scanner, is_zero},
    types::SegmentId,
};
use crate::disk::{AlignedBuffer, BLOCK_BYTES, DiskFile};
use std::{io, sync::Arc};

/// Written at once when a tail is cleared, bytes.
const PIECE_BYTES: usize = 1 << 20;

/// All of a segment as it was found.
pub(super) struct Tail {
    items: Vec<Scanned>,
    /// Greatest sequence that is known to have been synced.
    synced: u64,
    /// Sequence before the segment's first record; 0 when it is not known.
    before: u64,
}

/// What of a tail counts.
pub(super) struct Judged {
    /// Records and rot, in order.
    pub(super) kept: Vec<Scanned>,
    /// Where the torn part begins.
    pub(super) cut: Option<u64>,
    /// Where the next batch may go, but for alignment.
    pub(super) end: u64,
    /// The first byte that is not known to be on stable storage.
    unsynced_from: u64,
}

impl Tail {
    /// Reads the whole segment, bodies included. Everything up to `synced` is known to be synced from elsewhere.
    pub(super) fn scan(
        file: Arc<dyn DiskFile>,
        segment: SegmentId,
        header: Option<&SegmentHeader>,
        synced: u64,
    ) -> io::Result<Self> {
        let before = header.map_or(0, |header| header.first_sequence.saturating_sub(1));
        let mut scanner = Scanner::new(file, segment, before, true)?;
        let mut items = Vec::new();
        let mut synced = synced.max(before);
        while let Some(item) = scanner.next()? {
            if let Scanned::Record(record) = &item {
                synced = synced.max(record.header.synced);
            }
            items.push(item);
        }
        Ok(Self { items, synced, before })
    }

    /// Sequence up to which everything is known to be synced.
    pub(super) fn synced(&self) -> u64 {
        self.synced
    }

    /// Sequence before the segment's first record; 0 when it is not known.
    pub(super) fn before(&self) -> u64 {
        self.before
    }

    /// Whether the segment's first write was finished: nothing was written to it before.
    pub(super) fn begun(&self, header: Option<&SegmentHeader>) -> bool {
        let Some(header) = header else {
            let first = self.items.iter().find_map(record_in);
            return first.is_some_and(|first| self.synced >= first.header.sequence);
        };
        let prologue = u64::from(header.prologue_records);
        // anything unreadable before their end is judged torn, and they with it
        let checkpoints = self
            .items
            .iter()
            .map_while(record_in)
            .take_while(|record| record.intact && record.header.kind == RecordKind::Checkpoint)
            .take_while(|record| record.header.sequence < header.first_sequence.saturating_add(prologue));
        checkpoints.count() as u64 == prologue || self.synced >= header.first_sequence
    }

    /// Tells torn from rotten.
    pub(super) fn judge(self) -> Judged {
        let mut judged = Judged { kept: Vec::new(), cut: None, end: BLOCK_BYTES as u64, unsynced_from: 0 };
        let mut unsynced_from = None;
        let mut last = self.before;
        for item in self.items {
            let torn = match &item {
                Scanned::Unreadable { from } => (last + 1 > self.synced).then_some(*from),
                Scanned::Record(record) => {
                    let sequence = record.header.sequence;
                    let missing = last > 0 && sequence > last + 1 && last + 1 > self.synced;
                    let bad = !record.intact && sequence > self.synced;
                    (missing || bad).then_some(record.offset)
                }
            };
            if torn.is_some() {
                judged.cut = torn;
                break;
            }
            if let Scanned::Record(record) = &item {
                last = record.header.sequence;
                judged.end = record.end();
                if last > self.synced {
                    unsynced_from.get_or_insert(record.offset);
                }
            }
            judged.kept.push(item);
        }
        let from = unsynced_from.or(judged.cut).unwrap_or(judged.end);
        judged.unsynced_from = from.min(judged.end.max(BLOCK_BYTES as u64));
        judged
    }
}

fn record_in(item: &Scanned) -> Option<&ScannedRecord> {
    match item {
        Scanned::Record(record) => Some(record),
        Scanned::Unreadable { .. } => None,
    }
}

impl Judged {
    /// Writes what is kept but not known to be synced once more, clears what was torn, and syncs. A crash in the middle
    /// leaves a tail that is judged the same way.
    pub(super) fn settle(&self, file: &dyn DiskFile) -> io::Result<u64> {
        let block = BLOCK_BYTES as u64;
        let from = self.unsynced_from / block * block;
        let dirty_end = last_block_in_use(file, self.end)?;
        let mut buffer = AlignedBuffer::with_capacity(PIECE_BYTES);
        let mut kept = vec![0; (self.end.saturating_sub(from)) as usize];
        file.read_at(&mut kept, from)?;
        buffer.extend(&kept);
        buffer.pad_to(BLOCK_BYTES);
        if buffer.length() > 0 {
            file.write_at(buffer.bytes(), from)?;
        }
        let mut at = from + buffer.length() as u64;
        while at < dirty_end {
            buffer.clear();
            buffer.pad_zeros((dirty_end - at).min(PIECE_BYTES as u64) as usize);
            file.write_at(buffer.bytes(), at)?;
            at += buffer.length() as u64;
        }
        file.sync_data()?;
        Ok(dirty_end.saturating_sub(self.cut.unwrap_or(dirty_end)))
    }
}

/// End of the last block at or after `from` that holds anything but zeros.
fn last_block_in_use(file: &dyn DiskFile, from: u64) -> io::Result<u64> {
    let length = file.length()? / BLOCK_BYTES as u64 * BLOCK_BYTES as u64;
    let mut at = from.next_multiple_of(BLOCK_BYTES as u64).min(length);
    let mut end = at;
    let mut piece = vec![0; PIECE_BYTES];
    while at < length {
        let piece = &mut piece[..(length - at).min(PIECE_BYTES as u64) as usize];
        file.read_at(piece, at)?;
        for (number, block) in piece.chunks(BLOCK_BYTES).enumerate() {
            if !is_zero(block) {
                end = at + (number as u64 + 1) * BLOCK_BYTES as u64;
            }
        }
        at += piece.len() as u64;
    }
    Ok(end)
}
