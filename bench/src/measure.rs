//! Runs cells against one target and measures what they cost it.
//!
//! A cell is: prepare and sign, warm up, read the counters, drive until the time is over and the last answer is
//! there, read the counters, compare a sample of what was stored, delete it, let the disk settle.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::cell::{Cell, KIB, MIB, Operation};
use crate::content::Content;
use crate::error::BenchError;
use crate::load::{Limit, Outcome, Run, Step, drive};
use crate::metrics::{LOG_SYNCS, sum_over};
use crate::prepare::Preparer;
use crate::process::{HostUsage, Usage, load_average, peak_memory_bytes, reset_peak_memory};
use crate::report::{CellReport, Noise, Report};
use crate::target::Target;

/// Requests before the timed window: fills pools and caches, and is short even on the slowest peer.
const WARM_UP: Duration = Duration::from_millis(300);
/// Connections of the warm-up of cells with large objects: 64 × 16 MiB would take longer than the cell itself.
const LARGE_WARM_UP_CONNECTIONS: usize = 4;
/// Connections that store, check and delete outside the timed window.
const FIXTURE_CONNECTIONS: usize = 16;
/// Stored objects read back and compared after each PUT cell.
const CHECKED_PUTS: u64 = 64;

/// How a run is made.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Length of the timed window.
    pub window: Duration,
    /// Keys for LIST cells.
    pub listed_keys: u64,
}

/// Runs cells against one target; remembers what is already stored there.
pub struct Runner {
    target: Target,
    content: Content,
    settings: Settings,
    stored_sizes: BTreeSet<u64>,
    is_list_stored: bool,
}

/// Counters at one moment.
struct Counters {
    servers: Vec<Usage>,
    client: Usage,
    host: HostUsage,
    log_syncs: Option<f64>,
}

impl Runner {
    /// Makes the bucket and is ready for cells.
    pub async fn new(target: Target, content: Content, settings: Settings) -> Result<Self, BenchError> {
        target.make_bucket().await?;
        Ok(Self { target, content, settings, stored_sizes: BTreeSet::new(), is_list_stored: false })
    }

    /// A report without cells for this target.
    pub fn begin_report(&self) -> Report {
        let settings = self.settings;
        let mut report =
            Report::begin(&self.target.name, settings.window.as_secs_f64(), settings.listed_keys);
        report.copies = self.target.copies;
        report.processes = self.target.processes.len();
        report
    }

    /// Runs one cell.
    pub async fn cell(&mut self, cell: Cell) -> Result<CellReport, BenchError> {
        self.store_fixtures(cell).await?;
        let preparer = Preparer::new(&self.target);
        let steps = preparer.cell(cell, self.settings.listed_keys)?;
        self.warm_up(cell, &steps).await?;
        self.target.processes.iter().for_each(|pid| reset_peak_memory(*pid));
        let before = self.counters().await?;
        let run = Run {
            steps,
            connections: cell.connections,
            limit: Limit::Time(self.settings.window),
            per_second: None,
            sample_every: sample_every(cell.object_bytes),
        };
        let mut outcome = drive(&self.target, &self.content, run).await?;
        let after = self.counters().await?;
        let mut report = self.report(cell, &outcome, &before, &after)?;
        if cell.is_put() {
            self.check_and_delete(cell, &preparer, &mut outcome, &mut report).await?;
        }
        Ok(report)
    }

    async fn counters(&self) -> Result<Counters, BenchError> {
        let log_syncs = sum_over(&self.target.metrics, LOG_SYNCS).await?;
        let servers = self.target.processes.iter().map(|pid| Usage::of(*pid)).collect::<Result<_, _>>()?;
        Ok(Counters { servers, client: Usage::of(std::process::id())?, host: HostUsage::now(), log_syncs })
    }

    async fn store_fixtures(&mut self, cell: Cell) -> Result<(), BenchError> {
        let preparer = Preparer::new(&self.target);
        let reads = matches!(cell.operation, Operation::Get | Operation::Mixed);
        if reads && !self.stored_sizes.contains(&cell.object_bytes) {
            self.each(preparer.stores_for_reading(cell.object_bytes)?, "storing objects to read").await?;
            self.stored_sizes.insert(cell.object_bytes);
        }
        if cell.operation == Operation::List && !self.is_list_stored {
            self.each(preparer.stores_for_listing(self.settings.listed_keys)?, "storing keys to list")
                .await?;
            self.is_list_stored = true;
        }
        Ok(())
    }

