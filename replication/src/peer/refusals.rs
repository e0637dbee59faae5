//! Peers that were turned away: counted, logged, and the most recent ones kept for `status` and `check`.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::SystemTime;

use thiserror::Error;
use wire::descriptor::ForeignPeer;

/// How many refusals are remembered. 64: enough to show a pattern, too few to matter as memory.
const RECENT_MAX: usize = 64;

/// Why a peer was turned away.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RefusedReason {
    /// TLS did not come about: no certificate, another authority's, expired, or not TLS 1.3 at all.
    #[error("TLS handshake failed: {detail}")]
    Handshake {
        /// What TLS says.
        detail: String,
    },
    /// The handshake took too long.
    #[error("TLS handshake took too long")]
    HandshakeTimeout,
    /// The certificate is genuine but names nobody.
    #[error("certificate without a valid identity: {detail}")]
    Identity {
        /// What is wrong with it.
        detail: String,
    },
    /// The peer belongs to another deployment, environment or region.
    #[error(transparent)]
    Foreign(#[from] ForeignPeer),
    /// The address led to somebody other than the node asked for.
    #[error("another peer at this address: {found}")]
    OtherPeer {
        /// Who answered.
        found: String,
    },
    /// The peer's role may not use the class it asked for.
    #[error("{role} may not use class {class}")]
    Class {
        /// Its role.
        role: String,
        /// The class.
        class: &'static str,
    },
    /// Too many connections, of this peer or in total.
    #[error("too many connections")]
    TooMany,
    /// It was the other end that turned this process away.
    #[error("turned away by the peer: {detail}")]
    ByPeer {
        /// What it says.
        detail: String,
    },
    /// The peer sent what no peer sends.
    #[error("protocol violation: {detail}")]
    Protocol {
        /// What it was.
        detail: String,
    },
}

/// One peer that was turned away; the same host for the same reason is noted once and counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedPeer {
    /// When.
    pub at: SystemTime,
    /// The other end.
    pub address: SocketAddr,
    /// Why.
    pub reason: RefusedReason,
    /// How often, from this host and for this reason, since it was first noted.
    pub times: u64,
}

/// The record of peers turned away.
#[derive(Debug, Default)]
pub struct RefusedPeers {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    recent: VecDeque<RefusedPeer>,
    total: u64,
}

impl RefusedPeers {
    /// The most recent refusals, oldest first.
    pub fn recent(&self) -> Vec<RefusedPeer> {
        self.lock().recent.iter().cloned().collect()
    }

    /// How many there were since the start.
    pub fn total(&self) -> u64 {
        self.lock().total
    }

    pub(super) fn record(&self, address: SocketAddr, reason: RefusedReason) {
        let mut state = self.lock();
        state.total += 1;
        let known = |old: &RefusedPeer| old.address.ip() == address.ip() && old.reason == reason;
        let times = match state.recent.iter().position(known) {
            Some(place) => state.recent.remove(place).map_or(0, |old| old.times),
            None if state.recent.len() == RECENT_MAX => {
                state.recent.pop_front();
                0
            }
            None => 0,
        };
        let refused = RefusedPeer { at: SystemTime::now(), address, reason, times: times + 1 };
        // a peer that tries again and again is logged at 1, 2, 4, 8 and so on
        if refused.times.is_power_of_two() {
            tracing::warn!(%address, reason = %refused.reason, times = refused.times, "peer refused");
        }
        state.recent.push_back(refused);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_keeps_the_recent_and_counts_all() {
        let refused = RefusedPeers::default();
        for host in 0..100 {
            refused.record(SocketAddr::from(([127, 0, 0, host], 7)), RefusedReason::TooMany);
        }
        let recent = refused.recent();
        assert_eq!((refused.total(), recent.len()), (100, RECENT_MAX));
        assert_eq!(recent[0].address.ip().to_string(), "127.0.0.36");
        assert_eq!(recent[63].address.ip().to_string(), "127.0.0.99");
    }

    #[test]
    fn one_host_that_tries_again_and_again_does_not_push_out_the_others() {
        let refused = RefusedPeers::default();
        refused.record(SocketAddr::from(([127, 0, 0, 9], 1)), RefusedReason::HandshakeTimeout);
        for port in 0..100 {
            refused.record(SocketAddr::from(([127, 0, 0, 1], port)), RefusedReason::TooMany);
        }
        let recent = refused.recent();
        assert_eq!((refused.total(), recent.len(), recent[1].times), (101, 2, 100));
    }
}
