//! Format-preserving encryption: FF1 of NIST SP 800-38G, with the least domain of its revision 1.
//!
//! Halves are numbers of at most 96 bits, so that all arithmetic is on `u128` and one block of key stream is enough per
//! round. That bounds the length: 57 decimal digits, 36 characters of `A-Z0-9`. FF3 and FF3-1 are broken and absent.
//!
//! Dividing is most of what FF1 would cost beside its blocks: all divisors stay the same, so each is a multiplication here
//! (`divide.rs`).
//!
//! FF1 hides nothing of the length and has no integrity: a changed ciphertext decrypts to another value. Neither this nor any
//! other FF1 known runs in constant time.

use aes::cipher::{Block, BlockCipherEncrypt, KeyInit};
use aes::{Aes128, Aes192, Aes256};
use custody::FieldKey;

use crate::divide::{Divisor, Reducer};
use crate::error::within;
use crate::{Alphabet, Clear, Kind, TransformError};

/// SP 800-38G revision 1: radix to the power of the least length is one million at least.
pub const DOMAIN_MIN: u64 = 1_000_000;

/// 96: d, the length of the key stream that a round takes, is then one block.
const HALF_BITS_MAX: u32 = 96;
const ROUNDS: u8 = 10;
const TECHNIQUE: &str = "ff1";
/// Tweaks are names; longer ones are not needed.
const TWEAK_BYTES_MAX: usize = 256;
const BLOCK: usize = 16;

enum Cipher {
    Aes128(Box<Aes128>),
    Aes192(Box<Aes192>),
    Aes256(Box<Aes256>),
}

impl Cipher {
    fn encrypt(&self, block: &mut [u8; BLOCK]) {
        let block: &mut Block<Aes128> = block.into();
        match self {
            Self::Aes128(cipher) => cipher.encrypt_block(block),
            Self::Aes192(cipher) => cipher.encrypt_block(block),
            Self::Aes256(cipher) => cipher.encrypt_block(block),
        }
    }
}

/// FF1 on digits of one radix, under one key and tweak.
pub struct Ff1 {
    cipher: Cipher,
    radix: u32,
    /// The radix, to take digits off a number.
    last_digit: Divisor,
    /// So many digits make a number of 64 bits.
    short_digits: usize,
    tweak: Vec<u8>,
    /// What depends on the length alone, by length; `None` where the length is not allowed.
    lengths: Vec<Option<Length>>,
}

/// What FF1 needs for one length of its input.
struct Length {
    /// CBC-MAC state after P and after the blocks of Q that hold the tweak alone, and the last block of Q before round number
    /// and half are put in: what is added to them.
    start: u128,
    /// Where the round number stands above the half, bits.
    round_shift: u32,
    /// What of a block is no key stream, bits.
    stream_shift: u32,
    moduli: [Reducer; 2],
}

impl Ff1 {
    /// FF1 under a key of 16, 24 or 32 bytes. Lengths with fewer than `domain_min` values are refused.
    pub fn new(key: &[u8], radix: u32, tweak: &[u8], domain_min: u64) -> Result<Self, TransformError> {
        let problem = "a key has 16, 24 or 32 bytes";
        let wrong_key = |_| TransformError::Parameter { technique: TECHNIQUE, problem };
        within("ff1 radix", u64::from(radix), 2, 256)?;
        within("ff1 tweak in bytes", tweak.len() as u64, 0, TWEAK_BYTES_MAX as u64)?;
        within("ff1 least domain", domain_min, DOMAIN_MIN, u64::MAX)?;
        let cipher = match key.len() {
            16 => Cipher::Aes128(Box::new(Aes128::new_from_slice(key).map_err(wrong_key)?)),
            24 => Cipher::Aes192(Box::new(Aes192::new_from_slice(key).map_err(wrong_key)?)),
            _ => Cipher::Aes256(Box::new(Aes256::new_from_slice(key).map_err(wrong_key)?)),
        };
        let last_digit = Divisor::new(u64::from(radix));
        let is_short = |digits: &u32| power(radix, *digits).is_some_and(|power| power <= 1 << u64::BITS);
        let short_digits = (1..).take_while(is_short).count();
        let tweak = tweak.to_vec();
        let mut ff1 = Self { cipher, radix, last_digit, short_digits, tweak, lengths: Vec::new() };
        for length in 0.. {
            let Some(right) = power(radix, length - length / 2) else { break };
            let left = power(radix, length / 2).expect("the left half is no longer than the right one");
            let enough = length >= 2 && left.saturating_mul(right) >= u128::from(domain_min);
            let constants = enough.then(|| ff1.length(length, [left, right]));
            ff1.lengths.push(constants);
        }
        Ok(ff1)
    }

