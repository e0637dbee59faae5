//! Keys derived from a key: HKDF-SHA-256 (RFC 5869), expand step only.
//!
//! Every key here is 32 uniformly random bytes, which is what the extract step would produce (RFC 5869 §3.3).
//! The info is label, suite, context: no label is the beginning of another and each label's context has one length
//! or is last, so that no two purposes can meet.

use hkdf::Hkdf;
use sha2::Sha256;

use crate::secret::Secret;
use crate::suite::Suite;

/// What a derived key is for. The numbers at the end change with the layout that uses the key.
#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    Commitment,
    Stream,
    Metadata,
    Parts,
    Value,
}

impl Purpose {
    const fn label(self) -> &'static [u8] {
        match self {
            Self::Commitment => b"twinkeep key commitment 1",
            Self::Stream => b"twinkeep stream key 1",
            Self::Metadata => b"twinkeep metadata key 1",
            Self::Parts => b"twinkeep parts key 1",
            Self::Value => b"twinkeep value key 1",
        }
    }
}

pub(crate) fn derive(from: &Secret, purpose: Purpose, suite: Suite, context: &[u8]) -> Secret {
    let mut derived = Secret::zeroed();
    Hkdf::<Sha256>::from_prk(from.bytes())
        .expect("a key is as long as the hash")
        .expand_multi_info(&[purpose.label(), &[suite.id()], context], derived.bytes_mut())
        .expect("one block of output is far below the limit");
    derived
}
