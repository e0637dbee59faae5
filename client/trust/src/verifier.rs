//! Both ends' view of the other's certificate: the chain is verified as usual, the connecting end judges an identity
//! instead of a DNS name, and who is refused is told with the certificate that was shown.

use crate::{Credentials, Presented, identity_of};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::ring::{self, cipher_suite};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, OtherError, RootCertStore,
    SignatureScheme, version::TLS13,
};
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use thiserror::Error;
use wire::FRAME_PROTOCOL;
use wire::descriptor::PeerIdentity;

/// Decides about the other end, whose certificate is of the right authority: its identity, or why the certificate names
/// none, the name it was asked for under, and what a record says of the certificate. The error comes back inside the
/// failed handshake, as [`CertificateError::Other`].
pub type Judge<R> = dyn Fn(Result<PeerIdentity, crate::IdentityError>, &ServerName<'_>, Presented) -> Result<(), R>
    + Send
    + Sync;

/// A certificate that cannot be believed. It comes back inside the failed handshake, as [`CertificateError::Other`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{problem}")]
pub struct Untrusted {
    /// The certificate.
    pub presented: Presented,
    /// Why not.
    pub problem: String,
}

impl Untrusted {
    fn wrap(end_entity: &CertificateDer<'_>, error: &rustls::Error) -> rustls::Error {
        let problem = match error {
            // both regions' authorities have the same name: then it is the signature that gives the other one away
            rustls::Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::BadSignature,
            ) => "the certificate is of another authority".to_owned(),
            // its own words name the second: one who comes again would be another one each time
            rustls::Error::InvalidCertificate(
                CertificateError::Expired | CertificateError::ExpiredContext { .. },
            ) => "the certificate has expired".to_owned(),
            rustls::Error::InvalidCertificate(
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
            ) => "the certificate is not valid yet".to_owned(),
            error => error.to_string(),
        };
        let untrusted = Self { presented: Presented::of(end_entity), problem };
        CertificateError::Other(OtherError(Arc::new(untrusted))).into()
    }
}

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

/// What a listening end asks of those who connect: a certificate of the authority in these credentials.
pub fn client_verifier(
    credentials: &Credentials,
) -> Result<Arc<dyn ClientCertVerifier>, VerifierBuilderError> {
    let inner = WebPkiClientVerifier::builder_with_provider(credentials.roots.clone(), Arc::new(provider()))
        .build()?;
    Ok(Arc::new(TellingVerifier { inner }))
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
        )
        .map_err(|error| Untrusted::wrap(end_entity, &error))?;
        (self.judge)(identity_of(end_entity), server_name, Presented::of(end_entity))
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

/// Decides nothing by itself: says of whom it refuses which certificate was shown.
#[derive(Debug)]
struct TellingVerifier {
    inner: Arc<dyn ClientCertVerifier>,
}

impl ClientCertVerifier for TellingVerifier {
    fn offer_client_auth(&self) -> bool {
        self.inner.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.inner.verify_client_cert(end_entity, intermediates, now);
        verified.map_err(|error| Untrusted::wrap(end_entity, &error))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.inner.requires_raw_public_keys()
    }
}
