//! The group's part in a pair of regions: who may change the state, and under which number an entry counts.
//!
//! A primary numbers its entries by their place in its own log, moved on so far that no number comes twice. A standby
//! counts what it applies as the primary did; all that depends on a number (versions, revisions, remembered outcomes)
//! comes out the same in both regions.

use super::{
    Machine, MachineError,
    apply::{Applying, Halt, Judged},
    key,
    row::{self, VersionRow},
    transaction::Transaction,
    window::{CommandIdentity, FirstOutcome, WINDOW_ENTRIES, Window},
};
use crate::index::Index;
use bytes::Bytes;
use wire::{
    Command, DecodeError, Decoder, Encoder, GroupId, Operation, Outcome, PairRole, PairState, PairStep,
    Refusal, Sequence, ShippedCommand, SystemTable, UnixMillis,
};

/// A row's key, bytes: the longest name, escaped, and what surrounds it.
const ROW_KEY_BYTES_MAX: usize = 4 << 10;

/// Reigns that a group remembers. 4,096: a switch a day for eleven years.
const REIGNS_MAX: usize = 4_096;

/// Numbers that a reign of the system group has for itself: more entries than one will ever have.
const SYSTEM_REIGN: u64 = 1 << 32;

/// What a group knows of its pair.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) role: PairRole,
    /// Of a group that takes over the primary's state: under which entry it began to, and up to where it has it.
    pub(super) session: u64,
    pub(super) adopted: Bytes,
    /// The last entry of the other region that was applied here; a standby goes on from it, a primary keeps it.
    applied: Sequence,
    /// Of a standby: the time in it.
    pub(super) time: UnixMillis,
    /// The entry under which the present reign began.
    since: Sequence,
    /// Of a standby: whether the primary was sealed at the last entry applied.
    primary_sealed: bool,
    reigns: Vec<Reign>,
}

/// What became of a client's command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was acknowledged, and the version that it made is there.
    Kept = 0,
    /// It was acknowledged; it made no version, or one that a later command replaced.
    Replaced = 1,
    /// It may have been acknowledged: it is too long ago to be remembered.
    Uncertain = 2,
}

/// From the entry at `from` of the own log on, an entry's number is its index and `ahead`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reign {
    from: u64,
    ahead: u64,
}

impl Pair {
    /// Reads what the index has of it; a group whose part never changed has `initial`.
    pub(super) fn open(index: &impl Index, initial: PairRole) -> Result<Self, MachineError> {
        match index.get(&key::PAIR)? {
            Some(value) => Ok(row::read("pair row", value, Self::decode)?),
            None => Ok(Self { role: initial, ..Self::default() }),
        }
    }

    /// The number of the entry at `index` of the own log, if it is the group's own.
    pub(super) fn sequence_of(&self, index: u64) -> Sequence {
        let reign = self.reigns.iter().rev().find(|reign| reign.from <= index);
        Sequence(index + reign.map_or(0, |reign| reign.ahead))
    }

    /// The last number of the pair once the entry at `index` of the own log is applied.
    pub(super) fn reached(&self, index: u64) -> Sequence {
        match self.role {
            PairRole::Standby | PairRole::Bootstrap => self.applied,
            PairRole::Primary | PairRole::Sealed => self.sequence_of(index),
        }
    }

    /// The group's part under `epoch`, once the entry at `index` of the own log is applied.
    fn state(&self, epoch: wire::Epoch, index: u64) -> PairState {
        PairState {
            role: self.role,
            epoch,
            sequence: self.reached(index),
            time: self.time,
            since: self.since,
            followed: self.applied,
        }
    }

    pub(super) fn put<I: Index>(&self, transaction: &mut Transaction<'_, I>) {
        transaction.put(&key::PAIR, row::value(|e| self.encode(e)));
    }

    /// What lies before `sequence` is here: it is followed from there.
    pub(super) fn begin_following(&mut self, sequence: Sequence, since: Sequence) {
        self.role = PairRole::Standby;
        (self.applied, self.since, self.primary_sealed) = (sequence, since, false);
    }

    fn encode(&self, e: &mut Encoder) {
        self.role.encode(e);
        e.u64(self.applied.0);
        e.u64(self.time.0);
        e.u64(self.since.0);
        e.flag(self.primary_sealed);
        e.u64(self.session);
        e.bytes(&self.adopted);
        e.list(&self.reigns, |e, reign| {
            e.u64(reign.from);
            e.u64(reign.ahead);
        });
    }

