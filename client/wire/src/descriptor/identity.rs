//! Who a certificate speaks for: the URI in its subject alternative names,
//! `twinkeep://<deployment>/<environment>/<region>/<role>/<name>`.
//!
//! Pure: parsing and comparing. That a certificate is genuine is for TLS to say (`trust`).

use super::check_name;
use crate::{DeploymentId, NodeId, PeerClass};
use std::fmt;
use thiserror::Error;

/// What every such URI begins with.
pub const PEER_URI_SCHEME: &str = "twinkeep://";

/// A member of a region as its certificate names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerIdentity {
    /// The deployment it belongs to.
    pub deployment: DeploymentId,
    /// The environment it belongs to: production, test and the like.
    pub environment: String,
    /// The region it belongs to.
    pub region: String,
    /// What it is there.
    pub role: PeerRole,
}

/// What a certificate's holder is in its region.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PeerRole {
    /// A storage node (which may be a gateway as well): all classes.
    Node(NodeId),
    /// A gateway that stores nothing, by its number: bulk and admin.
    Gateway(u16),
    /// A node or gateway of the paired region, by its number there: it reads what happens here (bulk).
    Pair(u16),
    /// A witness of this region and its pair, by name: it gives leases and may let a standby take over (admin).
    Witness(String),
    /// A person or script that runs the `twinkeep` command line, by name: admin only.
    Operator(String),
}

/// A URI that does not follow the form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the {part} in the URI is not valid")]
pub struct IdentityUriError {
    /// Which part of it.
    pub part: &'static str,
}

/// Whose a peer is instead of ours.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ForeignPeer {
    /// It belongs to another deployment.
    #[error("peer of another deployment: {found}")]
    Deployment {
        /// Which one.
        found: DeploymentId,
    },
    /// It belongs to another environment.
    #[error("peer of another environment: {found}")]
    Environment {
        /// Which one.
        found: String,
    },
    /// It belongs to another region.
    #[error("peer of another region: {found}")]
    Region {
        /// Which one.
        found: String,
    },
}

impl fmt::Display for PeerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { deployment, environment, region, role } = self;
        write!(f, "{PEER_URI_SCHEME}{deployment}/{environment}/{region}/{role}")
    }
}

impl fmt::Display for PeerRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(id) => write!(f, "node/{id}"),
            Self::Gateway(id) => write!(f, "gateway/{id}"),
            Self::Pair(id) => write!(f, "pair/{id}"),
            Self::Witness(name) => write!(f, "witness/{name}"),
            Self::Operator(name) => write!(f, "operator/{name}"),
        }
    }
}

impl PeerIdentity {
    /// Reads the URI of a certificate; each identity has exactly one spelling.
    pub fn parse(uri: &str) -> Result<Self, IdentityUriError> {
        let wrong = |part| IdentityUriError { part };
        let rest = uri.strip_prefix(PEER_URI_SCHEME).ok_or(wrong("scheme"))?;
        let parts: Vec<&str> = rest.splitn(6, '/').collect();
        let [deployment, environment, region, kind, name] = parts[..] else {
            return Err(wrong("number of words"));
        };
        let named = |part, value| match check_name(part, value) {
            Ok(()) => Ok(value.to_owned()),
            Err(_) => Err(wrong(part)),
        };
        let role = match kind {
            "node" => PeerRole::Node(NodeId(number(name).ok_or(wrong("node's number"))?)),
            "gateway" => PeerRole::Gateway(number(name).ok_or(wrong("gateway's number"))?),
            "pair" => PeerRole::Pair(number(name).ok_or(wrong("pair's number"))?),
            "witness" => PeerRole::Witness(named("witness's name", name)?),
            "operator" => PeerRole::Operator(named("operator's name", name)?),
            _ => return Err(wrong("role")),
        };
        let identity = Self {
            deployment: DeploymentId::parse(deployment).ok_or(wrong("deployment"))?,
            environment: named("environment", environment)?,
            region: named("region", region)?,
            role,
        };
        // no leading zeros, no signs, no capitals in the deployment
        if identity.to_string() == uri { Ok(identity) } else { Err(wrong("spelling")) }
    }

