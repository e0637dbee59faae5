//! After a forced switch: puts the writes that it lost into the new primary, by policy, or records that they are given up.
//!
//! ```text
//! preview   what would become of each lost write, and why; changes nothing
//! run       buckets, then keys; judged again until nothing is left to do (`plan`), so that a run that was ended is
//!           finished by the next one
//! evidence  DIR/reconciliations/20261122T140512Z/report.json, report.md, report.sig
//! ```
//!
//! It promises that nothing which the new primary acknowledged is overwritten or hidden, and that every run leaves a signed
//! report. It leaves rights to a person, and the old primary's return to `failover`.

mod buckets;
mod choices;
mod copy;
mod keys;
mod objects;
mod page;
mod plan;
mod report;
mod settled;

pub use choices::Choices;
pub use plan::Choice;
pub use report::{Action, Entry, REPORT_VERSION, ReconcileReport, ReconcileVerdict};
pub use settled::is_settled;

use crate::ClientError;
use crate::clock::{Clock, utc_compact};
use crate::evidence::{self, Purpose};
use crate::failover::{Divergence, LossManifest};
use crate::target::Target;
use buckets::Bucket;
use keys::{Key, Lists, NewerByKey, Outcome, State, entry};
use objects::{Clients, Endpoints};
use serde::{Deserialize, Serialize};
use settled::identity;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use wire::admin::{LostChange, LostWrite};

/// Keys that are looked at before the new primary is asked what it acknowledged meanwhile: so many that asking costs
/// little, so few that little time lies between.
const BATCH: usize = 256;

/// How often everything is judged again: somebody may write the same keys meanwhile.
const ROUNDS: u32 = 4;

/// Lost writes of one run: what its report or its plan holds.
const WRITES_MAX: usize = 100_000;

/// Runs whose reports are read, at most, the newest.
const RUNS_MAX: usize = 1_000;

/// What is to be done about lost writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// Both what was lost and what was written since.
    KeepBoth,
    /// Nothing: what was lost is given up.
    Discard,
    /// What a person chose for each.
    Manual,
}

/// What a reconciliation is asked for.
#[derive(Clone, Debug)]
pub struct ReconcileOptions {
    /// What is to be done.
    pub policy: Policy,
    /// Only this bucket.
    pub bucket: Option<String>,
    /// Only keys that begin so.
    pub prefix: Option<String>,
    /// Go on although the list is not whole.
    pub accept_incomplete: bool,
    /// What a person chose.
    pub choices: Option<Choices>,
}

/// Says what would become of every lost write. Changes nothing.
pub fn preview(target: &Target, options: &ReconcileOptions) -> Result<ReconcileReport, ClientError> {
    let mut divergence = Divergence::of(target.pair()?)?;
    let mut report = blank(target, options, &divergence.manifest, Clock::start());
    let never = AtomicBool::new(false);
    let mut work = Work::new(target, options, &divergence.manifest)?;
    work.round(&mut divergence, false, &never)?;
    report.left_alone = work.left_alone();
    report.entries = work.found.into_values().map(|outcome| outcome.entry).collect();
    report.conclude(ReconcileVerdict::Preview);
    Ok(report)
}

/// Carries the policy out and writes the evidence; gives the report and its folder. `say` is told each step as it begins;
/// once `stop` is set the run ends with the writes that are under way.
pub fn run(
    target: &Target,
    options: &ReconcileOptions,
    stop: &AtomicBool,
    say: &dyn Fn(&str),
) -> Result<(ReconcileReport, PathBuf), ClientError> {
    let clock = Clock::start();
    say("list what was lost");
    let mut divergence = Divergence::of(target.pair()?)?;
    if !(divergence.manifest.complete || options.accept_incomplete) {
        return Err(ClientError::state(
            "the list of lost writes is not whole: some of it is too long ago to be known",
            "`--preview` shows what is known; --accept-incomplete goes on with that, and keeps everything beside what is there",
        ));
    }
    let mut report = blank(target, options, &divergence.manifest, clock);
    let base = evidence_folder(target);
    report.run = evidence::name_run(&base, report.began_at)?;
    let folder = base.join(&report.run);
    let identity = &target.regions[0].deployment.identity;
    let mut work = Work::new(target, options, &divergence.manifest)?;
    evidence::prepare(&folder, identity)?;
    let verdict = match work.carry_out(&mut divergence, stop, say) {
        Ok(entries) => {
            report.entries = entries;
            if stop.load(Ordering::Relaxed) { ReconcileVerdict::Aborted } else { ReconcileVerdict::Settled }
        }
        Err(error) => {
            report.entries = work.given_up(&error);
            ReconcileVerdict::Failed
        }
    };
    report.left_alone = work.left_alone();
    report.conclude(verdict);
    report.ended_at = clock.now();
    evidence::write(&folder, Purpose::Reconciliation, &report, page::page(&report), identity)?;
    Ok((report, folder))
}

