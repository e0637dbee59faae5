//! The list of an object's parts, sealed: which streams make up the object, in which order, how long each is.
//!
//! Chunk seals bind each chunk to its stream; this one binds the streams to the object, so that a store cannot drop,
//! swap or shorten whole parts, or answer with an earlier attempt at one. HMAC-SHA-256 under a key of its own.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use wire::StreamId;

use crate::derive::{Purpose, derive};
use crate::suite::Suite;
use crate::{EnvelopeError, ObjectKey, ObjectPlace};

/// The seal of a list of parts, bytes.
pub const PARTS_SEAL_BYTES: usize = 32;

/// One part of an object as the seal sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedPart {
    /// Which part: 1 to 10,000, or 0 for the body of a PUT.
    pub part: u16,
    /// The stream that holds it.
    pub stream: StreamId,
    /// Its plaintext, bytes.
    pub stream_bytes: u64,
}

/// Seals the list of parts of the version at `place`.
pub fn seal_parts(key: &ObjectKey, place: &ObjectPlace, parts: &[SealedPart]) -> [u8; PARTS_SEAL_BYTES] {
    authenticator(key, place, parts).finalize().into_bytes().into()
}

/// Checks, in constant time, that `parts` is the list that was sealed.
pub fn verify_parts(
    key: &ObjectKey,
    place: &ObjectPlace,
    parts: &[SealedPart],
    seal: &[u8; PARTS_SEAL_BYTES],
) -> Result<(), EnvelopeError> {
    authenticator(key, place, parts)
        .verify_slice(seal)
        .map_err(|_| EnvelopeError::SealBroken { what: "list of parts" })
}

fn authenticator(key: &ObjectKey, place: &ObjectPlace, parts: &[SealedPart]) -> Hmac<Sha256> {
    let secret = derive(&key.0, Purpose::Parts, Suite::CURRENT, &[]);
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.bytes()).expect("HMAC takes keys of any length");
    mac.update(b"twinkeep-parts-1");
    mac.update(&[Suite::CURRENT.id()]);
    mac.update(&place.tenant.0.to_le_bytes());
    mac.update(&place.bucket.0.to_le_bytes());
    mac.update(&place.name_hash);
    mac.update(&place.version.0);
    mac.update(&(parts.len() as u64).to_le_bytes());
    for part in parts {
        mac.update(&part.part.to_le_bytes());
        mac.update(&part.stream.0);
        mac.update(&part.stream_bytes.to_le_bytes());
    }
    mac
}
