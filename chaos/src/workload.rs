//! Clients that write while things break: ledger writers for durability, racing clients for linearizability.
//!
//! Both run until told to stop and return what they know. They draw from a seed, but the order in which threads meet
//! the faults is the machine's: a seed repeats the choices, not the schedule.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::history::{Action, Recorder};
use crate::ledger::{Ledger, Violation, content};
use crate::random::Random;
use crate::s3::{Failure, S3};
use crate::trouble::Outcome;

/// How long a check waits for an answer: far past any recovery, so that what stays silent is a failure.
const PATIENCE: Duration = Duration::from_secs(90);
/// S3's smallest part but the last, in bytes.
const PART_BYTES: usize = 5 << 20;

/// What one ledger writer writes to.
#[derive(Debug, Clone)]
pub struct Buckets {
    /// A bucket without versions.
    pub plain: String,
    /// A bucket that keeps versions.
    pub versioned: String,
}

/// The ledgers of one writer, one per bucket.
#[derive(Debug, Clone)]
pub struct Ledgers {
    /// What became of the writes to the plain bucket.
    pub plain: Ledger,
    /// What became of the writes to the versioned bucket.
    pub versioned: Ledger,
}

impl Buckets {
    /// Makes both buckets.
    pub fn create(client: &mut S3, name: &str) -> Outcome<Self> {
        let buckets = Buckets { plain: format!("{name}-plain"), versioned: format!("{name}-versioned") };
        for bucket in [&buckets.plain, &buckets.versioned] {
            client.persist(PATIENCE, |client| exists_now(client.create_bucket(bucket)))?;
        }
        client.persist(PATIENCE, |client| client.enable_versioning(&buckets.versioned))?;
        Ok(buckets)
    }
}

/// Tells what runs beside it to stop when it is dropped, also by a panic: a scope waits for its threads, and would wait for ever.
#[derive(Debug)]
pub struct Stopping<'a>(pub &'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Writes, overwrites, deletes and uploads in parts until told to stop. Keys are the writer's own.
pub fn write_until(
    stop: &AtomicBool,
    client: &mut S3,
    buckets: &Buckets,
    writer: usize,
    random: &mut Random,
) -> Ledgers {
    let mut ledgers = Ledgers { plain: Ledger::new(), versioned: Ledger::new() };
    while !stop.load(Ordering::Relaxed) {
        let key = format!("writer-{writer}/key-{}", random.below(12));
        let (bucket, ledger) = if random.chance(30) {
            (&buckets.versioned, &mut ledgers.versioned)
        } else {
            (&buckets.plain, &mut ledgers.plain)
        };
        let result = match random.below(100) {
            0..12 => {
                let serial = ledger.begin_delete(&key);
                (serial, client.delete(bucket, &key))
            }
            12..14 => {
                let (serial, body) = ledger.begin_write(&key, PART_BYTES + 100_000);
                let (first, rest) = body.split_at(PART_BYTES);
                (serial, client.put_multipart(bucket, &key, &[first.to_vec(), rest.to_vec()]))
            }
            choice => {
                let length = if choice < 20 { random.below(2 << 20) } else { random.below(70_000) };
                let (serial, body) = ledger.begin_write(&key, length as usize);
                (serial, client.put(bucket, &key, &body))
            }
        };
        ledger.end(&key, result.0, &result.1);
        pause_if_unreachable(&result.1);
    }
    ledgers
}

