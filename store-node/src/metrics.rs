//! All metrics of a process in Prometheus' text format. Names, units and meanings are in `docs/metrics.md`.

use crate::{
    gateway::{forward::Outcome, metrics::LATENCY_BOUNDS_US},
    state::ProcessState,
};
use replication::{
    pair::{GroupLag, Leases},
    peer::RefusedReason,
    status::{DiskFigures, NodeReport, UpkeepFigures},
};
use std::{fmt::Write, sync::atomic::Ordering};
use wire::{PairRole, PeerClass};

/// The text of one scrape.
pub(crate) fn render(state: &ProcessState) -> String {
    let mut page = Page::default();
    page.gauge(
        "twinkeep_groups_leaderless",
        "Groups that nobody leads, as this process knows.",
        state.groups_leaderless() as f64,
    );
    if let Some(node) = state.node() {
        let report = node.service().report();
        disk(&mut page, &node.service().disk());
        upkeep(&mut page, &node.service().upkeep());
        replicas(&mut page, &report);
        page.counter(
            "twinkeep_raft_leaders_moved_total",
            "Leaderships that this node gave away as planned.",
            node.service().leaders_moved() as f64,
        );
        if node.service().has_pair() {
            pair(&mut page, &node.service().pair_lags());
        }
        if let Some(held) = node.service().leases() {
            leases(&mut page, held);
        }
    }
    peers(&mut page, state);
    certificates(&mut page, state);
    if let Some(frontend) = state.frontend() {
        gateway(&mut page, frontend.gateway.metrics());
        if let Some(forward) = frontend.gateway.forward() {
            let name = "twinkeep_s3_forwarded_total";
            page.head(name, "Requests that were to be passed on to the other region, by result.", "counter");
            for outcome in Outcome::ALL {
                let labels = format!("{{result=\"{}\"}}", outcome.name());
                page.sample(name, &labels, forward.results.of(outcome) as f64);
            }
        }
    }
    process(&mut page);
    page.text
}

fn disk(page: &mut Page, disk: &DiskFigures) {
    let stats = &disk.stats;
    page.counter("twinkeep_log_syncs_total", "Batches written and synced.", stats.batches as f64);
    page.counter("twinkeep_log_records_total", "Records written.", stats.records as f64);
    page.counter(
        "twinkeep_log_written_bytes_total",
        "Bytes written to segments, padding included.",
        stats.written_bytes as f64,
    );
    page.counter(
        "twinkeep_log_payload_bytes_total",
        "Bytes of heads and bodies accepted.",
        stats.payload_bytes as f64,
    );
    page.counter(
        "twinkeep_log_write_seconds_total",
        "Time spent writing and syncing.",
        stats.write_micros as f64 / 1e6,
    );
    page.gauge("twinkeep_log_segments", "Segments on the disk.", stats.segments as f64);
    page.gauge("twinkeep_log_cached_bytes", "Flushed entries kept in memory.", stats.cached_bytes as f64);
    page.counter("twinkeep_reads_rotten_total", "Reads that found rotten bytes.", stats.reads_rotten as f64);
    page.gauge(
        "twinkeep_disk_direct",
        "1 when writes bypass the page cache.",
        f64::from(u8::from(stats.direct)),
    );
    page.gauge(
        "twinkeep_disk_failed",
        "1 when a write or sync failed: the disk is out of service.",
        f64::from(u8::from(disk.failed)),
    );
    if let Some(capacity) = &disk.capacity {
        page.gauge("twinkeep_disk_capacity_bytes", "What segments may take.", capacity.total_bytes as f64);
        page.gauge("twinkeep_disk_used_bytes", "What segments take.", capacity.used_bytes as f64);
        page.gauge(
            "twinkeep_disk_free_bytes",
            "What is free for ordinary writes.",
            capacity.free_bytes as f64,
        );
        page.gauge(
            "twinkeep_disk_writable",
            "1 when ordinary writes are taken.",
            f64::from(u8::from(capacity.writable)),
        );
    }
}

