//! Time from the loss of a leader to the next acknowledged write, as a client sees it, and elections without cause.
//!
//! Writers store small objects under fixed keys all the time, each waiting for its answer; the keys spread over the
//! groups. A node that leads groups is killed or halted; a key's gap is the longest time between two of its
//! acknowledgements around that moment. The gap of a loss is that of its worst key, so of the last group that
//! recovered. Then the node comes back and the region becomes whole before the next loss.

mod status;
mod writers;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::cell::{Cell, MIB, Operation};
use crate::clock::Moment;
use crate::content::Content;
use crate::error::BenchError;
use crate::load::{Limit, Run, drive};
use crate::machine::{Machine, commit};
use crate::metrics::{LEADERS_MOVED, sum_over};
use crate::prepare::Preparer;
use crate::region::{self, Binaries};
use crate::scratch::Scratch;
use crate::server::Server;
use crate::statistics::percentile;
use crate::table::{Table, figure};
use crate::target::Target;

use status::{Status, when_whole};
use writers::Writers;

/// The bars (`docs/performance.md`, section "Bars"): median and 99th percentile of the gap.
const P50_LIMIT_MS: f64 = 500.0;
/// See [`P50_LIMIT_MS`].
const P99_LIMIT_MS: f64 = 1_000.0;
/// A key that waited longer than this was in a group that lost its leader.
const STALLED_MS: f64 = 50.0;
/// Time in which nothing is broken, to see elections without cause, before the first loss.
const WATCH: Duration = Duration::from_secs(10);
/// Pauses before a loss: of different lengths, so that losses do not fall into step with timers.
const PAUSES_MS: [u64; 7] = [210, 350, 480, 270, 610, 330, 540];
/// Longest wait for the next acknowledged write.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(60);
/// Length of one piece of the bulk load; the load ends at most this long after it is told to.
const LOAD_PIECE: Duration = Duration::from_secs(5);
/// Connections of the bulk load.
const LOAD_CONNECTIONS: usize = 16;

/// How a leader is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Break {
    /// SIGKILL: its connections break at once.
    Kill,
    /// SIGSTOP: it falls silent and its connections stay open.
    Stop,
}

/// What to do.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Leaders to lose.
    pub losses: u32,
    /// How.
    pub by: Break,
    /// Whether bulk writes go on all the while.
    pub with_load: bool,
}

/// One lost leader.
#[derive(Clone, Debug, Serialize)]
pub struct Loss {
    /// The node.
    pub node: u64,
    /// Groups it led.
    pub groups_led: usize,
    /// The worst key's gap.
    pub gap_ms: f64,
    /// Gaps of all keys that stalled.
    pub stalled_ms: Vec<f64>,
    /// From its return until the region was whole.
    pub whole_after_ms: f64,
}

/// What a run found.
#[derive(Clone, Debug, Serialize)]
pub struct Findings {
    /// Layout of this document.
    pub schema_version: u32,
    /// When it ended, UTC.
    pub time: String,
    /// The benchmark's commit.
    pub commit: String,
    /// Where it ran.
    pub machine: Machine,
    /// How leaders were lost.
    pub by: Break,
    /// Whether bulk writes went on.
    pub with_load: bool,
    /// Every loss.
    pub losses: Vec<Loss>,
    /// Growth of terms, all groups, in all times in which nothing was broken and all were whole, without planned moves of leaders.
    pub terms_without_cause: u64,
    /// Planned moves of leaders in those times.
    pub leaders_moved: u64,
    /// Length of those times.
    pub watched_s: f64,
    /// Growth of terms while killed nodes came back: elections and planned transfers.
    pub terms_on_return: u64,
    /// Small writes acknowledged.
    pub writes: u64,
    /// Small writes that failed.
    pub write_errors: u64,
    /// The first failure of a small write.
    pub first_error: Option<String>,
    /// Bulk writes acknowledged.
    pub bulk_writes: u64,
    /// Bulk writes that failed.
    pub bulk_errors: u64,
}

/// Starts a region and makes the run.
pub async fn measure(binaries: &Binaries, scratch: Scratch, plan: Plan) -> Result<Findings, BenchError> {
    let server = region::start(binaries, scratch)?;
    server.target.make_bucket().await?;
    let data = server.scratch().map_or_else(PathBuf::new, |scratch| scratch.path().join("region"));
    let writers = Writers::start(&server.target)?;
    let load = plan.with_load.then(|| Load::start(&server.target));
    let mut findings = Findings::new(plan);
    let result = lose_all(binaries, &data, &server, &writers, plan, &mut findings).await;
    let (writes, write_errors, first_error) = writers.end().await;
    (findings.writes, findings.write_errors, findings.first_error) = (writes, write_errors, first_error);
    if let Some(load) = load {
        (findings.bulk_writes, findings.bulk_errors) = load.end().await;
    }
    result?;
    findings.time = Moment::now().readable();
    Ok(findings)
}

