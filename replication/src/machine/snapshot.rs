//! Snapshots: the rows as they were at one applied position, for a replica that must learn them all.
//!
//! A snapshot is read page by page while entries go on being applied: the former value of a row that changes ahead of
//! the reader is kept until the reader is past it. Rows that point to bodies leave without the place, which is this
//! replica's own; whoever sends them ships the record at that place too, and the receiver puts in its own place.
//!
//! While a snapshot is open, no segment with records of this group may be removed.

use super::{
    Machine, MachineError, Place, Position, State, StoredMembership, key, row,
    transaction::{Changes, Transaction, overlaid},
    write_format,
};
use crate::index::{Batch, Index, RowBytes};
use bytes::Bytes;
use std::collections::BTreeMap;
use wire::Decoder;

/// Former values kept for an open snapshot, bytes. 256 MiB: minutes of small writes; beyond it the snapshot begins anew.
const FORMER_BYTES_MAX: usize = 256 << 20;

/// Where snapshot rows end.
const END: [u8; 1] = [key::table::META + 1];

/// One snapshot; a later one of the same machine ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotId(u64);

/// A row on its way to another replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotRow {
    /// Its key.
    pub key: Bytes,
    /// Its value without the place.
    pub value: Bytes,
    /// Where the record lies that the row points to.
    pub body: Option<Place>,
}

/// Rows of a snapshot, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotPage {
    /// The rows.
    pub rows: Vec<SnapshotRow>,
    /// Whether these were the last.
    pub last: bool,
}

/// A row as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstalledRow {
    /// Its key.
    pub key: Bytes,
    /// Its value without the place.
    pub value: Bytes,
    /// Where this replica put the record that the row points to.
    pub place: Option<Place>,
}

/// A snapshot that is being read.
pub(super) struct OpenSnapshot {
    id: SnapshotId,
    /// Rows up to here have arrived.
    after: RowBytes,
    /// Rows beyond it as they were, if they changed since.
    former: BTreeMap<RowBytes, Option<RowBytes>>,
    former_bytes: usize,
}

impl OpenSnapshot {
    /// Keeps what `changes` is about to overwrite; says whether there was room for it.
    pub(super) fn keep(&mut self, index: &impl Index, changes: &Changes) -> Result<bool, MachineError> {
        for row_key in changes.rows.keys() {
            if *row_key > self.after && !self.former.contains_key(row_key) {
                let former = index.get(row_key)?;
                self.former_bytes += row_key.len() + former.as_ref().map_or(0, |value| value.len());
                self.former.insert(row_key.clone(), former);
            }
        }
        Ok(self.former_bytes <= FORMER_BYTES_MAX)
    }

    fn move_on(&mut self, after: &[u8]) {
        if *after > *self.after {
            self.after = after.into();
            while let Some(passed) = self.former.first_entry().filter(|entry| entry.key() <= &self.after) {
                let (row_key, former) = passed.remove_entry();
                self.former_bytes -= row_key.len() + former.map_or(0, |value| value.len());
            }
        }
    }
}

impl<I: Index> Machine<I> {
    /// Begins a snapshot of what is applied now, and ends the one that was open.
    pub fn begin_snapshot(&mut self) -> (SnapshotId, Option<Position>, Option<StoredMembership>) {
        self.snapshots_begun += 1;
        let id = SnapshotId(self.snapshots_begun);
        self.snapshot =
            Some(OpenSnapshot { id, after: RowBytes::default(), former: BTreeMap::new(), former_bytes: 0 });
        (id, self.state.applied, self.state.membership.clone())
    }

