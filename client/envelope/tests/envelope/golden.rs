//! Bytes that never change. The fixture was written by `tests/fixtures/golden.py`, which follows `FORMAT.md` with other
//! libraries: it is a second implementation, not a recording of this one.

use std::collections::HashMap;

use bytes::BytesMut;
use envelope::*;
use sha2::{Digest, Sha256};
use wire::StreamId;
use wire::limits::CHUNK_BYTES_MAX;

use crate::given::*;

const GOLDEN: &str = include_str!("../fixtures/golden.txt");

fn golden(name: &str) -> String {
    let lines: HashMap<&str, &str> = GOLDEN.lines().filter_map(|line| line.split_once(' ')).collect();
    lines[name].into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_root_file_is_what_it_was() {
    let cost = PassphraseCost::new(64, 2, 2).unwrap();
    let file = seal_root(b"correct horse", cost, [6; SALT_BYTES], &root_key(1)).unwrap();
    assert_eq!(hex(&file), golden("root_file"));
}

#[test]
fn the_wrapped_region_key_is_what_it_was() {
    let wrapped = root_key(1).wrap(&region_key(HERE, 1, 2), nonce(7)).unwrap();
    assert_eq!(hex(&wrapped), golden("wrapped_region_key"));
}

#[test]
fn the_wrapped_tenant_key_is_what_it_was() {
    let wrapped = region_key(HERE, 1, 2).wrap_tenant_key(&tenant_key(HERE, 3, 3), nonce(8)).unwrap();
    assert_eq!(hex(&wrapped.encode()), golden("wrapped_tenant_key"));
}

#[test]
fn the_object_header_is_what_it_was() {
    let (here, there) = (tenant_key(HERE, 3, 3), tenant_key(THERE, 8, 10));
    let under = vec![(&there, nonce(11)), (&here, nonce(5))];
    let header = ObjectHeader::seal(&place(), &object_key(4), under).unwrap();
    assert_eq!(hex(&header.encode()), golden("object_header"));
}

#[test]
fn chunks_are_what_they_were() {
    let key = object_key(4);
    assert_eq!(hex(&seal_stream(&key, &stream_place(), b"")[0]), golden("chunk_empty"));
    let place = StreamPlace { part: 2, stream: StreamId([0x67; 16]), ..stream_place() };
    let chunks: Vec<BytesMut> = seal_stream(&key, &place, &vec![0xaa; CHUNK_BYTES_MAX + 3]);
    assert_eq!(hex(&Sha256::digest(&chunks[0])), golden("chunk_inner_sha256"));
    assert_eq!(hex(&chunks[1]), golden("chunk_last"));
}

#[test]
fn sealed_metadata_is_what_it_was() {
    let sealed = seal_metadata(&object_key(4), &place(), b"x-amz-meta-a: b", nonce(9)).unwrap();
    assert_eq!(hex(&sealed), golden("metadata"));
}

#[test]
fn a_sealed_value_is_what_it_was() {
    let sealed = seal_value(&region_key(HERE, 1, 2), "access key", b"anna", b"secret", nonce(12)).unwrap();
    assert_eq!(hex(&sealed), golden("value"));
}

#[test]
fn the_seal_of_a_list_of_parts_is_what_it_was() {
    let part = |part, byte| SealedPart { part, stream: StreamId([byte; 16]), stream_bytes: 5 << 20 };
    let seal = seal_parts(&object_key(4), &place(), &[part(1, 1), part(2, 2)]);
    assert_eq!(hex(&seal), golden("parts"));
}
