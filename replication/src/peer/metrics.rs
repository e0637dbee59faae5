//! Counters per class: written with relaxed atomics on the hot path, read as a plain snapshot.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use wire::PeerClass;

/// A snapshot of the counters of one end, client or server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerMetrics {
    /// In the order of [`PeerClass::ALL`].
    pub classes: [ClassMetrics; 4],
    /// Peers turned away.
    pub refused: u64,
}

/// The counters of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClassMetrics {
    /// Frames sent.
    pub frames_sent: u64,
    /// Frames received.
    pub frames_received: u64,
    /// Bytes sent, headers included, TLS not.
    pub sent_bytes: u64,
    /// Bytes received, headers included, TLS not.
    pub received_bytes: u64,
    /// Calls waiting for an answer (client) or running (server).
    pub calls_in_flight: u64,
    /// Connections that came about.
    pub connects: u64,
    /// Connections that ended.
    pub disconnects: u64,
    /// Frames whose checksum did not match.
    pub checksum_failures: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    classes: [ClassCounters; 4],
}

#[derive(Debug, Default)]
pub(super) struct ClassCounters {
    pub(super) frames_sent: AtomicU64,
    pub(super) frames_received: AtomicU64,
    pub(super) sent_bytes: AtomicU64,
    pub(super) received_bytes: AtomicU64,
    pub(super) calls_in_flight: AtomicU64,
    pub(super) connects: AtomicU64,
    pub(super) disconnects: AtomicU64,
    pub(super) checksum_failures: AtomicU64,
}

impl Counters {
    pub(super) fn class(&self, class: PeerClass) -> &ClassCounters {
        &self.classes[class.index()]
    }

    pub(super) fn snapshot(&self, refused: u64) -> PeerMetrics {
        PeerMetrics { classes: PeerClass::ALL.map(|class| self.class(class).snapshot()), refused }
    }
}

impl ClassCounters {
    pub(super) fn sent(&self, bytes: usize) {
        self.frames_sent.fetch_add(1, Relaxed);
        self.sent_bytes.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn received(&self, bytes: usize) {
        self.frames_received.fetch_add(1, Relaxed);
        self.received_bytes.fetch_add(bytes as u64, Relaxed);
    }

    fn snapshot(&self) -> ClassMetrics {
        ClassMetrics {
            frames_sent: self.frames_sent.load(Relaxed),
            frames_received: self.frames_received.load(Relaxed),
            sent_bytes: self.sent_bytes.load(Relaxed),
            received_bytes: self.received_bytes.load(Relaxed),
            calls_in_flight: self.calls_in_flight.load(Relaxed),
            connects: self.connects.load(Relaxed),
            disconnects: self.disconnects.load(Relaxed),
            checksum_failures: self.checksum_failures.load(Relaxed),
        }
    }
}
