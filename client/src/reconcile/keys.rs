//! The lost writes of objects, key by key: looks how each key is in the new primary, judges, and carries out.
//!
//! ```text
//! look     what is current under each key (the condition of every write of bytes)
//! list     what the new primary acknowledged until then: a write before the look is in the list, one after it breaks the condition
//! act      judge each key, and take its steps in order
//! ```

use super::copy::copy;
use super::objects::{self, Clients, Endpoints};
use super::plan::{Choice, Judged, KeyFacts, Newer, Step, beside, judge, mark_beside};
use super::report::{Action, Entry};
use crate::s3::Refusal;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use wire::admin::{LostChange, LostWrite};

/// Keys worked on at once, each over connections of its own: enough to share flushes, few enough to leave room for others.
const WORKERS: usize = 8;

/// The lost writes of one key.
pub(super) struct Key<'a> {
    pub(super) bucket: &'a str,
    pub(super) key: &'a str,
    /// Their places in the list, in order, with what is wanted of each.
    pub(super) entries: Vec<(usize, &'a LostWrite, Choice)>,
    /// The mark of each.
    pub(super) marks: Vec<String>,
}

/// What the new primary acknowledged since the switch, by bucket and key.
pub(super) type NewerByKey<'a> = BTreeMap<(&'a str, &'a str), Vec<&'a LostWrite>>;

/// What both regions' lists say.
pub(super) struct Lists<'a> {
    pub(super) newer: NewerByKey<'a>,
    pub(super) are_whole: bool,
    /// The new primary's buckets.
    pub(super) buckets: &'a BTreeSet<String>,
}

/// The ETag of what is current under a key in the new primary.
pub(super) type Current = Result<Option<String>, Refusal>;

/// What became of an entry.
pub(super) struct Outcome {
    /// Its place in the list.
    pub(super) at: usize,
    pub(super) entry: Entry,
    pub(super) state: State,
}

/// Whether something was changed for an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing is to be changed.
    Quiet,
    /// Something is, and was not.
    Pending,
    /// It was changed.
    Changed,
}

