//! A store that edits object headers, with the checksum made right again after each edit.

use bytes::Bytes;
use envelope::*;
use wire::{BucketId, TenantId, VersionId};

use crate::given::*;

/// Bytes before the copies: head 6, count 1, zero 1, tenant 8, commitment 32.
const COPIES_OFFSET: usize = 48;

/// One copy for a region whose name has six letters: length 1, name 6, version 4, sealed key 60.
const COPY_BYTES: usize = 71;

fn here() -> TenantKey {
    tenant_key(HERE, 1, 1)
}

fn header_for(place: &ObjectPlace, key: &ObjectKey) -> Vec<u8> {
    ObjectHeader::seal(place, key, vec![(&here(), nonce(1))]).unwrap().encode().to_vec()
}

fn open(bytes: Vec<u8>, place: &ObjectPlace) -> Result<ObjectKey, EnvelopeError> {
    ObjectHeader::decode(Bytes::from(with_checksum(bytes)))?.open(place, ring(&[&here()]))
}

/// What a header of `key` for one region begins with and what follows: head and commitment, copy.
fn split(place: &ObjectPlace, key: &ObjectKey, tenant_key: &TenantKey) -> (Vec<u8>, Vec<u8>) {
    let header = ObjectHeader::seal(place, key, vec![(tenant_key, nonce(1))]).unwrap().encode();
    (header[..COPIES_OFFSET].to_vec(), header[COPIES_OFFSET..header.len() - 4].to_vec())
}

fn opens_the_chunk(key: &ObjectKey, of: &ObjectKey) -> bool {
    let sealed = seal_stream(of, &stream_place(), b"probe");
    open_stream(key, &stream_place(), &sealed, 5).is_ok()
}

#[test]
fn every_flipped_bit_of_a_header_is_found_by_the_checksum() {
    let header = header_for(&place(), &object_key(4));
    for (offset, flipped) in bit_flips(&header) {
        assert!(ObjectHeader::decode(Bytes::from(flipped)).is_err(), "flip at {offset}");
    }
}

#[test]
fn every_flipped_bit_with_a_right_checksum_is_refused_or_is_in_the_other_regions_copy() {
    let (here, there) = (here(), tenant_key("zone-1", 8, 2));
    let under = vec![(&here, nonce(1)), (&there, nonce(2))];
    let header = ObjectHeader::seal(&place(), &object_key(4), under).unwrap().encode();
    let other_copy = COPIES_OFFSET + COPY_BYTES..header.len() - 4;
    assert_eq!(other_copy.len(), COPY_BYTES);
    let mut harmless = 0;
    for (offset, flipped) in bit_flips(&header[..header.len() - 4]) {
        let edited = [&flipped[..], &[0; 4]].concat();
        match open(edited, &place()) {
            Err(_) => {}
            Ok(key) => {
                assert!(other_copy.contains(&offset), "flip at {offset} opened");
                assert!(opens_the_chunk(&key, &object_key(4)), "flip at {offset} changed the key");
                harmless += 1;
            }
        }
    }
    // version, nonce, ciphertext and tag of a copy that this region does not read
    assert!(harmless >= 64 * 8);
}

#[test]
fn a_header_does_not_open_for_another_place() {
    let header = header_for(&place(), &object_key(4));
    for moved in [
        ObjectPlace::new(TENANT, BucketId(9), b"jobs/1", VersionId([0x56; 16])),
        ObjectPlace::new(TENANT, BucketId(9), b"jobs/2", VersionId([0x55; 16])),
        ObjectPlace::new(TENANT, BucketId(10), b"jobs/1", VersionId([0x55; 16])),
    ] {
        let refused = open(header.clone(), &moved).map(|_| ());
        assert!(matches!(refused, Err(EnvelopeError::KeyRefused { level: KeyLevel::Object })));
    }
}

#[test]
fn a_header_does_not_open_for_another_tenant_even_when_it_names_that_tenant() {
    let other = TenantId(8);
    let moved = ObjectPlace::new(other, BucketId(9), b"jobs/1", VersionId([0x55; 16]));
    // the same key bytes under both names: the names alone must hold
    let key = TenantKey::generate(tenant_name(HERE, other, 1), all(1)).unwrap();
    let mut bytes = header_for(&place(), &object_key(4));
    let header = ObjectHeader::decode(bytes.clone().into()).unwrap();
    assert!(matches!(header.open(&moved, ring(&[&key])), Err(EnvelopeError::OtherTenant { .. })));
    bytes[8] = 8;
    let header = ObjectHeader::decode(with_checksum(bytes).into()).unwrap();
    assert_eq!(header.tenant(), other);
    assert!(matches!(header.open(&moved, ring(&[&key])), Err(EnvelopeError::KeyRefused { .. })));
}

