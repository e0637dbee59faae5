//! One key on a PKCS#11 token: found by its label, fit for use, and used where it is, with AES-256-GCM.
//!
//! It promises that a key which can be used is an AES key of 256 bits, the only one of its label, that can neither be read nor
//! exported; that what it sealed opens under the same associated data only; and that no error holds a PIN or a key. The key never
//! enters this process. All calls block (a network round trip or more): from async code, call them on a blocking thread.
//!
//! AES-256-GCM, since SoftHSM2 and hardware alike have it and it authenticates; AES key wrap (RFC 5649) binds no name. What is
//! sealed, under which associated data, and how it is stored, is left to those who use it: gateways seal region keys, the pseudonymisation
//! service the root of its keys.

mod error;
mod seal;
mod token;

pub use error::TokenError;
pub use seal::{NONCE_BYTES, Sealed, TAG_BYTES};
pub use token::{Token, TokenName};
