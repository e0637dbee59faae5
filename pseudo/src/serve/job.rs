//! One job: what was begun is finished first, then what is due is made. Each export is made the way `pseudo export` makes it.

use super::config::JobConfig;
use super::known::Known;
use super::opening::{Opened, no_key};
use super::schedule::export_name;
use super::state::Shared;
use crate::export::{Begun, Done, Export, Held, MayLack};
use crate::keys::KeyFolder;
use crate::manifest::Order;
use crate::revoked::Trust;
use crate::s3::S3;
use crate::{PseudoError, agreement, clock};
use custody::MasterKey;
use tracing::{info, warn};

/// First and longest wait after an attempt that failed, seconds.
const BACKOFF_SECONDS: (i64, i64) = (10, 600);

/// A job, and what is known of its exports.
pub(crate) struct Job<'a> {
    number: usize,
    config: &'a JobConfig,
    known: Known,
    /// The newest time that had nothing new: it leaves nothing in the drafts.
    empty: Option<String>,
    /// When it is to be looked at next; seconds since 1970.
    pub(crate) due: i64,
    failed: u32,
}

/// What an attempt is made with.
pub(crate) struct Tools<'a> {
    pub(crate) s3: &'a S3,
    pub(crate) opened: &'a Opened,
    pub(crate) shared: &'a Shared,
}

impl<'a> Job<'a> {
    pub(crate) fn new(number: usize, config: &'a JobConfig) -> Self {
        Self { number, config, known: Known::default(), empty: None, due: 0, failed: 0 }
    }

    /// Whether something is to be done now.
    pub(crate) fn is_due(&self, now: i64) -> bool {
        self.config.schedule.has_come(self.due, now, BACKOFF_SECONDS.1)
    }

    /// Does what is to be done now, and says when to come again.
    pub(crate) fn attempt(&mut self, tools: &Tools<'_>) {
        let job = self.config.name.as_str();
        tools.shared.note(self.number, |standing| standing.is_running = true);
        let done = self.work(tools);
        let now = clock::now();
        if tools.shared.is_ending() {
            // what was interrupted by that is no failure
            tools.shared.note(self.number, |standing| standing.is_running = false);
            return;
        }
        match &done {
            Ok(()) => {
                self.failed = 0;
                self.due = self.config.schedule.next(now);
            }
            Err(error) => {
                self.failed += 1;
                let wait = BACKOFF_SECONDS.0 << (self.failed - 1).min(16);
                self.due = now + wait.min(BACKOFF_SECONDS.1);
                let (why, attempt) = (error.chain(), self.failed);
                warn!(job, attempt, error = why, "an export failed and is tried again");
            }
        }
        let (due, failed) = (self.due, self.failed);
        tools.shared.note(self.number, |standing| {
            standing.is_running = false;
            standing.due = Some(due);
            standing.failed += u64::from(done.is_err());
            standing.failing = done.err().map(|error| (failed, error.chain()));
            if standing.failing.is_none() {
                standing.well = Some(now);
            }
        });
    }

    fn work(&mut self, tools: &Tools<'_>) -> Result<(), PseudoError> {
        let trust = tools.opened.are_there(&tools.shared.config.keys)?;
        self.look(tools, &trust)?;
        while let Some(name) = self.known.unfinished().map(str::to_owned) {
            self.make(tools, name)?;
            self.look(tools, &trust)?;
            if tools.shared.is_ending() {
                return Ok(());
            }
        }
        let (job, now) = (&self.config.name, clock::now());
        if let Some(newest) = self.known.newest()
            && newest > export_name(job, now).as_str()
        {
            let problem = format!("export {newest} is of a time that has not come");
            return Err(PseudoError::usage(problem, "set the clock right: exports go on after that time"));
        }
        let name = export_name(job, self.config.schedule.latest(now));
        // also under another schedule: an export never comes before one that is there
        let is_past = |there: Option<&str>| there.is_some_and(|there| there >= name.as_str());
        if is_past(self.known.newest()) || is_past(self.empty.as_deref()) {
            return Ok(());
        }
        self.make(tools, name)
    }

    fn look(&mut self, tools: &Tools<'_>, trust: &Trust) -> Result<(), PseudoError> {
        let config = self.config;
        self.known.look(tools.s3, &config.name, &config.drafts, config.incremental, trust)
    }

    fn make(&mut self, tools: &Tools<'_>, name: String) -> Result<(), PseudoError> {
        let (config, shared, now) = (self.config, tools.shared, clock::now());
        let (folder, service) = (KeyFolder::open(&shared.config.keys)?, tools.opened.service.public());
        agreement::check(&config.policy_file, &config.policy, &folder, service)?;
        let held: Option<Held> = config.incremental.then(|| self.known.held()).transpose()?;
        let wanted = config.wanted();
        let export = Export {
            s3: tools.s3,
            to: config.drafts.below(&name),
            name,
            policy: &config.policy,
            terms: wanted.terms(now)?,
            from: wanted.sources()?,
            held: held.as_ref(),
            // new objects may well have no rows, and are not looked at again and again for that
            may_lack: MayLack { objects: config.allow_empty, rows: config.allow_empty || config.incremental },
            again: None,
            part_rows_max: config.part_rows,
            memory_bytes: shared.config.memory_bytes,
            temporary: shared.config.temporary.clone(),
            operator: &tools.opened.maker,
            service: &tools.opened.service,
            stop: &shared.stop,
        };
        let done = make(&export, tools.opened, now)?;
        let job = config.name.as_str();
        let Some(Done { manifest, is_resumed, misses, .. }) = done else {
            info!(job, export = export.name, "nothing new is to be exported");
            shared.note(self.number, |standing| standing.empty += 1);
            self.empty = Some(export.name);
            return Ok(());
        };
        let counts = &manifest.counts;
        info!(
            job,
            export = manifest.export,
            sources = manifest.sources.len(),
            parts = manifest.outputs.len(),
            records_out = counts.records_out,
            records_left_out = counts.records_left_out,
            resumed = is_resumed,
            gate_misses = misses.len(),
            "an export is a draft"
        );
        shared.note(self.number, |standing| {
            standing.made += 1;
            standing.held += u64::from(!misses.is_empty());
            standing.records_out += counts.records_out;
            standing.records_left_out += counts.records_left_out;
        });
        Ok(())
    }
}

/// Goes on with an export that was begun if that leads to its end, else begins it anew; `None` if there is nothing to export.
fn make(export: &Export<'_>, opened: &Opened, now: i64) -> Result<Option<Done>, PseudoError> {
    let domain = &export.policy.domain;
    match export.begun()? {
        Begun::No => {}
        Begun::Same(order) => {
            if let Some(master) = opened.named(domain, &order.key)
                && export.has_its_sources(&order.sources)?
            {
                return run(export, *order, true, master).map(Some);
            }
            warn!(export = export.name, "a source or the key of a begun export is gone: it is begun anew");
            export.discard()?;
        }
        Begun::Otherwise => {
            warn!(export = export.name, "an export was begun under other terms: it is begun anew");
            export.discard()?;
        }
    }
    let master = opened.newest(domain).ok_or_else(|| no_key(domain))?;
    let Some(order) = export.begin(master, now)? else { return Ok(None) };
    run(export, order, false, master).map(Some)
}

/// Makes all of it. One that would be empty is not gone on with: its sources may have rows by the next time.
fn run(export: &Export<'_>, order: Order, is_resumed: bool, master: &MasterKey) -> Result<Done, PseudoError> {
    let done = export.run(order, is_resumed, master, None);
    if matches!(done, Err(PseudoError::Empty { .. })) {
        export.discard()?;
    }
    done
}
