//! What is asked of `init`, before anything is made.

use wire::NodeId;
use wire::descriptor::{RaftTimings, RegionDescriptor};
use zeroize::Zeroizing;

/// The region to make.
pub struct RegionPlan {
    /// Its name, also the S3 region that clients are told; an invented one.
    pub region: String,
    /// Its environment; of a standby that of its primary, when empty.
    pub environment: String,
    /// The jurisdiction that its data stays in; of a standby that of its primary, when empty.
    pub jurisdiction: String,
    /// Data groups; by the number of nodes when absent.
    pub groups: Option<u32>,
    /// Its nodes.
    pub nodes: Vec<NodePlan>,
    /// Gateways apart from the nodes; when there are none, every node may be one.
    pub gateways: Vec<GatewayPlan>,
    /// Further names and addresses for the S3 certificate.
    pub s3_names: Vec<String>,
    /// Raft's clockwork.
    pub timings: RaftTimings,
    /// What becomes of the root key.
    pub root: RootPlan,
    /// The region as whose standby this one begins.
    pub standby_of: Option<RegionDescriptor>,
}

/// A node to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePlan {
    /// Its number.
    pub id: NodeId,
    /// `host:port` where peers reach it.
    pub peer_address: String,
    /// Its failure zone.
    pub zone: String,
}

/// A gateway to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayPlan {
    /// Its number.
    pub id: u16,
    /// `host:port` where the command line reaches it.
    pub peer_address: String,
}

/// What becomes of the root key.
pub enum RootPlan {
    /// Sealed under this passphrase.
    Passphrase(Zeroizing<String>),
    /// Sealed under a passphrase that is generated and left in a file beside it.
    GeneratedPassphrase,
    /// The one of another region, and its passphrase if that lies beside it.
    Copied {
        /// The sealed key.
        sealed: Vec<u8>,
        /// The passphrase.
        passphrase: Option<Zeroizing<String>>,
    },
    /// None is made: it lives in a PKCS#11 token.
    Hardware,
}

impl NodePlan {
    /// Reads `ID=HOST:PORT[,zone=ZONE]`; the zone is `zone-ID` unless given.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (id, rest) = text.split_once('=').ok_or("write it as ID=HOST:PORT[,zone=ZONE]")?;
        let id: u16 = id.parse().map_err(|_| format!("{id:?} is not a node number (1 to 65535)"))?;
        let mut parts = rest.split(',');
        let peer_address = parts.next().unwrap_or_default().to_owned();
        wire::descriptor::check_address(&peer_address).map_err(|error| error.to_string())?;
        let mut zone = format!("zone-{id}");
        for part in parts {
            match part.split_once('=') {
                Some(("zone", name)) => zone = name.to_owned(),
                _ => {
                    return Err(format!("{part:?} is not understood; only zone=ZONE may follow the address"));
                }
            }
        }
        Ok(Self { id: NodeId(id), peer_address, zone })
    }
}

impl GatewayPlan {
    /// Reads `ID=HOST:PORT`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (id, address) = text.split_once('=').ok_or("write it as ID=HOST:PORT")?;
        let id: u16 = id.parse().map_err(|_| format!("{id:?} is not a gateway number (1 to 65535)"))?;
        wire::descriptor::check_address(address).map_err(|error| error.to_string())?;
        Ok(Self { id, peer_address: address.to_owned() })
    }
}
