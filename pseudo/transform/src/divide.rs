//! Division by numbers that stay the same: one multiplication by their inverse, and a correction.

/// Divides numbers of 64 bits.
pub(crate) struct Divisor {
    divisor: u64,
    /// 2^64 / divisor, rounded down, or one less.
    inverse: u64,
}

impl Divisor {
    /// By a number other than 0.
    pub(crate) fn new(divisor: u64) -> Self {
        Self { divisor, inverse: u64::MAX / divisor }
    }

    /// Quotient and remainder.
    pub(crate) fn divide(&self, value: u64) -> (u64, u64) {
        // the inverse is at most 1 too low, so their product is less than 2^64 too low: the quotient is right or one too small
        let quotient = high(value, self.inverse);
        let rest = value - quotient * self.divisor;
        if rest >= self.divisor { (quotient + 1, rest - self.divisor) } else { (quotient, rest) }
    }
}

/// Remainders of numbers of up to 128 bits.
pub(crate) struct Reducer {
    modulus: u128,
    way: Way,
}

/// The cheapest way for a modulus and the numbers that are reduced by it.
enum Way {
    /// Numbers of 64 bits.
    Short(Divisor),
    /// Numbers of 96 bits by moduli above 2^32 and up to 2^64: with 2^96 / modulus, rounded down.
    Middle(u64),
    /// By moduli up to 2^32: 32 bits more at a time.
    Steps(Divisor),
    Long,
}

impl Reducer {
    /// By a modulus other than 0, for numbers of so many bits.
    pub(crate) fn new(modulus: u128, bits: u32) -> Self {
        let short = u64::try_from(modulus).map(Divisor::new);
        let way = match short {
            Ok(divisor) if bits <= 64 => Way::Short(divisor),
            Ok(divisor) if modulus <= 1 << 32 => Way::Steps(divisor),
            _ if bits <= 96 && modulus <= 1 << 64 => {
                Way::Middle(u64::try_from((1 << 96) / modulus).expect("the modulus is above 2^32"))
            }
            _ => Way::Long,
        };
        Self { modulus, way }
    }

    pub(crate) fn modulus(&self) -> u128 {
        self.modulus
    }

    /// `value % modulus`.
    pub(crate) fn remainder(&self, value: u128) -> u128 {
        match &self.way {
            Way::Short(divisor) => u128::from(divisor.divide(low(value)).1),
            Way::Middle(inverse) => {
                // what the lower 32 bits and both roundings take off the quotient is below 3
                let quotient = high(low(value >> 32), *inverse);
                let mut rest = value - u128::from(quotient) * self.modulus;
                while rest >= self.modulus {
                    rest -= self.modulus;
                }
                rest
            }
            Way::Steps(divisor) => {
                let pieces =
                    [value >> 96, value >> 64, value >> 32, value].map(|piece| low(piece) & 0xffff_ffff);
                u128::from(pieces.into_iter().fold(0, |rest, piece| divisor.divide(rest << 32 | piece).1))
            }
            Way::Long => value % self.modulus,
        }
    }
}

/// The lower half.
fn low(value: u128) -> u64 {
    u64::try_from(value & u128::from(u64::MAX)).expect("64 bits")
}

/// The upper half of a product.
fn high(one: u64, other: u64) -> u64 {
    u64::try_from((u128::from(one) * u128::from(other)) >> 64).expect("64 bits")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Numbers of every length, and those around powers of two.
    fn number(bits: u32) -> impl Strategy<Value = u128> {
        (any::<u128>(), 0..bits, -2_i128..=2, any::<bool>()).prop_map(move |(drawn, shift, near, is_edge)| {
            let mask = u128::MAX >> (u128::BITS - bits);
            if is_edge { (1_u128 << shift).wrapping_add_signed(near) & mask } else { (drawn & mask) >> shift }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn quotients_and_remainders_are_those_of_division(value in number(64), divisor in number(64)) {
            let (value, divisor) = (low(value), low(divisor).max(1));
            prop_assert_eq!(Divisor::new(divisor).divide(value), (value / divisor, value % divisor));
        }

        #[test]
        fn remainders_are_those_of_division_for_every_length(
            bits in prop::sample::select(vec![64_u32, 96, 128]), value in number(128), modulus in number(96)
        ) {
            let (value, modulus) = (value >> (u128::BITS - bits), modulus.max(2));
            prop_assert_eq!(Reducer::new(modulus, bits).remainder(value), value % modulus);
        }
    }

    #[test]
    fn the_greatest_numbers_are_reduced_right() {
        for modulus in [2, 3, 10, 1 << 32, (1 << 32) + 1, (1 << 64) - 1, 1 << 64, (1 << 64) + 1, 1 << 96] {
            for bits in [64, 96, 128] {
                let value = u128::MAX >> (u128::BITS - bits);
                assert_eq!(
                    Reducer::new(modulus, bits).remainder(value),
                    value % modulus,
                    "{modulus}, {bits} bits"
                );
            }
        }
    }
}
