//! How long writes wait when the other region of a pair takes them, planned and by force, as clients see it that ask both.
//!
//! Writers store small objects under keys of all groups, at both regions all the time: the standby refuses, the primary acknowledges. A planned switch's
//! wait is the longest time between two acknowledgements of one key around it. A forced one follows the death of every process of the primary, and its wait
//! is from the start of the command to the first acknowledgement of the last key. Each switch begins once the pair is in step, and goes the other way.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::task::JoinSet;

use super::{PATIENCE, Pair, late};
use crate::connection::{Connection, consume};
use crate::error::BenchError;
use crate::region::Binaries;
use crate::scratch::Scratch;
use crate::statistics::percentile;
use crate::table::{Table, figure};
use crate::target::{BUCKET, Target};

/// Keys; two writers each.
const KEYS: usize = 16;
/// Pause of a writer after each answer; part of every wait, and small against the limits.
const PAUSE: Duration = Duration::from_millis(10);
/// For how long a writer waits for one answer: what a region holds back meanwhile is asked for again.
const ANSWER_WAIT: Duration = Duration::from_secs(1);
/// The bars (`docs/performance.md`, section "Bars"), ms: longest of the planned, 99th percentile of the forced.
pub const PLANNED_LIMIT_MS: f64 = 1_000.0;
/// See [`PLANNED_LIMIT_MS`].
pub const FORCED_LIMIT_MS: f64 = 2_000.0;

/// What to do over one link.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Planned switches.
    pub planned: u32,
    /// Forced ones.
    pub forced: u32,
}

/// What was found over one link.
#[derive(Debug)]
pub struct Finding {
    round_trip_ms: u64,
    planned_ms: Vec<f64>,
    forced_ms: Vec<f64>,
    writes: u64,
}

/// Makes a pair for each round trip, one after another.
pub async fn measure(
    binaries: &Binaries,
    parent: Option<&Path>,
    round_trips_ms: &[u64],
    plan: Plan,
) -> Result<Vec<Finding>, BenchError> {
    let mut findings = Vec::new();
    for round_trip_ms in round_trips_ms {
        let scratch = Scratch::new(parent, "switches")?;
        scratch.check_space()?;
        let pair = Pair::start(binaries, &scratch, Duration::from_millis(*round_trip_ms)).await?;
        findings.push(of_pair(&pair, *round_trip_ms, plan).await?);
    }
    Ok(findings)
}

/// Whether every bar holds.
pub fn holds(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| {
        let within = |waits: &[f64], part, limit| percentile(waits, part).is_none_or(|wait| wait <= limit);
        within(&finding.planned_ms, 100.0, PLANNED_LIMIT_MS)
            && within(&finding.forced_ms, 99.0, FORCED_LIMIT_MS)
    })
}

/// The findings as a table.
pub fn table(findings: &[Finding]) -> String {
    let mut table =
        Table::new(&["round trip ms", "switches", "count", "writes wait ms p50", "p99", "longest", "bar"]);
    for finding in findings {
        let kinds = [
            ("planned", &finding.planned_ms, format!("longest <= {PLANNED_LIMIT_MS}")),
            ("forced", &finding.forced_ms, format!("p99 <= {FORCED_LIMIT_MS}")),
        ];
        for (kind, waits, bar) in kinds.into_iter().filter(|(_, waits, _)| !waits.is_empty()) {
            let wait = |part| figure(percentile(waits, part).unwrap_or(0.0));
            table.row(vec![
                finding.round_trip_ms.to_string(),
                kind.to_owned(),
                waits.len().to_string(),
                wait(50.0),
                wait(99.0),
                wait(100.0),
                bar,
            ]);
        }
    }
    let writes: u64 = findings.iter().map(|finding| finding.writes).sum();
    format!("{}\nwrites acknowledged meanwhile: {writes}\n", table.render())
}

async fn of_pair(pair: &Pair<'_>, round_trip_ms: u64, plan: Plan) -> Result<Finding, BenchError> {
    let mut regions = [&pair.primary, &pair.standby];
    let writers = Writers::start(&regions);
    let mut finding = Finding { round_trip_ms, planned_ms: Vec::new(), forced_ms: Vec::new(), writes: 0 };
    for number in 0..plan.planned {
        let [old, new] = regions;
        pair.wait_in_step(&old.region).await?;
        writers.forget();
        pair.binaries.run(&["failover", "--planned", "--to", &new.region], &pair.data)?;
        writers.all_since(Instant::now()).await?;
        let wait = writers.longest();
        eprintln!("planned {} of {}: writes waited {} ms", number + 1, plan.planned, figure(wait));
        finding.planned_ms.push(wait);
        regions.reverse();
    }
    for number in 0..plan.forced {
        let [old, new] = regions;
        pair.wait_in_step(&old.region).await?;
        pair.binaries.run(&["dev", "kill", &old.region], &pair.data)?;
        let asked = Instant::now();
        let force = ["failover", "--force", "--to", new.region.as_str()];
        pair.binaries.run(&force, &pair.data.join(&new.region))?;
        let wait = writers.all_since(asked).await?.as_secs_f64() * 1e3;
        eprintln!("forced {} of {}: writes went on after {} ms", number + 1, plan.forced, figure(wait));
        finding.forced_ms.push(wait);
        pair.binaries.run(&["dev", "start", &old.region], &pair.data)?;
        come_back(pair).await?;
        regions.reverse();
    }
    finding.writes = writers.shared.writes.load(Ordering::Relaxed);
    Ok(finding)
}

