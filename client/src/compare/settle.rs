//! The second look: entries that the first one did not find alike are looked at again, in both regions and in order, until
//! each is the same, or differs twice in a row, or the rounds are over.

use super::ask::Holder;
use super::judge::{Judgement, Look, judge};
use crate::ClientError;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use wire::admin::{CompareEntriesPage, CompareWanted};
use wire::{
    COMPARED_ROWS_MAX, ComparePosition, ComparedEntry, ComparedKind, Epoch, FIRST_EPOCH, PairRole, RowKey,
};

/// Rounds before an entry is left undecided. 12: with the pauses some seconds of writes to the same entry.
const ROUNDS: u32 = 12;

/// Rounds when nothing but counters is left: they move with every write, and that they cannot be judged is no finding.
const FIGURES_ROUNDS: u32 = 3;

/// How often in a row an entry must differ.
const DIFFERS_TIMES: u32 = 2;

/// Pause between two rounds, times the round: what is written in bursts comes to rest.
const PAUSE: Duration = Duration::from_millis(50);

/// How long the standby may take to have what the primary had.
const CATCH_UP: Duration = Duration::from_secs(20);

/// Pause between two looks at a standby that is not there yet.
const LOOK: Duration = Duration::from_millis(50);

/// What the second look found.
#[derive(Debug, Default)]
pub(super) struct Settled {
    /// Entries that differ.
    pub(super) differing: Vec<Found>,
    /// Entries that could not be decided.
    pub(super) undecided: Vec<Found>,
    /// How many are the same by now.
    pub(super) same: u64,
}

/// An entry as both regions had it last.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) judgement: Judgement,
    pub(super) primary: Option<ComparedEntry>,
    pub(super) standby: Option<ComparedEntry>,
}

/// A group of both regions.
#[derive(Clone, Copy)]
pub(super) struct Both<'a> {
    pub(super) primary: &'a dyn Holder,
    pub(super) standby: &'a dyn Holder,
    pub(super) group: u32,
    pub(super) stop: &'a AtomicBool,
    /// Whether the standby did not catch up once: it is not waited for again, or each row of a group that is blocked would be.
    pub(super) is_behind: &'a AtomicBool,
}

/// Looks at these rows until it is known what to think of each.
pub(super) fn settle(both: Both<'_>, rows: BTreeSet<RowKey>) -> Result<Settled, ClientError> {
    let mut settled = Settled::default();
    // how often in a row each differed, and how it was last
    let mut open: BTreeMap<RowKey, (u32, Option<Found>)> =
        rows.into_iter().map(|row| (row, (0, None))).collect();
    for round in 0..ROUNDS {
        let is_figures = |(_, found): &(u32, Option<Found>)| found.as_ref().is_some_and(Found::is_figures);
        if open.is_empty() || (round >= FIGURES_ROUNDS && open.values().all(is_figures)) {
            break;
        }
        std::thread::sleep(PAUSE * round);
        let rows: Vec<RowKey> = open.keys().cloned().collect();
        for rows in rows.chunks(COMPARED_ROWS_MAX) {
            both.check()?;
            for (row, found) in look(both, rows)? {
                let Some((times, last)) = open.get_mut(&row) else { continue };
                *times = match found.judgement {
                    Judgement::Same => {
                        settled.same += 1;
                        open.remove(&row);
                        continue;
                    }
                    Judgement::Moving => 0,
                    _ => *times + 1,
                };
                if *times == DIFFERS_TIMES {
                    settled.differing.push(found);
                    open.remove(&row);
                } else {
                    *last = Some(found);
                }
            }
        }
    }
    settled.undecided = open.into_values().filter_map(|(_, found)| found).collect();
    Ok(settled)
}

/// One look at some rows in each region, and one more in the primary.
fn look(both: Both<'_>, rows: &[RowKey]) -> Result<Vec<(RowKey, Found)>, ClientError> {
    let before = Seen::of(both.entries(both.primary, rows)?);
    let standby = Seen::of(both.entries_from(rows, before.position.to)?);
    let after = Seen::of(both.entries(both.primary, rows)?);
    check_parts(&before.position, &standby.position)?;
    check_parts(&after.position, &standby.position)?;
    let found = rows.iter().map(|row| {
        let judgement = judge(before.look(row), standby.look(row), after.look(row));
        let [primary, standby] = [&after, &standby].map(|seen| seen.entries.get(row).cloned());
        (row.clone(), Found { judgement, primary, standby })
    });
    Ok(found.collect())
}

/// A standby is held against its own primary only.
pub(super) fn check_parts(primary: &ComparePosition, standby: &ComparePosition) -> Result<(), ClientError> {
    let are_so = matches!(primary.role, PairRole::Primary | PairRole::Sealed)
        && standby.role == PairRole::Standby
        && reign(primary) == reign(standby);
    if are_so {
        return Ok(());
    }
    let problem = format!(
        "the parts of the pair are not those of a primary and its standby: {:?} under {}, {:?} under {}",
        primary.role, primary.epoch, standby.role, standby.epoch
    );
    Err(ClientError::state(problem, "`twinkeep lag` shows both; compare once it says Live"))
}

/// The reign that a group is under: the first write of all begins the first one, and may be on its way to the standby.
fn reign(position: &ComparePosition) -> Epoch {
    Epoch(position.epoch).max(FIRST_EPOCH)
}

/// What one look found.
struct Seen {
    position: ComparePosition,
    entries: BTreeMap<RowKey, ComparedEntry>,
}

impl Seen {
    fn of(page: CompareEntriesPage) -> Self {
        let entries = page.entries.into_iter().map(|entry| (entry.row.clone(), entry));
        Self { position: page.position, entries: entries.collect() }
    }

    fn look(&self, row: &RowKey) -> Look<'_> {
        Look { position: self.position, entry: self.entries.get(row) }
    }
}

impl Found {
    /// Whether it is a bucket's counters.
    pub(super) fn is_figures(&self) -> bool {
        let entry = self.primary.as_ref().or(self.standby.as_ref());
        entry.is_some_and(|entry| entry.kind == ComparedKind::Figures)
    }
}

impl Both<'_> {
    /// An error once somebody wants the run to end.
    pub(super) fn check(&self) -> Result<(), ClientError> {
        match self.stop.load(Ordering::Relaxed) {
            true => Err(ClientError::state("the comparison was ended", "")),
            false => Ok(()),
        }
    }

    fn entries(&self, holder: &dyn Holder, rows: &[RowKey]) -> Result<CompareEntriesPage, ClientError> {
        holder.entries(self.group, CompareWanted::Rows { rows: rows.to_vec() })
    }

    /// The standby's entries once it has everything up to `position`, or as they are when it does not come there.
    fn entries_from(&self, rows: &[RowKey], position: u64) -> Result<CompareEntriesPage, ClientError> {
        let deadline = Instant::now() + CATCH_UP;
        loop {
            let page = self.entries(self.standby, rows)?;
            if page.position.from >= position || self.is_behind.load(Ordering::Relaxed) {
                return Ok(page);
            }
            if Instant::now() > deadline {
                self.is_behind.store(true, Ordering::Relaxed);
                return Ok(page);
            }
            self.check()?;
            std::thread::sleep(LOOK);
        }
    }
}

#[cfg(test)]
#[path = "settle/tests.rs"]
mod tests;
