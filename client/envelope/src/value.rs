//! Small secrets of a region (secrets of access keys, tokens), sealed under a key derived from the region key.
//!
//! `label` says which kind of secret it is and gives each kind its own key; `context` says whose it is.

use bytes::{BufMut, Bytes, BytesMut};
use wire::DecodeError;
use zeroize::Zeroizing;

use crate::blob::{BLOB_OVERHEAD_BYTES, SealedBlob, check_length, seal_blob};
use crate::derive::{Purpose, derive};
use crate::frame::{Frame, HEAD_BYTES};
use crate::suite::{Cipher, Nonce, Suite};
use crate::{EnvelopeError, KeyLevel, KeyVersion, RegionKey};

/// A label, bytes: a word or two.
pub const VALUE_LABEL_BYTES_MAX: usize = 64;

/// A context, bytes: ids and a name.
pub const VALUE_CONTEXT_BYTES_MAX: usize = 1024;

/// A secret, bytes: passwords, tokens and small private keys are shorter.
pub const VALUE_PLAIN_BYTES_MAX: usize = 4096;

const FRAME: Frame = Frame {
    what: "sealed value",
    magic: *b"TKSV",
    format: 1,
    // head, version of the region key, blob, checksum
    bytes_max: HEAD_BYTES + 4 + BLOB_OVERHEAD_BYTES + VALUE_PLAIN_BYTES_MAX + 4,
};

/// Seals a small secret of the kind `label` that belongs to `context`.
pub fn seal_value(
    key: &RegionKey,
    label: &str,
    context: &[u8],
    plain: &[u8],
    nonce: Nonce,
) -> Result<Bytes, EnvelopeError> {
    check_length("value in bytes", plain.len(), 0, VALUE_PLAIN_BYTES_MAX)?;
    let associated = associated(key, label, context)?;
    let mut buffer = FRAME.begin(4 + plain.len() + BLOB_OVERHEAD_BYTES);
    buffer.put_u32_le(key.name.version.0);
    Ok(seal_blob(&FRAME, buffer, &cipher(key, label), &associated, plain, nonce))
}

/// Opens what [`seal_value`] sealed under the same key, label and context.
pub fn open_value(
    key: &RegionKey,
    label: &str,
    context: &[u8],
    sealed: Bytes,
) -> Result<Zeroizing<Vec<u8>>, EnvelopeError> {
    let (_, mut fields) = FRAME.open(sealed)?;
    let mut read = || -> Result<_, DecodeError> {
        let version = KeyVersion(fields.u32()?);
        Ok((version, SealedBlob::read(fields.clone())?))
    };
    let (version, blob) = read().map_err(|source| FRAME.damaged(source))?;
    if version != key.name.version {
        return Err(EnvelopeError::OtherOwner { level: KeyLevel::Region });
    }
    let associated = associated(key, label, context)?;
    blob.open(FRAME.what, &cipher(key, label), &associated).map(Zeroizing::new)
}

fn cipher(key: &RegionKey, label: &str) -> Cipher {
    Cipher::new(&derive(&key.secret, Purpose::Value, Suite::CURRENT, label.as_bytes()))
}

fn associated(key: &RegionKey, label: &str, context: &[u8]) -> Result<BytesMut, EnvelopeError> {
    check_length("label of a value in bytes", label.len(), 1, VALUE_LABEL_BYTES_MAX)?;
    check_length("context of a value in bytes", context.len(), 0, VALUE_CONTEXT_BYTES_MAX)?;
    let mut data = BytesMut::with_capacity(192 + context.len());
    data.put_slice(b"twinkeep-value-1");
    data.put_u8(Suite::CURRENT.id());
    data.put_slice(&key.name.deployment.0);
    data.put_u32_le(key.name.version.0);
    data.put_u8(key.name.region.length());
    data.put_slice(key.name.region.as_str().as_bytes());
    // lossless: checked above
    data.put_u8(label.len() as u8);
    data.put_slice(label.as_bytes());
    data.put_u16_le(context.len() as u16);
    data.put_slice(context);
    Ok(data)
}
