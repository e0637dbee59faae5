//! What a pair of regions costs and how far the standby is behind, over links of different lengths.
//!
//! ```text
//! pair       `twinkeep dev --pair`, once to make it; then every node reaches the other region through a `Link`
//! capacity   PUTs as fast as the primary answers, the standby following
//! lag        PUTs at 80 % of that; beside them a small object now and then: from its acknowledgement by the primary
//!            until a reader of the standby sees it
//! catch-up   the standby is killed, a backlog is written, the standby comes back; until it has everything
//! ```

pub mod link;
pub mod switches;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::Deserialize;

use crate::cell::{Cell, KIB, MIB, Operation};
use crate::connection::{Connection, consume};
use crate::content::Content;
use crate::error::BenchError;
use crate::load::{Limit, Outcome, Run, Step, drive};
use crate::prepare::Preparer;
use crate::process::Usage;
use crate::region::{Binaries, EXIT_DEGRADED, start_pair_in};
use crate::scratch::{Scratch, free_ports};
use crate::server::ServerProcess;
use crate::statistics::percentile;
use crate::table::{Table, figure};
use crate::target::{BUCKET, Target};

use link::{Link, Shape};

/// Ports of a pair: 80 and room.
const PORTS: u16 = 90;
/// Objects of the load.
const OBJECT_BYTES: u64 = 64 * KIB;
/// Connections of the load.
const CONNECTIONS: usize = 16;
/// The part of what the primary can take at which the lag is looked at.
const LOAD_PART: f64 = 0.8;
/// From one small object to the next.
const PROBE_EVERY: Duration = Duration::from_millis(100);
/// Between two looks at the standby.
const LOOK: Duration = Duration::from_millis(2);
/// Longest wait for the standby.
const PATIENCE: Duration = Duration::from_secs(300);

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Round trips, ms.
    pub round_trips_ms: Vec<u64>,
    /// Length of each loaded window.
    pub window: Duration,
}

/// What was found over one link.
pub struct Finding {
    round_trip_ms: u64,
    capacity_mib_s: f64,
    load_mib_s: f64,
    /// From acknowledged to readable in the standby, ms.
    lags_ms: Vec<f64>,
    errors: u64,
    backlog_mib: f64,
    catch_up_s: f64,
    /// CPU of all processes of both regions while the standby caught up, seconds.
    catch_up_cpu_s: f64,
}

/// Makes a pair for each round trip, one after another.
pub async fn measure(
    binaries: &Binaries,
    parent: Option<&Path>,
    plan: &Plan,
) -> Result<Vec<Finding>, BenchError> {
    let mut findings = Vec::new();
    for round_trip_ms in &plan.round_trips_ms {
        let scratch = Scratch::new(parent, "pair")?;
        scratch.check_space()?;
        let pair = Pair::start(binaries, &scratch, Duration::from_millis(*round_trip_ms)).await?;
        findings.push(pair.measure(*round_trip_ms, plan.window).await?);
    }
    Ok(findings)
}

/// The findings as a table.
pub fn table(findings: &[Finding]) -> String {
    let mut table = Table::new(&[
        "round trip ms",
        "primary takes MiB/s",
        "load MiB/s",
        "probes",
        "lag ms p50",
        "p99",
        "longest",
        "catch-up MiB/s",
        "of the primary",
        "CPU ms per MiB",
    ]);
    for finding in findings {
        let lag = |part| figure(percentile(&finding.lags_ms, part).unwrap_or(0.0));
        let catch_up = finding.backlog_mib / finding.catch_up_s;
        table.row(vec![
            finding.round_trip_ms.to_string(),
            figure(finding.capacity_mib_s),
            figure(finding.load_mib_s),
            finding.lags_ms.len().to_string(),
            lag(50.0),
            lag(99.0),
            lag(100.0),
            figure(catch_up),
            figure(catch_up / finding.capacity_mib_s),
            figure(finding.catch_up_cpu_s * 1e3 / finding.backlog_mib),
        ]);
    }
    let errors: u64 = findings.iter().map(|finding| finding.errors).sum();
    format!("{}\nwrites that failed: {errors}\n", table.render())
}

/// A pair that serves, its regions linked.
struct Pair<'a> {
    binaries: &'a Binaries,
    data: PathBuf,
    primary: Target,
    standby: Target,
    links: Vec<Link>,
    _process: ServerProcess,
}

