//! Taking over the state of the pair's primary: rows become what they are there, range by range, in the order of their keys.
//!
//! What each region keeps for itself stays: Raft's own rows, the liveness of segments, and the system group's records of
//! nodes, placement and jobs. Rows that are the same in both, and the records they point to, stay where they are.

use super::{
    Machine, MachineError, Place, SnapshotRow,
    apply::{Applying, Halt, Judged},
    key, row,
    snapshot::{with_place, without_place},
    streams::damaged,
};
use crate::index::{Index, RowBytes};
use bytes::Bytes;
use std::collections::BTreeMap;
use wire::{AdoptStep, AdoptedRow, AdoptedState, Outcome, PairRole, RecordSum, Refusal, SystemTable};

/// Own rows that one entry may look at and remove. 8,192: some 50 ms of index writes.
pub(crate) const OWN_ROWS_MAX: usize = 8 << 10;

/// Where the rows that can be taken over end.
pub(crate) const ADOPTED_END: [u8; 1] = [key::table::META];

/// Whether a row is part of the state that both regions have.
pub(crate) fn is_shared(row_key: &[u8]) -> bool {
    match row_key {
        [key::table::LIVENESS, ..] => false,
        [key::table::SYSTEM, table, ..] => !SystemTable::ALL
            .iter()
            .any(|known| known.number() == *table && super::pair::is_local_table(*known)),
        [table, ..] => (key::table::VERSION..=key::table::OUTCOME).contains(table),
        [] => false,
    }
}

impl<I: Index> Machine<I> {
    /// Whether the row at `row_key` points to a record like this already.
    pub fn holds(&self, row_key: &[u8], record: &RecordSum) -> Result<bool, MachineError> {
        Ok(self.body_place(row_key)?.is_some_and(|place| sum(&place) == *record))
    }

    /// The last of the `OWN_ROWS_MAX` rows after `after`, if so many lie up to `through`.
    pub fn last_to_adopt(&self, after: &[u8], through: &[u8]) -> Result<Option<Bytes>, MachineError> {
        let (start, end) = (next(after), next(through));
        match self.index.scan(&start..&end, true).nth(OWN_ROWS_MAX - 1) {
            Some(found) => Ok(Some(row::shared(found?.0))),
            None => Ok(None),
        }
    }
}

