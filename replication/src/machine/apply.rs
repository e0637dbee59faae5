//! Applying entries: one transaction per call, one outcome per entry.

use super::{
    AppliedEntry, Machine, MachineError, Payload, Place, Position, StoredMembership, key,
    pair::Pair,
    row,
    streams::FREED_ROWS_MAX,
    transaction::Transaction,
    window::{CommandIdentity, NewOutcomes, Window},
};
use crate::index::{Index, IndexError};
use wire::{
    Command, CommandMeta, DecodeError, Epoch, FIRST_EPOCH, GroupId, Operation, Outcome, PairRole, Refusal,
    Revision, Sequence,
};

/// Why a command ends early: it is refused (and has changed nothing), or the machine failed.
pub(super) enum Halt {
    Refused(Refusal),
    Failed(MachineError),
}

/// What an operation gives.
pub(super) type Judged = Result<Outcome, Halt>;

/// The state under change.
pub(super) struct Applying<'a, I> {
    pub(super) transaction: Transaction<'a, I>,
    pub(super) entry: EntryContext,
    /// Chunk rows that the present entry may still remove.
    pub(super) freed_rows_left: usize,
    pub(super) group: GroupId,
    /// Where the present entry stands in this group's own log.
    pub(super) index: u64,
    pub(super) epoch: Epoch,
    pub(super) revision: Revision,
    pub(super) shared: Sequence,
    pub(super) pair: Pair,
    new: NewOutcomes,
    /// The rows of outcomes are not those in memory any more.
    pub(super) outcomes_replaced: bool,
}

/// What an operation knows of its entry.
#[derive(Clone, Copy)]
pub(super) struct EntryContext {
    /// Its number in the pair.
    pub(super) sequence: Sequence,
    pub(super) meta: CommandMeta,
    pub(super) place: Place,
}

impl<I: Index> Machine<I> {
    /// Applies entries, which follow what was applied before, and gives each one's outcome (`Done` for those that
    /// carry no command). Either all of them are applied or none.
    pub fn apply(&mut self, entries: &[AppliedEntry]) -> Result<Vec<Outcome>, MachineError> {
        if self.installing {
            return Err(MachineError::Installing);
        }
        let Some(last) = entries.last() else { return Ok(Vec::new()) };
        let mut applying = Applying {
            transaction: Transaction::new(&self.index),
            entry: EntryContext { sequence: Sequence(0), meta: CommandMeta::default(), place: NOWHERE },
            freed_rows_left: 0,
            group: self.group,
            index: 0,
            epoch: self.state.epoch,
            revision: self.state.revision,
            shared: self.state.shared,
            pair: self.state.pair.clone(),
            new: NewOutcomes::default(),
            outcomes_replaced: false,
        };
        let mut membership = None;
        let mut outcomes = Vec::with_capacity(entries.len());
        let mut applied = self.state.applied.map(|position| position.index);
        for entry in entries {
            in_order(&mut applied, &entry.position)?;
            outcomes.push(match &entry.payload {
                Payload::Blank => Outcome::Done,
                Payload::Membership(bytes) => {
                    membership =
                        Some(StoredMembership { position: entry.position, membership: bytes.clone() });
                    Outcome::Done
                }
                Payload::Command { command, place } => {
                    applying.index = entry.position.index;
                    let sequence = applying.pair.sequence_of(applying.index);
                    applying.entry = EntryContext { sequence, meta: command.meta, place: *place };
                    applying.command(&self.state.window, command)?
                }
            });
        }
        let Applying { mut transaction, epoch, revision, shared, pair, new, outcomes_replaced, .. } =
            applying;
        let reached = pair.reached(last.position.index);
        let window = self.state.window.write(&mut transaction, new, reached.0)?;
        transaction.put(&key::APPLIED, row::value(|e| last.position.encode(e)));
        if let Some(membership) = &membership {
            transaction.put(&key::MEMBERSHIP, row::value(|e| membership.encode(e)));
        }
        if epoch != self.state.epoch {
            transaction.put(&key::EPOCH, &epoch.0.to_le_bytes());
        }
        if revision != self.state.revision {
            transaction.put(&key::REVISION, &revision.0.to_le_bytes());
        }
        if shared != self.state.shared {
            transaction.put(&key::SHARED, &shared.0.to_le_bytes());
        }
        if pair != self.state.pair {
            pair.put(&mut transaction);
        }
        self.write(transaction.into_changes())?;
        if outcomes_replaced {
            self.state.window = Window::open(&self.index)?;
        } else {
            self.state.window.absorb(window);
        }
        self.state.applied = Some(last.position);
        self.state.membership = membership.or(self.state.membership.take());
        (self.state.epoch, self.state.revision, self.state.pair) = (epoch, revision, pair);
        self.state.shared = shared;
        Ok(outcomes)
    }
}

