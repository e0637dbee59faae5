//! A small seeded generator (SplitMix64), so that a printed seed repeats a run's choices.
//!
//! It is for choosing faults and contents, never for keys.

use std::time::{SystemTime, UNIX_EPOCH};

/// A generator whose whole state is one number.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// A generator that always makes the same choices.
    pub fn from_seed(seed: u64) -> Self {
        Random(seed)
    }

    /// The seed of this run: `CHAOS_SEED` when it is set, else from the clock. Printed, so that a failure can be repeated.
    pub fn seed_of_run(test: &str) -> u64 {
        let given = std::env::var("CHAOS_SEED").ok().and_then(|text| text.parse().ok());
        let seed = given.unwrap_or_else(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            now.as_nanos() as u64
        });
        eprintln!("{test}: seed {seed} (repeat with CHAOS_SEED={seed})");
        seed
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; zero when `bound` is zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.next_u64() % bound }
    }

    /// True `percent` times in a hundred.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// Bytes that repeat from the seed and do not compress.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            bytes.extend_from_slice(&self.next_u64().to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_choices() {
        let (mut first, mut second) = (Random::from_seed(7), Random::from_seed(7));
        assert_eq!(first.bytes(33), second.bytes(33));
        assert_eq!(first.below(1000), second.below(1000));
    }
}
