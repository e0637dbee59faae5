//! Outcomes of recent commands: a command that comes again (its answer was lost, or the leader changed) gets its
//! first outcome and is not applied twice.
//!
//! A command is known by its request id and by what it does. Memory holds where an outcome lies, the index what it
//! was; entries leave by log index alone, so that every replica remembers the same ones.

use super::{MachineError, key, row, transaction::Transaction};
use crate::index::{Index, RowBytes};
use std::collections::{BTreeMap, VecDeque};
use wire::{Command, DecodeError, Decoder, Encoder, Operation, Outcome, RequestId};

/// How many log entries back an outcome is remembered. 8,192: a group takes some hundreds of commands a second, so
/// that a retry within a client's usual patience (20 s) finds it, at 0.3 MiB of memory per group.
pub(crate) const WINDOW_ENTRIES: u64 = 8192;

/// Outcomes in one row. 64 stay below 4 KiB, above which sled's pages get slow.
const ROW_OUTCOMES_MAX: usize = 64;

/// What is remembered of one entry's command.
pub(crate) enum FirstOutcome {
    /// It gave this.
    Was(Outcome),
    /// It had been applied before, and gave what it gave then.
    CameBefore,
}

/// Which command: request id, operation, checksum of the operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CommandIdentity {
    request: RequestId,
    operation: u8,
    checksum: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Remembered {
    index: u64,
    identity: CommandIdentity,
    outcome: Outcome,
}

/// Where the outcomes of recent commands lie.
#[derive(Debug, Default)]
pub(crate) struct Window {
    by_identity: BTreeMap<CommandIdentity, u64>,
    /// The keys of the rows, oldest first.
    rows: VecDeque<u64>,
}

/// Outcomes of the batch that is being applied.
#[derive(Debug, Default)]
pub(crate) struct NewOutcomes(Vec<Remembered>);

impl CommandIdentity {
    /// Nothing for commands that may be applied twice without harm.
    pub(crate) fn of(command: &Command) -> Option<Self> {
        match command.operation {
            Operation::PutChunk { .. }
            | Operation::AbandonStream { .. }
            | Operation::ExpireStreams { .. }
            | Operation::PairStep(_)
            | Operation::Shipped(_)
            | Operation::Adopt(_) => None,
            _ => {
                let mut e = Encoder::with_capacity(256);
                command.operation.encode(&mut e);
                let encoded = e.finish();
                let (operation, rest) =
                    encoded.split_first().expect("every operation begins with its number");
                let checksum = crc32c::crc32c(rest);
                Some(Self { request: command.meta.request, operation: *operation, checksum })
            }
        }
    }
}

impl Window {
    /// Reads the window as a machine left it.
    pub(crate) fn open(index: &impl Index) -> Result<Self, MachineError> {
        let mut window = Self::default();
        for found in index.scan(&[key::table::OUTCOME]..&key::table_end(key::table::OUTCOME), true) {
            let (row_key, value) = found?;
            for remembered in decode(value)? {
                window.by_identity.insert(remembered.identity, remembered.index);
            }
            window.rows.push_back(key::last_u64(&row_key).ok_or(MachineError::Row { row: "outcome key" })?);
        }
        Ok(window)
    }

    /// What the command gave when it was applied before, as the entry at `now` must see it.
    pub(crate) fn find<I: Index>(
        &self,
        transaction: &Transaction<'_, I>,
        new: &NewOutcomes,
        identity: &CommandIdentity,
        now: u64,
    ) -> Result<Option<Outcome>, MachineError> {
        if let Some(remembered) = new.0.iter().rev().find(|remembered| remembered.identity == *identity) {
            return Ok((remembered.index + WINDOW_ENTRIES > now).then(|| remembered.outcome.clone()));
        }
        let Some(index) = self.by_identity.get(identity).filter(|index| **index + WINDOW_ENTRIES > now)
        else {
            return Ok(None);
        };
        let (_, value) = transaction
            .first(&key::outcome(*index)..&key::table_end(key::table::OUTCOME))?
            .ok_or(MachineError::Row { row: "remembered outcome" })?;
        let remembered = decode(value)?.into_iter().find(|remembered| remembered.index == *index);
        Ok(remembered.map(|remembered| remembered.outcome))
    }

