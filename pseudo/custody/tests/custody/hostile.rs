//! Bytes that nobody wrote.

use custody::*;
use proptest::prelude::*;

use crate::{master, root, shares};

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), text in ".{0,300}") {
        let _ = (Share::decode(&bytes).is_ok(), Share::from_text(&text).is_ok());
        prop_assert!(root(1).unwrap(&bytes).is_err());
        for magic in [b"TKPS\x01\x01", b"TKPM\x01\x01", b"TKPG\x01\x01", b"TKPO\x01\x01"] {
            let mut framed = [&magic[..], &bytes].concat();
            let checksum = crc32c::crc32c(&framed).to_le_bytes();
            framed.extend_from_slice(&checksum);
            let _ = (Share::decode(&framed).is_ok(), WrappedName::read(&framed).is_ok());
            prop_assert!(root(1).unwrap(&framed).is_err() && root(1).unwrap_signing(&framed).is_err());
            let _ = OperatorSeal::read(&framed).is_ok();
        }
    }

    #[test]
    fn every_changed_byte_is_found(at in any::<prop::sample::Index>(), flip in 1_u8.., mends in any::<bool>()) {
        let mut bytes = root(1).wrap(&master("team-usage", 2));
        let end = bytes.len() - 4;
        let at = at.index(if mends { end } else { bytes.len() });
        bytes[at] ^= flip;
        if mends {
            let checksum = crc32c::crc32c(&bytes[..end]).to_le_bytes();
            bytes[end..].copy_from_slice(&checksum);
        }
        prop_assert!(root(1).unwrap(&bytes).is_err());
        let mut share = shares(&root(1), 2, 2, 1).unwrap()[0].encode().to_vec();
        let at = at % share.len();
        share[at] ^= flip;
        prop_assert!(Share::decode(&share).is_err());
    }
}

#[test]
fn every_changed_byte_of_a_signing_key_and_of_an_operators_file_is_found() {
    let key = SigningKey::generate(|bytes| {
        bytes.fill(7);
        Ok::<(), ()>(())
    });
    let wrapped = root(1).wrap_signing(&key.unwrap());
    let (name, key) = (OperatorName::new("ada").unwrap(), root(1).unwrap_signing(&wrapped).unwrap());
    let cost = PassphraseCost { memory_kib: 8, passes: 1, lanes: 1 };
    let sealed = OperatorKey { name, key }.seal(b"passphrase", cost, [1; 16]).unwrap();
    for (whole, is_opened) in [
        (&wrapped, &(|bytes: &[u8]| root(1).unwrap_signing(bytes).is_ok()) as &dyn Fn(&[u8]) -> bool),
        (&sealed, &|bytes| OperatorKey::open(b"passphrase", bytes).is_ok()),
    ] {
        assert!(is_opened(whole));
        let end = whole.len() - 4;
        for at in 0..end {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            assert!(!is_opened(&bytes), "byte {at} without a new checksum");
            let checksum = crc32c::crc32c(&bytes[..end]).to_le_bytes();
            bytes[end..].copy_from_slice(&checksum);
            assert!(!is_opened(&bytes), "byte {at} with a new checksum");
            assert!(!is_opened(&whole[..at]));
        }
    }
}

#[test]
fn what_is_cut_or_of_another_release_is_told_apart() {
    let wrapped = root(1).wrap(&master("team-usage", 2));
    for end in 0..wrapped.len() {
        assert!(root(1).unwrap(&wrapped[..end]).is_err());
    }
    let mut later = wrapped.clone();
    later[4] = 2;
    let end = later.len() - 4;
    let checksum = crc32c::crc32c(&later[..end]).to_le_bytes();
    later[end..].copy_from_slice(&checksum);
    assert!(matches!(root(1).unwrap(&later), Err(CustodyError::UnknownFormat { found: 2, .. })));
    assert!(matches!(Share::decode(&wrapped), Err(CustodyError::NotThisFormat { .. })));
}