    /// Whether `other` belongs here: the same deployment, environment and region.
    pub fn accepts(&self, other: &Self) -> Result<(), ForeignPeer> {
        if self.deployment != other.deployment {
            return Err(ForeignPeer::Deployment { found: other.deployment });
        }
        if self.environment != other.environment {
            return Err(ForeignPeer::Environment { found: other.environment.clone() });
        }
        if self.region != other.region {
            return Err(ForeignPeer::Region { found: other.region.clone() });
        }
        Ok(())
    }

    /// Whether this peer may use `class`.
    pub fn may_use(&self, class: PeerClass) -> bool {
        match self.role {
            PeerRole::Node(_) => true,
            PeerRole::Gateway(_) => matches!(class, PeerClass::Bulk | PeerClass::Admin),
            PeerRole::Pair(_) => class == PeerClass::Bulk,
            PeerRole::Witness(_) | PeerRole::Operator(_) => class == PeerClass::Admin,
        }
    }
}

fn number(text: &str) -> Option<u16> {
    text.parse().ok().filter(|&number| number != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(role: PeerRole) -> PeerIdentity {
        let deployment = DeploymentId([0xab; 16]);
        PeerIdentity { deployment, environment: "test".into(), region: "north-1".into(), role }
    }

    #[test]
    fn an_identity_survives_its_text_form() {
        for role in [
            PeerRole::Node(NodeId(7)),
            PeerRole::Gateway(65_535),
            PeerRole::Pair(2),
            PeerRole::Witness("third-place".into()),
            PeerRole::Operator("ada-l".into()),
        ] {
            let identity = identity(role);
            assert_eq!(PeerIdentity::parse(&identity.to_string()), Ok(identity));
        }
        assert_eq!(
            identity(PeerRole::Node(NodeId(7))).to_string(),
            "twinkeep://abababababababababababababababab/test/north-1/node/7"
        );
    }

    #[test]
    fn anything_off_the_form_is_refused() {
        let deployment = "ab".repeat(16);
        for wrong in [
            String::new(),
            "https://example.org".into(),
            format!("twinkeep://{deployment}/test/north-1/node"),
            format!("twinkeep://{deployment}/test/north-1/node/7/"),
            format!("twinkeep://{deployment}/test/north-1/node/+7"),
            format!("twinkeep://{deployment}/test/north-1/node/07"),
            format!("twinkeep://{deployment}/test/north-1/node/0"),
            format!("twinkeep://{deployment}/test/north-1/node/65536"),
            format!("twinkeep://{deployment}/test/north-1/root/7"),
            format!("twinkeep://{deployment}/test//node/7"),
            format!("twinkeep://{deployment}//north-1/node/7"),
            format!("twinkeep://{deployment}/te st/north-1/node/7"),
            format!("https://{deployment}/test/north-1/node/7"),
            format!("twinkeep://{}/test/north-1/node/7", deployment.to_uppercase()),
            format!("twinkeep://{}/test/north-1/node/7", &deployment[1..]),
            format!("twinkeep://{deployment}/test/{}/node/7", "r".repeat(64)),
        ] {
            assert!(PeerIdentity::parse(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_role_opens_only_its_classes() {
        let may = |role: PeerRole| {
            let identity = identity(role);
            PeerClass::ALL.map(|class| identity.may_use(class))
        };
        assert_eq!(may(PeerRole::Node(NodeId(1))), [true; 4]);
        assert_eq!(may(PeerRole::Gateway(1)), [false, false, true, true]);
        assert_eq!(may(PeerRole::Witness("w".into())), [false, false, false, true]);
        assert_eq!(may(PeerRole::Operator("ada".into())), [false, false, false, true]);
    }
}