    /// Rows after `after` (which, like all before it, has arrived), up to some `bytes_max` of keys and values, with
    /// `bodies` of their bodies too, but at least one. Nothing if the snapshot is no longer open: begin anew.
    pub fn snapshot_rows(
        &mut self,
        id: SnapshotId,
        after: Option<&[u8]>,
        bytes_max: usize,
        bodies: bool,
    ) -> Result<Option<SnapshotPage>, MachineError> {
        let Some(snapshot) = self.snapshot.as_mut().filter(|snapshot| snapshot.id == id) else {
            return Ok(None);
        };
        let mut start = after.unwrap_or_default().to_vec();
        snapshot.move_on(&start);
        start.push(0);
        let mut page = SnapshotPage { rows: Vec::new(), last: true };
        let mut bytes = 0;
        for found in overlaid(&self.index, &snapshot.former, &start..&END) {
            let (row_key, value) = found?;
            if row_key[0] == key::table::LIVENESS || *row_key == key::FORMAT {
                continue;
            }
            let row = without_place(row_key, value)?;
            let body = row.body.filter(|_| bodies).map_or(0, |place| place.live_bytes() as usize);
            bytes += row.key.len() + row.value.len() + body;
            if bytes > bytes_max && !page.rows.is_empty() {
                page.last = false;
                break;
            }
            page.rows.push(row);
        }
        Ok(Some(page))
    }

    /// Ends a snapshot; segments may be removed again.
    pub fn end_snapshot(&mut self, id: SnapshotId) {
        self.snapshot.take_if(|snapshot| snapshot.id == id);
    }

    /// Whether a snapshot is open: segments with records of this group must stay.
    pub fn snapshot_is_open(&self) -> bool {
        self.snapshot.is_some()
    }

    /// Throws the state away, to put a snapshot of another replica in its place. Until `finish_install` has returned
    /// there is no state, also after a restart.
    pub fn begin_install(&mut self) -> Result<(), MachineError> {
        self.installing = true;
        self.snapshot = None;
        let mut batch = Batch::default();
        batch.delete(&key::FORMAT);
        self.index.write(batch)?;
        self.index.flush()?;
        self.index.clear()?;
        self.state = State::default();
        Ok(())
    }

    /// Adds rows of the snapshot.
    pub fn install_rows(&mut self, rows: &[InstalledRow]) -> Result<(), MachineError> {
        if !self.installing {
            return Err(MachineError::Row { row: "snapshot row that nobody waits for" });
        }
        let mut transaction = Transaction::new(&self.index);
        for row in rows {
            if let Some(place) = &row.place {
                transaction.hold(place);
            }
            transaction.put(&*row.key, with_place(row)?);
        }
        let changes = transaction.into_changes();
        self.write(changes)
    }

    /// Makes the installed rows the state, durably.
    pub fn finish_install(&mut self) -> Result<(), MachineError> {
        self.index.flush()?;
        write_format(&self.index)?;
        self.index.flush()?;
        self.state = State::open(&self.index, self.initial)?;
        self.installing = false;
        Ok(())
    }
}

pub(super) fn without_place(row_key: RowBytes, value: RowBytes) -> Result<SnapshotRow, MachineError> {
    let (body, value) = match row_key[0] {
        key::table::CHUNK => (Some(row::read("chunk row", value, Place::decode)?), Bytes::new()),
        key::table::VERSION if value.first() == Some(&1) => {
            let mut d = Decoder::new("version row", row::shared(value));
            let flag = d.fixed(1)?;
            let place = Place::decode(&mut d)?;
            (Some(place), [flag, d.rest()].concat().into())
        }
        _ => (None, row::shared(value)),
    };
    Ok(SnapshotRow { key: row::shared(row_key), value, body })
}

pub(super) fn with_place(row: &InstalledRow) -> Result<RowBytes, MachineError> {
    let damaged = Err(MachineError::Row { row: "snapshot row" });
    let table = row.key.first().copied().unwrap_or(0);
    let points =
        table == key::table::CHUNK || (table == key::table::VERSION && row.value.first() == Some(&1));
    let known = (key::table::VERSION..=key::table::OUTCOME).contains(&table) || table == key::table::META;
    if !known || points != row.place.is_some() || table == key::table::LIVENESS || *row.key == key::FORMAT {
        return damaged;
    }
    let Some(place) = row.place else { return Ok((&*row.value).into()) };
    let rest = row.value.get(1..).unwrap_or_default();
    Ok(row::value(|e| {
        if table == key::table::VERSION {
            e.u8(1);
        }
        place.encode(e);
        e.fixed(rest);
    }))
}
