//! A store that may do anything to chunks: each attack is refused, with the same object key everywhere, which is the
//! worst case.

use bytes::BytesMut;
use envelope::*;
use wire::limits::CHUNK_BYTES_MAX;
use wire::{BucketId, StreamId, TenantId, VersionId};

use crate::given::*;

const CHUNK: u64 = CHUNK_BYTES_MAX as u64;

fn assert_broken(result: Result<Vec<u8>, EnvelopeError>) {
    assert!(matches!(result, Err(EnvelopeError::SealBroken { what: "chunk" })), "{:?}", result.map(|_| ()));
}

/// Sealed at one place, presented as another.
fn assert_not_movable(to: StreamPlace) {
    let sealed = seal_stream(&object_key(1), &stream_place(), b"payload");
    assert_broken(open_stream(&object_key(1), &to, &sealed, 7));
}

fn three_chunks() -> Vec<BytesMut> {
    seal_stream(&object_key(1), &stream_place(), &plaintext(2 * CHUNK_BYTES_MAX + 5))
}

fn open_as(sealed: &[BytesMut], total: u64) -> Result<Vec<u8>, EnvelopeError> {
    open_stream(&object_key(1), &stream_place(), sealed, total)
}

#[test]
fn two_chunks_cannot_be_swapped() {
    let mut sealed = three_chunks();
    sealed.swap(0, 1);
    assert_broken(open_as(&sealed, 2 * CHUNK + 5));
}

#[test]
fn chunks_cannot_be_reordered() {
    let key = object_key(1);
    let mut sealed = seal_stream(&key, &stream_place(), &plaintext(4 * CHUNK_BYTES_MAX));
    sealed[..3].rotate_left(1);
    assert_broken(open_as(&sealed, 4 * CHUNK));
}

#[test]
fn a_chunk_cannot_be_repeated() {
    let mut sealed = three_chunks();
    sealed[1] = sealed[0].clone();
    assert_broken(open_as(&sealed, 2 * CHUNK + 5));
}

#[test]
fn the_tail_cannot_be_cut_at_a_chunk() {
    let sealed = three_chunks();
    assert_broken(open_as(&sealed[..2], 2 * CHUNK));
    assert_broken(open_as(&sealed[..1], CHUNK));
}

#[test]
fn the_tail_cannot_be_cut_inside_a_chunk() {
    let sealed = three_chunks();
    let short = [sealed[0].clone(), sealed[1].clone(), BytesMut::from(&sealed[2][..TAG_BYTES + 4])];
    assert_broken(open_as(&short, 2 * CHUNK + 4));
}

#[test]
fn a_missing_chunk_is_an_error_and_not_emptiness() {
    let result = open_as(&three_chunks()[..2], 2 * CHUNK + 5);
    assert!(matches!(result, Err(EnvelopeError::ChunkLength { index: 2, found: 0 })));
}

#[test]
fn a_stream_cannot_pass_as_empty() {
    assert_broken(open_as(&[BytesMut::from(&three_chunks()[2][5..])], 0));
}

#[test]
fn a_stream_cannot_be_extended_with_its_own_chunks() {
    let mut sealed = seal_stream(&object_key(1), &stream_place(), &plaintext(CHUNK_BYTES_MAX));
    sealed.push(sealed[0].clone());
    assert_broken(open_as(&sealed, 2 * CHUNK));
}

#[test]
fn a_stream_cannot_be_extended_with_chunks_of_a_longer_one() {
    let short = seal_stream(&object_key(1), &stream_place(), &plaintext(CHUNK_BYTES_MAX));
    let other = StreamPlace { stream: StreamId([9; 16]), ..stream_place() };
    let long = seal_stream(&object_key(1), &other, &plaintext(CHUNK_BYTES_MAX + 1));
    assert_broken(open_as(&[short[0].clone(), long[1].clone()], CHUNK + 1));
}

