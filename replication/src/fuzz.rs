//! The engine's decoders as the fuzzer (`chaos/fuzz`) sees them: bytes in, a panic when a promise is broken.
//!
//! Built for tests and with the feature `fuzz` only. [`peer`] holds the heads of peer messages, [`segments`] whole
//! segment files as a node would find them at start.

pub mod peer;
pub mod segments;

/// One input to begin from, and its name.
pub type Seed = (&'static str, Vec<u8>);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    #[test]
    fn seeds_and_what_becomes_of_them_keep_every_promise() {
        let seed = Random::seed();
        println!("seed {seed} (repeat with SEED={seed})");
        let mut random = Random::new(seed);
        type Target = fn(&[u8]);
        for (run, seeds) in
            [(peer::run as Target, peer::seeds()), (segments::run as Target, segments::seeds())]
        {
            for (_, seed) in seeds {
                run(&seed);
                for _ in 0..30 {
                    let mut changed = seed.clone();
                    for _ in 0..=random.below(3) {
                        let at = random.below(changed.len() as u64) as usize;
                        changed[at] = random.next() as u8;
                    }
                    run(&changed);
                }
            }
        }
    }
}
