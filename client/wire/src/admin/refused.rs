//! Peers that a process turned away: what its record has of each, on disk and to whoever asks.

use crate::UnixMillis;
use serde::{Deserialize, Serialize};

/// What a process's record of refused peers has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedPeersReport {
    /// The region.
    pub region: String,
    /// Who answers, `node/<id>` or `gateway/<id>`.
    pub answered_by: String,
    /// The most recent, oldest first.
    pub peers: Vec<RefusedPeerRecord>,
    /// How many found no room in the record since the process began; its log has them.
    #[serde(default)]
    pub unwritten: u64,
}

/// One peer that was turned away. One that comes again and again has a line at 1, 2, 4, 8 and so on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedPeerRecord {
    /// When, by the process's clock.
    pub at: UnixMillis,
    /// Who opened the connection.
    pub opened_by: ConnectionOpener,
    /// The other end's address.
    pub address: String,
    /// The kind of reason: `certificate`, `identity`, `foreign`, `pair` and so on.
    pub reason: String,
    /// The reason in words.
    #[serde(default)]
    pub detail: String,
    /// SHA-256 of the certificate that it showed, if it came to that; lower-case digits.
    #[serde(default)]
    pub certificate_sha256: Option<String>,
    /// Whom the certificate claims to speak for, if it names a member of a region.
    #[serde(default)]
    pub claimed: Option<String>,
    /// How often until then.
    #[serde(default)]
    pub times: u64,
    /// How many such lines, of this kind from this address (of IPv6: this network of 64 bits), found no room since the one
    /// before.
    #[serde(default)]
    pub left_out: u64,
}

/// Which end opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionOpener {
    /// The peer came to this process.
    Peer,
    /// This process went to the peer.
    Here,
    /// Something of a newer release.
    #[serde(other)]
    Unknown,
}
