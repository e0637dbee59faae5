//! One sealed message with its nonce: what metadata and small values are stored as.

use bytes::{BufMut, Bytes, BytesMut};
use wire::{DecodeError, Decoder};

use crate::EnvelopeError;
use crate::frame::Frame;
use crate::suite::{Cipher, NONCE_BYTES, Nonce, TAG_BYTES};

/// What a blob adds to a message, bytes, besides the frame's head and checksum.
pub(crate) const BLOB_OVERHEAD_BYTES: usize = NONCE_BYTES + TAG_BYTES;

/// Appends nonce, ciphertext and tag to a frame and ends it.
pub(crate) fn seal_blob(
    frame: &Frame,
    mut buffer: BytesMut,
    cipher: &Cipher,
    associated: &[u8],
    plain: &[u8],
    nonce: Nonce,
) -> Bytes {
    buffer.put_slice(&nonce.0);
    let offset = buffer.len();
    buffer.put_slice(plain);
    let tag = cipher.seal(&nonce.0, associated, &mut buffer[offset..]);
    buffer.put_slice(&tag);
    frame.finish(buffer)
}

/// A blob taken apart; not yet opened.
pub(crate) struct SealedBlob {
    nonce: [u8; NONCE_BYTES],
    message: Bytes,
    tag: [u8; TAG_BYTES],
}

impl SealedBlob {
    /// Takes everything that `fields` has left.
    pub(crate) fn read(mut fields: Decoder) -> Result<Self, DecodeError> {
        let nonce = fields.array()?;
        let message = fields.fixed(fields.remaining().saturating_sub(TAG_BYTES))?;
        let tag = fields.array()?;
        Ok(Self { nonce, message, tag })
    }

    pub(crate) fn open(
        &self,
        what: &'static str,
        cipher: &Cipher,
        associated: &[u8],
    ) -> Result<Vec<u8>, EnvelopeError> {
        let mut plain = self.message.to_vec();
        match cipher.open(&self.nonce, associated, &mut plain, &self.tag) {
            Ok(()) => Ok(plain),
            Err(_) => Err(EnvelopeError::SealBroken { what }),
        }
    }
}

pub(crate) fn check_length(
    what: &'static str,
    bytes: usize,
    least: usize,
    most: usize,
) -> Result<(), EnvelopeError> {
    if (least..=most).contains(&bytes) {
        return Ok(());
    }
    let (found, least, most) = (bytes as u64, least as u64, most as u64);
    Err(EnvelopeError::OutsideLimits { what, found, least, most })
}