async fn lose_all(
    binaries: &Binaries,
    data: &Path,
    server: &Server,
    writers: &Writers,
    plan: Plan,
    findings: &mut Findings,
) -> Result<(), BenchError> {
    when_whole(binaries, data).await?;
    let mut watch = WATCH;
    for number in 0..plan.losses as usize {
        if let Some(scratch) = server.scratch() {
            scratch.check_space()?;
        }
        let (begin, (calm, moved)) = (Instant::now(), when_calm(binaries, data, server).await?);
        tokio::time::sleep(watch).await;
        let (before, moved_since) = when_calm(binaries, data, server).await?;
        // a region spreads its leaders now and then, and each that moves begins a term
        let moves = moved_since.saturating_sub(moved);
        findings.leaders_moved += moves;
        findings.terms_without_cause += before.terms_since(&calm).saturating_sub(moves);
        findings.watched_s += begin.elapsed().as_secs_f64();
        let loss = lose(binaries, data, writers, plan.by, &before, findings).await?;
        eprintln!(
            "loss {} of {}: node {} led {} groups, next write after {} ms, whole after {} ms",
            number + 1,
            plan.losses,
            loss.node,
            loss.groups_led,
            figure(loss.gap_ms),
            figure(loss.whole_after_ms),
        );
        findings.losses.push(loss);
        watch = Duration::from_millis(PAUSES_MS[number % PAUSES_MS.len()]);
    }
    Ok(())
}

/// A whole region, and how many leaderships its nodes had given away then: no term grew while that was asked.
async fn when_calm(binaries: &Binaries, data: &Path, server: &Server) -> Result<(Status, u64), BenchError> {
    loop {
        let before = when_whole(binaries, data).await?;
        let moved = moved(server).await?;
        let after = when_whole(binaries, data).await?;
        if after.terms_since(&before) == 0 {
            return Ok((after, moved));
        }
    }
}

/// Leaderships that nodes gave away as planned.
async fn moved(server: &Server) -> Result<u64, BenchError> {
    let moved = sum_over(&server.target.metrics, LEADERS_MOVED).await?;
    moved.map(|moved| moved as u64).ok_or_else(|| BenchError::Process {
        program: "store-node".to_owned(),
        detail: format!("its metrics lack {LEADERS_MOVED}"),
    })
}

async fn lose(
    binaries: &Binaries,
    data: &Path,
    writers: &Writers,
    by: Break,
    before: &Status,
    findings: &mut Findings,
) -> Result<Loss, BenchError> {
    let (node, groups_led) = before.busiest_leader().ok_or_else(|| BenchError::Process {
        program: "twinkeep status".to_owned(),
        detail: "no group has a leader".to_owned(),
    })?;
    let name = node.to_string();
    let verb = match by {
        Break::Kill => "kill",
        Break::Stop => "stop",
    };
    writers.forget_gaps();
    binaries.run(&["dev", verb, &name], data)?;
    let gaps = writers.gaps_after(Instant::now(), RECOVERY_TIMEOUT).await?;
    // A halted node still accepts connections and never answers: asking now could mean asking it.
    let recovered = match by {
        Break::Kill => Some(Status::read(binaries, data)?),
        Break::Stop => None,
    };
    let begin = Instant::now();
    binaries.run(&["dev", "start", &name], data)?;
    let after = when_whole(binaries, data).await?;
    findings.terms_on_return += recovered.map_or(0, |recovered| after.terms_since(&recovered));
    let gap_ms = gaps.iter().copied().fold(0.0, f64::max);
    let stalled_ms = gaps.into_iter().filter(|gap| *gap > STALLED_MS).collect();
    let whole_after_ms = begin.elapsed().as_secs_f64() * 1e3;
    Ok(Loss { node, groups_led, gap_ms, stalled_ms, whole_after_ms })
}

/// Bulk writes until told to end.
struct Load {
    is_over: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<(u64, u64)>,
}

impl Load {
    fn start(target: &Target) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(load(target.clone(), Arc::clone(&is_over)));
        Self { is_over, task }
    }

    /// Writes that succeeded and that failed.
    async fn end(self) -> (u64, u64) {
        self.is_over.store(true, Ordering::Relaxed);
        self.task.await.unwrap_or_default()
    }
}