/// Lets the old primary follow, once it has heard that it was relieved.
async fn come_back(pair: &Pair<'_>) -> Result<(), BenchError> {
    let begin = Instant::now();
    loop {
        match pair.binaries.run(&["failover", "rejoin", "--discard"], &pair.data) {
            Ok(_) => return Ok(()),
            Err(error) if begin.elapsed() > PATIENCE => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

/// One key: when it was acknowledged last, and the longest time between two acknowledgements since that was forgotten.
#[derive(Clone, Copy)]
struct Key {
    acknowledged: Instant,
    gap: Duration,
}

/// Running writers; ended when dropped.
struct Writers {
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

struct Shared {
    keys: Vec<Mutex<Key>>,
    writes: AtomicU64,
    is_over: AtomicBool,
}

impl Writers {
    fn start(regions: &[&Target; 2]) -> Self {
        let new = || Mutex::new(Key { acknowledged: Instant::now(), gap: Duration::ZERO });
        let shared = Arc::new(Shared {
            keys: std::iter::repeat_with(new).take(KEYS).collect(),
            writes: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        });
        let mut tasks = JoinSet::new();
        for region in regions {
            for key in 0..KEYS {
                tasks.spawn(write(Arc::clone(&shared), (*region).clone(), key));
            }
        }
        Self { shared, _tasks: tasks }
    }

    fn forget(&self) {
        self.shared.keys.iter().for_each(|key| lock(key).gap = Duration::ZERO);
    }

    /// Waits until every key was acknowledged after `moment`; how long after it the last of them was.
    async fn all_since(&self, moment: Instant) -> Result<Duration, BenchError> {
        let mut first: Vec<Option<Duration>> = vec![None; KEYS];
        while first.iter().any(Option::is_none) {
            if moment.elapsed() > PATIENCE {
                return Err(late("the next acknowledged write of every key"));
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
            for (first, key) in first.iter_mut().zip(&self.shared.keys) {
                let since = lock(key).acknowledged.checked_duration_since(moment);
                *first = first.or(since.filter(|since| !since.is_zero()));
            }
        }
        Ok(first.into_iter().flatten().max().unwrap_or_default())
    }

    /// The longest wait of any key, ms.
    fn longest(&self) -> f64 {
        let gaps = self.shared.keys.iter().map(|key| lock(key).gap);
        gaps.max().unwrap_or_default().as_secs_f64() * 1e3
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
    }
}

/// Nothing here can leave a half-made value behind, so a poisoned lock is as good as another.
fn lock(key: &Mutex<Key>) -> std::sync::MutexGuard<'_, Key> {
    key.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn write(shared: Arc<Shared>, region: Target, number: usize) {
    let path = format!("/{BUCKET}/switches/{number}");
    let mut connection = None;
    while !shared.is_over.load(Ordering::Relaxed) {
        let put = put(&region, &mut connection, &path);
        if let Ok(Ok(true)) = tokio::time::timeout(ANSWER_WAIT, put).await {
            let (mut key, now) = (lock(&shared.keys[number]), Instant::now());
            key.gap = key.gap.max(now.saturating_duration_since(key.acknowledged));
            key.acknowledged = now;
            drop(key);
            shared.writes.fetch_add(1, Ordering::Relaxed);
        } else {
            connection = None;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Whether the region acknowledged it.
async fn put(region: &Target, connection: &mut Option<Connection>, path: &str) -> Result<bool, BenchError> {
    let mut open = match connection.take() {
        Some(open) => open,
        None => Connection::open(&region.authority).await?,
    };
    let answer = open.send(region.signed("PUT", path, Bytes::from_static(&[0x5a; 64]))?).await?;
    let status = answer.status();
    consume(answer.into_body(), None).await?;
    *connection = Some(open);
    Ok(status.is_success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_planned_switch_over_its_bar_or_two_forced_ones_of_a_hundred_are_noticed() {
        let found = |planned_ms: Vec<f64>, slow: usize| {
            let mut forced_ms = vec![200.0; 100 - slow];
            forced_ms.extend(vec![2_500.0; slow]);
            vec![Finding { round_trip_ms: 0, planned_ms, forced_ms, writes: 1 }]
        };
        assert!(holds(&found(vec![50.0, 999.0], 1)));
        assert!(!holds(&found(vec![50.0, 1_001.0], 0)));
        assert!(!holds(&found(vec![50.0], 2)));
    }
}
