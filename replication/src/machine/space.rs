//! What the rows keep alive in this replica's segments, and moving it when segments are compacted.

use super::{
    Machine, MachineError, Place, key,
    row::{self, VersionRow},
    transaction::Transaction,
};
use crate::index::{Index, RowBytes};
use bytes::Bytes;
use wire::{AdoptStep, Operation, Sequence};

/// A row that points to a body, and where the body lies.
pub type LiveBody = (Bytes, Place);

/// A record that was copied to another segment.
#[derive(Clone, Debug)]
pub struct Move<'a> {
    /// The command in it.
    pub operation: &'a Operation,
    /// Its number in the pair.
    pub sequence: Sequence,
    /// Where it lay.
    pub from: Place,
    /// Where its copy lies.
    pub to: Place,
}

impl<I: Index> Machine<I> {
    /// Bytes (heads and bodies) per segment that rows point to; segments without any are left out.
    pub fn segment_liveness(&self) -> impl Iterator<Item = (u32, u64)> + '_ {
        self.state.liveness.iter().map(|(segment, bytes)| (*segment, *bytes))
    }

    /// Whether a row points to the body of this command, at this place.
    pub fn is_live(
        &self,
        operation: &Operation,
        sequence: Sequence,
        place: &Place,
    ) -> Result<bool, MachineError> {
        let Some(row_key) = body_row(operation, sequence) else { return Ok(false) };
        Ok(self.body_place(&row_key)? == Some(*place))
    }

    /// The place that a row points to, if there is such a row and it points to one.
    pub fn body_place(&self, row_key: &[u8]) -> Result<Option<Place>, MachineError> {
        match self.index.get(row_key)? {
            Some(value) => place_in(row_key, value),
            None => Ok(None),
        }
    }

    /// Looks at `rows_max` rows after `after` (from the start if none): those that point to bodies, and the row to go
    /// on after unless these were the last.
    pub fn live_bodies(
        &self,
        after: Option<&[u8]>,
        rows_max: usize,
    ) -> Result<(Vec<LiveBody>, Option<Bytes>), MachineError> {
        let mut start = after.unwrap_or(&[key::table::VERSION]).to_vec();
        if after.is_some() {
            start.push(0);
        }
        let mut bodies = Vec::new();
        let mut rows_left = rows_max;
        for table in [key::table::VERSION, key::table::CHUNK] {
            let start = start.clone().max(vec![table]);
            for found in self.index.scan(&start..&key::table_end(table), true) {
                let (row_key, value) = found?;
                let row_key = row::shared(row_key);
                if let Some(place) = place_in(&row_key, value)? {
                    bodies.push((row_key.clone(), place));
                }
                rows_left -= 1;
                if rows_left == 0 {
                    return Ok((bodies, Some(row_key)));
                }
            }
        }
        Ok((bodies, None))
    }

    /// Lets rows point to the copies of records, unless they point elsewhere by now; says how many do. The old
    /// segment may go once the index is flushed and no snapshot is open.
    pub fn relocate(&mut self, moves: &[Move<'_>]) -> Result<usize, MachineError> {
        let mut transaction = Transaction::new(&self.index);
        let mut moved = 0;
        for Move { operation, sequence, from, to } in moves {
            let Some(row_key) = body_row(operation, *sequence) else { continue };
            let Some(value) = transaction.get(&row_key)? else { continue };
            if place_in(&row_key, value.clone())? != Some(*from) {
                continue;
            }
            let value = with_place(&row_key, value, to)?;
            transaction.put(row_key, value);
            transaction.release(from);
            transaction.hold(to);
            moved += 1;
        }
        self.write(transaction.into_changes())?;
        Ok(moved)
    }
}

/// The row that points to the command's body, if any does.
pub(crate) fn body_row(operation: &Operation, sequence: Sequence) -> Option<Vec<u8>> {
    match operation {
        Operation::PutChunk { stream, index } => Some(key::chunk(*stream, *index)),
        Operation::PutPart(put) if put.part.inline => Some(key::chunk(put.part.stream, 0)),
        Operation::CommitVersion(commit) if commit.content.parts.iter().any(|part| part.inline) => {
            Some(key::version(commit.bucket, commit.key.as_bytes(), sequence))
        }
        Operation::Adopt(AdoptStep::Record { key, .. }) => Some(key.to_vec()),
        _ => None,
    }
}

/// The place in a row, if it is one that can hold a place.
fn place_in(row_key: &[u8], value: RowBytes) -> Result<Option<Place>, MachineError> {
    Ok(match row_key.first() {
        Some(&key::table::CHUNK) => Some(row::read("chunk row", value, Place::decode)?),
        Some(&key::table::VERSION) => VersionRow::decode(value)?.place,
        _ => None,
    })
}

/// The row with another place in it.
fn with_place(row_key: &[u8], value: RowBytes, place: &Place) -> Result<RowBytes, MachineError> {
    if row_key.first() == Some(&key::table::CHUNK) {
        return Ok(row::value(|e| place.encode(e)));
    }
    let mut version = VersionRow::decode(value)?;
    version.place = Some(*place);
    Ok(version.encode())
}