    async fn each(&self, steps: Vec<Step>, what: &str) -> Result<(), BenchError> {
        let run = Run {
            connections: FIXTURE_CONNECTIONS,
            limit: Limit::Count(steps.len()),
            per_second: None,
            sample_every: 1,
            steps: Arc::new(steps),
        };
        if run.steps.is_empty() {
            return Ok(());
        }
        drive(&self.target, &self.content, run).await?.all_good(what)?;
        rustix::fs::sync();
        Ok(())
    }

    async fn warm_up(&self, cell: Cell, steps: &Arc<Vec<Step>>) -> Result<(), BenchError> {
        let is_large = cell.object_bytes >= MIB;
        let connections =
            if is_large { cell.connections.min(LARGE_WARM_UP_CONNECTIONS) } else { cell.connections };
        let run = Run {
            steps: Arc::clone(steps),
            connections,
            limit: Limit::Time(WARM_UP),
            per_second: None,
            sample_every: usize::MAX,
        };
        drive(&self.target, &self.content, run).await?;
        Ok(())
    }

    async fn check_and_delete(
        &self,
        cell: Cell,
        preparer: &Preparer,
        outcome: &mut Outcome,
        report: &mut CellReport,
    ) -> Result<(), BenchError> {
        rustix::fs::sync();
        if outcome.errors > 0 {
            // What a failed PUT left behind is not defined; there is nothing to compare with.
            return Ok(());
        }
        let stored = outcome.begun as u64;
        let steps = Arc::new(preparer.reads_of_puts(cell, stored, CHECKED_PUTS)?);
        let limit = Limit::Count(steps.len());
        let run = Run { steps, connections: 1, limit, per_second: None, sample_every: 1 };
        let checks = drive(&self.target, &self.content, run).await?;
        report.checked += checks.checked;
        report.different += checks.different + checks.errors;
        report.first_error = report.first_error.take().or(checks.first_error);
        self.each(preparer.deletes_of_puts(cell, stored)?, "deleting what was stored").await
    }

    fn report(
        &self,
        cell: Cell,
        outcome: &Outcome,
        before: &Counters,
        after: &Counters,
    ) -> Result<CellReport, BenchError> {
        let operations = outcome.latency.total();
        let elapsed_s = outcome.elapsed.as_secs_f64();
        let pairs = || after.servers.iter().zip(&before.servers);
        let server_cpu: Duration = pairs().map(|(after, before)| after.cpu_since(before)).sum();
        let client_cpu = after.client.cpu_since(&before.client);
        let written: u64 = pairs().map(|(after, before)| after.written_since(before)).sum();
        let mut peak_bytes = 0;
        for pid in &self.target.processes {
            peak_bytes += peak_memory_bytes(*pid)?;
        }
        let is_local = !self.target.processes.is_empty();
        let per_operation = |cpu: Duration| cpu.as_secs_f64() * 1e6 / operations.max(1) as f64;
        let stored = outcome.stored_bytes as f64 * f64::from(self.target.copies.max(1));
        let syncs = after.log_syncs.zip(before.log_syncs).map(|(after, before)| after - before);
        let nodes = self.target.metrics.len().max(1) as f64;
        let others = after.host.busy_since(&before.host).saturating_sub(server_cpu + client_cpu);
        Ok(CellReport {
            cell: cell.to_string(),
            operations,
            errors: outcome.errors,
            first_error: outcome.first_error.clone(),
            elapsed_s,
            operations_per_s: operations as f64 / elapsed_s,
            megabytes_per_s: outcome.payload_bytes as f64 / 1e6 / elapsed_s,
            p50_us: outcome.latency.percentile_us(50.0),
            p99_us: outcome.latency.percentile_us(99.0),
            longest_us: outcome.latency.longest_us(),
            server_cpu_us: is_local.then(|| per_operation(server_cpu)),
            client_cpu_us: per_operation(client_cpu),
            written_per_stored: (is_local && cell.is_put() && stored > 0.0).then(|| written as f64 / stored),
            syncs_per_put: syncs
                .filter(|_| cell.is_put())
                .map(|syncs| syncs / nodes / operations.max(1) as f64),
            peak_memory_mib: is_local.then(|| peak_bytes as f64 / MIB as f64),
            checked: outcome.checked,
            different: outcome.different,
            noise: Noise {
                load_average: load_average(),
                other_cores: others.as_secs_f64() / elapsed_s,
                waited_for_cpu: after.host.waited_for_cpu_since(&before.host).as_secs_f64() / elapsed_s,
                waited_for_disk: after.host.waited_for_disk_since(&before.host).as_secs_f64() / elapsed_s,
            },
        })
    }
}

/// Of how many answers one is compared: comparing must stay below 1 % of the client's time.
fn sample_every(object_bytes: u64) -> usize {
    match object_bytes {
        0 => 16,
        bytes if bytes <= 64 * KIB => 64,
        _ => 16,
    }
}
