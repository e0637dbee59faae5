//! What a region is: who belongs to it, where its nodes listen, how many groups it has, how fast it elects.
//!
//! Made once by `twinkeep init`, given to every node inside its join token, read as `region.toml`. It promises that a
//! descriptor that passes [`RegionDescriptor::validate`] is complete and free of contradictions. Later membership
//! lives in the system group; this is how the first members find each other.

mod identity;
mod pair;
mod token;

pub use identity::{ForeignPeer, IdentityUriError, PEER_URI_SCHEME, PeerIdentity, PeerRole};
pub use pair::{
    PAIR_DESCRIPTOR_BYTES_MAX, PAIR_DESCRIPTOR_FILE, PAIR_HELLO_BYTES_MAX, PairDescriptor, PairHello,
    PairMismatch, PairTextError, PairedRegion, SignedPair,
};
pub use token::{GatewayFiles, JoinToken, TOKEN_PREFIX, TOKEN_TEXT_BYTES_MAX, TokenError, TokenRole};

use crate::{DeploymentId, Incarnation, NodeId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use thiserror::Error;

/// Version of the descriptor's fields.
pub const DESCRIPTOR_FORMAT: u32 = 1;

/// Copies of everything inside a region. Fixed: quorum arithmetic and placement rest on it.
pub const REPLICATION_FACTOR: u8 = 3;

/// Nodes of one region. 100: placement and the node map are measured up to here.
pub const NODES_MAX: usize = 100;

/// Gateways of one region that the descriptor may name.
pub const GATEWAYS_MAX: usize = 100;

/// Data groups of one region. 4,096: idle cost of a node stays bounded above 100 nodes.
pub const GROUPS_MAX: u32 = 4096;

/// A region, environment, jurisdiction or zone name, bytes: fits a DNS label.
pub const NAME_BYTES_MAX: usize = 63;

/// A region as `region.toml` holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegionDescriptor {
    /// Version of these fields, [`DESCRIPTOR_FORMAT`].
    pub format: u32,
    /// The deployment; peers of another one are refused.
    pub deployment: DeploymentId,
    /// The environment (production, test, dev); peers of another one are refused.
    pub environment: String,
    /// The jurisdiction that its data stays in; peers of a pair are in the same one.
    pub jurisdiction: String,
    /// The region's name, also the S3 region that clients are told.
    pub region: String,
    /// Data groups, a power of two; fixed at creation.
    pub groups: u32,
    /// The region as whose standby this one began; it uses the keys made under that name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standby_of: Option<String>,
    /// Copies inside the region, [`REPLICATION_FACTOR`].
    pub replication: u8,
    /// The nodes that formed the region at its first start, in their first incarnation. History: they stay here when
    /// they are removed, and no other node or incarnation ever forms the region anew.
    pub initial_members: Vec<NodeId>,
    /// How fast the groups notice a lost leader.
    #[serde(default)]
    pub timings: RaftTimings,
    /// Every storage node.
    pub nodes: Vec<NodeDescriptor>,
    /// Gateways that run apart from storage nodes; empty when the nodes are gateways themselves.
    #[serde(default)]
    pub gateways: Vec<GatewayDescriptor>,
}

/// One storage node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeDescriptor {
    /// Its number, never reused.
    pub id: NodeId,
    /// Its failure zone; copies are spread over zones where there are enough.
    pub zone: String,
    /// `host:port` where peers and the command line reach it.
    pub peer_address: String,
    /// How often its disk began anew.
    pub incarnation: Incarnation,
}

/// One gateway that stores nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatewayDescriptor {
    /// Its number.
    pub id: u16,
    /// `host:port` where the command line reaches it.
    pub peer_address: String,
}

/// Raft's clockwork, milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RaftTimings {
    /// A leader is heard from this often.
    pub heartbeat_ms: u32,
    /// Silence after which the first follower may stand for election.
    pub election_min_ms: u32,
    /// Silence after which every follower has stood for election.
    pub election_max_ms: u32,
}

impl Default for RaftTimings {
    fn default() -> Self {
        Self { heartbeat_ms: 40, election_min_ms: 100, election_max_ms: 200 }
    }
}

/// What is wrong with a descriptor.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DescriptorError {
    /// Written by a newer release.
    #[error("descriptor format {found} is not known here (this release reads {DESCRIPTOR_FORMAT})")]
    Format {
        /// The format found.
        found: u32,
    },
    /// A name that could not stand in a certificate or a DNS label.
    #[error(
        "{what} {value:?} must be 1 to {NAME_BYTES_MAX} of a-z, 0-9 and hyphen, and begin and end with a letter or digit"
    )]
    Name {
        /// Which name.
        what: &'static str,
        /// What it is.
        value: String,
    },
    /// A group count that placement cannot use.
    #[error("groups is {found}; it must be a power of two up to {GROUPS_MAX}")]
    Groups {
        /// The count found.
        found: u32,
    },
    /// A replication factor other than the only one there is.
    #[error("replication is {found}; it must be {REPLICATION_FACTOR}")]
    Replication {
        /// The factor found.
        found: u8,
    },
    /// Too few or too many nodes or gateways.
    #[error("a region has {least} to {most} {what}, this one has {found}")]
    Count {
        /// What is counted.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// The fewest allowed.
        least: usize,
        /// The most allowed.
        most: usize,
    },
    /// The same number or address twice, or number zero.
    #[error("{what} {value} is used twice or is zero")]
    Duplicate {
        /// What it is.
        what: &'static str,
        /// Its value.
        value: String,
    },
    /// An address that is not `host:port`.
    #[error("{value:?} is not HOST:PORT")]
    Address {
        /// The address found.
        value: String,
    },
    /// Timings under which a healthy leader would be deposed.
    #[error("timings must obey 2 x heartbeat_ms <= election_min_ms < election_max_ms, and heartbeat_ms >= 5")]
    Timings,
}

