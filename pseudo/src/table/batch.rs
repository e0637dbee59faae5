//! Records from the thread that reads to the thread that counts, many at a time.

use super::{Cell, Visit};
use crate::PseudoError;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Bytes of a batch, about: small enough for a cache, large enough that handing it over costs nothing.
const BATCH_BYTES: usize = 128 << 10;
/// Batches that reading may be ahead: enough that neither thread waits for the other's short breaks.
const BATCHES_AHEAD: usize = 4;

/// Cells of some records, one behind another.
struct Batch {
    first: u64,
    width: usize,
    records: usize,
    bytes: Vec<u8>,
    /// Where each cell lies; `None` is a null.
    cells: Vec<Option<(usize, usize)>>,
}

impl Batch {
    fn new(first: u64, width: usize) -> Self {
        // a little more than a batch, for the record that fills it
        let bytes = Vec::with_capacity(BATCH_BYTES + BATCH_BYTES / 8);
        Self { first, width, records: 0, bytes, cells: Vec::new() }
    }

    fn push(&mut self, cells: &[Cell<'_>]) {
        for cell in cells {
            let place = cell.map(|value| {
                let start = self.bytes.len();
                self.bytes.extend_from_slice(value);
                (start, self.bytes.len())
            });
            self.cells.push(place);
        }
        self.records += 1;
    }

    /// How many values are not UTF-8 text.
    fn not_utf8(&self) -> u64 {
        if self.bytes.is_ascii() {
            return 0;
        }
        let values = self.cells.iter().flatten().map(|(start, end)| &self.bytes[*start..*end]);
        values.filter(|value| std::str::from_utf8(value).is_err()).count() as u64
    }

    fn visit(&self, visit: &mut Visit<'_>) -> Result<(), PseudoError> {
        let mut cells: Vec<Cell<'_>> = Vec::with_capacity(self.width);
        for (record, places) in self.cells.chunks(self.width).enumerate() {
            cells.clear();
            cells.extend(places.iter().map(|place| place.map(|(start, end)| &self.bytes[start..end])));
            visit(self.first + record as u64, &cells)?;
        }
        Ok(())
    }
}

/// Runs `read` on a thread of its own; what it visits is visited on this one, in the same order. How many values are not
/// UTF-8 text.
pub(super) fn on_a_thread(
    width: usize,
    read: impl FnOnce(&mut Visit<'_>) -> Result<(), PseudoError> + Send,
    visit: &mut Visit<'_>,
) -> Result<u64, PseudoError> {
    assert!(width > 0, "a record has cells");
    let (send, receive) = sync_channel(BATCHES_AHEAD);
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || pack(width, read, &send));
        let visited = unpack(receive, visit);
        let read = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // when visiting fails the reader is told to stop: its own error says nothing then
        let not_utf8 = visited?;
        read.map(|()| not_utf8)
    })
}

fn pack(
    width: usize,
    read: impl FnOnce(&mut Visit<'_>) -> Result<(), PseudoError>,
    send: &SyncSender<Batch>,
) -> Result<(), PseudoError> {
    let stopped = |_| PseudoError::usage("reading was stopped", "");
    let mut batch = Batch::new(1, width);
    read(&mut |number, cells| {
        if batch.bytes.len() >= BATCH_BYTES || batch.cells.len() * size_of::<Cell<'_>>() >= BATCH_BYTES {
            let full = std::mem::replace(&mut batch, Batch::new(number, width));
            send.send(full).map_err(stopped)?;
        }
        batch.push(cells);
        Ok(())
    })?;
    if batch.records > 0 { send.send(batch).map_err(stopped) } else { Ok(()) }
}

fn unpack(receive: Receiver<Batch>, visit: &mut Visit<'_>) -> Result<u64, PseudoError> {
    receive.into_iter().try_fold(0, |not_utf8, batch| {
        batch.visit(visit)?;
        Ok(not_utf8 + batch.not_utf8())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_arrives_once_and_in_order() {
        let text = |number: u64| "x".repeat((number % 50) as usize);
        let mut next = 0;
        on_a_thread(
            2,
            |visit| (1..=20_000).try_for_each(|number| visit(number, &[Some(text(number).as_bytes()), None])),
            &mut |number, cells| {
                next += 1;
                assert_eq!((number, cells), (next, [Some(text(next).as_bytes()), None].as_slice()));
                Ok(())
            },
        )
        .unwrap();
        assert_eq!(next, 20_000);
    }

    #[test]
    fn an_error_on_either_side_ends_both() {
        let endless = |visit: &mut Visit<'_>| (1..).try_for_each(|number| visit(number, &[None]));
        let stop = |number, _: &[Cell<'_>]| {
            if number == 7 { Err(PseudoError::usage("seven", "")) } else { Ok(()) }
        };
        assert_eq!(on_a_thread(1, endless, &mut { stop }).unwrap_err().to_string(), "seven");
        let broken = |_: &mut Visit<'_>| Err(PseudoError::usage("broken", ""));
        assert_eq!(on_a_thread(1, broken, &mut |_, _| Ok(())).unwrap_err().to_string(), "broken");
    }
}