/// Where the evidence of all reconciliations lies.
pub fn evidence_folder(target: &Target) -> PathBuf {
    target.folder.with_file_name("reconciliations")
}

/// One reconciliation while it goes on.
struct Work {
    manifest: LossManifest,
    /// Absent when nothing is to be changed by the policy.
    endpoints: Option<Endpoints>,
    /// Of each entry of the list: what is wanted, none when it is not this run's affair.
    wanted: Vec<Option<Choice>>,
    /// The names of what is looked at, by bucket: what the new primary has of others is no matter.
    names: BTreeMap<String, BTreeSet<String>>,
    /// What became of each entry when it was looked at last.
    found: BTreeMap<usize, Outcome>,
    /// What this run did.
    done: BTreeMap<usize, Entry>,
    /// What went wrong last.
    errors: BTreeMap<usize, Entry>,
}

impl Work {
    fn new(
        target: &Target,
        options: &ReconcileOptions,
        manifest: &LossManifest,
    ) -> Result<Self, ClientError> {
        let chosen = options.choices.as_ref().map(Choices::by_write);
        if let Some(choices) = &options.choices {
            let of = (&choices.from, &choices.to, choices.epoch);
            if of != (&manifest.from, &manifest.to, manifest.epoch) {
                let problem = format!("the plan is of a switch from {} to {} (epoch {})", of.0, of.1, of.2);
                return Err(ClientError::state(problem, "make a new one with --policy manual"));
            }
            let known = manifest.entries.iter().map(identity).collect();
            if let Some(unknown) = choices.unknown(&known).filter(|_| manifest.complete) {
                return Err(ClientError::state(
                    format!("the plan names what is not in the list of lost writes: {unknown}"),
                    "take it out, or make a new one with --policy manual",
                ));
            }
        }
        let wanted = manifest.entries.iter().map(|write| {
            let in_bucket = options.bucket.is_none() || write.bucket == options.bucket;
            let in_prefix = options
                .prefix
                .as_ref()
                .is_none_or(|prefix| write.key.as_ref().is_some_and(|key| key.starts_with(prefix)));
            let choice = match (options.policy, &chosen) {
                (Policy::Discard, _) => Some(Choice::Discard),
                (_, None) => Some(Choice::Keep),
                (_, Some(chosen)) => chosen.get(&identity(write)).copied(),
            };
            choice.filter(|_| in_bucket && in_prefix)
        });
        let endpoints = match options.policy {
            Policy::Discard => None,
            Policy::KeepBoth | Policy::Manual => Some(Endpoints::of(target, &manifest.from, &manifest.to)?),
        };
        let wanted: Vec<_> = wanted.collect();
        let count = wanted.iter().flatten().count();
        if count > WRITES_MAX {
            return Err(ClientError::state(
                format!("{count} lost writes are more than one run decides on, {WRITES_MAX}"),
                "take a part at a time, with --bucket and --prefix",
            ));
        }
        let mut work = Self::blank(manifest.clone(), endpoints, wanted);
        let mut names: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for key in work.keys(manifest) {
            let names = names.entry(key.bucket.to_owned()).or_default();
            names.insert(key.key.to_owned());
            names.extend(key.marks.iter().map(|mark| plan::beside(key.key, mark)));
        }
        work.names = names;
        Ok(work)
    }

