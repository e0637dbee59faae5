//! What the gateway counts, for the metrics endpoint.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::access::OPERATIONS;
use super::forward;

/// Upper bounds of the latency buckets, microseconds; the last bucket has none.
pub const LATENCY_BOUNDS_US: [u64; 15] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    10_000_000, 30_000_000,
];

/// Operations that have counters of their own, then requests that were passed on, and those that never became one.
const SLOTS: usize = OPERATIONS.len() + 2;

/// Counters of the gateway.
#[derive(Debug)]
pub struct GatewayMetrics {
    operations: [OperationCounters; SLOTS],
    /// Bytes of request bodies.
    pub bytes_in: AtomicU64,
    /// Bytes of response bodies.
    pub bytes_out: AtomicU64,
    /// Requests under way.
    pub requests_in_flight: AtomicU64,
    /// Connections open.
    pub connections: AtomicU64,
    /// Connections refused because there were too many.
    pub connections_refused: AtomicU64,
    /// Requests refused because too much was in flight.
    pub overloaded: AtomicU64,
    /// Requests refused by the checks before the protocol layer.
    pub refused_by_guard: AtomicU64,
    /// Chunks that did not open: damaged or forged. Anything but zero needs a person.
    pub chunks_unopened: AtomicU64,
    /// Streams given up before they became part of anything.
    pub streams_abandoned: AtomicU64,
}

#[derive(Debug, Default)]
struct OperationCounters {
    statuses: [AtomicU64; 6],
    buckets: [AtomicU64; LATENCY_BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

/// One operation's counters as they are now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationSample {
    /// The operation as AWS names it, `Forwarded`, or `Other`.
    pub operation: &'static str,
    /// Requests by first digit of the status: index 2 is 2xx.
    pub statuses: [u64; 6],
    /// Requests per latency bucket (not cumulative), see [`LATENCY_BOUNDS_US`].
    pub buckets: [u64; LATENCY_BOUNDS_US.len() + 1],
    /// All latencies together, microseconds.
    pub sum_us: u64,
}

impl Default for GatewayMetrics {
    fn default() -> Self {
        Self {
            operations: std::array::from_fn(|_| OperationCounters::default()),
            bytes_in: AtomicU64::default(),
            bytes_out: AtomicU64::default(),
            requests_in_flight: AtomicU64::default(),
            connections: AtomicU64::default(),
            connections_refused: AtomicU64::default(),
            overloaded: AtomicU64::default(),
            refused_by_guard: AtomicU64::default(),
            chunks_unopened: AtomicU64::default(),
            streams_abandoned: AtomicU64::default(),
        }
    }
}

impl GatewayMetrics {
    /// Operations that were asked for at least once.
    pub fn operations(&self) -> Vec<OperationSample> {
        names()
            .zip(&self.operations)
            .map(|(operation, counters)| OperationSample {
                operation,
                statuses: std::array::from_fn(|i| counters.statuses[i].load(Ordering::Relaxed)),
                buckets: std::array::from_fn(|i| counters.buckets[i].load(Ordering::Relaxed)),
                sum_us: counters.sum_us.load(Ordering::Relaxed),
            })
            .filter(|sample| sample.statuses.iter().any(|count| *count > 0))
            .collect()
    }

    /// Counts a finished request.
    pub(crate) fn count(&self, operation: Option<&str>, status: http::StatusCode, took: Duration) {
        let slot = operation.and_then(|name| names().position(|known| known == name)).unwrap_or(SLOTS - 1);
        let counters = &self.operations[slot];
        let class = usize::from(status.as_u16() / 100).min(5);
        counters.statuses[class].fetch_add(1, Ordering::Relaxed);
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = LATENCY_BOUNDS_US.partition_point(|bound| *bound < us);
        counters.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        counters.sum_us.fetch_add(us, Ordering::Relaxed);
    }
}

/// Whose counters stand where.
fn names() -> impl Iterator<Item = &'static str> {
    OPERATIONS.iter().map(|(name, _)| *name).chain([forward::OPERATION, "Other"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_operation_status_and_latency() {
        let metrics = GatewayMetrics::default();
        metrics.count(Some("PutObject"), http::StatusCode::OK, Duration::from_micros(251));
        metrics.count(None, http::StatusCode::FORBIDDEN, Duration::from_secs(60));
        let samples = metrics.operations();
        assert_eq!(samples.len(), 2);
        assert_eq!(
            (samples[0].operation, samples[0].statuses[2], samples[0].buckets[1]),
            ("PutObject", 1, 1)
        );
        let last = LATENCY_BOUNDS_US.len();
        assert_eq!((samples[1].operation, samples[1].statuses[4], samples[1].buckets[last]), ("Other", 1, 1));
    }
}
