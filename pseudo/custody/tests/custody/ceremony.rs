//! Splitting a root and putting it together again.

use custody::*;
use proptest::prelude::*;
use vsss_rs::Gf256;

use crate::{copies, master, root, shares};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn enough_shares_give_the_root_whichever_they_are(
        (count, threshold) in (2_u8..=SHARES_MAX).prop_flat_map(|count| (Just(count), 2..=count)),
        order in prop::collection::vec(any::<prop::sample::Index>(), 32),
        seed in any::<u64>(),
    ) {
        let root = root(u8::try_from(seed % 200).unwrap());
        let all = shares(&root, threshold, count, seed).unwrap();
        let mut left: Vec<usize> = (0..usize::from(count)).collect();
        let picks: Vec<usize> = order.iter().map_while(|at| (!left.is_empty()).then(|| left.remove(at.index(left.len())))).collect();
        let enough = copies(&all, &picks[..usize::from(threshold)]);
        prop_assert_eq!(RootKey::combine(&enough).unwrap().check(), root.check());
        prop_assert_eq!(RootKey::combine(&all).unwrap().check(), root.check());
        let few = RootKey::combine(&enough[1..]).map(|_| ());
        prop_assert_eq!(few, Err(CustodyError::TooFewShares {
            found: usize::from(threshold) - 1, needed: usize::from(threshold),
        }));
        // another implementation of the same field gives the same root
        let theirs: Vec<Vec<u8>> = enough.iter().map(|share| {
            let bytes = share.encode();
            std::iter::once(share.index()).chain(bytes[28..60].iter().copied()).collect()
        }).collect();
        let theirs = Gf256::combine_bytes(&theirs).unwrap();
        let again = RootKey::generate(|bytes| {
            bytes.copy_from_slice(&theirs);
            Ok::<(), ()>(())
        });
        prop_assert_eq!(again.unwrap().check(), root.check());
    }

    #[test]
    fn a_wrong_share_is_found(seed in any::<u64>(), at in 28_usize..60, flip in 1_u8..) {
        let all = shares(&root(3), 3, 5, seed).unwrap();
        let mut bytes = all[1].encode().to_vec();
        bytes[at] ^= flip;
        let checksum = crc32c::crc32c(&bytes[..60]).to_le_bytes();
        bytes[60..].copy_from_slice(&checksum);
        let mut chosen = copies(&all, &[0, 4]);
        chosen.push(Share::decode(&bytes).unwrap());
        prop_assert_eq!(RootKey::combine(&chosen).map(|_| ()), Err(CustodyError::WrongShare));
    }
}

#[test]
fn shares_of_two_ceremonies_are_refused_even_of_one_root() {
    let (first, second) = (shares(&root(1), 2, 3, 1).unwrap(), shares(&root(2), 2, 3, 2).unwrap());
    let mut mixed = copies(&first, &[0]);
    mixed.extend(copies(&second, &[1]));
    assert_eq!(RootKey::combine(&mixed).map(|_| ()), Err(CustodyError::SharesOfDifferentRoots));
    // the same root split again: the check value agrees, the polynomials do not
    let again = shares(&root(1), 2, 3, 9).unwrap();
    let mut mixed = copies(&first, &[0]);
    mixed.extend(copies(&again, &[1]));
    assert_eq!(RootKey::combine(&mixed).map(|_| ()), Err(CustodyError::WrongShare));
}

#[test]
fn a_share_counts_once() {
    let all = shares(&root(1), 2, 3, 1).unwrap();
    let twice = copies(&all, &[1, 1]);
    assert_eq!(RootKey::combine(&twice).map(|_| ()), Err(CustodyError::ShareTwice { index: 2 }));
    assert!(matches!(RootKey::combine(&[]), Err(CustodyError::TooFewShares { found: 0, .. })));
}

#[test]
fn one_person_alone_never_opens_a_root() {
    for (threshold, count) in [(1, 1), (1, 3), (0, 3), (4, 3), (2, 33)] {
        assert!(matches!(shares(&root(1), threshold, count, 1), Err(CustodyError::OutsideLimits { .. })));
    }
}

#[test]
fn a_share_alone_has_no_bytes_of_its_root() {
    // with all coefficients zero a share would be the root itself: what the polynomial adds must come from the caller
    let shown = format!("{:?} {:?}", root(0), shares(&root(0), 2, 2, 5).unwrap());
    for form in ["0, 1, 2, 3", "00010203", "[0, 1"] {
        assert!(!shown.contains(form), "{shown}");
    }
}

#[test]
fn text_is_read_however_it_is_typed() {
    let all = shares(&root(1), 2, 2, 1).unwrap();
    let text = all[0].to_text().to_uppercase().replace(' ', "\n  ");
    assert_eq!(Share::from_text(&text).unwrap().encode(), all[0].encode());
}

#[test]
fn masters_open_under_their_own_root_alone() {
    let wrapped = root(1).wrap(&master("team-usage", 2));
    assert_eq!(root(1).unwrap(&wrapped).unwrap().id(), master("team-usage", 2).id());
    let name = WrappedName::read(&wrapped).unwrap();
    assert_eq!((name.domain.as_str(), name.version.get(), name.root), ("team-usage", 2, root(1).check()));
    assert_eq!(
        root(2).unwrap(&wrapped).map(|_| ()),
        Err(CustodyError::OtherRoot { what: "wrapped domain key" })
    );
}
