//! Bytes from anywhere: every decoder answers with an error, never with a panic.

use bytes::Bytes;
use envelope::*;

use crate::given::*;

struct Decoder {
    name: &'static str,
    valid: Vec<u8>,
    accepts: fn(&[u8]) -> bool,
}

fn decoders() -> Vec<Decoder> {
    let tenant_key = tenant_key(HERE, 3, 3);
    let header = ObjectHeader::seal(&place(), &object_key(4), vec![(&tenant_key, nonce(5))]).unwrap();
    let region_key = region_key(HERE, 1, 2);
    let root = seal_root(b"pass", quick_cost(), [6; SALT_BYTES], &root_key(1)).unwrap();
    let wrapped_region = root_key(1).wrap(&region_key, nonce(7)).unwrap();
    let wrapped_tenant = region_key.wrap_tenant_key(&tenant_key, nonce(8)).unwrap().encode();
    let metadata = seal_metadata(&object_key(4), &place(), b"meta", nonce(9)).unwrap();
    let value = seal_value(&region_key, "label", b"context", b"value", nonce(1)).unwrap();
    let decoder =
        |name, valid: Bytes, accepts: fn(&[u8]) -> bool| Decoder { name, valid: valid.to_vec(), accepts };
    vec![
        decoder("root file", root, |bytes| open_root(b"pass", bytes).is_ok()),
        decoder("region key", wrapped_region, |bytes| {
            root_key(1).unwrap(&region_name(HERE, 1), bytes).is_ok()
        }),
        decoder("tenant key", wrapped_tenant, |bytes| WrappedKey::decode(bytes).is_ok()),
        decoder("header", header.encode(), |bytes| {
            ObjectHeader::decode(Bytes::copy_from_slice(bytes)).is_ok()
        }),
        decoder("metadata", metadata, |bytes| {
            open_metadata(&object_key(4), &place(), Bytes::copy_from_slice(bytes)).is_ok()
        }),
        decoder("value", value, |bytes| {
            let key = crate::given::region_key(HERE, 1, 2);
            open_value(&key, "label", b"context", Bytes::copy_from_slice(bytes)).is_ok()
        }),
    ]
}

#[test]
fn every_decoder_accepts_what_was_written() {
    for decoder in decoders() {
        assert!((decoder.accepts)(&decoder.valid), "{}", decoder.name);
    }
}

#[test]
fn every_truncation_is_refused_with_any_checksum() {
    for decoder in decoders() {
        for length in 0..decoder.valid.len() {
            let cut = decoder.valid[..length].to_vec();
            assert!(!(decoder.accepts)(&cut), "{} cut to {length}", decoder.name);
            if length >= 4 {
                assert!(!(decoder.accepts)(&with_checksum(cut)), "{} cut to {length}", decoder.name);
            }
        }
    }
}

#[test]
fn trailing_bytes_are_refused_with_any_checksum() {
    for decoder in decoders() {
        for extra in [1, 4, 16, 60, 4096, 1 << 20] {
            let longer = [&decoder.valid[..], &vec![0; extra]].concat();
            assert!(!(decoder.accepts)(&longer), "{} and {extra}", decoder.name);
            assert!(!(decoder.accepts)(&with_checksum(longer)), "{} and {extra}", decoder.name);
        }
    }
}

#[test]
fn every_changed_byte_is_refused_by_the_checksum() {
    for decoder in decoders() {
        for offset in 0..decoder.valid.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut changed = decoder.valid.clone();
                changed[offset] = value;
                let same = changed == decoder.valid;
                assert_eq!((decoder.accepts)(&changed), same, "{} at {offset}", decoder.name);
            }
        }
    }
}

#[test]
fn no_changed_byte_with_a_right_checksum_makes_a_decoder_panic() {
    // the root file is left out: its costs would only take time, and its own tests cover them
    for decoder in decoders().into_iter().skip(1) {
        for offset in 0..decoder.valid.len() - 4 {
            for value in 0..=255 {
                let mut changed = decoder.valid.clone();
                changed[offset] = value;
                let _ = (decoder.accepts)(&with_checksum(changed));
            }
        }
    }
}

#[test]
fn noise_behind_a_right_head_never_panics() {
    let mut state: u64 = 0x5eed_7e57;
    println!("seed {state:#x}");
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for decoder in decoders().into_iter().skip(1) {
        for _ in 0..2_000 {
            let length = 10 + random() as usize % 400;
            let mut noise: Vec<u8> = (0..length).map(|_| random() as u8).collect();
            noise[..6].copy_from_slice(&decoder.valid[..6]);
            let _ = (decoder.accepts)(&with_checksum(noise));
        }
    }
}