    /// Whether the entry at `index` was the first with its command, and what it gave; nothing of what is forgotten.
    pub(crate) fn outcome_of(
        &self,
        rows: &impl Index,
        identity: &CommandIdentity,
        index: u64,
    ) -> Result<Option<FirstOutcome>, MachineError> {
        let Some(first) = self.by_identity.get(identity) else { return Ok(None) };
        if *first != index {
            return Ok(Some(FirstOutcome::CameBefore));
        }
        let found = rows.scan(&key::outcome(index)..&key::table_end(key::table::OUTCOME), true).next();
        let (_, value) = found.ok_or(MachineError::Row { row: "remembered outcome" })??;
        let remembered = decode(value)?.into_iter().find(|remembered| remembered.index == index);
        Ok(remembered.map(|remembered| FirstOutcome::Was(remembered.outcome)))
    }

    /// Adds the batch's rows to the transaction and drops those that no entry after `applied` may see. What must be
    /// done to the window itself, once the transaction is written, is returned.
    pub(crate) fn write<I: Index>(
        &self,
        transaction: &mut Transaction<'_, I>,
        new: NewOutcomes,
        applied: u64,
    ) -> Result<WindowChange, MachineError> {
        let mut change = WindowChange::default();
        for row in self.rows.iter().take_while(|row| **row + WINDOW_ENTRIES <= applied) {
            if let Some(value) = transaction.get(&key::outcome(*row))? {
                change.forgotten.extend(decode(value)?.into_iter().map(|r| (r.identity, r.index)));
            }
            transaction.delete(&key::outcome(*row));
            change.rows_gone += 1;
        }
        for chunk in new.0.chunks(ROW_OUTCOMES_MAX) {
            let last = chunk.last().expect("chunks are never empty").index;
            transaction.put(&key::outcome(last), row::value(|e| e.list(chunk, encode)));
            change.rows_new.push(last);
        }
        change.new = new;
        Ok(change)
    }

    /// Does to memory what was written.
    pub(crate) fn absorb(&mut self, change: WindowChange) {
        for (identity, index) in change.forgotten {
            if self.by_identity.get(&identity) == Some(&index) {
                self.by_identity.remove(&identity);
            }
        }
        self.rows.drain(..change.rows_gone);
        self.rows.extend(change.rows_new);
        for remembered in change.new.0 {
            self.by_identity.insert(remembered.identity, remembered.index);
        }
    }

    /// What the entry after `applied` may still see, in order.
    #[cfg(test)]
    pub(crate) fn visible(
        &self,
        index: &impl Index,
        applied: u64,
    ) -> Result<Vec<(u64, CommandIdentity, Outcome)>, MachineError> {
        let mut visible = Vec::new();
        for row in &self.rows {
            let value = index.get(&key::outcome(*row))?.ok_or(MachineError::Row { row: "outcome" })?;
            visible.extend(decode(value)?.into_iter().map(|r| (r.index, r.identity, r.outcome)));
        }
        visible.retain(|(index, _, _)| index + WINDOW_ENTRIES > applied + 1);
        Ok(visible)
    }
}

/// What must be done to a window once its rows are written.
#[derive(Debug, Default)]
pub(crate) struct WindowChange {
    forgotten: Vec<(CommandIdentity, u64)>,
    rows_gone: usize,
    rows_new: Vec<u64>,
    new: NewOutcomes,
}

impl NewOutcomes {
    pub(crate) fn push(&mut self, index: u64, identity: CommandIdentity, outcome: Outcome) {
        self.0.push(Remembered { index, identity, outcome });
    }
}

fn encode(e: &mut Encoder, remembered: &Remembered) {
    e.u64(remembered.index);
    e.fixed(&remembered.identity.request.0);
    e.u8(remembered.identity.operation);
    e.u32(remembered.identity.checksum);
    remembered.outcome.encode(e);
}

fn decode(value: RowBytes) -> Result<Vec<Remembered>, DecodeError> {
    row::read("outcome row", value, |d: &mut Decoder| {
        d.list(ROW_OUTCOMES_MAX, |d| {
            let index = d.u64()?;
            let request = RequestId(d.array()?);
            let identity = CommandIdentity { request, operation: d.u8()?, checksum: d.u32()? };
            Ok(Remembered { index, identity, outcome: Outcome::decode(d)? })
        })
    })
}