#[test]
fn chunks_cannot_be_replayed_from_another_version() {
    let object = ObjectPlace::new(TENANT, BucketId(9), b"jobs/1", VersionId([0x56; 16]));
    assert_not_movable(StreamPlace { object, ..stream_place() });
}

#[test]
fn chunks_cannot_be_replayed_from_another_object() {
    let object = ObjectPlace::new(TENANT, BucketId(9), b"jobs/2", VersionId([0x55; 16]));
    assert_not_movable(StreamPlace { object, ..stream_place() });
}

#[test]
fn chunks_cannot_be_replayed_from_another_bucket() {
    let object = ObjectPlace::new(TENANT, BucketId(10), b"jobs/1", VersionId([0x55; 16]));
    assert_not_movable(StreamPlace { object, ..stream_place() });
}

#[test]
fn chunks_cannot_be_replayed_from_another_tenant() {
    let object = ObjectPlace::new(TenantId(8), BucketId(9), b"jobs/1", VersionId([0x55; 16]));
    assert_not_movable(StreamPlace { object, ..stream_place() });
}

#[test]
fn chunks_cannot_be_replayed_from_another_part() {
    assert_not_movable(StreamPlace { part: 1, ..stream_place() });
}

#[test]
fn chunks_cannot_be_replayed_from_another_attempt_at_the_same_part() {
    assert_not_movable(StreamPlace { stream: StreamId([0x67; 16]), ..stream_place() });
}

#[test]
fn chunks_do_not_open_under_another_object_key() {
    let sealed = seal_stream(&object_key(1), &stream_place(), b"payload");
    assert_broken(open_stream(&object_key(2), &stream_place(), &sealed, 7));
}

#[test]
fn every_flipped_bit_of_a_chunk_is_refused_and_leaves_ciphertext() {
    let sealed = &seal_stream(&object_key(1), &stream_place(), b"a payload longer than one block")[0];
    let opener = StreamOpener::new(&object_key(1), &stream_place());
    let at = ChunkPosition::last(31);
    for (offset, flipped) in bit_flips(sealed) {
        let mut buffer = BytesMut::from(&flipped[..]);
        assert!(opener.open_in_place(at, &mut buffer).is_err(), "flip at {offset}");
        assert_eq!(buffer, flipped, "flip at {offset}");
    }
}

#[test]
fn equal_plaintext_gives_unlike_ciphertext_in_every_place() {
    let place = stream_place();
    let other_stream = StreamPlace { stream: StreamId([1; 16]), ..stream_place() };
    let mut seen = Vec::new();
    for (key, place) in [(1, &place), (2, &place), (1, &other_stream)] {
        let plain = vec![0; 2 * CHUNK_BYTES_MAX];
        seen.extend(seal_stream(&object_key(key), place, &plain));
    }
    for (index, chunk) in seen.iter().enumerate() {
        assert!(seen[..index].iter().all(|before| before[..64] != chunk[..64]));
    }
}

#[test]
fn a_chunk_is_neither_sealed_nor_opened_at_a_position_it_does_not_fit() {
    let sealer = StreamSealer::new(&object_key(1), &stream_place());
    let opener = StreamOpener::new(&object_key(1), &stream_place());
    for at in [ChunkPosition::inner(0), ChunkPosition::last(0), ChunkPosition::last(CHUNK + 8)] {
        for bytes in [7, 9, TAG_BYTES - 1, CHUNK_BYTES_MAX + 1] {
            let mut buffer = BytesMut::zeroed(bytes);
            let refused = sealer.seal_in_place(at, &mut buffer);
            assert!(matches!(refused, Err(EnvelopeError::ChunkLength { .. })));
            assert!(opener.open_in_place(at, &mut buffer).is_err());
        }
    }
    assert_eq!(ChunkPosition::of(2, 2 * CHUNK), None);
    assert_eq!(ChunkPosition::of(1, 2 * CHUNK), Some(ChunkPosition::last(2 * CHUNK)));
    assert_eq!(ChunkPosition::last(u64::MAX).plain_bytes(), CHUNK_BYTES_MAX - 1);
}