/// Before the first command of a batch.
const NOWHERE: Place = Place { segment: 0, offset: 0, head_length: 0, body_length: 0, body_crc: 0 };

fn in_order(applied: &mut Option<u64>, position: &Position) -> Result<(), MachineError> {
    match applied.replace(position.index) {
        Some(applied) if applied >= position.index => {
            Err(MachineError::Order { applied, found: position.index })
        }
        _ => Ok(()),
    }
}

impl<I: Index> Applying<'_, I> {
    fn command(&mut self, window: &Window, command: &Command) -> Result<Outcome, MachineError> {
        let judged = match &command.operation {
            Operation::Shipped(shipped) => self.shipped(window, shipped),
            Operation::Adopt(step) => self.adopt(step),
            _ => self.once(window, command, self.pair.role).map_err(Halt::Failed),
        };
        match judged {
            Ok(outcome) => Ok(outcome),
            Err(Halt::Refused(refusal)) => Ok(Outcome::Refused(refusal)),
            Err(Halt::Failed(error)) => Err(error),
        }
    }

    /// Applies a command unless it was applied before.
    pub(super) fn once(
        &mut self,
        window: &Window,
        command: &Command,
        role: PairRole,
    ) -> Result<Outcome, MachineError> {
        let identity = CommandIdentity::of(command);
        if let Some(identity) = &identity
            && let Some(outcome) =
                window.find(&self.transaction, &self.new, identity, self.entry.sequence.0)?
        {
            return Ok(outcome);
        }
        self.freed_rows_left = FREED_ROWS_MAX;
        let outcome = match self.judge(command, role) {
            Ok(outcome) => outcome,
            Err(Halt::Refused(refusal)) => Outcome::Refused(refusal),
            Err(Halt::Failed(error)) => return Err(error),
        };
        let passing =
            matches!(outcome, Outcome::Refused(Refusal::StaleEpoch { .. } | Refusal::PairRole { .. }));
        if let Some(identity) = identity
            && !passing
            // what is taken over has outcomes of its own
            && self.pair.role != PairRole::Bootstrap
        {
            self.new.push(self.entry.sequence.0, identity, outcome.clone());
        }
        Ok(outcome)
    }

    /// Drops the outcomes of this batch so far, and what memory has of earlier ones.
    pub(super) fn forget_new_outcomes(&mut self) {
        self.new = NewOutcomes::default();
        self.outcomes_replaced = true;
    }

    fn judge(&mut self, command: &Command, role: PairRole) -> Judged {
        if let Operation::PairStep(step) = &command.operation {
            return self.pair_step(*step);
        }
        if command.meta.epoch < self.epoch {
            return Err(Refusal::StaleEpoch { current: self.epoch }.into());
        }
        self.check_role(&command.operation, role)?;
        let for_system = matches!(command.operation, Operation::System(_));
        if for_system != (self.group == GroupId::SYSTEM) {
            return Err(Refusal::WrongGroup.into());
        }
        // a reign begins by a step of the pair alone; a group that was never written to hears of the first one here
        self.epoch = self.epoch.max(command.meta.epoch.min(FIRST_EPOCH));
        match &command.operation {
            Operation::PutChunk { stream, index } => self.put_chunk(*stream, *index),
            Operation::AbandonStream { stream } => self.abandon_stream(*stream),
            Operation::CommitVersion(commit) => self.commit_version(commit),
            Operation::DeleteObject(delete) => self.delete_object(delete),
            Operation::CreateUpload(create) => self.create_upload(create),
            Operation::PutPart(put) => self.put_part(put),
            Operation::CompleteUpload(complete) => self.complete_upload(complete),
            Operation::AbortUpload { bucket, key, upload } => self.abort_upload(*bucket, key, *upload),
            Operation::ExpireStreams { created_before } => self.expire_streams(*created_before),
            Operation::Rewrap { bucket, key, version, expected, header } => {
                self.rewrap(*bucket, key, *version, expected, header)
            }
            Operation::FreezeBucket { bucket } => self.freeze_bucket(*bucket, true),
            Operation::ThawBucket { bucket } => self.freeze_bucket(*bucket, false),
            Operation::ForgetBucket { bucket } => self.forget_bucket(*bucket),
            Operation::System(changes) => self.change_system(changes),
            // above, and in `command`; never one within another
            Operation::PairStep(_) | Operation::Shipped(_) | Operation::Adopt(_) => {
                Err(Refusal::WrongGroup.into())
            }
        }
    }
}

impl From<Refusal> for Halt {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<MachineError> for Halt {
    fn from(error: MachineError) -> Self {
        Self::Failed(error)
    }
}

impl From<IndexError> for Halt {
    fn from(error: IndexError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<DecodeError> for Halt {
    fn from(error: DecodeError) -> Self {
        Self::Failed(error.into())
    }
}
