//! Bytes that never change. The fixture was written by `tests/fixtures/golden.py`, a second implementation.

use custody::{
    CustodyError, OperatorKey, OperatorName, PassphraseCost, PublicKey, RootKey, SealedRoot, Share,
    SigningKey, TotpSecret,
};
use zeroize::Zeroizing;

use crate::{master, root};

const GOLDEN: &str = include_str!("../fixtures/golden.txt");

fn golden(name: &str) -> &'static str {
    let line = GOLDEN.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.expect("the fixture has the line")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| u8::try_from(char::from(byte).to_digit(16).unwrap()).unwrap();
    text.as_bytes().chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

#[test]
fn shares_are_what_they_were() {
    let mut rows = [[0xa5; 32], [0; 32]];
    rows[1][31] = 0xff;
    let mut rows = rows.iter();
    let shares = root(0)
        .split(3, 5, |bytes| {
            bytes.copy_from_slice(rows.next().unwrap());
            Ok::<(), CustodyError>(())
        })
        .unwrap();
    for index in [1, 2, 5] {
        let share = &shares[index - 1];
        assert_eq!(hex(&share.encode()), golden(&format!("share_{index}")));
        assert_eq!(share.to_text().replace(' ', ""), golden(&format!("share_{index}")));
    }
}

#[test]
fn a_wrapped_master_is_what_it_was() {
    assert_eq!(hex(&root(0).wrap(&master("team-usage", 3))), golden("master"));
    assert_eq!(hex(&master("team-usage", 3).id()), golden("master_id"));
}

#[test]
fn golden_shares_open_the_golden_master() {
    let shares: Vec<Share> =
        [5, 1, 2].map(|index| Share::from_text(golden(&format!("share_{index}"))).unwrap()).into();
    let opened = RootKey::combine(&shares).unwrap().unwrap(&unhex(golden("master"))).unwrap();
    assert_eq!((opened.domain().as_str(), opened.version().get()), ("team-usage", 3));
    assert_eq!(opened.id(), master("team-usage", 3).id());
}

fn signing() -> SigningKey {
    let key = SigningKey::generate(|bytes| {
        bytes.fill(2);
        Ok::<(), ()>(())
    });
    key.unwrap()
}

#[test]
fn signing_keys_and_signatures_are_what_they_were() {
    let (key, signature) = (signing(), signing().sign(b"message"));
    assert_eq!(
        (hex(&key.public().0), hex(&signature)),
        (golden("public").into(), golden("signature").into())
    );
    assert_eq!(hex(&root(0).wrap_signing(&key)), golden("signing"));
    let opened = root(0).unwrap_signing(&unhex(golden("signing"))).unwrap();
    assert!(PublicKey(key.public().0).verifies(b"message", &opened.sign(b"message")));
    assert!(!key.public().verifies(b"massage", &signature));
    assert!(root(1).unwrap_signing(&unhex(golden("signing"))).is_err());
}

#[test]
fn an_operators_file_is_what_it_was_and_opens_with_its_passphrase_alone() {
    let operator = OperatorKey { name: OperatorName::new("ada").unwrap(), key: signing() };
    let cost = PassphraseCost { memory_kib: 64, passes: 2, lanes: 2 };
    let sealed = operator.seal(b"correct horse", cost, [3; 16]).unwrap();
    assert_eq!(hex(&sealed), golden("operator"));
    let opened = OperatorKey::open(b"correct horse", &unhex(golden("operator"))).unwrap();
    assert_eq!((opened.name.as_str(), opened.key.public()), ("ada", operator.key.public()));
    let wrong = OperatorKey::open(b"correct horse ", &sealed).unwrap_err();
    assert!(matches!(wrong, CustodyError::WrongPassphrase { .. }), "{wrong:?}");
}

#[test]
fn a_second_factor_is_what_it_was() {
    let totp = TotpSecret::generate(OperatorName::new("ada").unwrap(), |bytes| {
        bytes.copy_from_slice(b"12345678901234567890");
        Ok::<(), ()>(())
    });
    assert_eq!(hex(&root(0).wrap_totp(&totp.unwrap())), golden("totp"));
    let opened = root(0).unwrap_totp(&unhex(golden("totp"))).unwrap();
    // RFC 6238, appendix B, with six of its eight digits
    assert_eq!((opened.operator().as_str(), opened.code(1, 6)), ("ada", 287_082));
    assert!(root(1).unwrap_totp(&unhex(golden("totp"))).is_err());
    let whole = unhex(golden("totp"));
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        assert!(root(0).unwrap_totp(&changed).is_err(), "byte {at}");
        assert!(root(0).unwrap_totp(&whole[..at]).is_err());
    }
}

#[test]
fn a_root_that_a_token_sealed_is_what_it_was_and_every_byte_of_it_counts() {
    let whole = unhex(golden("token"));
    let sealed = || SealedRoot { nonce: [7; 12], bytes: whole[36..84].to_vec() };
    let made = root(0).seal_on_token(|associated, plain| {
        assert_eq!((associated, plain), (&whole[..24], &(0..32).collect::<Vec<u8>>()[..]));
        Ok::<_, CustodyError>(sealed())
    });
    assert_eq!(hex(&made.unwrap()), golden("token"));
    // a token that opens what it sealed under what that was bound to, and nothing else
    let open = |bytes: &[u8]| {
        RootKey::open_on_token(bytes, |associated, found| {
            let is_it =
                associated == &whole[..24] && (found.nonce, &found.bytes) == ([7; 12], &sealed().bytes);
            Ok::<_, CustodyError>(is_it.then(|| Zeroizing::new((0..32).collect())))
        })
    };
    assert_eq!(open(&whole).unwrap().check(), root(0).check());
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        assert!(open(&changed).is_err(), "byte {at}, checksum left");
        let checksum = crc32c::crc32c(&changed[..84]).to_le_bytes();
        changed[84..].copy_from_slice(&checksum);
        assert!(at >= 84 || open(&changed).is_err(), "byte {at}, checksum forged");
        assert!(open(&whole[..at]).is_err());
    }
    let other =
        RootKey::open_on_token(&whole, |_, _| Ok::<_, CustodyError>(Some(Zeroizing::new(vec![9; 32]))));
    assert!(other.is_err(), "a token that opens something else");
}
