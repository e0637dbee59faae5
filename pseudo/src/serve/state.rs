//! What the parts of the service share: what was opened, how each job stands, what the worker waits for.

use super::config::Config;
use super::opening::{Brought, Gathering, Opened};
use crate::PseudoError;
use crate::keys::KeyFolder;
use crate::token::RootToken;
use custody::{DomainName, RootKey, Share};
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tracing::info;

/// One thing that stands in the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Reason {
    /// A short name that does not change.
    pub(crate) code: &'static str,
    /// What it is, in one sentence.
    pub(crate) message: String,
}

/// How a job stands.
#[derive(Debug, Clone, Default)]
pub(crate) struct Standing {
    pub(crate) name: String,
    /// Exports made since the start.
    pub(crate) made: u64,
    /// Times that had nothing new.
    pub(crate) empty: u64,
    /// Attempts that failed.
    pub(crate) failed: u64,
    /// Exports that the gate will hold.
    pub(crate) held: u64,
    pub(crate) records_out: u64,
    pub(crate) records_left_out: u64,
    /// When it last made an export or found nothing new; seconds since 1970.
    pub(crate) well: Option<i64>,
    /// When it is due next.
    pub(crate) due: Option<i64>,
    pub(crate) is_running: bool,
    /// Attempts that failed in a row, and why the last one did.
    pub(crate) failing: Option<(u32, String)>,
}

/// What retention has done since the start.
#[derive(Debug, Clone, Default)]
pub(crate) struct Deleted {
    pub(crate) exports: u64,
    pub(crate) failed: u64,
    pub(crate) well: Option<i64>,
    pub(crate) failing: Option<String>,
}

struct Inner {
    gathering: Gathering,
    opened: Option<Arc<Opened>>,
    jobs: Vec<Standing>,
    deleted: Deleted,
}

/// What the parts of the service share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    /// Set when the service is to end.
    pub(crate) stop: AtomicBool,
    domains: BTreeSet<DomainName>,
    inner: Mutex<Inner>,
    rung: Condvar,
}

impl Shared {
    pub(crate) fn new(config: Config) -> Result<Self, PseudoError> {
        let root = KeyFolder::open(&config.keys)?.root();
        let named = |name: &String| Standing { name: name.clone(), ..Standing::default() };
        let inner = Inner {
            gathering: Gathering::new(root),
            opened: None,
            jobs: config.jobs.iter().map(|job| named(&job.name)).collect(),
            deleted: Deleted::default(),
        };
        let domains = config.jobs.iter().map(|job| job.policy.domain.clone()).collect();
        Ok(Self {
            config,
            stop: AtomicBool::new(false),
            domains,
            inner: Mutex::new(inner),
            rung: Condvar::new(),
        })
    }

    /// Takes a share. With the last one the keys are opened; an open service opens them anew, and so learns of new ones.
    pub(crate) fn bring(&self, share: Share) -> Result<(), PseudoError> {
        let brought = self.lock().gathering.bring(share, Instant::now())?;
        let root = match brought {
            Brought::Waiting => {
                let (given, needed) = self.lock().gathering.count();
                info!(given, needed, "a share was brought");
                return Ok(());
            }
            Brought::Whole(root) => root,
        };
        self.open(root)
    }

    /// Opens the keys with the token that a file names.
    pub(crate) fn open_by_token(&self, file: &Path) -> Result<(), PseudoError> {
        self.open(RootToken::load(file)?.open(&KeyFolder::open(&self.config.keys)?)?)
    }

    fn open(&self, root: RootKey) -> Result<(), PseudoError> {
        let opened = Opened::open(&self.config.keys, &root, &self.domains, &self.config.acting)?;
        drop(root);
        info!(maker = opened.maker.name, "the keys are open");
        self.lock().opened = Some(Arc::new(opened));
        self.rung.notify_all();
        Ok(())
    }

    /// Whether the keys are open, how many shares wait, how many are needed.
    pub(crate) fn opening(&self) -> (bool, usize, Option<u8>) {
        let mut inner = self.lock();
        inner.gathering.expire(Instant::now());
        let (given, needed) = inner.gathering.count();
        (inner.opened.is_some(), given, needed)
    }

    /// What was opened.
    pub(crate) fn opened(&self) -> Option<Arc<Opened>> {
        self.lock().opened.clone()
    }

    /// Waits until something was opened, the service is to end, or so long.
    pub(crate) fn wait(&self, most: Duration) {
        let inner = self.lock();
        if !self.is_ending() {
            let _ = self.rung.wait_timeout(inner, most).map_err(PoisonError::into_inner);
        }
    }

    /// Tells everybody to end.
    pub(crate) fn end(&self) {
        // under the lock: who is about to wait would not hear of it
        let inner = self.lock();
        self.stop.store(true, Ordering::Relaxed);
        drop(inner);
        self.rung.notify_all();
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Changes how a job stands.
    pub(crate) fn note(&self, job: usize, change: impl FnOnce(&mut Standing)) {
        change(&mut self.lock().jobs[job]);
    }

    /// Changes what is known of retention.
    pub(crate) fn note_deleted(&self, change: impl FnOnce(&mut Deleted)) {
        change(&mut self.lock().deleted);
    }

    pub(crate) fn jobs(&self) -> Vec<Standing> {
        self.lock().jobs.clone()
    }

    pub(crate) fn deleted(&self) -> Deleted {
        self.lock().deleted.clone()
    }

    /// Why the service cannot do its work; empty when it can.
    pub(crate) fn not_ready(&self) -> Vec<Reason> {
        let mut reasons = Vec::new();
        if let (false, given, needed) = self.opening() {
            let needed = needed.map_or_else(|| "the root's".to_owned(), |needed| needed.to_string());
            let message = format!(
                "the keys are locked: {given} of {needed} shares were brought; bring them with `pseudo unlock`"
            );
            reasons.push(Reason { code: "locked", message });
        }
        for job in self.jobs() {
            if let Some((attempts, why)) = job.failing {
                let message = format!("job {} failed {attempts} times, last: {why}", job.name);
                reasons.push(Reason { code: "job_failing", message });
            }
        }
        if let Some(why) = self.deleted().failing {
            let message = format!("exports whose day has come are not deleted: {why}");
            reasons.push(Reason { code: "retention_failing", message });
        }
        reasons
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // what is in it is whole between any two statements
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
