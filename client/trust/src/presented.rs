//! The certificate that the other end showed, for the record: whether it was believed or not.

use crate::identity_of;
use ring::digest::{SHA256, digest};
use wire::Digest;

/// What a record says of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presented {
    /// SHA-256 of the certificate, as `openssl x509 -fingerprint -sha256` has it.
    pub sha256: Digest,
    /// Whom it claims to speak for, when that is the name of a member. Only an authority makes it true.
    pub claimed: Option<String>,
}

impl Presented {
    /// Of a certificate (DER); any bytes will do.
    pub fn of(der: &[u8]) -> Self {
        let claimed = identity_of(der).ok().map(|identity| identity.to_string());
        Self { sha256: sha256(der), claimed }
    }
}

/// SHA-256 of any bytes.
pub(crate) fn sha256(bytes: &[u8]) -> Digest {
    let mut sum = Digest::default();
    sum.0.copy_from_slice(digest(&SHA256, bytes).as_ref());
    sum
}