impl<I: Index> Applying<'_, I> {
    /// Takes one step of taking over the primary's state.
    pub(super) fn adopt(&mut self, step: &AdoptStep) -> Judged {
        if self.pair.role != PairRole::Bootstrap {
            return Err(self.not_in(self.pair.role));
        }
        match step {
            AdoptStep::Begin { epoch } => {
                self.check_epoch(*epoch)?;
                self.epoch = *epoch;
                (self.pair.session, self.pair.adopted) = (self.index, Bytes::new());
                self.forget_outcomes()?;
            }
            AdoptStep::Record { session, key, value } => {
                self.check_session(*session, key)?;
                self.adopt_record(key, value)?;
            }
            AdoptStep::Rows { session, through, rows } => {
                self.check_session(*session, through)?;
                self.adopt_rows(through, rows)?;
                self.pair.adopted = through.clone();
            }
            AdoptStep::End { session, state } => {
                if *session != self.pair.session || *self.pair.adopted != ADOPTED_END {
                    return Err(self.out_of_order());
                }
                self.end_adopting(state);
            }
        }
        Ok(Outcome::Done)
    }

    /// Whether a row or range is the next one of the session.
    fn check_session(&self, session: u64, row_key: &Bytes) -> Result<(), Halt> {
        let next = session == self.pair.session && session != 0 && *row_key > self.pair.adopted;
        if next && **row_key <= ADOPTED_END[..] { Ok(()) } else { Err(self.out_of_order()) }
    }

    fn out_of_order(&self) -> Halt {
        Refusal::OutOfOrder { applied: self.pair.reached(self.index) }.into()
    }

    /// The primary's come with its rows; until then nothing is remembered.
    fn forget_outcomes(&mut self) -> Result<(), Halt> {
        let (start, end) = ([key::table::OUTCOME], key::table_end(key::table::OUTCOME));
        let rows = self.transaction.scan(&start..&end).collect::<Result<Vec<_>, _>>()?;
        for (row_key, _) in rows {
            self.transaction.delete(row_key);
        }
        self.forget_new_outcomes();
        Ok(())
    }

    fn adopt_record(&mut self, row_key: &Bytes, value: &Bytes) -> Result<(), Halt> {
        let adopted = AdoptedRow { key: row_key.clone(), value: value.clone(), record: None };
        if !is_shared(row_key) {
            return Err(self.out_of_order());
        }
        let value = placed(&adopted, Some(self.entry.place)).ok_or_else(|| self.out_of_order())?;
        if let Some(former) =
            self.transaction.get(row_key)?.map(|former| place_of(row_key, former)).transpose()?
            && let Some(place) = former
        {
            self.transaction.release(&place);
        }
        let place = self.entry.place;
        self.transaction.hold(&place);
        self.transaction.put(&**row_key, value);
        Ok(())
    }

    fn adopt_rows(&mut self, through: &Bytes, rows: &[AdoptedRow]) -> Result<(), Halt> {
        let (start, end) = (next(&self.pair.adopted), next(through));
        let mut own: BTreeMap<RowBytes, RowBytes> = BTreeMap::new();
        for found in self.transaction.scan(&start..&end) {
            let (row_key, value) = found?;
            if own.len() == OWN_ROWS_MAX {
                return Err(self.out_of_order());
            }
            own.insert(row_key, value);
        }
        let mut last: &[u8] = &self.pair.adopted;
        let mut changed: Vec<(Bytes, RowBytes)> = Vec::new();
        let mut released: Vec<Place> = Vec::new();
        for adopted in rows {
            if *adopted.key <= *last || adopted.key > *through || !is_shared(&adopted.key) {
                return Err(self.out_of_order());
            }
            last = &adopted.key;
            let former = own.remove(&*adopted.key);
            let place = match (&adopted.record, &former) {
                (None, Some(former)) => {
                    // both regions gave this number: here to something with a record, there to something without
                    released.extend(place_of(&adopted.key, former.clone())?);
                    None
                }
                (None, None) => None,
                (Some(record), Some(former)) => {
                    place_of(&adopted.key, former.clone())?.filter(|place| sum(place) == *record)
                }
                (Some(_), None) => None,
            };
            if adopted.record.is_some() && place.is_none() {
                return Err(Refusal::MissingChunks.into());
            }
            let value = placed(adopted, place).ok_or_else(|| self.out_of_order())?;
            if former.as_ref() != Some(&value) {
                changed.push((adopted.key.clone(), value));
            }
        }
        for (row_key, former) in own {
            if is_shared(&row_key) {
                released.extend(place_of(&row_key, former)?);
                self.transaction.delete(row_key);
            }
        }
        for place in &released {
            self.transaction.release(place);
        }
        for (row_key, value) in changed {
            self.transaction.put(&*row_key, value);
        }
        Ok(())
    }

    fn end_adopting(&mut self, state: &AdoptedState) {
        self.pair.begin_following(state.sequence, state.since);
        self.pair.time = state.time;
        (self.pair.session, self.pair.adopted) = (0, Bytes::new());
        self.revision = state.revision;
        // its last change was this or one before
        self.shared = state.sequence;
        self.outcomes_replaced = true;
    }
}

fn next(row_key: &[u8]) -> Vec<u8> {
    let mut next = row_key.to_vec();
    next.push(0);
    next
}

fn sum(place: &Place) -> RecordSum {
    RecordSum { length: place.body_length, crc: place.body_crc }
}

fn place_of(row_key: &[u8], value: RowBytes) -> Result<Option<Place>, Halt> {
    let SnapshotRow { body, .. } =
        without_place(row_key.into(), value).map_err(|_| damaged("row that is taken over"))?;
    Ok(body)
}

/// The row's value with a place; nothing if the row is not one that belongs with a place, or without.
fn placed(adopted: &AdoptedRow, place: Option<Place>) -> Option<RowBytes> {
    let (key, value) = (adopted.key.clone(), adopted.value.clone());
    with_place(&super::InstalledRow { key, value, place }).ok()
}

/// Rows of a snapshot as they are shipped: with what their records are known by, and where they lie there.
pub(crate) fn to_adopted(row: SnapshotRow) -> (AdoptedRow, Option<Place>) {
    let record = row.body.as_ref().map(sum);
    (AdoptedRow { key: row.key, value: row.value, record }, row.body)
}
