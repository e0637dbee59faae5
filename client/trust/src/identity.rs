//! The identity in a certificate's subject alternative names, and when it expires.

use rustls::pki_types::{CertificateDer, pem::PemObject};
use thiserror::Error;
use wire::UnixMillis;
use wire::descriptor::{IdentityUriError, PEER_URI_SCHEME, PeerIdentity};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Why a certificate names no identity.
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
    #[error("the {} in the certificate's URI is not valid", source.part)]
    Uri {
        /// Which part of it.
        #[from]
        source: IdentityUriError,
    },
}

/// The identity in the subject alternative names of a certificate (DER). That it is genuine is the verifier's part.
pub fn identity_of(der: &[u8]) -> Result<PeerIdentity, IdentityError> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| IdentityError::Certificate)?;
    let names = certificate.subject_alternative_name().map_err(|_| IdentityError::Certificate)?;
    let mut uris = names.iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
        GeneralName::URI(uri) if uri.starts_with(PEER_URI_SCHEME) => Some(*uri),
        _ => None,
    });
    match (uris.next(), uris.count()) {
        (Some(uri), 0) => Ok(PeerIdentity::parse(uri)?),
        (first, more) => Err(IdentityError::Count { found: more + usize::from(first.is_some()) }),
    }
}

/// From when on a certificate (DER) is valid, if it can be read.
pub fn valid_since(der: &[u8]) -> Option<UnixMillis> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let seconds = u64::try_from(certificate.validity().not_before.timestamp()).ok()?;
    Some(UnixMillis(seconds.saturating_mul(1_000)))
}

/// When the first certificate of a PEM file expires, if it can be read.
pub fn certificate_expiry(pem: &[u8]) -> Option<UnixMillis> {
    let der = CertificateDer::from_pem_slice(pem).ok()?;
    let (_, certificate) = X509Certificate::from_der(&der).ok()?;
    let seconds = u64::try_from(certificate.validity().not_after.timestamp()).ok()?;
    Some(UnixMillis(seconds.saturating_mul(1_000)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, SanType};

    fn certificate(uris: &[&str]) -> Vec<u8> {
        let mut params = CertificateParams::default();
        let uri = |uri: &&str| SanType::URI((*uri).try_into().unwrap());
        params.subject_alt_names = uris.iter().map(uri).collect();
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn a_certificate_speaks_for_exactly_one_member() {
        let one = "twinkeep://07070707070707070707070707070707/test/twin-1/node/2";
        let other = "twinkeep://07070707070707070707070707070707/test/twin-1/node/3";
        let found = identity_of(&certificate(&["https://example.org", one])).map(|found| found.to_string());
        assert_eq!(found.as_deref(), Ok(one));
        assert_eq!(identity_of(&certificate(&[one, other])), Err(IdentityError::Count { found: 2 }));
        assert_eq!(
            identity_of(&certificate(&["https://example.org"])),
            Err(IdentityError::Count { found: 0 })
        );
        let wrong = identity_of(&certificate(&[&format!("{one}/")]));
        assert!(matches!(wrong, Err(IdentityError::Uri { .. })), "{wrong:?}");
        assert_eq!(identity_of(b"no certificate"), Err(IdentityError::Certificate));
    }
}
