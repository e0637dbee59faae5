//! The gateway as its clients meet it: the real server on a socket, an in-process region behind it.

#![allow(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

#[path = "gateway/attacks.rs"]
mod attacks;
#[path = "gateway/authorisation.rs"]
mod authorisation;
#[path = "gateway/buckets.rs"]
mod buckets;
#[path = "gateway/copies.rs"]
mod copies;
#[path = "gateway/forward.rs"]
mod forward;
#[path = "gateway/keys.rs"]
mod keys;
#[path = "gateway/listings.rs"]
mod listings;
#[path = "gateway/multipart.rs"]
mod multipart;
#[path = "gateway/mutations.rs"]
mod mutations;
#[path = "gateway/objects.rs"]
mod objects;
#[path = "gateway/payloads.rs"]
mod payloads;
#[path = "support/server.rs"]
mod server;
#[path = "support/signer.rs"]
mod signer;
#[path = "gateway/versions.rs"]
mod versions;
