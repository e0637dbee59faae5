//! Wrapped keys, sealed values and root files that were edited or moved.

use bytes::Bytes;
use envelope::*;
use wire::{DeploymentId, TenantId};

use crate::given::*;

fn refused_key<T>(result: Result<T, EnvelopeError>) -> bool {
    matches!(result, Err(EnvelopeError::KeyRefused { .. } | EnvelopeError::OtherOwner { .. }))
}

fn root_file() -> Vec<u8> {
    seal_root(b"right", quick_cost(), [6; SALT_BYTES], &root_key(1)).unwrap().to_vec()
}

#[test]
fn a_wrong_passphrase_is_told_apart_from_damage_and_from_another_file() {
    let file = root_file();
    for wrong in [&b"wrong"[..], b"", b"right ", &[b'a'; PASSPHRASE_BYTES_MAX + 1]] {
        assert!(matches!(open_root(wrong, &file), Err(EnvelopeError::WrongPassphrase)));
    }
    let mut damaged = file.clone();
    damaged[50] ^= 1;
    assert!(matches!(open_root(b"right", &damaged), Err(EnvelopeError::Damaged { .. })));
    for other in [&b"-----BEGIN"[..], b"", b"TKWK", &[0; 4096]] {
        assert!(matches!(open_root(b"right", other), Err(EnvelopeError::NotThisFormat { .. })));
    }
    let mut newer = file;
    newer[4] = 2;
    let refused = open_root(b"right", &with_checksum(newer));
    assert!(matches!(refused, Err(EnvelopeError::UnknownFormat { found: 2, .. })));
}

