//! One process's certificate chain, private key and authority, read from PEM.

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::Arc;
use thiserror::Error;

/// Why certificates and key cannot be used.
#[derive(Debug, Error)]
pub enum CredentialsError {
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
}

/// What a process shows and whom it believes.
pub struct Credentials {
    /// Its own certificate, then those between it and the authority; never empty.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its own key.
    pub key: PrivateKeyDer<'static>,
    /// The region's authority.
    pub roots: Arc<RootCertStore>,
}

impl Credentials {
    /// Reads the own certificate chain, the own key and the region's authority, each in PEM.
    pub fn from_pem(
        certificate_chain: &[u8],
        key: &[u8],
        authority: &[u8],
    ) -> Result<Self, CredentialsError> {
        let chain = certificates("certificate chain", certificate_chain)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| CredentialsError::Pem { what: "key" })?;
        let mut roots = RootCertStore::empty();
        for root in certificates("authority", authority)? {
            roots.add(root)?;
        }
        Ok(Self { chain, key, roots: Arc::new(roots) })
    }

    /// The own certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.chain[0]
    }
}

fn certificates(what: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, CredentialsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(CredentialsError::Pem { what }),
    }
}