    fn decode(d: &mut Decoder) -> Result<Self, DecodeError> {
        Ok(Self {
            role: PairRole::decode(d)?,
            applied: Sequence(d.u64()?),
            time: UnixMillis(d.u64()?),
            since: Sequence(d.u64()?),
            primary_sealed: d.flag()?,
            session: d.u64()?,
            adopted: d.bytes(ROW_KEY_BYTES_MAX)?,
            reigns: d.list(REIGNS_MAX, |d| Ok(Reign { from: d.u64()?, ahead: d.u64()? }))?,
        })
    }
}

impl<I: Index> Machine<I> {
    /// The group's part in its pair.
    pub fn pair(&self) -> PairState {
        let index = self.state.applied.map_or(0, |applied| applied.index);
        self.state.pair.state(self.state.epoch, index)
    }

    /// The number of the entry at `index` of the own log, if the group was a primary then.
    pub fn sequence_of(&self, index: u64) -> Sequence {
        self.state.pair.sequence_of(index)
    }

    /// The entry of the own log that follows the pair's entry `after`; none if that lies before the present reign.
    pub fn entry_after(&self, after: Sequence) -> Option<u64> {
        let pair = &self.state.pair;
        let ahead = pair.reigns.last().map_or(0, |reign| reign.ahead);
        if after < pair.since { None } else { Some((after.0 + 1).saturating_sub(ahead)) }
    }

    /// What an entry of the own log means, and its number: a shipped command counts as what it is.
    pub fn meaning(&self, operation: Operation, index: u64) -> Result<(Operation, Sequence), DecodeError> {
        match operation {
            Operation::Shipped(shipped) => {
                let inner = Command::decode(shipped.head, Bytes::new())?;
                Ok((inner.operation, shipped.sequence))
            }
            other => Ok((other, self.state.pair.sequence_of(index))),
        }
    }
}

impl<I: Index> Machine<I> {
    /// What became of a client's command that was applied as the entry `sequence`; nothing if it changed nothing that a
    /// client asked for.
    pub fn verdict(&self, command: &Command, sequence: Sequence) -> Result<Option<Verdict>, MachineError> {
        let made = match &command.operation {
            Operation::CommitVersion(commit) => Some((commit.bucket, &commit.key, commit.version)),
            Operation::CompleteUpload(complete) => Some((complete.bucket, &complete.key, complete.upload)),
            Operation::DeleteObject(_)
            | Operation::CreateUpload(_)
            | Operation::PutPart(_)
            | Operation::AbortUpload { .. } => None,
            Operation::System(_) if !is_local(&command.operation) => None,
            _ => return Ok(None),
        };
        if let Some((bucket, object, version)) = made
            && let Some(row) = self.index.get(&key::version(bucket, object.as_bytes(), sequence))?
            && VersionRow::decode(row)?.record.version.version == version
        {
            return Ok(Some(Verdict::Kept));
        }
        let Some(identity) = CommandIdentity::of(command) else { return Ok(None) };
        let reached = self.pair().sequence;
        Ok(match self.state.window.outcome_of(&self.index, &identity, sequence.0)? {
            Some(FirstOutcome::CameBefore | FirstOutcome::Was(Outcome::Refused(_))) => None,
            Some(FirstOutcome::Was(_)) => Some(Verdict::Replaced),
            // of the commands that it would remember, it does not remember those that the group's part refused
            None if sequence.0 + WINDOW_ENTRIES > reached.0 => None,
            None => Some(Verdict::Uncertain),
        })
    }
}

