//! Who a certificate speaks for: the URI in its subject alternative names.

use super::check_name;
use crate::{DeploymentId, NodeId};
use std::fmt;

const SCHEME: &str = "twinkeep://";

/// A member of a region as its certificate names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerIdentity {
    /// The deployment it belongs to.
    pub deployment: DeploymentId,
    /// The environment it belongs to.
    pub environment: String,
    /// The region it belongs to.
    pub region: String,
    /// What it is there.
    pub role: PeerRole,
}

/// What a certificate's holder is in its region.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PeerRole {
    /// A storage node (which may be a gateway as well).
    Node(NodeId),
    /// A gateway that stores nothing.
    Gateway(u16),
    /// A person or script that runs the `twinkeep` command line.
    Operator(String),
}

impl fmt::Display for PeerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}/{}/{}", self.deployment, self.environment, self.region, self.role)
    }
}

impl fmt::Display for PeerRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(id) => write!(f, "node/{id}"),
            Self::Gateway(id) => write!(f, "gateway/{id}"),
            Self::Operator(name) => write!(f, "operator/{name}"),
        }
    }
}

impl PeerIdentity {
    /// Reads the URI of a certificate; anything but the exact form is `None`.
    pub fn parse(uri: &str) -> Option<Self> {
        let mut parts = uri.strip_prefix(SCHEME)?.split('/');
        let deployment = DeploymentId::parse(parts.next()?)?;
        let (environment, region) = (parts.next()?, parts.next()?);
        let (kind, name) = (parts.next()?, parts.next()?);
        check_name("environment", environment).ok()?;
        check_name("region", region).ok()?;
        let role = match kind {
            "node" => PeerRole::Node(NodeId(number(name)?)),
            "gateway" => PeerRole::Gateway(number(name)?),
            "operator" => {
                check_name("operator", name).ok()?;
                PeerRole::Operator(name.to_owned())
            }
            _ => return None,
        };
        let identity =
            Self { deployment, environment: environment.to_owned(), region: region.to_owned(), role };
        // one spelling per identity: no leading zeros, no capitals in the deployment, no further parts
        (identity.to_string() == uri).then_some(identity)
    }
}

fn number(text: &str) -> Option<u16> {
    text.parse().ok().filter(|&number| number != 0)
}
