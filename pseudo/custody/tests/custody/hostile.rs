//! Bytes that nobody wrote.

use custody::*;
use proptest::prelude::*;

use crate::{master, root, shares};

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), text in ".{0,300}") {
        let _ = (Share::decode(&bytes).is_ok(), Share::from_text(&text).is_ok());
        prop_assert!(root(1).unwrap(&bytes).is_err());
        for magic in [b"TKPS\x01\x01", b"TKPM\x01\x01"] {
            let mut framed = [&magic[..], &bytes].concat();
            let checksum = crc32c::crc32c(&framed).to_le_bytes();
            framed.extend_from_slice(&checksum);
            let _ = (Share::decode(&framed).is_ok(), WrappedName::read(&framed).is_ok());
            prop_assert!(root(1).unwrap(&framed).is_err());
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
