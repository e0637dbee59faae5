//! HMAC-SHA-256 (RFC 2104, FIPS 198-1) under one key, for very many short values.
//!
//! The key's two blocks are compressed once; a value of up to 55 bytes then takes two compressions and nothing else. The general
//! implementation spends as much again on buffers that a short value does not need.

use sha2::block_api::compress256;
use zeroize::Zeroize;

const BLOCK: usize = 64;
/// Bytes of a value, and of what comes before it, that are hashed in one block with their padding.
const SHORT_BYTES_MAX: usize = BLOCK - 9;
/// FIPS 180-4, section 5.3.3.
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];
const INNER: u8 = 0x36;
const OUTER: u8 = 0x5c;

/// A key, ready to use.
pub(crate) struct Keyed(Box<[[u32; 8]; 2]>);

impl Keyed {
    /// A key of 32 bytes: the only length of keys here.
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        let mut states = Box::new([INITIAL; 2]);
        for (state, pad) in states.iter_mut().zip([INNER, OUTER]) {
            let mut block = [pad; BLOCK];
            block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
            compress256(state, &[block]);
            block.zeroize();
        }
        Self(states)
    }

    /// The code of `before` and `value` together.
    pub(crate) fn code(&self, before: &[u8], value: &[u8]) -> [u8; 32] {
        let [mut state, mut outer] = *self.0;
        let length = before.len() + value.len();
        // the key's block counts too
        let bits = ((BLOCK + length) as u64 * 8).to_be_bytes();
        let mut block = [0; BLOCK];
        if length <= SHORT_BYTES_MAX {
            // most values come alone
            if !before.is_empty() {
                block[..before.len()].copy_from_slice(before);
            }
            block[before.len()..length].copy_from_slice(value);
            block[length] = 0x80;
            block[BLOCK - 8..].copy_from_slice(&bits);
            compress256(&mut state, &[block]);
        } else {
            let mut text = [before, value, &[0x80]].concat();
            text.resize((length + 9).next_multiple_of(BLOCK) - 8, 0);
            text.extend_from_slice(&bits);
            compress256(&mut state, text.as_chunks::<BLOCK>().0);
            text.zeroize();
        }
        let mut block = [0; BLOCK];
        write(&state, &mut block);
        block[32] = 0x80;
        block[BLOCK - 8..].copy_from_slice(&((BLOCK as u64 + 32) * 8).to_be_bytes());
        compress256(&mut outer, &[block]);
        let mut code = [0; 32];
        write(&outer, &mut code);
        code
    }
}

fn write(state: &[u32; 8], out: &mut [u8]) {
    for (bytes, word) in out.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
}

impl Drop for Keyed {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(Zeroize::zeroize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hmac::{Hmac, KeyInit, Mac};
    use proptest::prelude::*;
    use sha2::Sha256;

    proptest! {
        #[test]
        fn it_is_hmac(key in any::<[u8; 32]>(), before in prop::collection::vec(any::<u8>(), 0..60), value in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut theirs = Hmac::<Sha256>::new_from_slice(&key).unwrap();
            theirs.update(&before);
            theirs.update(&value);
            prop_assert_eq!(&Keyed::new(&key).code(&before, &value)[..], &theirs.finalize().into_bytes()[..]);
        }
    }

    #[test]
    fn every_length_is_padded_right() {
        for length in 0..200 {
            let value = vec![7; length];
            let mut theirs = Hmac::<Sha256>::new_from_slice(&[9; 32]).unwrap();
            theirs.update(&value);
            assert_eq!(
                Keyed::new(&[9; 32]).code(&[], &value)[..],
                theirs.finalize().into_bytes()[..],
                "{length}"
            );
        }
    }

    #[test]
    fn the_first_case_of_rfc_4231_comes_out() {
        // keys shorter than a block are padded with zeros, so the RFC's key of 20 bytes is one of 32
        let mut key = [0; 32];
        key[..20].fill(0x0b);
        let code = Keyed::new(&key).code(b"Hi ", b"There");
        let text: String = code.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(text, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    }
}