    /// Before anything was looked at.
    fn blank(manifest: LossManifest, endpoints: Option<Endpoints>, wanted: Vec<Option<Choice>>) -> Self {
        let (found, done, errors) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { manifest, endpoints, wanted, names: BTreeMap::new(), found, done, errors }
    }

    /// How many lost writes are not this run's affair.
    fn left_alone(&self) -> u64 {
        self.wanted.iter().filter(|wanted| wanted.is_none()).count() as u64
    }

    /// Takes in what the new primary acknowledged of it until now.
    fn refresh(&self, divergence: &mut Divergence<'_>) -> Result<(), ClientError> {
        divergence.refresh(|write| match (&write.bucket, &write.key) {
            (Some(bucket), Some(key)) => self.names.get(bucket).is_some_and(|names| names.contains(key)),
            _ => write.change == LostChange::Bucket,
        })
    }

    /// Judges and acts until nothing is left to do.
    fn carry_out(
        &mut self,
        divergence: &mut Divergence<'_>,
        stop: &AtomicBool,
        say: &dyn Fn(&str),
    ) -> Result<Vec<Entry>, ClientError> {
        for round in 1..=ROUNDS {
            say(if round == 1 { "put back what was lost" } else { "look again" });
            // the last look changes nothing
            self.round(divergence, round < ROUNDS, stop)?;
            let is_over = self.found.values().all(|outcome| outcome.state == State::Quiet);
            if is_over || stop.load(Ordering::Relaxed) {
                break;
            }
        }
        let found = std::mem::take(&mut self.found).into_iter();
        Ok(found.map(|(at, outcome)| self.conclude(at, outcome)).collect())
    }

    /// What became of an entry in the end.
    fn conclude(&self, at: usize, outcome: Outcome) -> Entry {
        match (outcome.state, self.errors.get(&at)) {
            (State::Pending, Some(failed)) => failed.clone(),
            // one that a person ended before the second look, which alone can tell that nobody wrote between look and write
            (State::Changed, _) => {
                let error =
                    Some("it was changed, and the run was given up before the second look".to_owned());
                Entry { action: Action::Failed, error, ..outcome.entry }
            }
            (State::Pending, None) => {
                let why = "it did not come to an end: somebody writes the same key";
                entry(&outcome.entry.write, Action::Failed, why)
            }
            // what this run did before is what became of it
            (State::Quiet, _) if outcome.entry.action == Action::AlreadyThere => {
                self.done.get(&at).cloned().unwrap_or(outcome.entry)
            }
            (State::Quiet, _) => outcome.entry,
        }
    }

    /// What a run that cannot go on says of each write that was its affair; the others' reports stay what they are.
    fn given_up(&self, error: &ClientError) -> Vec<Entry> {
        let failed = |(_, write, _)| Entry {
            error: Some(error.to_string()),
            ..entry(write, Action::Failed, "the run was given up; the next one says what it did")
        };
        self.in_scope(&self.manifest).map(failed).collect()
    }

    /// Looks at everything once and, if it shall, changes what is to be changed.
    fn round(
        &mut self,
        divergence: &mut Divergence<'_>,
        changes: bool,
        stop: &AtomicBool,
    ) -> Result<(), ClientError> {
        let manifest = self.manifest.clone();
        let Some(endpoints) = self.endpoints.clone() else {
            self.take(self.without_endpoints(&manifest));
            return Ok(());
        };
        self.refresh(divergence)?;
        let mut clients = endpoints.clients();
        let mut present = BTreeSet::new();
        for bucket in self.buckets(&manifest, divergence) {
            let outcomes = buckets::act(&mut clients, &bucket, changes && !stop.load(Ordering::Relaxed));
            // a preview goes on as if it were made
            if outcomes.iter().any(|outcome| outcome.entry.action == Action::BucketCreated) {
                present.insert(bucket.name.to_owned());
            }
            self.take(outcomes);
        }
        self.take(self.others(&manifest));
        let keys = self.keys(&manifest);
        find_buckets(&mut clients, &keys, &mut present)?;
        for batch in keys.chunks(BATCH) {
            if stop.load(Ordering::Relaxed) {
                self.take(given_up(batch));
                continue;
            }
            let currents = keys::look(&endpoints, batch, &present);
            self.refresh(divergence)?;
            let mut newer = NewerByKey::new();
            for write in divergence.newer() {
                if let (Some(bucket), Some(key)) = (&write.bucket, &write.key) {
                    newer.entry((bucket, key)).or_default().push(write);
                }
            }
            let lists = Lists { newer, are_whole: divergence.is_whole(), buckets: &present };
            let outcomes = keys::act(&endpoints, batch, &currents, &lists, changes, stop);
            self.take(outcomes);
        }
        Ok(())
    }

