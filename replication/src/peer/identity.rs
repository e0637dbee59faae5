//! Who a peer is: what its certificate says in one SAN URI, `twinkeep://<deployment>/<environment>/<region>/<role>/<name>`.
//!
//! Pure: parsing and comparing. That the certificate is genuine is `tls`'s part.

use std::fmt;

use rustls::pki_types::{CertificateDer, pem::PemObject};
use thiserror::Error;
use wire::{DeploymentId, NodeId, PeerClass, UnixMillis};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::RefusedReason;

/// Each word of an identity, bytes: names chosen by people, kept short because they appear in every log line.
const WORD_BYTES_MAX: usize = 63;

const SCHEME: &str = "twinkeep://";

/// Who a peer is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The region pair it belongs to.
    pub deployment: DeploymentId,
    /// Production, test and the like.
    pub environment: String,
    /// The region it stands in.
    pub region: String,
    /// What it may do.
    pub role: PeerRole,
}

/// What a peer is to the others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PeerRole {
    /// A storage node: all classes.
    Node(NodeId),
    /// A gateway: bulk and admin.
    Gateway(NodeId),
    /// A person at the command line, by name: admin only.
    Operator(String),
}

/// Why a certificate or a URI names no identity.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IdentityError {
    /// The certificate could not be read.
    #[error("the certificate cannot be read")]
    Certificate,
    /// No `twinkeep:` URI, or more than one.
    #[error("the certificate has {found} twinkeep URIs instead of one")]
    Count {
        /// How many it has.
        found: usize,
    },
    /// A URI that does not follow the form.
    #[error("the {part} in the certificate's URI is not valid")]
    Uri {
        /// Which part of it.
        part: &'static str,
    },
}

impl Identity {
    /// The identity in the subject alternative names of a certificate (DER).
    pub fn from_certificate(der: &[u8]) -> Result<Self, IdentityError> {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|_| IdentityError::Certificate)?;
        let names = certificate.subject_alternative_name().map_err(|_| IdentityError::Certificate)?;
        let mut uris =
            names.iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
                GeneralName::URI(uri) if uri.starts_with(SCHEME) => Some(*uri),
                _ => None,
            });
        match (uris.next(), uris.count()) {
            (Some(uri), 0) => Self::parse(uri),
            (first, more) => Err(IdentityError::Count { found: more + usize::from(first.is_some()) }),
        }
    }

    /// Reads the form that [`fmt::Display`] writes.
    pub fn parse(uri: &str) -> Result<Self, IdentityError> {
        let rest = uri.strip_prefix(SCHEME).ok_or(IdentityError::Uri { part: "scheme" })?;
        let parts: Vec<&str> = rest.splitn(6, '/').collect();
        let [deployment, environment, region, role, name] = parts[..] else {
            return Err(IdentityError::Uri { part: "number of words" });
        };
        Ok(Self {
            deployment: lower_case(deployment)
                .and_then(DeploymentId::parse)
                .ok_or(IdentityError::Uri { part: "deployment" })?,
            environment: word(environment).ok_or(IdentityError::Uri { part: "environment" })?,
            region: word(region).ok_or(IdentityError::Uri { part: "region" })?,
            role: match role {
                "node" => PeerRole::Node(node_id(name)?),
                "gateway" => PeerRole::Gateway(node_id(name)?),
                "operator" => {
                    PeerRole::Operator(word(name).ok_or(IdentityError::Uri { part: "operator's name" })?)
                }
                _ => return Err(IdentityError::Uri { part: "role" }),
            },
        })
    }

    /// Whether `other` belongs here: the same deployment, environment and region.
    pub fn accepts(&self, other: &Self) -> Result<(), RefusedReason> {
        if self.deployment != other.deployment {
            return Err(RefusedReason::OtherDeployment { found: other.deployment });
        }
        if self.environment != other.environment {
            return Err(RefusedReason::OtherEnvironment { found: other.environment.clone() });
        }
        if self.region != other.region {
            return Err(RefusedReason::OtherRegion { found: other.region.clone() });
        }
        Ok(())
    }

    /// Whether this peer may use `class`.
    pub fn may_use(&self, class: PeerClass) -> bool {
        match self.role {
            PeerRole::Node(_) => true,
            PeerRole::Gateway(_) => matches!(class, PeerClass::Bulk | PeerClass::Admin),
            PeerRole::Operator(_) => class == PeerClass::Admin,
        }
    }
}

/// When the first certificate of a PEM file expires, if it can be read.
pub fn certificate_expiry(pem: &[u8]) -> Option<UnixMillis> {
    let der = CertificateDer::from_pem_slice(pem).ok()?;
    let (_, certificate) = X509Certificate::from_der(&der).ok()?;
    let seconds = u64::try_from(certificate.validity().not_after.timestamp()).ok()?;
    Some(UnixMillis(seconds.saturating_mul(1_000)))
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { deployment, environment, region, role } = self;
        write!(f, "{SCHEME}{deployment}/{environment}/{region}/{role}")
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

fn lower_case(text: &str) -> Option<&str> {
    (!text.bytes().any(|byte| byte.is_ascii_uppercase())).then_some(text)
}

fn word(text: &str) -> Option<String> {
    let fits = (1..=WORD_BYTES_MAX).contains(&text.len());
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    (fits && plain).then(|| text.to_owned())
}

fn node_id(text: &str) -> Result<NodeId, IdentityError> {
    // one spelling per id: no sign, no leading zero, never 0
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    let id = plain.then(|| text.parse().ok()).flatten();
    id.map(NodeId).ok_or(IdentityError::Uri { part: "node id" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(role: PeerRole) -> Identity {
        Identity {
            deployment: DeploymentId([0xab; 16]),
            environment: "test".into(),
            region: "north-1".into(),
            role,
        }
    }

    #[test]
    fn an_identity_survives_its_text_form() {
        for role in
            [PeerRole::Node(NodeId(7)), PeerRole::Gateway(NodeId(65_535)), PeerRole::Operator("ada.l".into())]
        {
            let identity = identity(role);
            assert_eq!(Identity::parse(&identity.to_string()), Ok(identity));
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
            format!("twinkeep://{deployment}/te st/north-1/node/7"),
            format!("twinkeep://{}/test/north-1/node/7", deployment.to_uppercase()),
            format!("twinkeep://{}/test/north-1/node/7", &deployment[1..]),
            format!("twinkeep://{deployment}/test/{}/node/7", "r".repeat(64)),
        ] {
            assert!(Identity::parse(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_role_opens_only_its_classes() {
        let may = |role: PeerRole| {
            let identity = identity(role);
            PeerClass::ALL.map(|class| identity.may_use(class))
        };
        assert_eq!(may(PeerRole::Node(NodeId(1))), [true; 4]);
        assert_eq!(may(PeerRole::Gateway(NodeId(1))), [false, false, true, true]);
        assert_eq!(may(PeerRole::Operator("ada".into())), [false, false, false, true]);
    }
}
