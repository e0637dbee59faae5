//! The connecting end's TLS: the chain is verified as usual, and an identity is judged instead of a DNS name.

use crate::{Credentials, identity_of};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::ring::{self, cipher_suite};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme,
    version::TLS13,
};
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use wire::FRAME_PROTOCOL;
use wire::descriptor::PeerIdentity;

/// Decides about the other end: its identity, or why its certificate names none, and the name it was asked for under.
/// The error comes back inside the failed handshake, as [`CertificateError::Other`].
pub type Judge<R> =
    dyn Fn(Result<PeerIdentity, crate::IdentityError>, &ServerName<'_>) -> Result<(), R> + Send + Sync;

/// TLS for connecting under these credentials to whom `judge` accepts.
pub fn client_config<R: Error + Send + Sync + 'static>(
    credentials: &Credentials,
    judge: Box<Judge<R>>,
) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(provider());
    let roots = credentials.roots.clone();
    let verifier = IdentityVerifier { judge, roots, provider: provider.clone() };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(credentials.chain.clone(), credentials.key.clone_key())?;
    config.alpn_protocols = vec![FRAME_PROTOCOL.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    Ok(config)
}

/// The ciphers of connections between members of a region. AES-128 first: bodies are sealed under AES-256 before they come here, and the shorter key costs a third less.
pub fn provider() -> CryptoProvider {
    let cipher_suites = vec![
        cipher_suite::TLS13_AES_128_GCM_SHA256,
        cipher_suite::TLS13_AES_256_GCM_SHA384,
        cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    CryptoProvider { cipher_suites, ..ring::default_provider() }
}

struct IdentityVerifier<R> {
    judge: Box<Judge<R>>,
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl<R> fmt::Debug for IdentityVerifier<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdentityVerifier").finish_non_exhaustive()
    }
}

impl<R: Error + Send + Sync + 'static> ServerCertVerifier for IdentityVerifier<R> {
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
        (self.judge)(identity_of(end_entity), server_name)
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