impl<I: Index> Applying<'_, I> {
    /// Whether `role` allows a command of this group's own clients or controllers.
    pub(super) fn check_role(&self, operation: &Operation, role: PairRole) -> Result<(), Halt> {
        let allowed = match operation {
            Operation::System(_) if is_local(operation) => true,
            _ => role == PairRole::Primary,
        };
        if allowed { Ok(()) } else { Err(self.not_in(role)) }
    }

    pub(super) fn not_in(&self, role: PairRole) -> Halt {
        Refusal::PairRole { role, epoch: self.epoch }.into()
    }

    /// Changes the group's part.
    pub(super) fn pair_step(&mut self, step: PairStep) -> Judged {
        let role = self.pair.role;
        match step {
            PairStep::Seal { epoch } | PairStep::Unseal { epoch } => {
                self.check_epoch(epoch)?;
                if !matches!(role, PairRole::Primary | PairRole::Sealed) {
                    return Err(self.not_in(role));
                }
                let seals = matches!(step, PairStep::Seal { .. });
                self.pair.role = if seals { PairRole::Sealed } else { PairRole::Primary };
            }
            PairStep::Promote { epoch } | PairStep::Relieve { epoch }
                if role == PairRole::Primary && epoch == self.epoch => {}
            PairStep::Promote { epoch } | PairStep::Relieve { epoch } => {
                if epoch <= self.epoch {
                    return Err(Refusal::StaleEpoch { current: self.epoch }.into());
                }
                // one that was sealed for a switch, of which the region that has the writes now is lost
                let sealed = role == PairRole::Sealed && matches!(step, PairStep::Promote { .. });
                if !(role == PairRole::Standby || sealed) || self.pair.reigns.len() == REIGNS_MAX {
                    return Err(self.not_in(role));
                }
                let ahead = self.first_of_reign().saturating_sub(self.index);
                self.pair.reigns.push(Reign { from: self.index, ahead });
                self.pair.role = PairRole::Primary;
                self.pair.since = self.pair.sequence_of(self.index);
                self.epoch = epoch;
            }
            PairStep::Follow { epoch, .. } if role == PairRole::Standby && epoch == self.epoch => {}
            PairStep::Follow { epoch, since } => {
                if epoch <= self.epoch {
                    return Err(Refusal::StaleEpoch { current: self.epoch }.into());
                }
                if role != PairRole::Sealed {
                    return Err(self.not_in(role));
                }
                self.pair.begin_following(since, since);
                self.epoch = epoch;
            }
            PairStep::Rejoin { epoch } if role == PairRole::Bootstrap && epoch == self.epoch => {}
            PairStep::Rejoin { epoch } => {
                let newer = if role == PairRole::Sealed { epoch > self.epoch } else { epoch >= self.epoch };
                if !newer {
                    return Err(Refusal::StaleEpoch { current: self.epoch }.into());
                }
                if !matches!(role, PairRole::Sealed | PairRole::Standby) {
                    return Err(self.not_in(role));
                }
                self.pair.role = PairRole::Bootstrap;
                (self.pair.applied, self.pair.time) = (Sequence(0), UnixMillis(0));
                self.epoch = epoch;
            }
        }
        Ok(Outcome::Pair(self.pair.state(self.epoch, self.index)))
    }

    /// The first number of the reign that begins. The other region may have given the next ones to what did not come here. Versions are
    /// told apart by more than that; buckets and principals are not, and data of one may have come here without it: no number of theirs is
    /// given twice, not even one of a reign of which nothing came to a group that was sealed for it.
    fn first_of_reign(&self) -> u64 {
        let last = self.pair.reached(self.index.saturating_sub(1)).0;
        if self.group != GroupId::SYSTEM {
            return last + 1;
        }
        let unseen = if self.pair.role == PairRole::Sealed { 1 } else { 0 };
        (last / SYSTEM_REIGN + 1 + unseen) * SYSTEM_REIGN
    }

    /// Applies a command of the primary as the primary did.
    pub(super) fn shipped(&mut self, window: &Window, shipped: &ShippedCommand) -> Judged {
        if self.pair.role != PairRole::Standby {
            return Err(self.not_in(self.pair.role));
        }
        self.check_epoch(shipped.epoch)?;
        if shipped.after != self.pair.applied || shipped.sequence <= shipped.after {
            return Err(Refusal::OutOfOrder { applied: self.pair.applied }.into());
        }
        self.epoch = shipped.epoch;
        let command = Command::decode(shipped.head.clone(), Bytes::new())?;
        (self.entry.sequence, self.entry.meta) = (shipped.sequence, command.meta);
        match command.operation {
            Operation::PairStep(PairStep::Seal { .. }) => self.pair.primary_sealed = true,
            Operation::PairStep(PairStep::Unseal { .. }) => self.pair.primary_sealed = false,
            Operation::PairStep(_) | Operation::Shipped(_) | Operation::Adopt(_) => {}
            // which nodes the other region has is its own affair
            _ if is_local(&command.operation) => {}
            _ => {
                let sealed = self.pair.primary_sealed;
                let role = if sealed { PairRole::Sealed } else { PairRole::Primary };
                self.once(window, &command, role)?;
            }
        }
        (self.pair.applied, self.pair.time) = (shipped.sequence, command.meta.time);
        Ok(Outcome::Done)
    }

    pub(super) fn check_epoch(&self, epoch: wire::Epoch) -> Result<(), Halt> {
        if epoch < self.epoch { Err(Refusal::StaleEpoch { current: self.epoch }.into()) } else { Ok(()) }
    }
}

/// Whether a command changes nothing but what each region keeps for itself.
pub(crate) fn is_local(operation: &Operation) -> bool {
    match operation {
        Operation::System(changes) => {
            !changes.is_empty() && changes.iter().all(|change| is_local_table(change.table))
        }
        _ => false,
    }
}

/// Whether each region has its own records in a table.
pub(super) fn is_local_table(table: SystemTable) -> bool {
    matches!(table, SystemTable::Node | SystemTable::Placement | SystemTable::Job)
}
