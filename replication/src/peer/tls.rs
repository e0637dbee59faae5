//! TLS between peers: 1.3 only, both ends show certificates of the region's own authority, names are our identities.
//!
//! Peers are addressed by IP, so DNS names play no part: the chain is verified as usual, then the identity in the
//! certificate is held against our own, and against the node that was asked for. Sessions are never resumed, so
//! every connection is judged anew.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::ring::{self, cipher_suite};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, ServerConfig,
    SignatureScheme, version::TLS13,
};
use thiserror::Error;
use wire::{FRAME_PROTOCOL, NodeId};

use super::{Identity, IdentityError, PeerRole, RefusedReason};

/// Why certificates and key do not make a TLS configuration.
#[derive(Debug, Error)]
pub enum TlsError {
    /// One of the PEM inputs cannot be read.
    #[error("the {what} is not valid PEM")]
    Pem {
        /// Which input.
        what: &'static str,
    },
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
    identity: Arc<Identity>,
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
        let chain = certificates("certificate chain", certificate_chain)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| TlsError::Pem { what: "key" })?;
        let mut roots = RootCertStore::empty();
        for root in certificates("authority", authority)? {
            roots.add(root)?;
        }
        let roots = Arc::new(roots);
        let identity = Arc::new(Identity::from_certificate(&chain[0])?);
        let provider = Arc::new(provider());

        let clients = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone()).build()?;
        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(clients)
            .with_single_cert(chain.clone(), key.clone_key())?;
        server.alpn_protocols = vec![FRAME_PROTOCOL.to_vec()];
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;

        let servers = Arc::new(ServerVerifier { own: identity.clone(), roots, provider: provider.clone() });
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(servers)
            .with_client_auth_cert(chain, key)?;
        client.alpn_protocols = vec![FRAME_PROTOCOL.to_vec()];
        client.resumption = Resumption::disabled();
        client.enable_sni = false;
        Ok(Self { identity, client: Arc::new(client), server: Arc::new(server) })
    }

    /// Who this process is, by its own certificate.
    pub fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }
}

/// AES-128 first: bodies are sealed under AES-256 before they come here, and the shorter key costs a third less.
fn provider() -> CryptoProvider {
    let cipher_suites = vec![
        cipher_suite::TLS13_AES_128_GCM_SHA256,
        cipher_suite::TLS13_AES_256_GCM_SHA384,
        cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    CryptoProvider { cipher_suites, ..ring::default_provider() }
}

/// The name under which a connection asks for `node`; it never leaves the process (no SNI).
pub(super) fn server_name(node: NodeId) -> ServerName<'static> {
    ServerName::try_from(format!("{NAME_PREFIX}{node}"))
        .expect("letters, a hyphen and digits are a DNS label")
}

/// The typed reason inside a failed handshake, where our own verifier gave one.
pub(super) fn handshake_reason(error: &std::io::Error) -> RefusedReason {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    if let Some(rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(inner)))) = tls
        && let Some(reason) = inner.downcast_ref::<RefusedReason>()
    {
        return reason.clone();
    }
    RefusedReason::Handshake { detail: error.to_string() }
}

const NAME_PREFIX: &str = "node-";

fn certificates(what: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(TlsError::Pem { what }),
    }
}

/// Verifies the chain as usual, and our identity instead of a DNS name.
#[derive(Debug)]
struct ServerVerifier {
    own: Arc<Identity>,
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl ServerVerifier {
    fn judge(&self, certificate: &CertificateDer<'_>, name: &ServerName<'_>) -> Result<(), RefusedReason> {
        let found = Identity::from_certificate(certificate)
            .map_err(|error| RefusedReason::Identity { detail: error.to_string() })?;
        self.own.accepts(&found)?;
        let right = matches!(found.role, PeerRole::Node(node) if server_name(node) == *name);
        if right { Ok(()) } else { Err(RefusedReason::OtherPeer { found: found.role.to_string() }) }
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(end_entity)?,
            &self.roots,
            intermediates,
            now,
            self.provider.signature_verification_algorithms.all,
        )?;
        self.judge(end_entity, server_name)
            .map_err(|reason| CertificateError::Other(OtherError(Arc::new(reason))))?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 is not offered".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
