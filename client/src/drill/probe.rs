//! Probes: small numbered objects, written through every region's endpoint for as long as a drill goes on.
//!
//! Each region has a writer of its own that tries one probe until it is acknowledged, then the next. So there is no write
//! whose fate is unknown but the last of each, and a region that takes no writes is noticed the moment it does.

use super::report::Probe;
use crate::clock::Clock;
use crate::s3::{Access, S3};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use wire::UnixMillis;

/// Between two writes, and before a refused one is tried again: the finest pause that is measured.
const PACE: Duration = Duration::from_millis(20);

/// Probes of one region, at most: those of 20 minutes at this pace.
const PROBES_MAX: usize = 60_000;

/// Body of a probe, bytes: one chunk, as small as status and configuration objects are.
const PROBE_BYTES: usize = 256;

/// Probes as they are written.
pub(super) struct Probes {
    shared: Arc<Shared>,
    writers: Vec<JoinHandle<()>>,
}

struct Shared {
    clock: Clock,
    bucket: String,
    run: String,
    ended: AtomicBool,
    refused: AtomicU64,
    probes: Mutex<Vec<Probe>>,
}

impl Probes {
    /// Begins to write through every endpoint.
    pub(super) fn begin(clock: Clock, bucket: &str, run: &str, regions: Vec<(String, Access)>) -> Self {
        let shared = Arc::new(Shared {
            clock,
            bucket: bucket.to_owned(),
            run: run.to_owned(),
            ended: AtomicBool::new(false),
            refused: AtomicU64::new(0),
            probes: Mutex::new(Vec::new()),
        });
        let writer = |(region, access): (String, Access)| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || shared.write_all(&region, &mut S3::new(access)))
        };
        let writers = regions.into_iter().map(writer).collect();
        Self { shared, writers }
    }

    /// Every probe that was begun so far.
    pub(super) fn so_far(&self) -> Vec<Probe> {
        self.shared.lock().clone()
    }

    /// Attempts that were not acknowledged.
    pub(super) fn refused(&self) -> u64 {
        self.shared.refused.load(Ordering::Relaxed)
    }

    /// Takes no more; waits for those under way.
    pub(super) fn end(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        for writer in self.writers.drain(..) {
            // a writer that panicked has written no more: the pause shows
            let _ = writer.join();
        }
    }

    /// Reads what was acknowledged, and not found missing before, from a region that is to have all of it; notes what is
    /// there and what is not. Ends early with what the endpoint said when it does not answer.
    pub(super) fn read_back(&self, access: &Access, go_on: &dyn Fn() -> bool) -> Result<u64, String> {
        let mut client = S3::new(access.clone());
        let wanted = self.so_far();
        let mut missing = 0;
        let acknowledged = |(_, probe): &(usize, &Probe)| probe.acknowledged_at.is_some() && !probe.lost;
        for (place, probe) in wanted.iter().enumerate().filter(acknowledged) {
            let seen = loop {
                match client.get(&self.shared.bucket, &self.key(probe)) {
                    Ok(seen) => break seen,
                    Err(refusal) if !go_on() => return Err(refusal.reason),
                    Err(_) => std::thread::sleep(PACE),
                }
            };
            let lost = seen.as_deref() != Some(&body(&self.shared.run, &probe.id)[..]);
            missing += u64::from(lost);
            let now = self.shared.clock.now();
            // probes keep their places: more are added behind them
            let known = &mut self.shared.lock()[place];
            known.lost = lost;
            if !lost && known.read_at.is_none() {
                known.read_at = Some(now);
            }
        }
        Ok(missing)
    }

    /// Removes every probe that may be there; gives how many could not be removed.
    pub(super) fn remove(&self, access: &Access) -> u64 {
        let mut client = S3::new(access.clone());
        let probes = self.so_far();
        let remove = |probe: &&Probe| client.delete(&self.shared.bucket, &self.key(probe)).is_err();
        probes.iter().filter(remove).count() as u64
    }

    fn key(&self, probe: &Probe) -> String {
        format!("{}/{}", self.shared.run, probe.id)
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Probe>> {
        // a record is pushed or changed whole
        self.probes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_all(&self, region: &str, client: &mut S3) {
        for number in 0..PROBES_MAX {
            let id = format!("{region}/{number:06}");
            let (key, body) = (format!("{}/{id}", self.run), body(&self.run, &id));
            let mut place = None;
            loop {
                if self.ended.load(Ordering::Relaxed) {
                    return;
                }
                let sent_at = self.clock.now();
                let written = client.put(&self.bucket, &key, &body);
                let acknowledged_at = written.is_ok().then(|| self.clock.now());
                place = Some(self.note(place, &id, region, sent_at, acknowledged_at));
                std::thread::sleep(PACE);
                if written.is_ok() {
                    break;
                }
                self.refused.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn note(
        &self,
        place: Option<usize>,
        id: &str,
        region: &str,
        sent_at: UnixMillis,
        acknowledged_at: Option<UnixMillis>,
    ) -> usize {
        let mut probes = self.lock();
        let place = place.unwrap_or(probes.len());
        if place == probes.len() {
            let (id, region) = (id.to_owned(), region.to_owned());
            probes.push(Probe {
                id,
                region,
                attempts: 0,
                sent_at,
                acknowledged_at,
                read_at: None,
                lost: false,
            });
        }
        let probe = &mut probes[place];
        (probe.sent_at, probe.acknowledged_at) = (sent_at, acknowledged_at);
        probe.attempts += 1;
        place
    }
}

/// What a probe holds: its own name, then that again until it is long enough.
fn body(run: &str, id: &str) -> Vec<u8> {
    format!("{run}/{id}\n").into_bytes().into_iter().cycle().take(PROBE_BYTES).collect()
}
