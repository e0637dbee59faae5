//! What concurrent clients did and saw, with the times at which each operation began and ended.
//!
//! An operation that certainly had no effect is not recorded; one whose effect is unknown has no end: it may act at any
//! later time, also after the client has given up. [`crate::linear`] judges what is recorded here.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// A value that was written once in a history: reads name the write they saw.
pub type Value = u64;

/// What an operation did to one key, or saw of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// An unconditional write.
    Write(Value),
    /// A delete.
    Remove,
    /// A read and what it saw; none when the key was absent.
    Read(Option<Value>),
    /// A write on condition that the key is absent, which wrote.
    Create(Value),
    /// The same, refused because the key was there.
    CreateRefused,
}

/// One operation on one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// What it did.
    pub action: Action,
    /// When it began, in nanoseconds of the history's clock.
    pub begun_ns: u64,
    /// When its answer came; none when its effect is unknown.
    pub ended_ns: Option<u64>,
}

/// Collects operations from many threads against one clock.
#[derive(Debug)]
pub struct Recorder {
    start: Instant,
    keys: Mutex<BTreeMap<String, Vec<Operation>>>,
}

impl Recorder {
    /// An empty history whose clock starts now.
    pub fn new() -> Self {
        Recorder { start: Instant::now(), keys: Mutex::new(BTreeMap::new()) }
    }

    /// The time of the history's clock.
    pub fn now_ns(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    /// Records an operation that was answered now.
    pub fn answered(&self, key: &str, action: Action, begun_ns: u64) {
        let ended_ns = Some(self.now_ns());
        self.push(key, Operation { action, begun_ns, ended_ns });
    }

    /// Records a write or delete whose effect is unknown.
    pub fn unknown(&self, key: &str, action: Action, begun_ns: u64) {
        self.push(key, Operation { action, begun_ns, ended_ns: None });
    }

    /// The operations by key.
    pub fn into_keys(self) -> BTreeMap<String, Vec<Operation>> {
        self.keys.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, key: &str, operation: Operation) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.entry(key.to_owned()).or_default().push(operation);
    }
}

impl Default for Recorder {
    fn default() -> Self {
        Self::new()
    }
}