    /// The longest input, digits.
    pub fn length_max(&self) -> usize {
        self.lengths.len() - 1
    }

    fn length(&self, length: u32, moduli: [u128; 2]) -> Length {
        let half_bits = u128::BITS - (moduli[1] - 1).leading_zeros();
        // b and d of the standard
        let half_bytes = half_bits.div_ceil(8);
        let stream_bytes = 4 * half_bytes.div_ceil(4) + 4;
        assert!(stream_bytes as usize <= BLOCK, "halves of 96 bits need one block");
        let radix = self.radix.to_be_bytes();
        let tweak_bytes = u32::try_from(self.tweak.len()).expect("a tweak is short");
        let mut state = [1, 2, 1, radix[1], radix[2], radix[3], ROUNDS, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        state[7] = u8::try_from((length / 2) % 256).expect("below 256");
        state[8..12].copy_from_slice(&length.to_be_bytes());
        state[12..].copy_from_slice(&tweak_bytes.to_be_bytes());
        self.cipher.encrypt(&mut state);
        let mut q = self.tweak.clone();
        q.resize((self.tweak.len() + 1 + half_bytes as usize).next_multiple_of(BLOCK), 0);
        let (whole, last) = q.split_at(q.len() - BLOCK);
        for block in whole.chunks_exact(BLOCK) {
            state.iter_mut().zip(block).for_each(|(state, byte)| *state ^= byte);
            self.cipher.encrypt(&mut state);
        }
        let block: &[u8; BLOCK] = last.first_chunk().expect("what is left is one block");
        Length {
            start: u128::from_be_bytes(state) ^ u128::from_be_bytes(*block),
            round_shift: 8 * half_bytes,
            stream_shift: u128::BITS - 8 * stream_bytes,
            moduli: moduli.map(|modulus| Reducer::new(modulus, 8 * stream_bytes)),
        }
    }

    /// The round function, reduced by the modulus of the half it is added to.
    fn round(&self, length: &Length, round: u8, half: u128, modulus: &Reducer) -> u128 {
        let mut block = (length.start ^ (u128::from(round) << length.round_shift) ^ half).to_be_bytes();
        self.cipher.encrypt(&mut block);
        modulus.remainder(u128::from_be_bytes(block) >> length.stream_shift)
    }

    fn constants(&self, digits: &[u8]) -> Result<&Length, TransformError> {
        let most = self.length_max();
        let slot =
            self.lengths.get(digits.len()).ok_or(TransformError::TooLong { technique: TECHNIQUE, most })?;
        slot.as_ref().ok_or(TransformError::Domain { least: DOMAIN_MIN })
    }

    /// Encrypts digits, each below the radix, in place.
    pub fn encrypt(&self, digits: &mut [u8]) -> Result<(), TransformError> {
        let length = self.constants(digits)?;
        let middle = digits.len() / 2;
        let (mut a, mut b) = (self.number(&digits[..middle]), self.number(&digits[middle..]));
        for round in 0..ROUNDS {
            let modulus = &length.moduli[usize::from(round % 2)];
            let sum = a + self.round(length, round, b, modulus);
            (a, b) = (b, if sum >= modulus.modulus() { sum - modulus.modulus() } else { sum });
        }
        self.digits(a, &mut digits[..middle]);
        self.digits(b, &mut digits[middle..]);
        Ok(())
    }

    /// Decrypts digits, each below the radix, in place.
    pub fn decrypt(&self, digits: &mut [u8]) -> Result<(), TransformError> {
        let length = self.constants(digits)?;
        let middle = digits.len() / 2;
        let (mut a, mut b) = (self.number(&digits[..middle]), self.number(&digits[middle..]));
        for round in (0..ROUNDS).rev() {
            let modulus = &length.moduli[usize::from(round % 2)];
            let minus = self.round(length, round, a, modulus);
            (a, b) = (if b >= minus { b - minus } else { b + modulus.modulus() - minus }, a);
        }
        self.digits(a, &mut digits[..middle]);
        self.digits(b, &mut digits[middle..]);
        Ok(())
    }

    fn number(&self, digits: &[u8]) -> u128 {
        let (first, rest) = digits.split_at(digits.len().min(self.short_digits));
        let short = first.iter().fold(0, |number, digit| number * u64::from(self.radix) + u64::from(*digit));
        let radix = u128::from(self.radix);
        rest.iter().fold(u128::from(short), |number, digit| number * radix + u128::from(*digit))
    }

    fn digits(&self, mut number: u128, digits: &mut [u8]) {
        let mut places = digits.iter_mut().rev();
        // most halves are below 64 bits, where dividing is several times cheaper
        let mut short = loop {
            if let Ok(short) = u64::try_from(number) {
                break short;
            }
            let Some(place) = places.next() else { break u64::MAX };
            let radix = u128::from(self.radix);
            *place = u8::try_from(number % radix).expect("a radix is 256 at most");
            number /= radix;
        };
        for place in places {
            let (rest, digit) = self.last_digit.divide(short);
            *place = u8::try_from(digit).expect("a radix is 256 at most");
            short = rest;
        }
        assert_eq!(short, 0, "a half is below its modulus");
    }
}

/// `radix` to the power of `exponent`, if that is no more than a half may be.
fn power(radix: u32, exponent: u32) -> Option<u128> {
    u128::from(radix).checked_pow(exponent).filter(|power| *power <= 1 << HALF_BITS_MAX)
}

/// FF1 on text of one alphabet, under a field key.
pub struct FormatPreserving {
    ff1: Ff1,
    alphabet: Alphabet,
}

impl FormatPreserving {
    /// Under this key (of purpose [`custody::Purpose::FormatPreserving`]). Values shorter than `domain_min` needs are refused.
    pub fn new(
        key: &FieldKey,
        alphabet: Alphabet,
        tweak: &[u8],
        domain_min: u64,
    ) -> Result<Self, TransformError> {
        let ff1 = Ff1::new(key.expose_half(), alphabet.radix(), tweak, domain_min)?;
        Ok(Self { ff1, alphabet })
    }

