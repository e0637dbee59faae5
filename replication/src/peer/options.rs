//! Waits and limits of the transport; the defaults are what production runs with.

use std::time::Duration;

use wire::PeerClass;

/// Room in a queue is counted in these, bytes. 16 KiB: a small frame still counts as one, so the same number bounds
/// frames and bytes.
pub(super) const UNIT_BYTES: usize = 16 << 10;

/// Items of a stream without an answer. 16: a follower one fsync behind still has the next batches at hand.
pub(super) const STREAM_ITEMS_MAX: usize = 16;

/// Bytes of a stream without an answer: 16 MiB, four full frames, so that one stalled group pins no more.
pub(super) const STREAM_UNITS_MAX: usize = (16 << 20) / UNIT_BYTES;

/// Waits and limits. Tests shorten and shrink them.
#[derive(Clone, Copy, Debug)]
pub struct PeerOptions {
    /// TCP, TLS and the first answer together. 5 s: three lost SYNs, then the address is given up.
    pub handshake: Duration,
    /// A frame must be complete this long after its first byte, and a write must move on. 20 s: 4 MiB at 210 KiB/s.
    pub frame: Duration,
    /// A connection that has heard nothing for this long asks for a sign of life.
    pub probe: Duration,
    /// A connection that has heard nothing for this long is given up, probes included.
    pub silence: Duration,
    /// The first wait after a failed connect; it doubles from here.
    pub backoff_first: Duration,
    /// The longest wait after a failed connect: what a restarted node costs at most.
    pub backoff_max: Duration,
    /// How long running calls may finish once shutdown began.
    pub drain: Duration,
    /// Connections of the append class per peer, chosen by lane. 2: one can send while the other encrypts.
    pub append_connections: u32,
    /// Connections of the bulk class per peer.
    pub bulk_connections: u32,
    /// Bytes waiting to be written on one connection; a caller over it waits. 32 MiB: eight full frames.
    pub queue_bytes: usize,
    /// Calls without an answer on one connection; a caller over it waits.
    pub calls_in_flight: usize,
    /// Calls that run at once for one connection; over it the server stops reading from it.
    pub calls_running: usize,
    /// Answers waiting to be written on one connection, bytes; over it the server stops reading from it.
    pub answer_bytes: usize,
    /// Bodies of one class in the hands of the server's handlers, bytes; over it the server reads no further body of
    /// that class. Apart per class, because a bulk call may itself wait for appends elsewhere.
    pub bodies_bytes: usize,
    /// Streams of one connection: more groups than a node ever holds.
    pub streams: usize,
    /// Connections that one server holds, handshakes included.
    pub connections: usize,
    /// Connections of one peer: every class twice over while an old set dies, and room for an operator's shells.
    pub connections_per_peer: usize,
}

impl Default for PeerOptions {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(5),
            frame: Duration::from_secs(20),
            probe: Duration::from_secs(5),
            silence: Duration::from_secs(20),
            backoff_first: Duration::from_millis(5),
            backoff_max: Duration::from_millis(500),
            drain: Duration::from_secs(5),
            append_connections: 2,
            bulk_connections: 2,
            queue_bytes: 32 << 20,
            calls_in_flight: 4096,
            calls_running: 1024,
            answer_bytes: 16 << 20,
            bodies_bytes: 256 << 20,
            streams: 2048,
            connections: 4096,
            connections_per_peer: 32,
        }
    }
}

impl PeerOptions {
    pub(super) fn connections_of(&self, class: PeerClass) -> u32 {
        match class {
            PeerClass::Append => self.append_connections.max(1),
            PeerClass::Bulk => self.bulk_connections.max(1),
            PeerClass::Liveness | PeerClass::Admin => 1,
        }
    }

    /// How often a connection looks at its clocks.
    pub(super) fn tick(&self) -> Duration {
        self.frame.min(self.probe).min(self.silence) / 4
    }
}

/// Room that `bytes` take in a queue; never none.
pub(super) fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES).max(1)).expect("a frame is a few megabytes at most")
}
