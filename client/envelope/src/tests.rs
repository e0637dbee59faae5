//! Fixed keys and places for the tests of this crate.

use std::convert::Infallible;

use wire::{DeploymentId, TenantId};

use crate::*;

pub(crate) fn from_hex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2));
    let pair = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(pair).collect()
}

/// A source of "random" bytes for tests: all the same.
pub(crate) fn all(byte: u8) -> impl Fn(&mut [u8]) -> Result<(), Infallible> {
    move |bytes| {
        bytes.fill(byte);
        Ok(())
    }
}

pub(crate) fn root_key(byte: u8) -> RootKey {
    RootKey::generate(all(byte)).unwrap()
}

pub(crate) fn object_key(byte: u8) -> ObjectKey {
    ObjectKey::generate(all(byte)).unwrap()
}

pub(crate) fn region_name(text: &str) -> RegionName {
    RegionName::parse(text).unwrap()
}

pub(crate) fn region_key_name() -> RegionKeyName {
    RegionKeyName {
        deployment: DeploymentId([0xd0; 16]),
        region: region_name("here-1"),
        version: KeyVersion(1),
    }
}

pub(crate) fn region_key(byte: u8) -> RegionKey {
    RegionKey::generate(region_key_name(), all(byte)).unwrap()
}

pub(crate) fn tenant_key_name() -> TenantKeyName {
    TenantKeyName {
        deployment: DeploymentId([0xd0; 16]),
        region: region_name("here-1"),
        tenant: TenantId(7),
        version: KeyVersion(3),
    }
}

pub(crate) fn tenant_key(byte: u8) -> TenantKey {
    TenantKey::generate(tenant_key_name(), all(byte)).unwrap()
}
