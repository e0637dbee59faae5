//! TLS towards a region: 1.3 only, both ends show certificates of the region's own authority, and the other end must
//! be a node or gateway of the region in the descriptor. Names and addresses play no part.

use crate::deployment::IdentityFolder;
use crate::{ClientError, files};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, ring, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::version::TLS13;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::path::Path;
use std::sync::Arc;
use wire::FRAME_PROTOCOL;
use wire::descriptor::{PeerIdentity, PeerRole, RegionDescriptor};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// A TLS configuration for asking the region under the identity.
pub(super) fn client_config(
    identity: &IdentityFolder,
    descriptor: &RegionDescriptor,
) -> Result<ClientConfig, ClientError> {
    let chain = certificates(&identity.certificate())?;
    let key_path = identity.private_key();
    let key = PrivateKeyDer::from_pem_slice(files::read(&key_path)?.as_bytes())
        .map_err(|error| ClientError::Content { path: key_path, problem: error.to_string() })?;
    let mut roots = RootCertStore::empty();
    for root in certificates(&identity.authority_certificate())? {
        roots.add(root).map_err(refused)?;
    }
    let provider = Arc::new(ring::default_provider());
    let verifier = RegionVerifier { descriptor: descriptor.clone(), roots, provider: Arc::clone(&provider) };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(refused)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(chain, key)
        .map_err(refused)?;
    config.alpn_protocols = vec![FRAME_PROTOCOL.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    Ok(config)
}

/// TLS asks for a name; it is neither sent nor compared.
pub(super) fn placeholder_name() -> ServerName<'static> {
    ServerName::try_from("twinkeep").expect("letters are a DNS label")
}

/// The one identity in a certificate's alternative names.
pub(crate) fn identity_of(certificate: &[u8]) -> Option<PeerIdentity> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    let mut found = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => PeerIdentity::parse(uri),
        _ => None,
    });
    found.next().filter(|_| found.next().is_none())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let text = files::read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(ClientError::Content { path: path.to_owned(), problem: "no certificate in PEM".to_owned() }),
    }
}

fn refused(error: rustls::Error) -> ClientError {
    ClientError::Crypto { what: "using the operator's certificate", problem: error.to_string() }
}

#[derive(Debug)]
struct RegionVerifier {
    descriptor: RegionDescriptor,
    roots: RootCertStore,
    provider: Arc<CryptoProvider>,
}

impl RegionVerifier {
    fn belongs(&self, identity: &PeerIdentity) -> bool {
        identity.deployment == self.descriptor.deployment
            && identity.environment == self.descriptor.environment
            && identity.region == self.descriptor.region
            && matches!(identity.role, PeerRole::Node(_) | PeerRole::Gateway(_))
    }
}

impl ServerCertVerifier for RegionVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
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
        match identity_of(end_entity) {
            Some(identity) if self.belongs(&identity) => Ok(ServerCertVerified::assertion()),
            _ => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 is not offered".to_owned()))
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