#[test]
fn a_commitment_to_another_key_is_refused() {
    let (_, copy) = split(&place(), &object_key(4), &here());
    let (head, _) = split(&place(), &object_key(5), &here());
    let crafted = [head, copy, vec![0; 4]].concat();
    assert!(matches!(open(crafted, &place()), Err(EnvelopeError::Commitment)));
}

#[test]
fn one_header_cannot_hold_two_keys_for_the_two_regions() {
    let (here, there) = (here(), tenant_key(THERE, 8, 2));
    let (mut head, first) = split(&place(), &object_key(4), &here);
    let (_, second) = split(&place(), &object_key(5), &there);
    head[6] = 2;
    let crafted = with_checksum([head, first, second, vec![0; 4]].concat());
    let header = ObjectHeader::decode(crafted.into()).unwrap();
    let key = header.open(&place(), ring(&[&here])).unwrap();
    assert!(opens_the_chunk(&key, &object_key(4)));
    assert!(matches!(header.open(&place(), ring(&[&there])), Err(EnvelopeError::Commitment)));
}

#[test]
fn a_region_cannot_be_handed_the_other_regions_copy() {
    // the same tenant key bytes in both regions, names of one length: the name alone must hold
    let there = tenant_key(THERE, 1, 1);
    let (head, copy) = split(&place(), &object_key(4), &here());
    let mut renamed = vec![THERE.len() as u8];
    renamed.extend(THERE.as_bytes());
    renamed.extend(&copy[1 + HERE.len()..]);
    let crafted = with_checksum([head, renamed, vec![0; 4]].concat());
    let header = ObjectHeader::decode(crafted.into()).unwrap();
    assert!(matches!(header.open(&place(), ring(&[&there])), Err(EnvelopeError::KeyRefused { .. })));
}

#[test]
fn a_copy_cannot_claim_another_version_of_the_tenant_key() {
    let newer = tenant_key(HERE, 2, 1);
    let mut bytes = header_for(&place(), &object_key(4));
    bytes[COPIES_OFFSET + 1 + HERE.len()] = 2;
    let header = ObjectHeader::decode(with_checksum(bytes).into()).unwrap();
    assert!(matches!(header.open(&place(), ring(&[&newer])), Err(EnvelopeError::KeyRefused { .. })));
}

#[test]
fn copies_out_of_order_or_twice_for_one_region_are_refused() {
    let (mut head, first) = split(&place(), &object_key(4), &here());
    let (_, second) = split(&place(), &object_key(4), &tenant_key(THERE, 8, 2));
    head[6] = 2;
    for copies in [[&second, &first], [&first, &first]] {
        let crafted = [&head, copies[0], copies[1], &vec![0; 4]].into_iter().flatten().copied().collect();
        let refused = ObjectHeader::decode(with_checksum(crafted).into());
        assert!(matches!(refused, Err(EnvelopeError::Damaged { .. })));
    }
}

#[test]
fn a_header_is_not_sealed_for_no_region_or_one_region_twice_or_another_tenant() {
    let (one, two, three) = (here(), tenant_key(HERE, 2, 2), tenant_key(THERE, 1, 3));
    let stranger = TenantKey::generate(tenant_name(HERE, TenantId(8), 1), all(1)).unwrap();
    for under in [vec![], vec![&one, &two], vec![&one, &two, &three], vec![&stranger]] {
        let under = under.into_iter().map(|key| (key, nonce(1))).collect();
        assert!(ObjectHeader::seal(&place(), &object_key(4), under).is_err());
    }
}

#[test]
fn rotation_refuses_keys_of_another_region_tenant_or_version() {
    let header = ObjectHeader::seal(&place(), &object_key(4), vec![(&here(), nonce(1))]).unwrap();
    let stranger = TenantKey::generate(tenant_name(HERE, TenantId(8), 2), all(2)).unwrap();
    for (old, new) in [
        (tenant_key(HERE, 9, 1), tenant_key(HERE, 10, 2)),
        (tenant_key(THERE, 1, 1), tenant_key(THERE, 2, 2)),
        (here(), tenant_key(THERE, 2, 2)),
        (here(), stranger),
    ] {
        let refused = header.rewrap(&place(), &old, &new, nonce(2));
        assert!(matches!(refused, Err(EnvelopeError::OtherOwner { .. })), "{refused:?}");
    }
}
