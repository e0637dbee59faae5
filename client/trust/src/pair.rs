//! Whether a pair descriptor is one: both regions' authorities signed it, and it is the one of these two regions.
//!
//! [`VerifiedPair`] is the proof: nothing but a descriptor with two good signatures makes one. That the keys in it are
//! those of the authorities that this process trusts is asked apart ([`VerifiedPair::admits`]).

use crate::presented::sha256;
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use thiserror::Error;
use wire::descriptor::{
    PairDescriptor, PairHello, PairTextError, PairedRegion, RegionDescriptor, SignedPair,
};
use wire::{DeploymentId, Digest, UnixMillis};
use x509_parser::prelude::{FromDer, SubjectPublicKeyInfo, X509Certificate};

/// Why a descriptor is not to be followed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PairError {
    /// It cannot be read.
    #[error(transparent)]
    Text(#[from] PairTextError),
    /// A signature is not that of the authority which it names.
    #[error("the pair descriptor is not signed by the authority of {region}")]
    Signature {
        /// Whose signature it should be.
        region: String,
    },
    /// It is that of another deployment, or of other regions.
    #[error("the pair descriptor is not that of {own} and {other} in this deployment")]
    OtherPair {
        /// This region.
        own: String,
        /// The region that it is to be paired with.
        other: String,
    },
    /// It says something else about a region than that region's own descriptor.
    #[error("{region} is of {what} {found}, the pair descriptor is of {what} {named}")]
    Mixed {
        /// The region.
        region: String,
        /// `jurisdiction` or `environment`.
        what: &'static str,
        /// What the region says.
        found: String,
        /// What the pair descriptor says.
        named: String,
    },
    /// The authority that is trusted for a region is not the one in the descriptor.
    #[error("the authority of {region} is not the one that the pair descriptor names")]
    Authority {
        /// The region.
        region: String,
    },
    /// A file of certificates holds none that can be read.
    #[error("the certificate of the authority of {region} cannot be read")]
    Certificate {
        /// The region.
        region: String,
    },
}

/// A descriptor that both of its regions signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedPair {
    descriptor: PairDescriptor,
    sha256: Digest,
}

impl VerifiedPair {
    /// Reads a descriptor and checks both signatures under the keys in it.
    pub fn verify(text: &str) -> Result<Self, PairError> {
        let SignedPair { descriptor, signatures } = SignedPair::parse(text)?;
        let statement = descriptor.statement();
        for (region, signature) in descriptor.regions.iter().zip(&signatures) {
            let wrong = || PairError::Signature { region: region.name.clone() };
            let key = match SubjectPublicKeyInfo::from_der(&region.key) {
                Ok(([], key)) => key,
                _ => return Err(wrong()),
            };
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &key.subject_public_key.data)
                .verify(statement.as_bytes(), signature)
                .map_err(|_| wrong())?;
        }
        Ok(Self { sha256: sha256(statement.as_bytes()), descriptor })
    }

    /// What was signed.
    pub fn descriptor(&self) -> &PairDescriptor {
        &self.descriptor
    }

    /// What a member of it says to the other region.
    pub fn hello(&self) -> PairHello {
        let PairDescriptor { serial, jurisdiction, .. } = &self.descriptor;
        PairHello { sha256: self.sha256, serial: *serial, jurisdiction: jurisdiction.clone() }
    }

    /// Since when members of the other region, as seen from `own`, must have their certificates there.
    pub fn members_since(&self, own: &str) -> Option<UnixMillis> {
        self.descriptor.sides(own).and_then(|(_, other)| other.members_since)
    }

    /// Whether it lets `own` and `other` be a pair, each with the authority (PEM) that is trusted for it.
    pub fn admits(
        &self,
        (own, own_authority): (&RegionDescriptor, &[u8]),
        (other, other_authority): (&RegionDescriptor, &[u8]),
    ) -> Result<(), PairError> {
        let PairDescriptor { deployment, environment, jurisdiction, .. } = &self.descriptor;
        let sides = self.descriptor.sides(&own.region).filter(|(_, found)| found.name == other.region);
        let sides = sides.filter(|_| own.deployment == *deployment && other.deployment == *deployment);
        let Some((own_side, other_side)) = sides else {
            return Err(PairError::OtherPair { own: own.region.clone(), other: other.region.clone() });
        };
        for region in [own, other] {
            let said = [
                ("jurisdiction", &region.jurisdiction, jurisdiction),
                ("environment", &region.environment, environment),
            ];
            if let Some((what, found, named)) = said.into_iter().find(|(_, found, named)| found != named) {
                let (found, named) = (found.clone(), named.clone());
                return Err(PairError::Mixed { region: region.region.clone(), what, found, named });
            }
        }
        is_authority(own_side, own_authority)?;
        is_authority(other_side, other_authority)
    }
}

/// SHA-256 of a public key as certificates hold it.
pub fn key_fingerprint(key: &[u8]) -> Digest {
    sha256(key)
}

/// The public key of every certificate in a PEM file, as the certificates hold it; `None` when there is none, or one
/// cannot be read.
pub fn public_keys(pem: &[u8]) -> Option<Vec<Vec<u8>>> {
    let keys: Option<Vec<Vec<u8>>> = CertificateDer::pem_slice_iter(pem)
        .map(|certificate| {
            let certificate = certificate.ok()?;
            let (_, certificate) = X509Certificate::from_der(&certificate).ok()?;
            Some(certificate.public_key().raw.to_vec())
        })
        .collect();
    keys.filter(|keys| !keys.is_empty())
}

/// A region's authority, as its certificate has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionAuthority {
    /// Its public key, as certificates hold it.
    pub key: Vec<u8>,
    /// The deployment that its region is of.
    pub deployment: DeploymentId,
}

/// What the authorities of regions are called, before the deployment's number.
pub const AUTHORITY_NAME: &str = "Twinkeep ";

/// The authorities of regions among the certificates in a PEM file, told by their names, and how many others there are;
/// `None` when there is no certificate, or one cannot be read.
pub fn region_authorities(pem: &[u8]) -> Option<(Vec<RegionAuthority>, usize)> {
    let (mut found, mut others) = (Vec::new(), 0);
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.ok()?;
        let (_, certificate) = X509Certificate::from_der(&certificate).ok()?;
        let name = certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
        match name.and_then(|name| DeploymentId::parse(name.strip_prefix(AUTHORITY_NAME)?)) {
            Some(deployment) => {
                found.push(RegionAuthority { key: certificate.public_key().raw.to_vec(), deployment });
            }
            None => others += 1,
        }
    }
    (others + found.len() > 0).then_some((found, others))
}

/// Every certificate that is trusted for the region holds the key in the descriptor: none stands beside it.
fn is_authority(region: &PairedRegion, authority: &[u8]) -> Result<(), PairError> {
    let name = || region.name.clone();
    let keys = public_keys(authority).ok_or_else(|| PairError::Certificate { region: name() })?;
    if keys.iter().all(|key| *key == region.key) {
        Ok(())
    } else {
        Err(PairError::Authority { region: name() })
    }
}

#[cfg(test)]
#[path = "pair/tests.rs"]
mod tests;
