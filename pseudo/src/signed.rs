//! Signed JSON: what is signed is the bytes that are there, so nobody has to agree on how JSON is written.
//!
//! `{"body":BODY,"signature":{"key":"64 digits","value":"128 digits"}}` and a line end. Every byte is either signed, or
//! compared, or one lower-case digit of the key or signature: there is no byte that can be changed. The layout is in
//! `manifest/FORMAT.md`.

use crate::keys::{hex, unhex};
use custody::{PUBLIC_KEY_BYTES, PublicKey, SIGNATURE_BYTES, SigningKey};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

const BEFORE: &[u8] = b"{\"body\":";
const KEY: &[u8] = b",\"signature\":{\"key\":\"";
const VALUE: &[u8] = b"\",\"value\":\"";
const AFTER: &[u8] = b"\"}}\n";
const TAIL_BYTES: usize = KEY.len() + 2 * PUBLIC_KEY_BYTES + VALUE.len() + 2 * SIGNATURE_BYTES + AFTER.len();

/// What is signed. A signature of one kind is none of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Who may make and release exports.
    Certificate,
    /// What an export is to be, before it begins.
    Order,
    /// What an export is.
    Manifest,
    /// That it is released, or never will be.
    Decision,
    /// That somebody wants to know or erase who is behind tokens.
    Request,
    /// That another person agrees.
    Approval,
    /// One line of the log.
    Entry,
    /// That people were erased.
    Erasure,
    /// What is held about a person.
    Report,
    /// That an export is deleted.
    Deletion,
    /// One line of the custody log.
    Custody,
    /// Whose keys count no more.
    Revoked,
    /// That a person agrees to a policy.
    Agreement,
}

/// Why something signed is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum Refused {
    /// Not the frame.
    #[error("this is not a signed {0}: it was cut, or its frame was changed")]
    Frame(&'static str),
    /// The signature does not fit.
    #[error("the signature of this {0} does not fit: its content or its signature was changed")]
    Signature(&'static str),
    /// Signed well, by somebody else.
    #[error("this {0} is signed with another key than the one that counts")]
    OtherKey(&'static str),
    /// Signed well, with a key that counts no more.
    #[error("this {0} is signed with a key that was revoked at {1}, and is not among what stands of it")]
    Revoked(&'static str, String),
    /// Signed by whom it should be, and not understood.
    #[error("this {0} is of a form that this release does not know")]
    Unknown(&'static str),
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Order => "order",
            Self::Manifest => "manifest",
            Self::Decision => "decision",
            Self::Request => "request",
            Self::Approval => "approval",
            Self::Entry => "entry",
            Self::Erasure => "erasure",
            Self::Report => "report",
            Self::Deletion => "deletion",
            Self::Custody => "ceremony",
            Self::Revoked => "revocation",
            Self::Agreement => "agreement",
        }
    }

    fn message(self, body: &[u8]) -> Vec<u8> {
        [b"twinkeep pseudo ", self.name().as_bytes(), b" 1\0", body].concat()
    }
}

/// Signs.
pub(crate) fn seal(kind: Kind, body: &impl Serialize, key: &SigningKey) -> Vec<u8> {
    let body = serde_json::to_vec(body).expect("what is signed here has text for keys and goes into memory");
    let signature = key.sign(&kind.message(&body));
    let (public, signature) = (hex(&key.public().0), hex(&signature));
    [BEFORE, &body, KEY, public.as_bytes(), VALUE, signature.as_bytes(), AFTER].concat()
}

/// The body and whose signature it has, once that fits.
pub(crate) fn open<T: DeserializeOwned>(kind: Kind, bytes: &[u8]) -> Result<(T, PublicKey), Refused> {
    let frame = Refused::Frame(kind.name());
    let (body, public, signature) = parts(bytes).ok_or(frame)?;
    if !public.verifies(&kind.message(body), &signature) {
        return Err(Refused::Signature(kind.name()));
    }
    let value = serde_json::from_slice(body).map_err(|_| Refused::Unknown(kind.name()))?;
    Ok((value, public))
}

/// The body, if this key signed it.
pub(crate) fn open_by<T: DeserializeOwned>(kind: Kind, bytes: &[u8], key: PublicKey) -> Result<T, Refused> {
    let (value, public) = open(kind, bytes)?;
    if public == key { Ok(value) } else { Err(Refused::OtherKey(kind.name())) }
}

fn parts(bytes: &[u8]) -> Option<(&[u8], PublicKey, [u8; SIGNATURE_BYTES])> {
    let inner = bytes.strip_prefix(BEFORE)?;
    let (body, tail) = inner.split_at(inner.len().checked_sub(TAIL_BYTES)?);
    let (public, tail) = tail.strip_prefix(KEY)?.split_at(2 * PUBLIC_KEY_BYTES);
    let (signature, tail) = tail.strip_prefix(VALUE)?.split_at(2 * SIGNATURE_BYTES);
    (tail == AFTER).then_some(())?;
    Some((body, PublicKey(digits(public)?), digits(signature)?))
}

/// Lower-case digits alone: a digit that can be written in two ways is a byte that can be changed.
fn digits<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let is_lower = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    let text = std::str::from_utf8(text).ok().filter(|text| text.as_bytes().iter().all(is_lower))?;
    unhex(text)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// A key that is always the same.
    pub(crate) fn key(byte: u8) -> SigningKey {
        let key = SigningKey::generate(|bytes| {
            bytes.fill(byte);
            Ok::<(), ()>(())
        });
        key.unwrap()
    }

    #[test]
    fn no_byte_can_be_changed_added_or_taken_away() {
        let body = json!({ "k": 5, "text": "ä\"}}\n,\"signature\":", "share": 0.1 });
        let sealed = seal(Kind::Manifest, &body, &key(2));
        let public = key(2).public();
        assert_eq!(open_by::<Value>(Kind::Manifest, &sealed, public), Ok(body));
        for at in 0..sealed.len() {
            for flip in 1..=255 {
                let mut changed = sealed.clone();
                changed[at] ^= flip;
                assert!(open_by::<Value>(Kind::Manifest, &changed, public).is_err(), "byte {at} by {flip}");
            }
            assert!(open::<Value>(Kind::Manifest, &sealed[..at]).is_err());
        }
        assert!(open::<Value>(Kind::Manifest, &[&sealed[..], b"\n"].concat()).is_err());
    }

    #[test]
    fn another_key_and_another_kind_are_refused() {
        let sealed = seal(Kind::Manifest, &json!({}), &key(2));
        let other = open_by::<Value>(Kind::Manifest, &sealed, key(3).public());
        assert_eq!(other, Err(Refused::OtherKey("manifest")));
        assert_eq!(open::<Value>(Kind::Decision, &sealed), Err(Refused::Signature("decision")));
    }

    #[test]
    fn signed_bytes_are_what_they_were() {
        let sealed = String::from_utf8(seal(Kind::Certificate, &json!({ "a": 1 }), &key(2))).unwrap();
        assert_eq!(sealed, include_str!("../tests/fixtures/signed.json"));
    }
}