/// Reads all that a writer wrote, and all it did not, and returns every violation.
pub fn verify(client: &mut S3, buckets: &Buckets, ledgers: &[Ledgers]) -> Outcome<Vec<Violation>> {
    let mut violations = Vec::new();
    let versions = client.persist(PATIENCE, |client| client.list_versions(&buckets.versioned))?;
    for (writer, of_writer) in ledgers.iter().enumerate() {
        for (bucket, ledger) in
            [(&buckets.plain, &of_writer.plain), (&buckets.versioned, &of_writer.versioned)]
        {
            for key in ledger.keys() {
                let seen = client.persist(PATIENCE, |client| client.get(bucket, key))?;
                violations.extend(ledger.check_current(key, seen.as_deref()).err());
            }
        }
        for (key, version) in of_writer.versioned.versions() {
            let seen =
                client.persist(PATIENCE, |client| client.get_version(&buckets.versioned, key, version))?;
            violations.extend(of_writer.versioned.check_version(key, version, seen.as_deref()).err());
        }
        let prefix = format!("writer-{writer}/");
        let own: Vec<_> = versions.iter().filter(|entry| entry.key.starts_with(&prefix)).cloned().collect();
        violations.extend(of_writer.versioned.check_version_list(&own));
        let listed = client.persist(PATIENCE, |client| client.list(&buckets.plain, &prefix))?;
        for key in of_writer.plain.keys() {
            let seen = client.persist(PATIENCE, |client| client.get(&buckets.plain, key))?;
            if seen.is_some() != listed.iter().any(|entry| entry.key == key) {
                let kind = crate::ledger::ViolationKind::Lost { allowed: vec![], seen: 0 };
                violations
                    .push(Violation { place: format!("{key} in the listing of {}", buckets.plain), kind });
            }
        }
    }
    Ok(violations)
}

/// Writes, creates, removes and reads a few keys that other clients use too, until told to stop, and records all of it.
pub fn race_until(
    stop: &AtomicBool,
    client: &mut S3,
    bucket: &str,
    identity: u64,
    random: &mut Random,
    recorder: &Recorder,
) {
    /// A key is used this often by each client and then left: the checker's cost grows steeply with a key's length.
    const USES_OF_A_KEY: u64 = 30;
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        count += 1;
        // All clients move from key to key at the same pace, three keys at a time.
        let key = format!("race-{}", count / USES_OF_A_KEY * 3 + random.below(3));
        let value = identity << 40 | count;
        let begun_ns = recorder.now_ns();
        match random.below(10) {
            0..4 => {
                let seen = client.get(bucket, &key);
                if let Ok(body) = seen {
                    let seen = body.map(|body| value_of(&key, &body));
                    recorder.answered(&key, Action::Read(seen), begun_ns);
                }
            }
            4..8 => {
                let result = client.put(bucket, &key, &content(&key, value, 300));
                record(recorder, &key, Action::Write(value), begun_ns, &result);
            }
            8 => {
                let result = client.delete(bucket, &key);
                record(recorder, &key, Action::Remove, begun_ns, &result);
            }
            _ => {
                let body = content(&key, value, 300);
                let result = client.put_with(bucket, &key, &[("if-none-match", "*")], &body);
                match &result {
                    Err(Failure::Refused { status: 412, .. }) => {
                        recorder.answered(&key, Action::CreateRefused, begun_ns);
                    }
                    _ => record(recorder, &key, Action::Create(value), begun_ns, &result),
                }
            }
        }
    }
}

fn record<T>(recorder: &Recorder, key: &str, action: Action, begun_ns: u64, result: &Result<T, Failure>) {
    match result {
        Ok(_) => recorder.answered(key, action, begun_ns),
        Err(Failure::Unknown { .. }) => recorder.unknown(key, action, begun_ns),
        Err(Failure::Refused { .. }) => {}
    }
}

/// The value in a body that a race wrote; a body that no race wrote is no value that any write has.
fn value_of(key: &str, body: &[u8]) -> u64 {
    let head = body.split(|byte| *byte == b'\n').next().and_then(|head| std::str::from_utf8(head).ok());
    let value = head.and_then(|head| head.strip_prefix(key)?.strip_prefix('#')?.parse().ok());
    value.filter(|value| content(key, *value, 300) == body).unwrap_or(u64::MAX)
}

/// A bucket that is there already is as good as made.
fn exists_now(result: Result<(), Failure>) -> Result<(), Failure> {
    match result {
        Err(Failure::Refused { status: 409, .. }) => Ok(()),
        other => other,
    }
}

/// A refused connection answers at once; writers that spin on it would take the machine from the servers.
fn pause_if_unreachable<T>(result: &Result<T, Failure>) {
    if matches!(result, Err(Failure::Refused { status: 0, .. })) {
        std::thread::sleep(Duration::from_millis(5));
    }
}
