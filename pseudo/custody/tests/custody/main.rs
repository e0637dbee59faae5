//! Keys from outside: golden bytes, ceremonies that go right and wrong, hostile bytes.
#![allow(clippy::unwrap_used, reason = "tests")]

mod ceremony;
mod golden;
mod hostile;

use custody::{CustodyError, DomainName, KeyVersion, MasterKey, RootKey, Share};

/// Any root, by its first byte; the golden one is 0.
fn root(first: u8) -> RootKey {
    let fill = |bytes: &mut [u8]| {
        (first..).zip(bytes).for_each(|(value, byte)| *byte = value);
        Ok::<(), ()>(())
    };
    RootKey::generate(fill).unwrap()
}

fn master(domain: &str, version: u32) -> MasterKey {
    let (domain, version) = (DomainName::new(domain).unwrap(), KeyVersion::new(version).unwrap());
    let fill = |bytes: &mut [u8]| {
        bytes.fill(1);
        Ok::<(), ()>(())
    };
    MasterKey::generate(domain, version, fill).unwrap()
}

/// Shares whose coefficients come from a generator that starts at `seed`.
fn shares(root: &RootKey, threshold: u8, count: u8, mut seed: u64) -> Result<Vec<Share>, CustodyError> {
    root.split(threshold, count, |bytes| {
        for byte in bytes {
            // Knuth's multiplier: enough for tests
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *byte = u8::try_from(seed >> 56).unwrap();
        }
        Ok(())
    })
}

fn copies(shares: &[Share], indexes: &[usize]) -> Vec<Share> {
    indexes.iter().map(|index| Share::decode(&shares[*index].encode()).unwrap()).collect()
}
