//! Whom a certificate speaks for, and TLS by that instead of by host names: for nodes, gateways and the command line; and
//! whether two regions are a pair.
//!
//! TLS 1.3 only, both ends show certificates of the region's own authority. The chain is verified as usual; then the
//! one identity in the certificate is given to the caller's judge. Sessions are never resumed, so every connection is judged
//! anew, and no name is sent.
//!
//! A leaf: no I/O, no clock, no runtime; bytes in, configurations and verdicts out. It leaves to others who may do what, and
//! reading files.

mod credentials;
mod identity;
mod pair;
mod presented;
mod verifier;

pub use credentials::{Credentials, CredentialsError};
pub use identity::{IdentityError, certificate_expiry, identity_of, valid_since};
pub use pair::{
    AUTHORITY_NAME, PairError, RegionAuthority, VerifiedPair, key_fingerprint, public_keys,
    region_authorities,
};
pub use presented::Presented;
pub use verifier::{Judge, Untrusted, client_config, client_verifier, provider};
