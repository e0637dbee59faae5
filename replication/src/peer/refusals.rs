//! Peers that were turned away: counted by reason, logged, the most recent ones kept, and each passed on to whoever keeps
//! a record that outlives the process.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Mutex, OnceLock};
use std::time::SystemTime;

use thiserror::Error;
use trust::Presented;
use wire::UnixMillis;
use wire::descriptor::{ForeignPeer, PairMismatch};

/// How many refusals are remembered. 64: enough to show a pattern, too few to matter as memory.
const RECENT_MAX: usize = 64;

/// What is kept of the other end's own words, bytes. 160: our longest refusals have 140.
const SAID_BYTES_MAX: usize = 160;

/// Why a peer was turned away.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RefusedReason {
    /// TLS did not come about: no certificate, or not TLS 1.3 at all.
    #[error("TLS handshake failed: {detail}")]
    Handshake {
        /// What TLS says.
        detail: String,
    },
    /// The certificate is not to be believed: another authority's, or expired.
    #[error("{detail}")]
    Certificate {
        /// Why not.
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
    /// The peer is of the paired region, and not under the same pair descriptor.
    #[error(transparent)]
    Pair(#[from] PairMismatch),
    /// The peer is of the paired region, and the pair descriptor makes its certificate worthless.
    #[error("the certificate is older than the pair descriptor allows: members_since_ms {}", since.0)]
    Revoked {
        /// From when on certificates count.
        since: UnixMillis,
    },
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
        /// What it says, fit to be shown ([`RefusedReason::by_peer`]).
        detail: String,
    },
    /// The peer sent what no peer sends.
    #[error("protocol violation: {detail}")]
    Protocol {
        /// What it was.
        detail: String,
    },
}

impl RefusedReason {
    /// What each kind is called in metrics and records.
    pub const KINDS: [&'static str; 12] = [
        "handshake",
        "certificate",
        "timeout",
        "identity",
        "foreign",
        "pair",
        "revoked",
        "other_peer",
        "class",
        "too_many",
        "by_peer",
        "protocol",
    ];

    /// What the other end said when it turned this process away: cut to a line, and nothing in it that a terminal or the
    /// reader of a log would take for something else. It may be anybody's text.
    pub fn by_peer(said: &str) -> Self {
        Self::ByPeer { detail: shown(said) }
    }

    /// Its kind, one of [`RefusedReason::KINDS`].
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Handshake { .. } => "handshake",
            Self::Certificate { .. } => "certificate",
            Self::HandshakeTimeout => "timeout",
            Self::Identity { .. } => "identity",
            Self::Foreign(_) => "foreign",
            Self::Pair(_) => "pair",
            Self::Revoked { .. } => "revoked",
            Self::OtherPeer { .. } => "other_peer",
            Self::Class { .. } => "class",
            Self::TooMany => "too_many",
            Self::ByPeer { .. } => "by_peer",
            Self::Protocol { .. } => "protocol",
        }
    }
}

/// Somebody else's words as they may stand in a line: control characters and all that is not ASCII escaped, the rest of
/// a long text left out.
pub(super) fn shown(said: &str) -> String {
    let mut text = String::new();
    for character in said.chars() {
        let plain = character.is_ascii_graphic() || character == ' ';
        let length = text.len();
        if plain {
            text.push(character)
        } else {
            text.extend(character.escape_unicode())
        }
        if text.len() > SAID_BYTES_MAX {
            text.truncate(length);
            text.push_str("...");
            break;
        }
    }
    text
}

/// Why a peer is turned away, and what it showed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{reason}")]
pub(super) struct Refusal {
    pub(super) reason: RefusedReason,
    pub(super) certificate: Option<Presented>,
}

impl From<RefusedReason> for Refusal {
    fn from(reason: RefusedReason) -> Self {
        Self { reason, certificate: None }
    }
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
    /// The certificate that it showed.
    pub certificate: Option<Presented>,
    /// How often, from this host, for this reason and with this certificate, since it was first noted.
    pub times: u64,
}

/// The record of peers turned away.
#[derive(Debug, Default)]
pub struct RefusedPeers {
    state: Mutex<State>,
    listener: OnceLock<Listener>,
}

/// Who is told of each peer that is turned away.
struct Listener(Box<dyn Fn(&RefusedPeer) + Send + Sync>);

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener")
    }
}