/// Looks what is current under each key.
pub(super) fn look(endpoints: &Endpoints, keys: &[Key<'_>], buckets: &BTreeSet<String>) -> Vec<Current> {
    each(endpoints, keys, |clients, key| {
        if !buckets.contains(key.bucket) {
            return Ok(None);
        }
        Ok(objects::find(&mut clients.to, key.bucket, key.key, None)?.map(|found| found.etag))
    })
}

/// Judges each key, and takes its steps unless nothing shall be changed; gives what became of each of its entries.
pub(super) fn act(
    endpoints: &Endpoints,
    keys: &[Key<'_>],
    currents: &[Current],
    lists: &Lists<'_>,
    changes: bool,
    stop: &AtomicBool,
) -> Vec<Outcome> {
    let pairs: Vec<(&Key<'_>, &Current)> = keys.iter().zip(currents).collect();
    let outcomes = each(endpoints, &pairs, |clients, (key, current)| {
        let judged = match current {
            Ok(current) => facts(clients, key, current.clone(), lists).map(|facts| judge(&facts)),
            Err(refusal) => Err(refusal.clone()),
        };
        match judged {
            Ok(judged) => key.carry_out(clients, judged, changes, stop),
            Err(refusal) => key.failed(&refusal),
        }
    });
    outcomes.into_iter().flatten().collect()
}

impl Key<'_> {
    fn carry_out(
        &self,
        clients: &mut Clients,
        judged: Vec<Judged>,
        changes: bool,
        stop: &AtomicBool,
    ) -> Vec<Outcome> {
        let mut error: Option<String> = None;
        let each = self.entries.iter().zip(&self.marks).zip(judged);
        let outcomes = each.map(|(((at, write, _), mark), judged)| {
            let mut entry = entry(write, judged.action, &judged.why);
            entry.name = judged.name;
            let state = if judged.step.is_some() { State::Pending } else { State::Quiet };
            let Some(step) = judged.step.filter(|_| changes) else {
                return Outcome { at: *at, entry, state };
            };
            // what follows builds on it
            if error.is_none() && stop.load(Ordering::Relaxed) {
                error = Some("given up before".to_owned());
            }
            if error.is_none() {
                error =
                    self.take(clients, write, mark, &step, &mut entry).err().map(|refusal| refusal.reason);
            }
            if let Some(error) = &error {
                (entry.action, entry.error, entry.name) = (Action::Failed, Some(error.clone()), None);
            }
            let state = if error.is_none() { State::Changed } else { State::Pending };
            Outcome { at: *at, entry, state }
        });
        outcomes.collect()
    }

    fn take(
        &self,
        clients: &mut Clients,
        write: &LostWrite,
        mark: &str,
        step: &Step,
        entry: &mut Entry,
    ) -> Result<(), Refusal> {
        match step {
            Step::Put { name, above } => {
                let mark = if *name == self.key { mark.to_owned() } else { mark_beside(mark) };
                let written = copy(clients, write, name, &mark, above.as_deref())?;
                (entry.version, entry.not_kept) = (written.version, written.not_kept);
            }
            Step::Move { name, version } => {
                // an earlier run may have ended between the two halves
                let there = objects::find(&mut clients.to, self.bucket, name, None)?;
                if there.is_none_or(|there| Some(there.etag) != write.etag) {
                    let written = copy(clients, write, name, &mark_beside(mark), None)?;
                    (entry.version, entry.not_kept) = (written.version, written.not_kept);
                }
                objects::delete_version(&mut clients.to, self.bucket, self.key, version, None)?;
            }
            Step::Delete { etag } => {
                entry.version = objects::delete(&mut clients.to, self.bucket, self.key, etag)?;
            }
            Step::DeleteVersion { version, current } => {
                let current = current.as_deref();
                objects::delete_version(&mut clients.to, self.bucket, self.key, version, current)?;
            }
        }
        Ok(())
    }

    fn failed(&self, refusal: &Refusal) -> Vec<Outcome> {
        let why = "the new primary could not be asked";
        let entry =
            |write| Entry { error: Some(refusal.reason.clone()), ..entry(write, Action::Failed, why) };
        let each = self.entries.iter();
        each.map(|(at, write, _)| Outcome { at: *at, entry: entry(write), state: State::Pending }).collect()
    }
}

/// An entry of the report without what only some have.
pub(super) fn entry(write: &LostWrite, action: Action, why: &str) -> Entry {
    Entry {
        write: write.clone(),
        action,
        why: why.to_owned(),
        name: None,
        version: None,
        not_kept: Vec::new(),
        error: None,
    }
}

/// Asks the new primary for what the judgement of a key needs.
fn facts<'a>(
    clients: &mut Clients,
    key: &'a Key<'_>,
    current: Option<String>,
    lists: &Lists<'_>,
) -> Result<KeyFacts<'a>, Refusal> {
    let has_bucket = lists.buckets.contains(key.bucket);
    let mut newer = Vec::new();
    for write in lists.newer.get(&(key.bucket, key.key)).into_iter().flatten() {
        let version = write.version.as_deref().filter(|_| write.change == LostChange::Put && write.kept);
        let found = match version {
            Some(version) => objects::find(&mut clients.to, key.bucket, key.key, Some(version))?,
            None => None,
        };
        // what is there under `null` may be newer than the list
        let found = found.filter(|found| write.etag.as_ref() == Some(&found.etag));
        newer.push(Newer { write: (*write).clone(), mark: found.and_then(|found| found.mark) });
    }
    let (mut is_beside, mut there) = (Vec::new(), BTreeSet::new());
    for ((_, write, _), mark) in key.entries.iter().zip(&key.marks) {
        let mut has_beside = false;
        if write.change == LostChange::Put && write.kept && has_bucket {
            let name = beside(key.key, mark);
            let same = |newer: &&LostWrite| {
                newer.change == LostChange::Put && newer.etag == write.etag && newer.size == write.size
            };
            has_beside =
                lists.newer.get(&(key.bucket, name.as_str())).is_some_and(|all| all.iter().any(same));
            if !has_beside && !lists.are_whole {
                let found = objects::find(&mut clients.to, key.bucket, &name, None)?;
                has_beside = found.is_some_and(|found| Some(found.etag) == write.etag);
            }
        }
        is_beside.push(has_beside);
        if let (LostChange::Delete, Some(version)) = (write.change, &write.version)
            && has_bucket
            && objects::has_version(&mut clients.to, key.bucket, key.key, version)?
        {
            there.insert(version.clone());
        }
    }
    Ok(KeyFacts {
        lost: key.entries.iter().map(|(_, write, choice)| (*write, *choice)).collect(),
        marks: key.marks.clone(),
        newer,
        lists_are_whole: lists.are_whole,
        has_bucket,
        current,
        beside: is_beside,
        there,
    })
}

/// Does the same for each of many, several at a time; answers come in the order of what was asked.
fn each<T: Sync, R: Send>(
    endpoints: &Endpoints,
    items: &[T],
    work: impl Fn(&mut Clients, &T) -> R + Sync,
) -> Vec<R> {
    let queue = Mutex::new(items.iter().enumerate());
    let done = Mutex::new(Vec::new());
    let next = || queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next();
    std::thread::scope(|scope| {
        for _ in 0..WORKERS.min(items.len()) {
            scope.spawn(|| {
                let mut clients = endpoints.clients();
                while let Some((at, item)) = next() {
                    let outcome = work(&mut clients, item);
                    done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((at, outcome));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, outcome)| outcome).collect()
}