fn upkeep(page: &mut Page, upkeep: &UpkeepFigures) {
    let (freed, scrub) = (&upkeep.freed, &upkeep.scrub);
    page.counter("twinkeep_gc_segments_freed_total", "Segments freed.", freed.segments as f64);
    page.counter("twinkeep_gc_freed_bytes_total", "Room that freed segments took.", freed.bytes as f64);
    page.counter(
        "twinkeep_gc_moved_bytes_total",
        "Live bytes moved to free segments.",
        freed.moved_bytes as f64,
    );
    page.gauge(
        "twinkeep_scrub_running",
        "1 while a scrub pass is under way.",
        f64::from(u8::from(scrub.running)),
    );
    page.gauge(
        "twinkeep_scrub_checked_bytes",
        "Bytes checked in this pass, or the last.",
        scrub.bytes_checked as f64,
    );
    page.counter(
        "twinkeep_scrub_corrupt_total",
        "Rotten records that scrubbing found.",
        upkeep.scrub_corrupt as f64,
    );
    page.counter("twinkeep_scrub_repaired_total", "Of these, repaired.", upkeep.scrub_repaired as f64);
    page.gauge(
        "twinkeep_scrub_unrepaired",
        "Rotten records without a good copy here still.",
        upkeep.scrub_unrepaired as f64,
    );
    let finished = scrub.finished.map_or(0.0, |finished| finished.0 as f64 / 1e3);
    page.gauge("twinkeep_scrub_finished_timestamp_seconds", "When the last whole pass ended.", finished);
}

fn replicas(page: &mut Page, report: &NodeReport) {
    let me = report.replica_id();
    let led = report.replicas.iter().filter(|replica| replica.leader == Some(me)).count();
    let stopped = report.replicas.iter().filter(|replica| replica.stopped).count();
    let terms: u64 = report.replicas.iter().map(|replica| replica.term).sum();
    let missing: usize = report
        .replicas
        .iter()
        .filter(|replica| replica.leads(me))
        .map(|replica| {
            replica.voters.iter().filter(|voter| **voter != me && !replica.caught_up(**voter)).count()
        })
        .sum();
    page.gauge("twinkeep_replicas", "Replicas that this node holds.", report.replicas.len() as f64);
    page.gauge("twinkeep_replicas_stopped", "Replicas that stopped after a storage error.", stopped as f64);
    page.gauge("twinkeep_groups_led", "Groups that this node leads.", led as f64);
    page.gauge(
        "twinkeep_group_replicas_missing",
        "Replicas that lag behind groups led here.",
        missing as f64,
    );
    page.counter(
        "twinkeep_raft_term_changes_total",
        "Terms of all groups together: grows with elections.",
        terms as f64,
    );
}

fn pair(page: &mut Page, lags: &[GroupLag]) {
    page.head("twinkeep_pair_groups", "Groups led here, by their part in the pair.", "gauge");
    for role in PairRole::ALL {
        let count = lags.iter().filter(|lag| lag.own.role == role).count();
        page.sample("twinkeep_pair_groups", &format!("{{part=\"{}\"}}", role.name()), count as f64);
    }
    let unshipped = || lags.iter().filter_map(|lag| lag.unshipped);
    let operations: u64 = unshipped().map(|unshipped| unshipped.operations).sum();
    let bytes: u64 = unshipped().map(|unshipped| unshipped.bytes).sum();
    page.gauge(
        "twinkeep_pair_unshipped_operations",
        "Commands of groups led here that the standby did not have when it asked last.",
        operations as f64,
    );
    page.gauge("twinkeep_pair_unshipped_bytes", "Their heads and bodies.", bytes as f64);
    let is_standby = |lag: &&GroupLag| matches!(lag.own.role, PairRole::Standby | PairRole::Bootstrap);
    let blocked = lags.iter().filter(is_standby).filter(|lag| lag.blocked.is_some()).count();
    page.gauge(
        "twinkeep_pair_blocked_groups",
        "Standbys led here into which the next entry does not come.",
        blocked as f64,
    );
    let synced = lags.iter().filter(is_standby).map(|lag| lag.synced.map_or(0, |synced| synced.0)).min();
    if let Some(synced) = synced {
        page.gauge(
            "twinkeep_pair_synced_timestamp_seconds",
            "Everything acknowledged by then is in the standbys led here; 0 while that is not known.",
            synced as f64 / 1e3,
        );
    }
}

fn leases(page: &mut Page, leases: &Leases) {
    page.gauge(
        "twinkeep_lease_of_witness",
        "1 while the witness vouches for this node.",
        f64::from(u8::from(leases.has_witness())),
    );
    page.gauge(
        "twinkeep_lease_of_standby_groups",
        "Groups led here for which their standbys vouch.",
        leases.standbys() as f64,
    );
    page.counter(
        "twinkeep_lease_refused_total",
        "Commands that were not acknowledged because nobody vouched for this region.",
        leases.refused() as f64,
    );
}