#[derive(Debug, Default)]
struct State {
    recent: VecDeque<RefusedPeer>,
    total: u64,
    by_kind: BTreeMap<&'static str, u64>,
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

    /// How many there were of a kind since the start.
    pub fn of_kind(&self, kind: &str) -> u64 {
        self.lock().by_kind.get(kind).copied().unwrap_or(0)
    }

    /// Tells `listener`, which must not wait, who is turned away from now on: the first of a host for a reason, then every
    /// time that their number has doubled. A second call changes nothing.
    pub fn tell(&self, listener: impl Fn(&RefusedPeer) + Send + Sync + 'static) {
        let _second = self.listener.set(Listener(Box::new(listener))).is_err();
    }

    pub(super) fn record(&self, address: SocketAddr, refusal: impl Into<Refusal>) {
        let Refusal { reason, certificate } = refusal.into();
        let mut state = self.lock();
        state.total += 1;
        *state.by_kind.entry(reason.kind()).or_default() += 1;
        let known = |old: &RefusedPeer| {
            old.address.ip() == address.ip() && old.reason == reason && old.certificate == certificate
        };
        let times = match state.recent.iter().position(known) {
            Some(place) => state.recent.remove(place).map_or(0, |old| old.times),
            None if state.recent.len() == RECENT_MAX => {
                state.recent.pop_front();
                0
            }
            None => 0,
        };
        let refused = RefusedPeer { at: SystemTime::now(), address, reason, certificate, times: times + 1 };
        // a peer that tries again and again is logged at 1, 2, 4, 8 and so on
        if refused.times.is_power_of_two() {
            let certificate = refused.certificate.as_ref().map(|shown| tracing::field::display(shown.sha256));
            tracing::warn!(%address, reason = %refused.reason, certificate, times = refused.times, "peer refused");
            if let Some(Listener(listener)) = self.listener.get() {
                listener(&refused);
            }
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
    fn every_kind_is_counted_apart_and_the_first_of_each_and_every_doubling_is_passed_on() {
        let refused = RefusedPeers::default();
        let (to, told) = std::sync::mpsc::channel();
        refused.tell(move |peer| to.send(peer.clone()).unwrap());
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let shown = |byte| Presented { sha256: wire::Digest([byte; 32]), claimed: None };
        let foreign = |byte| Refusal {
            reason: RefusedReason::Certificate { detail: "of another authority".into() },
            certificate: Some(shown(byte)),
        };
        for _ in 0..5 {
            refused.record(address, foreign(1));
        }
        // another certificate from the same host is another peer
        refused.record(address, foreign(2));
        refused.record(address, RefusedReason::Pair(PairMismatch::NotShown));
        assert_eq!(
            (refused.of_kind("certificate"), refused.of_kind("pair"), refused.of_kind("class")),
            (6, 1, 0)
        );
        let mut passed_on = Vec::new();
        for peer in told.try_iter() {
            assert!(RefusedReason::KINDS.contains(&peer.reason.kind()));
            passed_on.push((peer.reason.kind(), peer.certificate.map(|shown| shown.sha256.0[0]), peer.times));
        }
        let certificate = |byte, times| ("certificate", Some(byte), times);
        let expected =
            [certificate(1, 1), certificate(1, 2), certificate(1, 4), certificate(2, 1), ("pair", None, 1)];
        assert_eq!(passed_on, expected);
    }

    #[test]
    fn what_a_peer_says_is_cut_and_spoils_no_line() {
        let said = format!("no\r\n2026 INFO all is well \u{1b}[2J \u{202e}é{}", "x".repeat(4096));
        let RefusedReason::ByPeer { detail } = RefusedReason::by_peer(&said) else {
            panic!("another reason")
        };
        let start = r"no\u{d}\u{a}2026 INFO all is well \u{1b}[2J \u{202e}\u{e9}xxx";
        assert!(detail.starts_with(start) && detail.ends_with("xxx..."), "{detail}");
        assert!(
            detail.len() <= SAID_BYTES_MAX + 3 && detail.bytes().all(|byte| (b' '..=b'~').contains(&byte))
        );
        assert_eq!(shown("serial 3 instead of 2"), "serial 3 instead of 2");
        // an escape is left out as a whole
        let cut = shown(&format!("{}\u{1b}", "x".repeat(SAID_BYTES_MAX)));
        assert_eq!(cut, format!("{}...", "x".repeat(SAID_BYTES_MAX)));
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