    /// Appends the encrypted value.
    pub fn apply(&self, value: &Clear<'_>, out: &mut Vec<u8>) -> Result<Kind, TransformError> {
        if value.is_null() {
            return Ok(Kind::Null);
        }
        let text = value.identifier().ok_or(TransformError::Type { technique: TECHNIQUE })?;
        self.map(text, out, |digits| self.ff1.encrypt(digits))?;
        Ok(Kind::Text)
    }

    /// Appends the clear value of an encrypted one.
    pub fn open(&self, text: &str, out: &mut Vec<u8>) -> Result<(), TransformError> {
        self.map(text, out, |digits| self.ff1.decrypt(digits))
    }

    /// A value of so many characters, chosen by these bytes.
    pub(crate) fn value_of(&self, bytes: &[u8; 32], length: usize) -> String {
        let radix = self.alphabet.radix();
        let character = |byte: &u8| {
            char::from(self.alphabet.character(
                u8::try_from(u32::from(*byte) % radix).expect("an alphabet has 94 characters at most"),
            ))
        };
        bytes.iter().cycle().take(length).map(character).collect()
    }

    fn map(
        &self,
        text: &str,
        out: &mut Vec<u8>,
        crypt: impl FnOnce(&mut [u8]) -> Result<(), TransformError>,
    ) -> Result<(), TransformError> {
        const WANTED: &str = "of the field's alphabet";
        let start = out.len();
        if text.len() > self.ff1.length_max() {
            return Err(TransformError::TooLong { technique: TECHNIQUE, most: self.ff1.length_max() });
        }
        let digits = text.bytes().map_while(|byte| self.alphabet.digit(byte));
        out.extend(digits);
        let all = out.len() - start == text.len();
        let wanted = TransformError::Form { wanted: WANTED };
        let done = if all { crypt(&mut out[start..]) } else { Err(wanted) };
        if let Err(error) = done {
            // the digits are the value, written otherwise
            out[start..].fill(0);
            out.truncate(start);
            return Err(error);
        }
        out[start..].iter_mut().for_each(|digit| *digit = self.alphabet.character(*digit));
        Ok(())
    }
}
