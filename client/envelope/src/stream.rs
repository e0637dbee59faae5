//! Chunks of a stream: sealed where they lie, each openable alone.
//!
//! Each stream has its own key, so the nonce is the chunk's index. The associated data names the whole place, the
//! index, whether this is the last chunk, and on the last one how long the stream is: chunks cannot be swapped,
//! moved, dropped from the end or replayed from another version. Neither region nor epoch is bound: both regions of
//! a pair hold the same bytes, and a compare needs no keys.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use wire::limits::CHUNK_BYTES_MAX;

use crate::derive::{Purpose, derive};
use crate::size::chunk_count;
use crate::suite::{Cipher, NONCE_BYTES, Suite, TAG_BYTES};
use crate::{EnvelopeError, ObjectKey, StreamPlace};

/// Which chunk of its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkPosition {
    index: u64,
    plain_bytes: usize,
    // on the last chunk only
    stream_bytes: Option<u64>,
}

impl ChunkPosition {
    /// A full chunk that others follow.
    pub const fn inner(index: u64) -> Self {
        Self { index, plain_bytes: CHUNK_BYTES_MAX, stream_bytes: None }
    }

    /// The last chunk of a stream of `stream_bytes` plaintext.
    pub const fn last(stream_bytes: u64) -> Self {
        let index = chunk_count(stream_bytes) - 1;
        // at most one chunk is left, so the cast loses nothing
        let plain_bytes = (stream_bytes - index * CHUNK_BYTES_MAX as u64) as usize;
        Self { index, plain_bytes, stream_bytes: Some(stream_bytes) }
    }

    /// Chunk `index` of a stream of `stream_bytes` plaintext; nothing when it has no such chunk.
    pub const fn of(index: u64, stream_bytes: u64) -> Option<Self> {
        let last = Self::last(stream_bytes);
        if index < last.index {
            Some(Self::inner(index))
        } else if index == last.index {
            Some(last)
        } else {
            None
        }
    }

    /// Index of the chunk, from 0.
    pub const fn index(self) -> u64 {
        self.index
    }

    /// Whether the stream ends with it.
    pub const fn is_last(self) -> bool {
        self.stream_bytes.is_some()
    }

    /// Its plaintext, bytes.
    pub const fn plain_bytes(self) -> usize {
        self.plain_bytes
    }
}

/// Seals the chunks of one stream, in any order, from any thread.
pub struct StreamSealer(StreamCipher);

/// Opens the chunks of one stream, in any order, from any thread.
pub struct StreamOpener(StreamCipher);

impl StreamSealer {
    /// Derives the stream's key. A stream id is drawn anew for every attempt, so one position is sealed once.
    pub fn new(key: &ObjectKey, place: &StreamPlace) -> Self {
        Self(StreamCipher::new(key, place))
    }

    /// Turns the chunk in `buffer` into ciphertext and appends the tag. The bytes stay where they are when the buffer
    /// has 16 bytes of room left.
    pub fn seal_in_place(&self, at: ChunkPosition, buffer: &mut BytesMut) -> Result<(), EnvelopeError> {
        if buffer.len() != at.plain_bytes {
            return Err(EnvelopeError::ChunkLength { index: at.index, found: buffer.len() });
        }
        let tag = self.0.cipher.seal(&nonce(at), &self.0.associated(at), buffer);
        buffer.put_slice(&tag);
        Ok(())
    }
}

impl StreamOpener {
    /// Derives the stream's key. Compare the commitment first: a key from [`crate::ObjectHeader::open`] has been.
    pub fn new(key: &ObjectKey, place: &StreamPlace) -> Self {
        Self(StreamCipher::new(key, place))
    }

    /// Turns the sealed chunk in `buffer` into plaintext and drops the tag. On an error the buffer is as it was.
    pub fn open_in_place(&self, at: ChunkPosition, buffer: &mut BytesMut) -> Result<(), EnvelopeError> {
        if buffer.len() != at.plain_bytes + TAG_BYTES {
            return Err(EnvelopeError::ChunkLength { index: at.index, found: buffer.len() });
        }
        let (message, end) = buffer.split_at_mut(at.plain_bytes);
        let mut tag = [0; TAG_BYTES];
        tag.copy_from_slice(end);
        self.0
            .cipher
            .open(&nonce(at), &self.0.associated(at), message, &tag)
            .map_err(|_| EnvelopeError::SealBroken { what: "chunk" })?;
        buffer.truncate(at.plain_bytes);
        Ok(())
    }

    /// The plaintext of a sealed chunk; copies it only when somebody else still holds `sealed`.
    pub fn open(&self, at: ChunkPosition, sealed: Bytes) -> Result<Bytes, EnvelopeError> {
        let mut buffer = sealed.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        self.open_in_place(at, &mut buffer)?;
        Ok(buffer.freeze())
    }
}

impl fmt::Debug for StreamSealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StreamSealer(..)")
    }
}

impl fmt::Debug for StreamOpener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StreamOpener(..)")
    }
}

/// Associated data of a chunk, bytes; `FORMAT.md` has the table.
const ASSOCIATED_BYTES: usize = 116;

/// Where the fields that differ from chunk to chunk begin: index 8, last 1, stream length 8.
const VARYING_OFFSET: usize = ASSOCIATED_BYTES - 17;

struct StreamCipher {
    cipher: Cipher,
    place: [u8; VARYING_OFFSET],
}

impl StreamCipher {
    fn new(key: &ObjectKey, place: &StreamPlace) -> Self {
        let secret = derive(&key.0, Purpose::Stream, Suite::CURRENT, &place.stream.0);
        let mut bytes = [0; VARYING_OFFSET];
        let mut rest = &mut bytes[..];
        rest.put_slice(b"twinkeep-chunk-1");
        rest.put_u8(Suite::CURRENT.id());
        rest.put_u64_le(place.object.tenant.0);
        rest.put_u64_le(place.object.bucket.0);
        rest.put_slice(&place.object.name_hash);
        rest.put_slice(&place.object.version.0);
        rest.put_u16_le(place.part);
        rest.put_slice(&place.stream.0);
        assert!(rest.is_empty(), "the place fills its fields exactly");
        Self { cipher: Cipher::new(&secret), place: bytes }
    }

    fn associated(&self, at: ChunkPosition) -> [u8; ASSOCIATED_BYTES] {
        let mut data = [0; ASSOCIATED_BYTES];
        let (place, mut varying) = data.split_at_mut(VARYING_OFFSET);
        place.copy_from_slice(&self.place);
        varying.put_u64_le(at.index);
        varying.put_u8(u8::from(at.is_last()));
        varying.put_u64_le(at.stream_bytes.unwrap_or(0));
        data
    }
}

fn nonce(at: ChunkPosition) -> [u8; NONCE_BYTES] {
    let mut nonce = [0; NONCE_BYTES];
    nonce[..8].copy_from_slice(&at.index.to_le_bytes());
    nonce
}