    fn take(&mut self, outcomes: Vec<Outcome>) {
        for outcome in outcomes {
            let (at, entry) = (outcome.at, outcome.entry.clone());
            match outcome.state {
                State::Changed => drop(self.done.insert(at, entry)),
                State::Pending if entry.action == Action::Failed => drop(self.errors.insert(at, entry)),
                _ => {}
            }
            self.found.insert(at, outcome);
        }
    }

    fn in_scope<'b>(
        &self,
        manifest: &'b LossManifest,
    ) -> impl Iterator<Item = (usize, &'b LostWrite, Choice)> {
        let entries = manifest.entries.iter().zip(&self.wanted).enumerate();
        entries.filter_map(|(at, (write, wanted))| wanted.map(|choice| (at, write, choice)))
    }

    /// What becomes of each write by a policy that changes nothing.
    fn without_endpoints(&self, manifest: &LossManifest) -> Vec<Outcome> {
        let given_up = |write| entry(write, Action::GivenUp, "given up by decision");
        self.in_scope(manifest).map(|(at, write, _)| quiet(at, given_up(write))).collect()
    }

    fn buckets<'b>(&self, manifest: &'b LossManifest, divergence: &Divergence<'_>) -> Vec<Bucket<'b>> {
        let mut found: BTreeMap<&str, Bucket<'b>> = BTreeMap::new();
        for (at, write, choice) in self.in_scope(manifest) {
            let Some(name) = write.bucket.as_deref().filter(|_| write.change == LostChange::Bucket) else {
                continue;
            };
            let changed = || {
                let of =
                    |newer: &&LostWrite| newer.change == LostChange::Bucket && newer.bucket == write.bucket;
                divergence.newer().filter(of).count()
            };
            let bucket =
                found.entry(name).or_insert_with(|| Bucket { name, entries: Vec::new(), changed: changed() });
            bucket.entries.push((at, write, choice));
        }
        found.into_values().collect()
    }

    /// What S3 has no way to repeat.
    fn others(&self, manifest: &LossManifest) -> Vec<Outcome> {
        let judged = self.in_scope(manifest).filter_map(|(at, write, choice)| {
            let (action, why) = match write.change {
                _ if choice == Choice::Discard
                    && write.key.is_none()
                    && write.change != LostChange::Bucket =>
                {
                    (Action::GivenUp, "given up by decision")
                }
                LostChange::Access => (
                    Action::ByHand,
                    "give the principal, key or right again: `twinkeep user`, `key`, `grant`",
                ),
                LostChange::Region => {
                    (Action::Superseded, "the region's own keys and settings: nothing that a client wrote")
                }
                _ => return None,
            };
            Some(quiet(at, entry(write, action, why)))
        });
        judged.collect()
    }

    fn keys<'b>(&self, manifest: &'b LossManifest) -> Vec<Key<'b>> {
        let mut found: BTreeMap<(&str, &str), Key<'b>> = BTreeMap::new();
        for (at, write, choice) in self.in_scope(manifest) {
            let (Some(bucket), Some(key)) = (write.bucket.as_deref(), write.key.as_deref()) else { continue };
            let new = || Key { bucket, key, entries: Vec::new(), marks: Vec::new() };
            let found = found.entry((bucket, key)).or_insert_with(new);
            found.entries.push((at, write, choice));
            found
                .marks
                .push(format!("{}/{}/{}/{}", manifest.from, manifest.epoch, write.group, write.sequence));
        }
        found.into_values().collect()
    }
}

