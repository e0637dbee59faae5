//! A root that a PKCS#11 token sealed: what lies in the folder of keys, in the stead of shares or beside them.
//!
//! The token's own key never leaves it; the root does, for one task, as it does when shares are put together. Sealing and opening are the
//! caller's, who has the token; what is sealed under which associated data is said here.

use zeroize::Zeroizing;

use crate::CustodyError;
use crate::frame::{self, Frame};
use crate::root::{CHECK_BYTES, RootCheck, RootKey};
use crate::secret::{KEY_BYTES, Secret};

/// Nonce of AES-256-GCM, bytes.
pub const TOKEN_NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
/// AES-256-GCM with a nonce of 12 bytes and a tag of 16.
const MECHANISM: u8 = 1;
/// Head 6, mechanism 1, zero 1, check 16.
const OPEN_BYTES: usize = frame::HEAD_BYTES + 2 + CHECK_BYTES;
const SEALED_BYTES: usize = KEY_BYTES + TAG_BYTES;
/// A root that a token sealed, bytes.
pub const TOKEN_ROOT_BYTES: usize = OPEN_BYTES + TOKEN_NONCE_BYTES + SEALED_BYTES + frame::CHECKSUM_BYTES;
const ROOT: Frame = Frame { what: "root sealed by a token", magic: *b"TKPT", bytes_max: TOKEN_ROOT_BYTES };

/// What a token made of a root.
pub struct SealedRoot {
    /// As the token used it.
    pub nonce: [u8; TOKEN_NONCE_BYTES],
    /// Ciphertext and tag.
    pub bytes: Vec<u8>,
}

impl RootKey {
    /// The bytes of this root as a token seals it. `seal` is given what the seal is bound to, and the root.
    pub fn seal_on_token<E: From<CustodyError>>(
        &self,
        seal: impl FnOnce(&[u8], &[u8]) -> Result<SealedRoot, E>,
    ) -> Result<Vec<u8>, E> {
        let mut bytes = ROOT.begin();
        bytes.extend_from_slice(&[MECHANISM, 0]);
        bytes.extend_from_slice(&self.check().0);
        let sealed = seal(&bytes, self.0.bytes())?;
        if sealed.bytes.len() != SEALED_BYTES {
            return Err(CustodyError::Damaged { what: ROOT.what }.into());
        }
        bytes.extend_from_slice(&sealed.nonce);
        bytes.extend_from_slice(&sealed.bytes);
        Ok(ROOT.finish(bytes))
    }

    /// The root in bytes that [`RootKey::seal_on_token`] gave. `open` is given what the seal is bound to and what was sealed; it says `None` when the
    /// token did not seal that.
    pub fn open_on_token<E: From<CustodyError>>(
        bytes: &[u8],
        open: impl FnOnce(&[u8], &SealedRoot) -> Result<Option<Zeroizing<Vec<u8>>>, E>,
    ) -> Result<Self, E> {
        let (what, fields) = (ROOT.what, ROOT.open(bytes)?);
        if bytes.len() != TOKEN_ROOT_BYTES || fields[1] != 0 {
            return Err(CustodyError::Damaged { what }.into());
        }
        if fields[0] != MECHANISM {
            return Err(CustodyError::UnknownFormat { what, found: fields[0] }.into());
        }
        let check = RootCheck(*fields[2..].first_chunk().expect("the length was checked"));
        let rest = &bytes[OPEN_BYTES..bytes.len() - frame::CHECKSUM_BYTES];
        let (nonce, sealed) = rest.split_first_chunk().expect("the length was checked");
        let sealed = SealedRoot { nonce: *nonce, bytes: sealed.to_vec() };
        let plain = open(&bytes[..OPEN_BYTES], &sealed)?;
        let plain =
            plain.filter(|plain| plain.len() == KEY_BYTES).ok_or(CustodyError::SealBroken { what })?;
        let root = Self(Secret::fill(|key| {
            key.copy_from_slice(&plain);
            Ok::<(), E>(())
        })?);
        if root.check() == check { Ok(root) } else { Err(CustodyError::SealBroken { what }.into()) }
    }
}
