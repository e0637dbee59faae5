//! What is sealed comes back, through every level of keys.

use bytes::{Bytes, BytesMut};
use envelope::*;
use wire::limits::{CHUNK_BYTES_MAX, OBJECT_HEADER_BYTES_MAX};

use crate::given::*;

#[test]
fn an_object_is_read_back_from_stored_bytes_and_a_passphrase_alone() {
    // everything that is kept: five byte strings
    let (file, region_bytes, tenant_bytes, header, metadata, chunks) = {
        let root = root_key(1);
        let region_key = region_key(HERE, 1, 2);
        let tenant_key = tenant_key(HERE, 3, 3);
        let key = object_key(4);
        let header = ObjectHeader::seal(&place(), &key, vec![(&tenant_key, nonce(5))]).unwrap();
        (
            seal_root(b"correct horse", quick_cost(), [6; SALT_BYTES], &root).unwrap(),
            root.wrap(&region_key, nonce(7)).unwrap(),
            region_key.wrap_tenant_key(&tenant_key, nonce(8)).unwrap().encode(),
            header.encode(),
            seal_metadata(&key, &place(), b"x-amz-meta-a: b", nonce(9)).unwrap(),
            seal_stream(&key, &stream_place(), &plaintext(CHUNK_BYTES_MAX + 5)),
        )
    };
    let root = open_root(b"correct horse", &file).unwrap();
    let region_key = root.unwrap(&region_name(HERE, 1), &region_bytes).unwrap();
    let wrapped = WrappedKey::decode(&tenant_bytes).unwrap();
    assert_eq!((wrapped.level(), wrapped.version(), wrapped.under().0), (KeyLevel::Tenant, KeyVersion(3), 1));
    let tenant_key = region_key.unwrap_tenant_key(TENANT, &wrapped).unwrap();
    let header = ObjectHeader::decode(header).unwrap();
    let key = header.open(&place(), ring(&[&tenant_key])).unwrap();
    assert_eq!(open_metadata(&key, &place(), metadata).unwrap(), b"x-amz-meta-a: b");
    let plain = open_stream(&key, &stream_place(), &chunks, CHUNK_BYTES_MAX as u64 + 5).unwrap();
    assert!(plain == plaintext(CHUNK_BYTES_MAX + 5));
}

#[test]
fn either_region_of_a_pair_opens_the_object_alone() {
    let (here, there) = (tenant_key(HERE, 1, 1), tenant_key(THERE, 8, 2));
    let under = vec![(&there, nonce(1)), (&here, nonce(2))];
    let header = ObjectHeader::seal(&place(), &object_key(4), under).unwrap();
    assert!(header.encode().len() < OBJECT_HEADER_BYTES_MAX);
    let chunks = seal_stream(&object_key(4), &stream_place(), b"both");
    for alone in [&here, &there] {
        let key = header.open(&place(), ring(&[alone])).unwrap();
        assert_eq!(open_stream(&key, &stream_place(), &chunks, 4).unwrap(), b"both");
    }
}

#[test]
fn streams_of_every_border_length_come_back() {
    for bytes in [0, 1, 15, 16, 17, CHUNK_BYTES_MAX - 1, CHUNK_BYTES_MAX, CHUNK_BYTES_MAX + 1] {
        let plain = plaintext(bytes);
        let sealed = seal_stream(&object_key(1), &stream_place(), &plain);
        let total: usize = sealed.iter().map(|chunk| chunk.len()).sum();
        assert_eq!(sealed_bytes(bytes as u64), Some(total as u64));
        let opened = open_stream(&object_key(1), &stream_place(), &sealed, bytes as u64).unwrap();
        assert!(opened == plain, "{bytes} bytes");
    }
}

#[test]
fn a_full_chunk_is_sealed_and_opened_without_leaving_its_buffer() {
    let at = ChunkPosition::last(CHUNK_BYTES_MAX as u64);
    let mut buffer = BytesMut::with_capacity(CHUNK_SEALED_BYTES_MAX);
    buffer.resize(CHUNK_BYTES_MAX, 1);
    let address = buffer.as_ptr();
    StreamSealer::new(&object_key(1), &stream_place()).seal_in_place(at, &mut buffer).unwrap();
    assert_eq!(buffer.as_ptr(), address);
    let plain = StreamOpener::new(&object_key(1), &stream_place()).open(at, buffer.freeze()).unwrap();
    assert_eq!((plain.as_ptr(), plain.len()), (address, CHUNK_BYTES_MAX));
}