/// Which of the keys' buckets the new primary has.
fn find_buckets(
    clients: &mut Clients,
    keys: &[Key<'_>],
    present: &mut BTreeSet<String>,
) -> Result<(), ClientError> {
    let names: BTreeSet<&str> = keys.iter().map(|key| key.bucket).collect();
    for name in names {
        let found = objects::versioning(&mut clients.to, name).map_err(|refusal| {
            let problem =
                format!("the new primary does not say whether it has the bucket {name}: {}", refusal.reason);
            ClientError::state(problem, "the access key needs the right to read and write it; ask again")
        })?;
        if found.is_some() {
            present.insert(name.to_owned());
        }
    }
    Ok(())
}

fn quiet(at: usize, entry: Entry) -> Outcome {
    Outcome { at, entry, state: State::Quiet }
}

fn given_up(keys: &[Key<'_>]) -> Vec<Outcome> {
    let failed = |write| entry(write, Action::Failed, "the run was given up before");
    let all = keys.iter().flat_map(|key| &key.entries);
    all.map(|(at, write, _)| Outcome { at: *at, entry: failed(write), state: State::Pending }).collect()
}

fn blank(
    target: &Target,
    options: &ReconcileOptions,
    manifest: &LossManifest,
    clock: Clock,
) -> ReconcileReport {
    let deployment = &target.regions[0].deployment;
    let certificate = crate::files::read(&deployment.identity.certificate()).ok();
    ReconcileReport {
        schema_version: REPORT_VERSION,
        run: utc_compact(clock.now()),
        deployment: deployment.descriptor.deployment.to_string(),
        environment: deployment.descriptor.environment.clone(),
        from: manifest.from.clone(),
        to: manifest.to.clone(),
        epoch: manifest.epoch,
        complete: manifest.complete,
        policy: options.policy,
        bucket: options.bucket.clone(),
        prefix: options.prefix.clone(),
        operator: certificate.and_then(|pem| evidence::operator(&pem)).unwrap_or_default(),
        release: env!("CARGO_PKG_VERSION").to_owned(),
        began_at: clock.now(),
        ended_at: clock.now(),
        totals: BTreeMap::new(),
        left_alone: 0,
        entries: Vec::new(),
        verdict: ReconcileVerdict::Preview,
        exit_code: 0,
    }
}

/// The folders of runs, newest first.
fn read_folder(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut runs: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    runs.sort_by(|one, other| other.cmp(one));
    runs.truncate(RUNS_MAX);
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost() -> LostWrite {
        let json = r#"{"change":"put","bucket":"bucket","key":"key","version":"null","size":1,"etag":"etag","principal":null,
            "acknowledged_at":1,"kept":true,"certain":true,"group":1,"sequence":1}"#;
        serde_json::from_str(json).unwrap()
    }

    fn work(wanted: Vec<Option<Choice>>) -> Work {
        let entries = wanted.iter().map(|_| lost()).collect();
        let (from, to) = ("twin-1".to_owned(), "twin-2".to_owned());
        let manifest = LossManifest { from, to, epoch: 2, complete: true, entries };
        Work::blank(manifest, None, wanted)
    }

    #[test]
    fn a_write_is_put_back_only_once_a_second_look_found_it_so() {
        let mut work = work(vec![Some(Choice::Keep)]);
        let changed = |state, action| Outcome { at: 0, entry: entry(&lost(), action, "why"), state };
        work.take(vec![changed(State::Changed, Action::PutBack)]);
        let ended = work.conclude(0, changed(State::Changed, Action::PutBack));
        assert_eq!(ended.action, Action::Failed, "a run that was ended has not looked again");
        assert!(ended.error.unwrap().contains("second look"));
        let looked = work.conclude(0, changed(State::Quiet, Action::AlreadyThere));
        assert_eq!(looked.action, Action::PutBack, "this run did it");
    }

    #[test]
    fn a_run_that_cannot_go_on_says_nothing_of_writes_that_were_not_its_affair() {
        let work = work(vec![None, Some(Choice::Keep)]);
        let entries = work.given_up(&ClientError::state("a problem", "an advice"));
        assert_eq!(entries.iter().map(|entry| entry.action).collect::<Vec<_>>(), [Action::Failed]);
    }
}