async fn load(target: Target, is_over: Arc<AtomicBool>) -> (u64, u64) {
    let cell = Cell { operation: Operation::Put, object_bytes: MIB, connections: LOAD_CONNECTIONS };
    let content = Content::default();
    let Ok(steps) = Preparer::new(&target).cell(cell, 0) else { return (0, 1) };
    let (mut written, mut failed) = (0, 0);
    while !is_over.load(Ordering::Relaxed) {
        let run = Run {
            steps: Arc::clone(&steps),
            connections: LOAD_CONNECTIONS,
            limit: Limit::Time(LOAD_PIECE),
            per_second: None,
            sample_every: usize::MAX,
        };
        match drive(&target, &content, run).await {
            Ok(outcome) => {
                written += outcome.latency.total();
                failed += outcome.errors;
            }
            Err(_) => failed += 1,
        }
    }
    (written, failed)
}

impl Findings {
    fn new(plan: Plan) -> Self {
        Self {
            schema_version: 2,
            time: String::new(),
            commit: commit(),
            machine: Machine::here(),
            by: plan.by,
            with_load: plan.with_load,
            losses: Vec::new(),
            terms_without_cause: 0,
            leaders_moved: 0,
            watched_s: 0.0,
            terms_on_return: 0,
            writes: 0,
            write_errors: 0,
            first_error: None,
            bulk_writes: 0,
            bulk_errors: 0,
        }
    }

    fn gap(&self, percent: f64) -> f64 {
        let gaps: Vec<f64> = self.losses.iter().map(|loss| loss.gap_ms).collect();
        percentile(&gaps, percent).unwrap_or(0.0)
    }

    /// Whether the bars hold: gaps, and no election without cause.
    pub fn holds(&self) -> bool {
        self.gap(50.0) <= P50_LIMIT_MS && self.gap(99.0) <= P99_LIMIT_MS && self.terms_without_cause == 0
    }

    /// The findings as a table.
    pub fn table(&self) -> String {
        let stalled: Vec<f64> = self.losses.iter().flat_map(|loss| loss.stalled_ms.iter().copied()).collect();
        let returns: Vec<f64> = self.losses.iter().map(|loss| loss.whole_after_ms).collect();
        let gaps: Vec<f64> = self.losses.iter().map(|loss| loss.gap_ms).collect();
        let mut table = Table::new(&["milliseconds", "n", "p50", "p99", "longest", "limits"]);
        let limits = format!("{} / {}", figure(P50_LIMIT_MS), figure(P99_LIMIT_MS));
        for (name, values, limits) in [
            ("loss to next write, worst group", &gaps, limits.as_str()),
            ("the same, every key that stalled", &stalled, ""),
            ("return of the node to a whole region", &returns, ""),
        ] {
            let mut row = vec![name.to_owned(), values.len().to_string()];
            row.extend([50.0, 99.0, 100.0].map(|part| figure(percentile(values, part).unwrap_or(0.0))));
            row.push(limits.to_owned());
            table.row(row);
        }
        format!(
            "{}\nterms grown without cause: {} in {:.0} s, beside {} planned moves of leaders; on return of nodes: {}\n\
             writes: {} acknowledged, {} failed{}; bulk writes: {} acknowledged, {} failed\n",
            table.render(),
            self.terms_without_cause,
            self.watched_s,
            self.leaders_moved,
            self.terms_on_return,
            self.writes,
            self.write_errors,
            self.first_error.as_ref().map_or_else(String::new, |error| format!(" ({error})")),
            self.bulk_writes,
            self.bulk_errors,
        )
    }

    /// Writes the findings as JSON.
    pub fn write(&self, path: &Path) -> Result<(), BenchError> {
        let json = serde_json::to_string_pretty(self)
            .map_err(|error| BenchError::Report { path: path.to_owned(), detail: error.to_string() })?;
        std::fs::write(path, json + "\n").map_err(BenchError::file("write", path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(gaps: &[f64]) -> Findings {
        let mut findings = Findings::new(Plan { losses: 0, by: Break::Kill, with_load: false });
        findings.losses = gaps
            .iter()
            .map(|gap| Loss {
                node: 1,
                groups_led: 1,
                gap_ms: *gap,
                stalled_ms: vec![*gap],
                whole_after_ms: 1.0,
            })
            .collect();
        findings
    }

    #[test]
    fn the_bars_look_at_the_median_the_tail_and_elections_without_cause() {
        assert!(findings(&[400.0, 500.0, 900.0]).holds());
        assert!(!findings(&[400.0, 501.0, 900.0]).holds());
        assert!(!findings(&[400.0, 500.0, 1_001.0]).holds());
        let mut restless = findings(&[1.0]);
        restless.terms_without_cause = 1;
        assert!(!restless.holds());
    }

    #[test]
    fn the_table_says_how_many_writes_failed() {
        let mut findings = findings(&[10.0]);
        (findings.write_errors, findings.first_error) = (2, Some("503".to_owned()));
        assert!(findings.table().contains("2 failed (503)"));
    }
}
