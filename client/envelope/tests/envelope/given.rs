//! Fixed keys, names and places that the tests begin from.

use std::convert::Infallible;

use bytes::BytesMut;
use envelope::*;
use wire::limits::CHUNK_BYTES_MAX;
use wire::{BucketId, DeploymentId, StreamId, TenantId, VersionId};

pub(crate) const TENANT: TenantId = TenantId(7);
pub(crate) const HERE: &str = "here-1";
pub(crate) const THERE: &str = "west-1";

/// A source of "random" bytes: all the same.
pub(crate) fn all(byte: u8) -> impl Fn(&mut [u8]) -> Result<(), Infallible> {
    move |bytes| {
        bytes.fill(byte);
        Ok(())
    }
}

pub(crate) fn nonce(byte: u8) -> Nonce {
    Nonce::generate(all(byte)).unwrap()
}

pub(crate) fn root_key(byte: u8) -> RootKey {
    RootKey::generate(all(byte)).unwrap()
}

pub(crate) fn object_key(byte: u8) -> ObjectKey {
    ObjectKey::generate(all(byte)).unwrap()
}

pub(crate) fn region(text: &str) -> RegionName {
    RegionName::parse(text).unwrap()
}

pub(crate) fn region_name(text: &str, version: u32) -> RegionKeyName {
    RegionKeyName { deployment: DeploymentId([0xd0; 16]), region: region(text), version: KeyVersion(version) }
}

pub(crate) fn region_key(text: &str, version: u32, byte: u8) -> RegionKey {
    RegionKey::generate(region_name(text, version), all(byte)).unwrap()
}

pub(crate) fn tenant_name(text: &str, tenant: TenantId, version: u32) -> TenantKeyName {
    let RegionKeyName { deployment, region, .. } = region_name(text, 0);
    TenantKeyName { deployment, region, tenant, version: KeyVersion(version) }
}

pub(crate) fn tenant_key(text: &str, version: u32, byte: u8) -> TenantKey {
    TenantKey::generate(tenant_name(text, TENANT, version), all(byte)).unwrap()
}

pub(crate) fn place() -> ObjectPlace {
    ObjectPlace::new(TENANT, BucketId(9), b"jobs/1", VersionId([0x55; 16]))
}

pub(crate) fn stream_place() -> StreamPlace {
    StreamPlace { object: place(), part: 0, stream: StreamId([0x66; 16]) }
}

/// What a gateway hands to [`ObjectHeader::open`] when it holds these keys.
pub(crate) fn ring<'a>(
    keys: &'a [&'a TenantKey],
) -> impl Fn(&RegionName, TenantId, KeyVersion) -> Option<&'a TenantKey> {
    move |region, tenant, version| {
        let wanted = (region, tenant, version);
        keys.iter().copied().find(|key| {
            let name = key.name();
            (&name.region, name.tenant, name.version) == wanted
        })
    }
}

/// Plaintext that differs from chunk to chunk.
pub(crate) fn plaintext(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at / CHUNK_BYTES_MAX) as u8 ^ (at % 251) as u8).collect()
}

/// All chunks of a stream, sealed.
pub(crate) fn seal_stream(key: &ObjectKey, place: &StreamPlace, plain: &[u8]) -> Vec<BytesMut> {
    let sealer = StreamSealer::new(key, place);
    let total = plain.len() as u64;
    (0..chunk_count(total))
        .map(|index| {
            let at = ChunkPosition::of(index, total).unwrap();
            let begin = index as usize * CHUNK_BYTES_MAX;
            let mut buffer = BytesMut::with_capacity(CHUNK_SEALED_BYTES_MAX);
            buffer.extend_from_slice(&plain[begin..begin + at.plain_bytes()]);
            sealer.seal_in_place(at, &mut buffer).unwrap();
            buffer
        })
        .collect()
}

/// Opens chunks as a stream of `total` bytes.
pub(crate) fn open_stream(
    key: &ObjectKey,
    place: &StreamPlace,
    sealed: &[BytesMut],
    total: u64,
) -> Result<Vec<u8>, EnvelopeError> {
    let opener = StreamOpener::new(key, place);
    let mut plain = Vec::new();
    for index in 0..chunk_count(total) {
        let at = ChunkPosition::of(index, total).unwrap();
        let mut buffer = sealed.get(index as usize).cloned().unwrap_or_default();
        opener.open_in_place(at, &mut buffer)?;
        plain.extend_from_slice(&buffer);
    }
    Ok(plain)
}

/// The same bytes with a checksum that is right again: what an attacker does after an edit.
pub(crate) fn with_checksum(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.len() - 4;
    let checksum = crc32c::crc32c(&bytes[..end]);
    bytes[end..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// Every copy of `bytes` with one bit flipped, and where.
pub(crate) fn bit_flips(bytes: &[u8]) -> impl Iterator<Item = (usize, Vec<u8>)> {
    (0..bytes.len() * 8).map(|bit| {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        (bit / 8, flipped)
    })
}

/// The cheapest cost there is: tests guess no passphrases.
pub(crate) fn quick_cost() -> PassphraseCost {
    PassphraseCost::new(8, 1, 1).unwrap()
}
