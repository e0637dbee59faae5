//! The published vectors, through the very cipher that everything is sealed with.

use super::*;
use crate::tests::from_hex;

const VECTORS: &str = include_str!("../../tests/fixtures/rfc8452.txt");

struct Vector {
    cipher: Cipher,
    nonce: [u8; NONCE_BYTES],
    associated: Vec<u8>,
    plain: Vec<u8>,
    sealed: Vec<u8>,
}

fn vectors() -> Vec<Vector> {
    let lines = VECTORS.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let fields: Vec<Vec<u8>> =
                line.split(' ').map(|f| if f == "-" { Vec::new() } else { from_hex(f) }).collect();
            let key = Secret::fill(|bytes| {
                bytes.copy_from_slice(&fields[0]);
                Ok::<_, ()>(())
            });
            Vector {
                cipher: Cipher::new(&key.unwrap()),
                nonce: fields[1][..].try_into().unwrap(),
                associated: fields[2].clone(),
                plain: fields[3].clone(),
                sealed: fields[4].clone(),
            }
        })
        .collect()
}

#[test]
fn every_vector_of_rfc_8452_seals_to_the_published_bytes() {
    // 24 of appendix C.2 and 2 of C.3, where the counter wraps
    assert_eq!(vectors().len(), 26);
    for vector in vectors() {
        let mut message = vector.plain.clone();
        let tag = vector.cipher.seal(&vector.nonce, &vector.associated, &mut message);
        message.extend(tag);
        assert_eq!(message, vector.sealed);
    }
}

#[test]
fn every_vector_of_rfc_8452_opens_to_the_published_bytes() {
    for vector in vectors() {
        let (message, tag) = vector.sealed.split_at(vector.plain.len());
        let mut message = message.to_vec();
        let opened =
            vector.cipher.open(&vector.nonce, &vector.associated, &mut message, tag.try_into().unwrap());
        assert_eq!((opened, message), (Ok(()), vector.plain));
    }
}

#[test]
fn a_forged_message_stays_ciphertext() {
    for vector in vectors() {
        let (message, tag) = vector.sealed.split_at(vector.plain.len());
        let mut wrong_tag: [u8; TAG_BYTES] = tag.try_into().unwrap();
        wrong_tag[0] ^= 1;
        let mut opened = message.to_vec();
        let result = vector.cipher.open(&vector.nonce, &vector.associated, &mut opened, &wrong_tag);
        assert_eq!((result, &opened[..]), (Err(Forged), message));
    }
}