fn peers(page: &mut Page, state: &ProcessState) {
    let metrics = state.peers.metrics();
    let name = "twinkeep_peer_refused_handshakes_total";
    page.head(name, "Peers that were not who they should be, by reason.", "counter");
    for kind in RefusedReason::KINDS {
        let value = state.refusals().of_kind(kind) as f64;
        page.sample(name, &format!("{{reason=\"{kind}\"}}"), value);
    }
    page.head("twinkeep_peer_calls_in_flight", "Calls without an answer yet.", "gauge");
    for class in PeerClass::ALL {
        let value = metrics.classes[class.index()].calls_in_flight as f64;
        page.sample("twinkeep_peer_calls_in_flight", &format!("{{class=\"{}\"}}", class.name()), value);
    }
}

fn certificates(page: &mut Page, state: &ProcessState) {
    let name = "twinkeep_certificate_expiry_timestamp_seconds";
    page.head(name, "When a certificate expires, seconds since 1970.", "gauge");
    for fact in state.certificates() {
        let seconds = fact.not_after.0 as f64 / 1e3;
        page.sample(name, &format!("{{purpose=\"{}\"}}", fact.purpose), seconds);
    }
}

fn gateway(page: &mut Page, metrics: &crate::gateway::metrics::GatewayMetrics) {
    let load = |value: &std::sync::atomic::AtomicU64| value.load(Ordering::Relaxed) as f64;
    page.gauge("twinkeep_s3_in_flight", "Requests under way.", load(&metrics.requests_in_flight));
    page.gauge("twinkeep_s3_connections", "Connections open.", load(&metrics.connections));
    page.counter("twinkeep_s3_received_bytes_total", "Bytes of request bodies.", load(&metrics.bytes_in));
    page.counter("twinkeep_s3_sent_bytes_total", "Bytes of response bodies.", load(&metrics.bytes_out));
    page.counter(
        "twinkeep_s3_overloaded_total",
        "Requests refused because too much was in flight.",
        load(&metrics.overloaded),
    );
    page.counter(
        "twinkeep_s3_guard_refused_total",
        "Requests refused before the protocol layer.",
        load(&metrics.refused_by_guard),
    );
    page.counter(
        "twinkeep_s3_chunks_unopened_total",
        "Chunks that did not open: damaged or forged.",
        load(&metrics.chunks_unopened),
    );
    let operations = metrics.operations();
    page.head("twinkeep_s3_requests_total", "Requests by operation and class of status.", "counter");
    for sample in &operations {
        for (class, count) in sample.statuses.iter().enumerate().filter(|(_, count)| **count > 0) {
            let labels = format!("{{operation=\"{}\",status=\"{class}xx\"}}", sample.operation);
            page.sample("twinkeep_s3_requests_total", &labels, *count as f64);
        }
    }
    page.head(
        "twinkeep_s3_request_seconds",
        "Time from a request's head to the end of its answer.",
        "histogram",
    );
    for sample in &operations {
        let mut below = 0_u64;
        let bounds = LATENCY_BOUNDS_US
            .iter()
            .map(|bound| format!("{}", *bound as f64 / 1e6))
            .chain(["+Inf".to_owned()]);
        for (bound, count) in bounds.zip(sample.buckets) {
            below += count;
            let labels = format!("{{operation=\"{}\",le=\"{bound}\"}}", sample.operation);
            page.sample("twinkeep_s3_request_seconds_bucket", &labels, below as f64);
        }
        let labels = format!("{{operation=\"{}\"}}", sample.operation);
        page.sample("twinkeep_s3_request_seconds_sum", &labels, sample.sum_us as f64 / 1e6);
        page.sample("twinkeep_s3_request_seconds_count", &labels, below as f64);
    }
}

fn process(page: &mut Page) {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return };
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = resident.and_then(|text| text.trim().trim_end_matches(" kB").parse::<u64>().ok());
    if let Some(kibibytes) = kibibytes {
        page.gauge("process_resident_memory_bytes", "Memory in use.", (kibibytes * 1024) as f64);
    }
}

#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn head(&mut self, name: &str, help: &str, kind: &str) {
        writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}")
            .expect("a String takes all that is written");
    }

    fn sample(&mut self, name: &str, labels: &str, value: f64) {
        writeln!(self.text, "{name}{labels} {value}").expect("a String takes all that is written");
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.head(name, help, "gauge");
        self.sample(name, "", value);
    }

    fn counter(&mut self, name: &str, help: &str, value: f64) {
        self.head(name, help, "counter");
        self.sample(name, "", value);
    }
}