impl RegionDescriptor {
    /// Checks everything that can be judged without asking the network.
    pub fn validate(&self) -> Result<(), DescriptorError> {
        if self.format != DESCRIPTOR_FORMAT {
            return Err(DescriptorError::Format { found: self.format });
        }
        check_name("environment", &self.environment)?;
        check_name("jurisdiction", &self.jurisdiction)?;
        check_name("region", &self.region)?;
        if let Some(primary) = &self.standby_of {
            check_name("standby_of", primary)?;
            check_unique("region", primary, *primary != self.region)?;
        }
        if !self.groups.is_power_of_two() || self.groups > GROUPS_MAX {
            return Err(DescriptorError::Groups { found: self.groups });
        }
        if self.replication != REPLICATION_FACTOR {
            return Err(DescriptorError::Replication { found: self.replication });
        }
        let least = usize::from(REPLICATION_FACTOR);
        check_count("nodes", self.nodes.len(), least, NODES_MAX)?;
        check_count("initial members", self.initial_members.len(), least, NODES_MAX)?;
        check_count("gateways", self.gateways.len(), 0, GATEWAYS_MAX)?;
        self.check_ids_and_addresses()?;
        self.timings.validate()
    }

    /// The region under whose name the keys were made.
    pub fn key_region(&self) -> &str {
        self.standby_of.as_deref().unwrap_or(&self.region)
    }

    /// The node of that number.
    pub fn node(&self, id: NodeId) -> Option<&NodeDescriptor> {
        self.nodes.iter().find(|node| node.id == id)
    }

    fn check_ids_and_addresses(&self) -> Result<(), DescriptorError> {
        let (mut ids, mut gateways, mut addresses) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for node in &self.nodes {
            check_name("zone", &node.zone)?;
            check_unique("node", node.id.0, node.id.0 != 0 && ids.insert(node.id))?;
            check_address(&node.peer_address)?;
            check_unique("address", &node.peer_address, addresses.insert(&node.peer_address))?;
        }
        for gateway in &self.gateways {
            check_unique("gateway", gateway.id, gateway.id != 0 && gateways.insert(gateway.id))?;
            check_address(&gateway.peer_address)?;
            check_unique("address", &gateway.peer_address, addresses.insert(&gateway.peer_address))?;
        }
        let mut members = BTreeSet::new();
        for &node in &self.initial_members {
            check_unique("initial member", node, members.insert(node))?;
        }
        Ok(())
    }
}

impl RaftTimings {
    /// Checks that a healthy leader is heard twice before anyone stands against it.
    pub fn validate(&self) -> Result<(), DescriptorError> {
        let sane = self.heartbeat_ms >= 5
            && self.heartbeat_ms.checked_mul(2).is_some_and(|twice| twice <= self.election_min_ms)
            && self.election_min_ms < self.election_max_ms;
        if sane { Ok(()) } else { Err(DescriptorError::Timings) }
    }
}

/// How many data groups a region of `nodes` gets unless told otherwise.
pub fn default_groups(nodes: usize) -> u32 {
    match nodes {
        0..=6 => 64,
        7..=30 => 256,
        _ => 1024,
    }
}

/// Checks a region, environment, jurisdiction, zone, operator or user name.
pub fn check_name(what: &'static str, value: &str) -> Result<(), DescriptorError> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let sane = (1..=NAME_BYTES_MAX).contains(&value.len())
        && value.bytes().all(|byte| plain(byte) || byte == b'-')
        && value.bytes().next().is_some_and(plain)
        && value.bytes().last().is_some_and(plain);
    if sane { Ok(()) } else { Err(DescriptorError::Name { what, value: value.to_owned() }) }
}

/// Checks that an address is `host:port` (an IPv6 host in brackets) with a port other than 0.
pub fn check_address(value: &str) -> Result<(), DescriptorError> {
    let wrong = || DescriptorError::Address { value: value.to_owned() };
    let (host, port) = value.rsplit_once(':').ok_or_else(wrong)?;
    let bracketed = host.starts_with('[') && host.ends_with(']') && host.len() > 2;
    let plain = !host.is_empty()
        && host.len() <= 253
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
    match port.parse::<u16>() {
        Ok(port) if port != 0 && (bracketed || plain) => Ok(()),
        _ => Err(wrong()),
    }
}

fn check_count(what: &'static str, found: usize, least: usize, most: usize) -> Result<(), DescriptorError> {
    if (least..=most).contains(&found) {
        Ok(())
    } else {
        Err(DescriptorError::Count { what, found, least, most })
    }
}

fn check_unique(what: &'static str, value: impl ToString, unique: bool) -> Result<(), DescriptorError> {
    if unique { Ok(()) } else { Err(DescriptorError::Duplicate { what, value: value.to_string() }) }
}

#[cfg(test)]
#[path = "descriptor/tests.rs"]
mod tests;
