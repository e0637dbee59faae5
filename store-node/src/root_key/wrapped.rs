//! A region key as a token sealed it, and what the seal is bound to; `FORMAT.md` has the byte tables.

use bytes::Bytes;
use crc_fast::{CrcAlgorithm, checksum};
use envelope::{EnvelopeError, KEY_BYTES, KeyVersion, NONCE_BYTES, RegionKeyName};
use pkcs11::TAG_BYTES;
use wire::{DecodeError, Decoder, Encoder};

/// A sealed region key, bytes: ciphertext and tag.
pub(crate) const SEALED_BYTES: usize = KEY_BYTES + TAG_BYTES;

const WHAT: &str = "region key wrapped on a token";
const MAGIC: [u8; 4] = *b"TKWT";
const FORMAT: u8 = 1;
/// AES-256-GCM with a nonce of 12 bytes and a tag of 16.
const MECHANISM: u8 = 1;

/// Magic 4, format 1, mechanism 1, zero 2, version 4, nonce, sealed key, checksum 4.
const WRAPPED_BYTES: usize = 12 + NONCE_BYTES + SEALED_BYTES + 4;

/// A region key as a token sealed it.
pub(crate) struct WrappedOnToken {
    pub(crate) version: KeyVersion,
    pub(crate) nonce: [u8; NONCE_BYTES],
    pub(crate) sealed: [u8; SEALED_BYTES],
}

impl WrappedOnToken {
    /// The bytes to store.
    pub(crate) fn encode(&self) -> Bytes {
        let mut fields = Encoder::with_capacity(WRAPPED_BYTES);
        fields.fixed(&MAGIC);
        fields.u8(FORMAT);
        fields.u8(MECHANISM);
        fields.u16(0);
        fields.u32(self.version.0);
        fields.fixed(&self.nonce);
        fields.fixed(&self.sealed);
        let body = fields.finish();
        let mut whole = Encoder::with_capacity(WRAPPED_BYTES);
        whole.fixed(&body);
        whole.u32(crc32c(&body));
        whole.finish()
    }

    /// Reads what [`Self::encode`] wrote.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        if bytes.len() < MAGIC.len() || bytes[..MAGIC.len()] != MAGIC {
            return Err(EnvelopeError::NotThisFormat { what: WHAT });
        }
        // the format number is meaningful before anything else is: a later release's key is not a damaged one
        if let Some(&found) = bytes.get(MAGIC.len()).filter(|&&found| found != FORMAT) {
            return Err(EnvelopeError::UnknownFormat { what: WHAT, found });
        }
        read(bytes).map_err(|source| EnvelopeError::Damaged { what: WHAT, source })
    }
}

fn read(bytes: &[u8]) -> Result<WrappedOnToken, DecodeError> {
    if bytes.len() < WRAPPED_BYTES {
        return Err(DecodeError::Short { what: WHAT, missing: WRAPPED_BYTES - bytes.len() });
    }
    if bytes.len() > WRAPPED_BYTES {
        return Err(DecodeError::Trailing { what: WHAT, extra: bytes.len() - WRAPPED_BYTES });
    }
    let (body, stored) = bytes.split_at(WRAPPED_BYTES - 4);
    if crc32c(body).to_le_bytes() != stored {
        return Err(DecodeError::Checksum { what: WHAT });
    }
    let mut fields = Decoder::new(WHAT, Bytes::copy_from_slice(&body[MAGIC.len() + 1..]));
    match (fields.u8()?, fields.u16()?) {
        (MECHANISM, 0) => {}
        (MECHANISM, found) => return Err(fields.unknown(u64::from(found))),
        (found, _) => return Err(fields.unknown(u64::from(found))),
    }
    let version = KeyVersion(fields.u32()?);
    let nonce = fields.array()?;
    let sealed = fields.array()?;
    fields.finish()?;
    Ok(WrappedOnToken { version, nonce, sealed })
}

/// What the seal of the region key called `name` is bound to.
pub(crate) fn associated(name: &RegionKeyName) -> Bytes {
    let region = name.region.as_str().as_bytes();
    let mut data = Encoder::with_capacity(128);
    data.fixed(b"twinkeep-token-1");
    data.u8(MECHANISM);
    data.fixed(&name.deployment.0);
    data.u32(name.version.0);
    data.u8(u8::try_from(region.len()).expect("a region's name is at most 63 bytes"));
    data.fixed(region);
    data.finish()
}

fn crc32c(bytes: &[u8]) -> u32 {
    u32::try_from(checksum(CrcAlgorithm::Crc32Iscsi, bytes)).expect("a checksum of 32 bits")
}

#[cfg(test)]
mod tests {
    use super::*;
    use envelope::RegionName;
    use wire::DeploymentId;

    fn example() -> WrappedOnToken {
        WrappedOnToken { version: KeyVersion(7), nonce: [0x11; NONCE_BYTES], sealed: [0x22; SEALED_BYTES] }
    }

    #[test]
    fn the_layout_is_the_one_in_the_table() {
        let mut golden = b"TKWT\x01\x01\x00\x00\x07\x00\x00\x00".to_vec();
        golden.extend([0x11; 12]);
        golden.extend([0x22; 48]);
        golden.extend([0x2b, 0xa1, 0x88, 0xec]);
        assert_eq!(example().encode(), golden);
        let read = WrappedOnToken::decode(&golden).unwrap();
        assert_eq!((read.version, read.nonce, read.sealed), (KeyVersion(7), [0x11; 12], [0x22; 48]));
    }

    #[test]
    fn the_associated_data_is_the_one_in_the_table() {
        let (deployment, region) = (DeploymentId([0xaa; 16]), RegionName::parse("here-1").unwrap());
        let name = RegionKeyName { deployment, region, version: KeyVersion(0x0102_0304) };
        let mut golden = b"twinkeep-token-1\x01".to_vec();
        golden.extend([0xaa; 16]);
        golden.extend(b"\x04\x03\x02\x01\x06here-1");
        assert_eq!(associated(&name), golden);
    }

    #[test]
    fn damage_anywhere_is_found() {
        let whole = example().encode();
        for at in 0..whole.len() {
            let mut damaged = whole.to_vec();
            damaged[at] ^= 0x40;
            assert!(WrappedOnToken::decode(&damaged).is_err(), "byte {at}");
            assert!(WrappedOnToken::decode(&whole[..at]).is_err(), "{at} bytes");
        }
        let longer = [&whole[..], &[0]].concat();
        assert!(matches!(WrappedOnToken::decode(&longer), Err(EnvelopeError::Damaged { .. })));
    }

    #[test]
    fn a_later_format_is_told_from_damage() {
        let mut later = example().encode().to_vec();
        later[4] = 2;
        let refused = WrappedOnToken::decode(&later).map(|_| ());
        assert!(matches!(refused, Err(EnvelopeError::UnknownFormat { found: 2, .. })));
    }
}