#[test]
fn a_root_file_cannot_make_the_reader_take_memory_or_time_without_limit() {
    let most = u32::MAX;
    // memory, passes, lanes
    for (offset, value) in [(8, most), (8, (512 << 10) + 1), (12, most), (12, 17), (16, most), (16, 17)] {
        let mut bomb = root_file();
        bomb[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
        let refused = open_root(b"right", &with_checksum(bomb));
        assert!(matches!(refused, Err(EnvelopeError::OutsideLimits { .. })), "{offset} {value}");
    }
    for offset in [8, 12, 16] {
        let mut nothing = root_file();
        nothing[offset..offset + 4].fill(0);
        let refused = open_root(b"right", &with_checksum(nothing));
        assert!(matches!(refused, Err(EnvelopeError::OutsideLimits { .. })), "{offset}");
    }
}

#[test]
fn every_flipped_bit_of_a_root_file_is_refused_even_with_a_right_checksum() {
    let file = root_file();
    // memory and passes have their own test; here their flips would only cost time
    let edits = bit_flips(&file[..file.len() - 4]).filter(|(offset, _)| !(8..16).contains(offset));
    for (offset, flipped) in edits {
        let edited = with_checksum([&flipped[..], &[0; 4]].concat());
        assert!(open_root(b"right", &edited).is_err(), "flip at {offset}");
    }
}

#[test]
fn a_passphrase_has_a_length() {
    for passphrase in [&b""[..], &[b'a'; PASSPHRASE_BYTES_MAX + 1]] {
        let refused = seal_root(passphrase, quick_cost(), [0; SALT_BYTES], &root_key(1));
        assert!(matches!(refused, Err(EnvelopeError::OutsideLimits { .. })));
    }
}

#[test]
fn a_region_key_opens_only_under_its_own_root_and_name() {
    let wrapped = root_key(1).wrap(&region_key(HERE, 1, 2), nonce(3)).unwrap();
    assert!(root_key(1).unwrap(&region_name(HERE, 1), &wrapped).is_ok());
    assert!(refused_key(root_key(2).unwrap(&region_name(HERE, 1), &wrapped)));
    assert!(refused_key(root_key(1).unwrap(&region_name(THERE, 1), &wrapped)));
    assert!(refused_key(root_key(1).unwrap(&region_name(HERE, 2), &wrapped)));
    let elsewhere = RegionKeyName { deployment: DeploymentId([1; 16]), ..region_name(HERE, 1) };
    assert!(refused_key(root_key(1).unwrap(&elsewhere, &wrapped)));
}

#[test]
fn the_root_is_object_safe() {
    let root: Box<dyn RootWrap> = Box::new(root_key(1));
    let wrapped = root.wrap(&region_key(HERE, 1, 2), nonce(3)).unwrap();
    assert!(root.unwrap(&region_name(HERE, 1), &wrapped).is_ok());
}

#[test]
fn a_tenant_key_opens_only_for_its_tenant_region_and_versions() {
    let key = region_key(HERE, 1, 2);
    let wrapped = key.wrap_tenant_key(&tenant_key(HERE, 3, 3), nonce(4)).unwrap();
    assert_eq!(key.unwrap_tenant_key(TENANT, &wrapped).unwrap().name(), &tenant_name(HERE, TENANT, 3));
    assert!(refused_key(key.unwrap_tenant_key(TenantId(8), &wrapped)));
    // the same key bytes under another name
    assert!(refused_key(region_key(THERE, 1, 2).unwrap_tenant_key(TENANT, &wrapped)));
    assert!(refused_key(region_key(HERE, 2, 2).unwrap_tenant_key(TENANT, &wrapped)));
    // the same name over other key bytes
    assert!(refused_key(region_key(HERE, 1, 9).unwrap_tenant_key(TENANT, &wrapped)));
    // another version claimed for the key inside
    let mut bytes = wrapped.encode().to_vec();
    bytes[8] = 4;
    let edited = WrappedKey::decode(&with_checksum(bytes)).unwrap();
    assert_eq!(edited.version(), KeyVersion(4));
    assert!(refused_key(key.unwrap_tenant_key(TENANT, &edited)));
}

#[test]
fn a_region_wraps_only_its_own_tenant_keys() {
    let refused = region_key(HERE, 1, 2).wrap_tenant_key(&tenant_key(THERE, 3, 3), nonce(4));
    assert!(refused_key(refused));
}

#[test]
fn a_key_of_one_level_does_not_open_as_another() {
    // root and region key of the same bytes: the level alone must hold
    let region_bytes = root_key(2).wrap(&region_key(HERE, 0, 5), nonce(3)).unwrap();
    let as_region = WrappedKey::decode(&region_bytes).unwrap();
    let refused = region_key(HERE, 0, 2).unwrap_tenant_key(TENANT, &as_region);
    assert!(matches!(refused, Err(EnvelopeError::OtherLevel { .. })));
    let mut relabelled = region_bytes.to_vec();
    relabelled[6] = 2;
    let as_tenant = WrappedKey::decode(&with_checksum(relabelled)).unwrap();
    assert_eq!(as_tenant.level(), KeyLevel::Tenant);
    for tenant in [TENANT, TenantId(0)] {
        assert!(refused_key(region_key(HERE, 0, 2).unwrap_tenant_key(tenant, &as_tenant)));
    }
}

#[test]
fn every_flipped_bit_of_a_wrapped_key_is_refused_even_with_a_right_checksum() {
    let key = region_key(HERE, 1, 2);
    let wrapped = key.wrap_tenant_key(&tenant_key(HERE, 3, 3), nonce(4)).unwrap().encode();
    for (offset, flipped) in bit_flips(&wrapped[..wrapped.len() - 4]) {
        let edited = with_checksum([&flipped[..], &[0; 4]].concat());
        let opened = WrappedKey::decode(&edited).and_then(|key_| key.unwrap_tenant_key(TENANT, &key_));
        assert!(opened.is_err(), "flip at {offset}");
    }
}

#[test]
fn a_small_secret_opens_only_as_what_it_was_sealed_as() {
    let key = region_key(HERE, 1, 2);
    let sealed = seal_value(&key, "access key", b"anna", b"secret", nonce(1)).unwrap();
    let open = |key: &RegionKey, label: &str, context: &[u8]| {
        open_value(key, label, context, sealed.clone()).map(|value| value.to_vec())
    };
    assert_eq!(open(&key, "access key", b"anna").unwrap(), b"secret");
    assert!(open(&key, "access key", b"bert").is_err());
    assert!(open(&key, "access ke", b"yanna").is_err());
    assert!(open(&key, "join token", b"anna").is_err());
    assert!(open(&region_key(THERE, 1, 2), "access key", b"anna").is_err());
    assert!(open(&region_key(HERE, 2, 2), "access key", b"anna").is_err());
    assert!(open(&region_key(HERE, 1, 3), "access key", b"anna").is_err());
    for (offset, flipped) in bit_flips(&sealed[..sealed.len() - 4]) {
        let edited = with_checksum([&flipped[..], &[0; 4]].concat());
        assert!(open_value(&key, "access key", b"anna", Bytes::from(edited)).is_err(), "flip at {offset}");
    }
}

#[test]
fn small_secrets_have_limits() {
    let key = region_key(HERE, 1, 2);
    let (label, context) = ("l".repeat(VALUE_LABEL_BYTES_MAX), vec![0; VALUE_CONTEXT_BYTES_MAX]);
    let sealed = seal_value(&key, &label, &context, b"fits", nonce(1)).unwrap();
    assert_eq!(&open_value(&key, &label, &context, sealed).unwrap()[..], b"fits");
    let (long_label, long_context) = (label.clone() + "l", [&context[..], &[0]].concat());
    let long_plain = [0; VALUE_PLAIN_BYTES_MAX + 1];
    for refused in [
        seal_value(&key, "", &context, b"", nonce(1)),
        seal_value(&key, &long_label, &context, b"", nonce(1)),
        seal_value(&key, &label, &long_context, b"", nonce(1)),
        seal_value(&key, &label, &context, &long_plain, nonce(1)),
    ] {
        assert!(matches!(refused, Err(EnvelopeError::OutsideLimits { .. })));
    }
}
