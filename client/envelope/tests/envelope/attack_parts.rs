//! A store that edits what hangs on a version besides its chunks: user metadata and the list of parts.

use bytes::Bytes;
use envelope::*;
use wire::{BucketId, StreamId, TenantId, VersionId};

use crate::given::*;

fn elsewhere() -> [ObjectPlace; 4] {
    [
        ObjectPlace::new(TENANT, BucketId(9), b"jobs/1", VersionId([0x56; 16])),
        ObjectPlace::new(TENANT, BucketId(9), b"jobs/2", VersionId([0x55; 16])),
        ObjectPlace::new(TENANT, BucketId(10), b"jobs/1", VersionId([0x55; 16])),
        ObjectPlace::new(TenantId(8), BucketId(9), b"jobs/1", VersionId([0x55; 16])),
    ]
}

fn part(number: u16, stream: u8) -> SealedPart {
    SealedPart { part: number, stream: StreamId([stream; 16]), stream_bytes: 5 << 20 }
}

#[test]
fn metadata_does_not_open_in_another_place_or_under_another_key() {
    let sealed = seal_metadata(&object_key(1), &place(), b"meta", nonce(2)).unwrap();
    for moved in elsewhere() {
        let refused = open_metadata(&object_key(1), &moved, sealed.clone());
        assert!(matches!(refused, Err(EnvelopeError::SealBroken { .. })));
    }
    assert!(open_metadata(&object_key(2), &place(), sealed).is_err());
}

#[test]
fn every_flipped_bit_of_metadata_is_refused_even_with_a_right_checksum() {
    let sealed = seal_metadata(&object_key(1), &place(), b"meta", nonce(2)).unwrap();
    for (offset, flipped) in bit_flips(&sealed[..sealed.len() - 4]) {
        let edited = with_checksum([&flipped[..], &[0; 4]].concat());
        assert!(open_metadata(&object_key(1), &place(), Bytes::from(edited)).is_err(), "flip at {offset}");
    }
}

#[test]
fn metadata_and_chunks_do_not_open_as_each_other() {
    let mut place_of_zeros = stream_place();
    place_of_zeros.stream = StreamId([0; 16]);
    let metadata = seal_metadata(&object_key(1), &place(), b"meta", nonce(0)).unwrap();
    // head 6, nonce 12, then ciphertext and tag up to the checksum
    let as_chunk = bytes::BytesMut::from(&metadata[18..metadata.len() - 4]);
    assert!(open_stream(&object_key(1), &place_of_zeros, &[as_chunk], 4).is_err());
}

#[test]
fn a_list_of_parts_cannot_lose_gain_swap_shorten_or_replace_a_part() {
    let parts = [part(1, 1), part(2, 2), part(3, 3)];
    let seal = seal_parts(&object_key(1), &place(), &parts);
    let verify = |parts: &[SealedPart]| verify_parts(&object_key(1), &place(), parts, &seal).is_ok();
    assert!(verify(&parts));
    assert!(!verify(&parts[..2]));
    assert!(!verify(&[]));
    assert!(!verify(&[part(1, 1), part(3, 3)]));
    assert!(!verify(&[part(1, 1), part(2, 2), part(3, 3), part(4, 4)]));
    assert!(!verify(&[part(2, 2), part(1, 1), part(3, 3)]));
    assert!(!verify(&[part(1, 1), part(2, 9), part(3, 3)]));
    assert!(!verify(&[part(1, 1), part(2, 2), SealedPart { stream_bytes: 1, ..part(3, 3) }]));
}

#[test]
fn a_list_of_parts_belongs_to_one_version_and_key() {
    let parts = [part(1, 1)];
    let seal = seal_parts(&object_key(1), &place(), &parts);
    for moved in elsewhere() {
        assert!(verify_parts(&object_key(1), &moved, &parts, &seal).is_err());
    }
    assert!(verify_parts(&object_key(2), &place(), &parts, &seal).is_err());
    for (offset, flipped) in bit_flips(&seal) {
        let flipped = flipped.try_into().unwrap();
        assert!(verify_parts(&object_key(1), &place(), &parts, &flipped).is_err(), "flip at {offset}");
    }
}