#[derive(Deserialize)]
struct Lag {
    state: String,
    last_sync_time: Option<u64>,
    regions: Vec<RegionLag>,
}

#[derive(Deserialize)]
struct RegionLag {
    region: String,
    now: u64,
}

impl<'a> Pair<'a> {
    async fn start(
        binaries: &'a Binaries,
        scratch: &Scratch,
        round_trip: Duration,
    ) -> Result<Self, BenchError> {
        let data = scratch.folder("pair")?;
        let port_base = free_ports(PORTS)?;
        drop(start_pair_in(binaries, &data, port_base)?);
        let links = lengthen(&data, Shape::wide(round_trip)).await?;
        let ([primary, standby], process) = start_pair_in(binaries, &data, port_base)?;
        let pair = Self { binaries, data, primary, standby, links, _process: process };
        pair.primary.make_bucket().await?;
        pair.wait_synced().await?;
        if pair.links.iter().all(|link| link.passed_bytes() == 0) {
            let detail = "the regions do not speak to each other over the links".to_owned();
            return Err(BenchError::Verdict { detail });
        }
        Ok(pair)
    }

    async fn measure(&self, round_trip_ms: u64, window: Duration) -> Result<Finding, BenchError> {
        let cell = Cell { operation: Operation::Put, object_bytes: OBJECT_BYTES, connections: CONNECTIONS };
        let steps = Preparer::new(&self.primary).cell(cell, 0)?;
        let mib_s =
            |outcome: &Outcome| outcome.stored_bytes as f64 / MIB as f64 / outcome.elapsed.as_secs_f64();
        let free = self.load(&steps, window, None).await?;
        self.wait_synced().await?;
        let rate = free.latency.total() as f64 / free.elapsed.as_secs_f64() * LOAD_PART;
        let (loaded, lags_ms) = tokio::try_join!(self.load(&steps, window, Some(rate)), self.probe(window))?;
        self.wait_synced().await?;
        let standby = self.standby.region.as_str();
        self.binaries.run(&["dev", "kill", standby], &self.data)?;
        let backlog = self.load(&steps, window, None).await?;
        // what is written to disk only now is not the standby's cost
        rustix::fs::sync();
        let before = self.usage(&self.primary)?;
        let begin = Instant::now();
        self.binaries.run(&["dev", "start", standby], &self.data)?;
        self.wait_synced().await?;
        let catch_up_s = begin.elapsed().as_secs_f64();
        let primary_cpu = cpu_since(&before, &self.usage(&self.primary)?);
        Ok(Finding {
            round_trip_ms,
            capacity_mib_s: mib_s(&free),
            load_mib_s: mib_s(&loaded),
            lags_ms,
            errors: free.errors + loaded.errors + backlog.errors,
            backlog_mib: backlog.stored_bytes as f64 / MIB as f64,
            catch_up_s,
            // the standby's processes are new: all that they used, they used for this
            catch_up_cpu_s: (primary_cpu + self.standby_cpu()?).as_secs_f64(),
        })
    }

    async fn load(
        &self,
        steps: &Arc<Vec<Step>>,
        window: Duration,
        per_second: Option<f64>,
    ) -> Result<Outcome, BenchError> {
        let run = Run {
            steps: Arc::clone(steps),
            connections: CONNECTIONS,
            limit: Limit::Time(window),
            per_second,
            sample_every: usize::MAX,
        };
        drive(&self.primary, &Content::default(), run).await
    }

    /// Small objects, one after another: how long each took to be seen in the standby.
    async fn probe(&self, window: Duration) -> Result<Vec<f64>, BenchError> {
        let begin = Instant::now();
        let mut standby = Connection::open(&self.standby.authority).await?;
        let mut lags = Vec::new();
        while begin.elapsed() < window {
            let began = Instant::now();
            let key = format!("probe/{}", lags.len());
            self.primary.put_once(&key, Bytes::from_static(b"probe")).await?;
            let acknowledged = Instant::now();
            loop {
                let request = self.standby.signed("HEAD", &format!("/{BUCKET}/{key}"), Bytes::new())?;
                let answer = standby.send(request).await?;
                let status = answer.status();
                consume(answer.into_body(), None).await?;
                if status.is_success() {
                    break;
                }
                if acknowledged.elapsed() > PATIENCE {
                    return Err(late("a probe in the standby"));
                }
                tokio::time::sleep(LOOK).await;
            }
            lags.push(acknowledged.elapsed().as_secs_f64() * 1e3);
            tokio::time::sleep(PROBE_EVERY.saturating_sub(began.elapsed())).await;
        }
        Ok(lags)
    }

