//! TLS between peers: 1.3 only, both ends show certificates of the region's own authority, names are our identities.
//!
//! Peers are addressed by IP, so DNS names play no part: the chain is verified as usual, then the identity in the
//! certificate is held against our own, and against the node that was asked for. Sessions are never resumed, so
//! every connection is judged anew.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::server::NoServerSessionStorage;
use rustls::{CertificateError, ClientConfig, OtherError, ServerConfig, version::TLS13};
use thiserror::Error;
use trust::{
    Credentials, CredentialsError, IdentityError, Presented, Untrusted, client_config, client_verifier,
    identity_of, provider,
};
use wire::descriptor::{PairHello, PeerIdentity, PeerRole};
use wire::{FRAME_PROTOCOL, NodeId, UnixMillis};

use super::RefusedReason;
use super::refusals::Refusal;

/// Why certificates and key do not make a TLS configuration.
#[derive(Debug, Error)]
pub enum TlsError {
    /// The PEM inputs cannot be used.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// TLS refuses the material.
    #[error("the certificates cannot be used")]
    Refused {
        /// What TLS says.
        #[from]
        source: rustls::Error,
    },
    /// The authority's certificates make no verifier.
    #[error("the authority cannot be used")]
    Authority {
        /// What TLS says.
        #[from]
        source: rustls::server::VerifierBuilderError,
    },
    /// The own certificate names no identity.
    #[error("the own certificate names no identity")]
    Identity {
        /// What is missing.
        #[from]
        source: IdentityError,
    },
}

/// One process's certificate, key and authority, ready for both ends of a connection.
#[derive(Clone)]
pub struct PeerTls {
    pub(super) identity: Arc<PeerIdentity>,
    /// What it says to the other region of its pair, and wants to hear from it.
    pub(super) pair: Option<Arc<PairHello>>,
    /// Certificates of its members that are valid from an earlier time count for nothing.
    pub(super) pair_members_since: Option<UnixMillis>,
    pub(super) client: Arc<ClientConfig>,
    pub(super) server: Arc<ServerConfig>,
}

impl std::fmt::Debug for PeerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeerTls").field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl PeerTls {
    /// Reads the own certificate chain, the own key and the region's authority, each in PEM.
    pub fn from_pem(certificate_chain: &[u8], key: &[u8], authority: &[u8]) -> Result<Self, TlsError> {
        let credentials = Credentials::from_pem(certificate_chain, key, authority)?;
        let identity = Arc::new(identity_of(credentials.certificate())?);
        let mut server = ServerConfig::builder_with_provider(Arc::new(provider()))
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(client_verifier(&credentials)?)
            .with_single_cert(credentials.chain.clone(), credentials.key.clone_key())?;
        server.alpn_protocols = vec![FRAME_PROTOCOL.to_vec()];
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        let own = identity.clone();
        let judge =
            move |found: Result<PeerIdentity, IdentityError>, name: &ServerName<'_>, shown: Presented| {
                judge(&own, found, name).map_err(|reason| Refusal { reason, certificate: Some(shown) })
            };
        let client = client_config(&credentials, Box::new(judge))?;
        Ok(Self {
            identity,
            pair: None,
            pair_members_since: None,
            client: Arc::new(client),
            server: Arc::new(server),
        })
    }

    /// The same for a process of a pair: it says so to the other region, and hears no member of it that says otherwise.
    pub fn with_pair(self, hello: PairHello) -> Self {
        Self { pair: Some(Arc::new(hello)), ..self }
    }

    /// The same for a process that takes a member of the other region only with a certificate that is valid from this
    /// time or later.
    pub fn with_pair_members_since(self, since: Option<UnixMillis>) -> Self {
        Self { pair_members_since: since, ..self }
    }

    /// Who this process is, by its own certificate.
    pub fn identity(&self) -> &Arc<PeerIdentity> {
        &self.identity
    }
}

/// The name under which a connection asks for `node`; it never leaves the process (no SNI).
pub(super) fn server_name(node: NodeId) -> ServerName<'static> {
    ServerName::try_from(format!("{NAME_PREFIX}{node}"))
        .expect("letters, a hyphen and digits are a DNS label")
}

/// The typed reason inside a failed handshake, where our own verifiers gave one.
pub(super) fn handshake_refusal(error: &std::io::Error) -> Refusal {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    if let Some(rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(inner)))) = tls {
        if let Some(refusal) = inner.downcast_ref::<Refusal>() {
            return refusal.clone();
        }
        if let Some(Untrusted { presented, problem }) = inner.downcast_ref::<Untrusted>() {
            let reason = RefusedReason::Certificate { detail: problem.clone() };
            return Refusal { reason, certificate: Some(presented.clone()) };
        }
    }
    RefusedReason::Handshake { detail: error.to_string() }.into()
}

const NAME_PREFIX: &str = "node-";

/// Our identity instead of a DNS name.
fn judge(
    own: &PeerIdentity,
    found: Result<PeerIdentity, IdentityError>,
    name: &ServerName<'_>,
) -> Result<(), RefusedReason> {
    let found = found.map_err(|error| RefusedReason::Identity { detail: error.to_string() })?;
    own.accepts(&found)?;
    let right = matches!(found.role, PeerRole::Node(node) if server_name(node) == *name);
    if right { Ok(()) } else { Err(RefusedReason::OtherPeer { found: found.role.to_string() }) }
}
