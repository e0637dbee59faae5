//! User metadata of an object: one sealed blob per version, under a key apart from the chunks' keys.

use bytes::{BufMut, Bytes, BytesMut};
use wire::limits::METADATA_BYTES_MAX;

use crate::blob::{BLOB_OVERHEAD_BYTES, SealedBlob, check_length, seal_blob};
use crate::derive::{Purpose, derive};
use crate::frame::{Frame, HEAD_BYTES};
use crate::suite::{Cipher, Nonce, Suite};
use crate::{EnvelopeError, ObjectKey, ObjectPlace};

/// Metadata before sealing, bytes.
pub const METADATA_PLAIN_BYTES_MAX: usize = METADATA_BYTES_MAX - HEAD_BYTES - BLOB_OVERHEAD_BYTES - 4;

const FRAME: Frame =
    Frame { what: "sealed metadata", magic: *b"TKMD", format: 1, bytes_max: METADATA_BYTES_MAX };

/// Seals the metadata of the version at `place`.
pub fn seal_metadata(
    key: &ObjectKey,
    place: &ObjectPlace,
    plain: &[u8],
    nonce: Nonce,
) -> Result<Bytes, EnvelopeError> {
    check_length("metadata in bytes", plain.len(), 0, METADATA_PLAIN_BYTES_MAX)?;
    let buffer = FRAME.begin(plain.len() + BLOB_OVERHEAD_BYTES);
    Ok(seal_blob(&FRAME, buffer, &cipher(key), &associated(place), plain, nonce))
}

/// Opens what [`seal_metadata`] sealed for the same place.
pub fn open_metadata(key: &ObjectKey, place: &ObjectPlace, sealed: Bytes) -> Result<Vec<u8>, EnvelopeError> {
    let (_, fields) = FRAME.open(sealed)?;
    let blob = SealedBlob::read(fields).map_err(|source| FRAME.damaged(source))?;
    blob.open(FRAME.what, &cipher(key), &associated(place))
}

fn cipher(key: &ObjectKey) -> Cipher {
    Cipher::new(&derive(&key.0, Purpose::Metadata, Suite::CURRENT, &[]))
}

fn associated(place: &ObjectPlace) -> BytesMut {
    let mut data = BytesMut::with_capacity(96);
    data.put_slice(b"twinkeep-meta-01");
    data.put_u8(Suite::CURRENT.id());
    data.put_u64_le(place.tenant.0);
    data.put_u64_le(place.bucket.0);
    data.put_slice(&place.name_hash);
    data.put_slice(&place.version.0);
    data
}
