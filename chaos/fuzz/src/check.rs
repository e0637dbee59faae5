//! What must hold of a decoder and its encoder.

use std::fmt::Debug;

use bytes::Bytes;
use wire::{DecodeError, Decoder, Encoder};

use crate::allocation::bounded;

/// One spelling per value: what decodes, encodes to the same bytes.
pub fn canonical<T, E: Debug>(
    what: &str,
    input: &Bytes,
    decode: impl FnOnce(Bytes) -> Result<T, E>,
    encode: impl FnOnce(&T) -> Bytes,
) {
    if let Ok(value) = bounded(what, input.len(), || decode(input.clone())) {
        assert_eq!(encode(&value), *input, "{what}: another encoding than was read");
    }
}

/// The same for parts of messages, which are read from a decoder and written to an encoder.
pub fn canonical_part<T>(
    what: &'static str,
    input: &Bytes,
    decode: impl FnOnce(&mut Decoder) -> Result<T, DecodeError>,
    encode: impl FnOnce(&T, &mut Encoder),
) {
    let whole = |bytes: Bytes| {
        let mut decoder = Decoder::new(what, bytes);
        let value = decode(&mut decoder)?;
        decoder.finish().map(|()| value)
    };
    let write = |value: &T| {
        let mut encoder = Encoder::new();
        encode(value, &mut encoder);
        encoder.finish()
    };
    canonical(what, input, whole, write);
}

/// The same bytes with their last four made the CRC-32C of the others.
pub fn with_checksum(input: &[u8]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    if let Some(end) = bytes.len().checked_sub(4) {
        let checksum = crc32c::crc32c(&bytes[..end]);
        bytes[end..].copy_from_slice(&checksum.to_le_bytes());
    }
    bytes
}

/// The first byte, which chooses, and the rest; nothing of an empty input.
pub fn choice(input: &[u8]) -> Option<(u8, &[u8])> {
    input.split_first().map(|(first, rest)| (*first, rest))
}

/// A seed for the decoder with that number.
pub fn chosen(number: u8, encoding: &[u8]) -> Vec<u8> {
    [&[number], encoding].concat()
}