    /// Waits until the standby has everything that was acknowledged before now.
    async fn wait_synced(&self) -> Result<(), BenchError> {
        self.wait_in_step(&self.primary.region).await
    }

    /// The same of the pair whose primary is this region.
    async fn wait_in_step(&self, primary: &str) -> Result<(), BenchError> {
        let begin = Instant::now();
        let mut since = None;
        while begin.elapsed() < PATIENCE {
            let lag = self.lag()?;
            let now = lag.regions.iter().find(|region| region.region == primary);
            since = since.or(now.map(|region| region.now));
            if lag.state == "Live" && since.is_some_and(|since| lag.last_sync_time >= Some(since)) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Err(late("the standby having everything"))
    }

    fn lag(&self) -> Result<Lag, BenchError> {
        // a region that just comes back does not answer yet, and the command says so with its exit code
        let said = self.binaries.run_accepting(&["lag", "--json"], &self.data, &[0, EXIT_DEGRADED, 4])?;
        serde_json::from_str(&said).map_err(|error| BenchError::Process {
            program: "twinkeep lag".to_owned(),
            detail: format!("{error}: {said}"),
        })
    }

    fn usage(&self, region: &Target) -> Result<BTreeMap<u32, Usage>, BenchError> {
        region.processes.iter().map(|pid| Ok((*pid, Usage::of(*pid)?))).collect()
    }

    /// What the standby's processes used since they were started.
    fn standby_cpu(&self) -> Result<Duration, BenchError> {
        #[derive(Deserialize)]
        struct Listed {
            processes: Vec<Process>,
        }
        #[derive(Deserialize)]
        struct Process {
            pid: Option<u32>,
        }
        let folder = self.data.join(&self.standby.region);
        let said = self.binaries.run(&["dev", "list", "--json"], &folder)?;
        let listed: Listed = serde_json::from_str(&said).map_err(|error| BenchError::Process {
            program: "twinkeep dev list".to_owned(),
            detail: format!("{error}: {said}"),
        })?;
        let usage = listed.processes.iter().filter_map(|process| process.pid).map(Usage::of);
        Ok(usage.collect::<Result<Vec<_>, _>>()?.iter().map(|usage| usage.cpu_since(&Usage::default())).sum())
    }
}

fn cpu_since(before: &BTreeMap<u32, Usage>, after: &BTreeMap<u32, Usage>) -> Duration {
    after.iter().filter_map(|(pid, usage)| Some(usage.cpu_since(before.get(pid)?))).sum()
}

fn late(what: &str) -> BenchError {
    BenchError::Late { what: what.to_owned(), limit_s: PATIENCE.as_secs() }
}

/// Puts a link before every node of both regions of a pair that does not run, as the other region's nodes reach it.
pub async fn lengthen(data: &Path, shape: Shape) -> Result<Vec<Link>, BenchError> {
    let mut links: BTreeMap<SocketAddr, Link> = BTreeMap::new();
    for path in pair_descriptors(data)? {
        let text = std::fs::read_to_string(&path).map_err(BenchError::file("read", &path))?;
        let mut lengthened = String::new();
        for line in text.lines() {
            let address = line.strip_prefix("peer_address = \"").and_then(|rest| rest.strip_suffix('"'));
            let Some(address) = address.and_then(|address| address.parse::<SocketAddr>().ok()) else {
                lengthened += &format!("{line}\n");
                continue;
            };
            let link = match links.entry(address) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => new.insert(Link::start(address, shape).await?),
            };
            lengthened += &format!("peer_address = \"{}\"\n", link.address());
        }
        std::fs::write(&path, lengthened).map_err(BenchError::file("write", &path))?;
    }
    Ok(links.into_values().collect())
}

/// The descriptors by which storage nodes find the other region's: `…/pair/node-N/region.toml`.
fn pair_descriptors(data: &Path) -> Result<Vec<PathBuf>, BenchError> {
    let mut found = Vec::new();
    let mut folders = vec![data.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(BenchError::file("list", &folder))?.flatten() {
            let path = entry.path();
            let is_of_pair =
                folder.ends_with("pair") && entry.file_name().to_string_lossy().starts_with("node-");
            if is_of_pair {
                found.push(path.join("region.toml"));
            } else if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(path);
            }
        }
    }
    Ok(found)
}
