//! Shamir's secret sharing over GF(2^8), polynomial x^8 + x^4 + x^3 + x + 1, byte by byte.
//!
//! Without tables and without branches on secret bytes. Coefficients are the caller's random bytes, any value allowed, also for
//! the highest: else fewer shares than needed would tell something.

use zeroize::Zeroizing;

use crate::secret::{KEY_BYTES, Secret};

/// Coefficients of the polynomials of all bytes, one row per power from 1.
pub(crate) type Coefficients = Zeroizing<Vec<[u8; KEY_BYTES]>>;

/// The share at `index`, which is not zero: there lies the secret.
pub(crate) fn share_at(
    secret: &Secret<KEY_BYTES>,
    coefficients: &Coefficients,
    index: u8,
) -> Secret<KEY_BYTES> {
    assert_ne!(index, 0, "the secret itself is no share");
    let mut share = Secret::zeroed();
    for (at, byte) in share.bytes_mut().iter_mut().enumerate() {
        let higher = coefficients.iter().rev().fold(0, |sum, row| multiply(sum, index) ^ row[at]);
        *byte = multiply(higher, index) ^ secret.bytes()[at];
    }
    share
}

/// The value at zero of the polynomials through these points; their indexes differ and are not zero.
pub(crate) fn combine(shares: &[(u8, &Secret<KEY_BYTES>)]) -> Secret<KEY_BYTES> {
    let mut secret = Secret::zeroed();
    for (place, (index, share)) in shares.iter().enumerate() {
        let others = shares.iter().enumerate().filter(|(other, _)| *other != place);
        // the Lagrange polynomial of this point, at zero; indexes are no secret
        let weight = others.fold(1, |weight, (_, (other, _))| {
            assert_ne!(index, other, "no index comes twice");
            multiply(weight, multiply(*other, inverse(index ^ other)))
        });
        for (byte, part) in secret.bytes_mut().iter_mut().zip(share.bytes()) {
            *byte ^= multiply(weight, *part);
        }
    }
    secret
}

fn multiply(a: u8, b: u8) -> u8 {
    let (mut product, mut a) = (0, a);
    for bit in 0..8 {
        product ^= a & 0_u8.wrapping_sub((b >> bit) & 1);
        a = (a << 1) ^ (0x1b & 0_u8.wrapping_sub(a >> 7));
    }
    product
}

/// `a` to the power of 254.
fn inverse(a: u8) -> u8 {
    let mut power = a;
    for _ in 0..6 {
        power = multiply(multiply(power, power), a);
    }
    multiply(power, power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_has_an_inverse() {
        for a in 1..=u8::MAX {
            assert_eq!(multiply(a, inverse(a)), 1, "{a}");
        }
        // FIPS 197, section 4.2
        assert_eq!(multiply(0x57, 0x83), 0xc1);
    }
}
