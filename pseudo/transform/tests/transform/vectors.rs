//! Published test vectors.

use aes_siv::KeyInit;
use aes_siv::siv::Aes128Siv;
use custody::{Purpose, Scope};
use fpe::ff1::{FF1, FlexibleNumeralString};
use proptest::prelude::*;
use transform::{Alphabet, DOMAIN_MIN, Ff1, FormatPreserving, TransformError};

use crate::given::key;

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter_map(|digit| digit.to_digit(16))
        .map(|digit| u8::try_from(digit).unwrap())
        .collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn digits(text: &str) -> Vec<u8> {
    text.chars().map(|character| u8::try_from(character.to_digit(36).unwrap()).unwrap()).collect()
}

/// NIST's nine samples of FF1 ("FF1samples.pdf", with SP 800-38G): radix, tweak, plaintext, ciphertext for each key length.
#[test]
fn ff1_gives_the_samples_of_nist() {
    const KEY: &str = "2B7E151628AED2A6ABF7158809CF4F3CEF4359D8D580AA4F7F036D6F04FC6A94";
    const DECIMAL: &str = "39383736353433323130";
    const LETTERS: &str = "3737373770717273373737";
    for (radix, tweak, plain, sealed) in [
        (10, "", "0123456789", ["2433477484", "2830668132", "6657667009"]),
        (10, DECIMAL, "0123456789", ["6124200773", "2496655549", "1001623463"]),
        (
            36,
            LETTERS,
            "0123456789abcdefghi",
            ["a9tv40mll9kdu509eum", "xbj3kv35jrawxv32ysr", "xs8a0azh2avyalyzuwd"],
        ),
    ] {
        for (key_bytes, expected) in [16, 24, 32].into_iter().zip(sealed) {
            let ff1 = Ff1::new(&unhex(KEY)[..key_bytes], radix, &unhex(tweak), DOMAIN_MIN).unwrap();
            let mut text = digits(plain);
            ff1.encrypt(&mut text).unwrap();
            assert_eq!(text, digits(expected), "radix {radix}, key of {key_bytes} bytes");
            ff1.decrypt(&mut text).unwrap();
            assert_eq!(text, digits(plain));
        }
    }
}

/// RFC 5297, appendices A.1 and A.2: the mode that reversible tokens and wrapped keys use, with the RFC's shorter key.
#[test]
fn the_siv_mode_gives_the_examples_of_its_rfc() {
    let seal = |key: &str, headers: &[&str], plain: &str| {
        let key: [u8; 32] = unhex(key).try_into().unwrap();
        let headers: Vec<Vec<u8>> = headers.iter().map(|header| unhex(header)).collect();
        Aes128Siv::new(&key.into()).encrypt(headers, &unhex(plain)).unwrap()
    };
    assert_eq!(
        seal(
            "fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
            &["101112131415161718191a1b1c1d1e1f2021222324252627"],
            "112233445566778899aabbccddee",
        ),
        unhex("85632d07c6e8f37f950acd320a2ecc9340c02b9690c4dc04daef7f6afe5c")
    );
    assert_eq!(
        seal(
            "7f7e7d7c7b7a79787776757473727170404142434445464748494a4b4c4d4e4f",
            &[
                "00112233445566778899aabbccddeeffdeaddadadeaddadaffeeddccbbaa99887766554433221100",
                "102030405060708090a0",
                "09f911029d74e35bd84156c5635688c0",
            ],
            "7468697320697320736f6d6520706c61696e7465787420746f20656e6372797074207573696e67205349562d414553",
        ),
        unhex(
            "7bdb6e3b432667eb06f4d14bff2fbd0fcb900f2fddbe404326601965c889bf17dba77ceb094fa663b7a3f748ba8af829ea64ad544a272e9c485b62a3fd5c0d"
        )
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// The crate `fpe` computes with big integers: another way to the same numbers.
    #[test]
    fn ff1_agrees_with_another_crate(
        key in prop::collection::vec(any::<u8>(), 32),
        tweak in prop::collection::vec(any::<u8>(), 0..40),
        radix in 2_u32..=256,
        seeds in prop::collection::vec(any::<u8>(), 1..100),
    ) {
        let ours = Ff1::new(&key, radix, &tweak, DOMAIN_MIN).unwrap();
        let mut text: Vec<u8> = seeds.iter().map(|seed| u8::try_from(u32::from(*seed) % radix).unwrap()).collect();
        let theirs = FF1::<aes::Aes256>::new(&key, radix).unwrap();
        let wide: Vec<u16> = text.iter().map(|digit| u16::from(*digit)).collect();
        let expected = theirs.encrypt(&tweak, &FlexibleNumeralString::from(wide));
        let plain = text.clone();
        match ours.encrypt(&mut text) {
            Ok(()) => {
                let expected: Vec<u16> = expected.unwrap().into();
                prop_assert_eq!(text.iter().map(|digit| u16::from(*digit)).collect::<Vec<_>>(), expected);
                ours.decrypt(&mut text).unwrap();
                prop_assert_eq!(text, plain);
            }
            Err(TransformError::TooLong { .. }) => prop_assert!(text.len() > ours.length_max()),
            Err(error) => prop_assert!(expected.is_err(), "{}", error),
        }
    }
}

#[test]
fn ff1_is_refused_where_it_would_not_hide() {
    let key = key(Purpose::FormatPreserving, Scope::Domain);
    let decimal = || Alphabet::new("0-9").unwrap();
    let short = FormatPreserving::new(&key, decimal(), b"", DOMAIN_MIN).unwrap();
    let long = FormatPreserving::new(&key, decimal(), b"", 100_000_000).unwrap();
    let apply = |ff1: &FormatPreserving, text: &str| {
        crate::given::text(|out| ff1.apply(&transform::Clear::Text(text), out)).map(|_| ())
    };
    assert_eq!(apply(&short, "123456"), Ok(()));
    for (ff1, text) in [(&short, ""), (&short, "12345"), (&long, "1234567")] {
        assert!(matches!(apply(ff1, text), Err(TransformError::Domain { .. })), "{text}");
    }
    assert!(matches!(apply(&short, "12345x"), Err(TransformError::Form { .. })));
    assert!(matches!(apply(&short, &"1".repeat(100)), Err(TransformError::TooLong { .. })));
    assert!(FormatPreserving::new(&key, decimal(), b"", DOMAIN_MIN - 1).is_err());
    assert!(Ff1::new(&[0; 31], 10, b"", DOMAIN_MIN).is_err());
}
