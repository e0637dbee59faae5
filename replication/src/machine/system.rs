//! The system group: records that change together or not at all, if all are as expected.

use super::{
    apply::{Applying, Judged},
    key,
    pair::is_local_table,
    row,
};
use crate::index::Index;
use wire::{Outcome, Refusal, Revision, SystemChange, SystemExpect, SystemRecord};

impl<I: Index> Applying<'_, I> {
    /// Expectations are judged against the records as they were before the command.
    pub(super) fn change_system(&mut self, changes: &[SystemChange]) -> Judged {
        let revision = Revision(self.entry.sequence.0);
        let mut before = Vec::with_capacity(changes.len());
        for (number, change) in changes.iter().enumerate() {
            let present = match self.transaction.get(&key::system(change.table, &change.key))? {
                Some(value) => Some(row::read("system row", value, SystemRecord::decode)?),
                None => None,
            };
            let expected = match (change.expect, &present) {
                (SystemExpect::Any, _) | (SystemExpect::Absent, None) | (SystemExpect::Present, Some(_)) => {
                    true
                }
                (SystemExpect::At(at), Some(record)) => record.changed == at,
                _ => false,
            };
            if !expected {
                return Err(Refusal::Conflict { change: number as u32 }.into());
            }
            before.push(present);
        }
        for (change, present) in changes.iter().zip(before) {
            let row_key = key::system(change.table, &change.key);
            match &change.value {
                Some(value) => {
                    let created = present.map_or(revision, |record| record.created);
                    let (key, value) = (change.key.clone(), value.clone());
                    let record = SystemRecord { key, value, created, changed: revision };
                    self.transaction.put(row_key, row::value(|e| record.encode(e)));
                }
                None => self.transaction.delete(row_key),
            }
        }
        // what watches it must see a change, also where numbers of two regions meet
        self.revision = Revision(revision.0.max(self.revision.0 + 1));
        if changes.iter().any(|change| !is_local_table(change.table)) {
            self.shared = self.entry.sequence;
        }
        Ok(Outcome::Changed(revision))
    }
}