#[test]
fn a_shared_chunk_is_opened_without_touching_the_other_holders_bytes() {
    let sealed: Bytes = seal_stream(&object_key(1), &stream_place(), b"shared")[0].clone().freeze();
    let before = sealed.to_vec();
    let opener = StreamOpener::new(&object_key(1), &stream_place());
    assert_eq!(&opener.open(ChunkPosition::last(6), sealed.clone()).unwrap()[..], b"shared");
    assert_eq!(sealed, before);
}

#[test]
fn rotation_changes_the_wrapped_copy_of_its_region_and_nothing_else() {
    let (old, new, there) = (tenant_key(HERE, 1, 1), tenant_key(HERE, 2, 2), tenant_key(THERE, 8, 3));
    let under = vec![(&old, nonce(1)), (&there, nonce(2))];
    let before = ObjectHeader::seal(&place(), &object_key(4), under).unwrap();
    let after = before.rewrap(&place(), &old, &new, nonce(3)).unwrap();
    assert_eq!(before.key_version(&region(HERE)), Some(KeyVersion(1)));
    assert_eq!(after.key_version(&region(HERE)), Some(KeyVersion(2)));
    assert_eq!(after.key_version(&region(THERE)), Some(KeyVersion(8)));
    // magic to commitment, and the other region's copy, byte for byte
    let (before, after) = (before.encode(), after.encode());
    assert_eq!(before[..48], after[..48]);
    assert_eq!(before[before.len() - 75..before.len() - 4], after[after.len() - 75..after.len() - 4]);
    let after = ObjectHeader::decode(after).unwrap();
    for key in [&new, &there] {
        let chunks = seal_stream(&object_key(4), &stream_place(), b"kept");
        let key = after.open(&place(), ring(&[key])).unwrap();
        assert_eq!(open_stream(&key, &stream_place(), &chunks, 4).unwrap(), b"kept");
    }
    let refused = after.open(&place(), ring(&[&old]));
    assert!(matches!(refused, Err(EnvelopeError::KeyMissing { tenant: TENANT })));
}

#[test]
fn small_secrets_come_back() {
    let key = region_key(HERE, 1, 1);
    for plain in [&b""[..], b"secret", &[7; VALUE_PLAIN_BYTES_MAX]] {
        let sealed = seal_value(&key, "access key", b"anna", plain, nonce(1)).unwrap();
        assert_eq!(&open_value(&key, "access key", b"anna", sealed).unwrap()[..], plain);
    }
}

#[test]
fn metadata_of_every_allowed_length_fits_the_wire_limit() {
    for bytes in [0, METADATA_PLAIN_BYTES_MAX] {
        let plain = vec![3; bytes];
        let sealed = seal_metadata(&object_key(1), &place(), &plain, nonce(1)).unwrap();
        assert!(sealed.len() <= wire::limits::METADATA_BYTES_MAX);
        assert_eq!(open_metadata(&object_key(1), &place(), sealed).unwrap(), plain);
    }
    let over = seal_metadata(&object_key(1), &place(), &[0; METADATA_PLAIN_BYTES_MAX + 1], nonce(1));
    assert!(matches!(over, Err(EnvelopeError::OutsideLimits { .. })));
}

#[test]
fn the_standard_cost_opens_what_it_sealed() {
    let file = seal_root(b"pass", PassphraseCost::STANDARD, [1; SALT_BYTES], &root_key(9)).unwrap();
    let wrapped = root_key(9).wrap(&region_key(HERE, 1, 2), nonce(1)).unwrap();
    let root = open_root(b"pass", &file).unwrap();
    assert_eq!(root.unwrap(&region_name(HERE, 1), &wrapped).unwrap().expose(), &[2; KEY_BYTES]);
}
