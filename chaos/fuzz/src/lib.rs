//! Fuzz targets: every decoder that reads bytes from outside, with what must hold for whatever it is given.
//!
//! A target takes any bytes and returns; it panics when a promise is broken. The promises: no decoder panics or reads
//! beyond its input; what decodes encodes again to the same bytes (or, where a form is not unique, to bytes that decode to
//! the same value); no decoder allocates more than its input justifies. Layouts behind a checksum are given twice, as
//! they are and with the checksum made right, since an attacker does the same.
//!
//! The targets here need the leaves only and run in an ordinary test over their seeds. With the feature `libfuzzer` the
//! engine's and the server's come on top, and the binary `fuzz` drives each of them by coverage. `chaos/tests/fuzz.rs` builds and
//! runs that; `chaos/fuzz/README.md` has the command for a longer run. It leaves to others what the bytes mean.

mod admin;
pub mod allocation;
pub mod check;
mod envelope;
mod frame;
mod message;
#[cfg(feature = "libfuzzer")]
mod outer;
mod token;

use std::io;
use std::path::Path;

/// Something that reads bytes from outside.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name, also that of its folder of seeds.
    pub name: &'static str,
    /// Gives it bytes; panics when a promise is broken.
    pub run: fn(&[u8]),
    /// Real encodings to begin from, each with a name; the same on every call.
    pub seeds: fn() -> Vec<Seed>,
}

/// One input to begin from.
pub type Seed = (&'static str, Vec<u8>);

/// A seed, bytes: they are committed, so they stay small.
pub const SEED_BYTES_MAX: usize = 4 << 10;

/// The target with a planted bug, which a fuzzer that works finds at once. Not among [`targets`].
pub const CANARY: Target =
    Target { name: "canary", run: canary, seeds: || vec![("start", b"twin".to_vec())] };

/// Every target.
pub fn targets() -> Vec<Target> {
    let leaves = [frame::TARGET, message::TARGET, admin::TARGET, token::TARGET, envelope::TARGET];
    #[cfg(feature = "libfuzzer")]
    let leaves = leaves.into_iter().chain(outer::targets());
    leaves.into_iter().collect()
}

/// The target of that name, the canary included.
pub fn target(name: &str) -> Option<Target> {
    targets().into_iter().chain([CANARY]).find(|target| target.name == name)
}

/// Writes the seeds of every target to `folder/<target>/<name>`.
pub fn write_seeds(folder: &Path) -> io::Result<()> {
    for target in targets() {
        let folder = folder.join(target.name);
        std::fs::create_dir_all(&folder)?;
        for (name, seed) in (target.seeds)() {
            std::fs::write(folder.join(name), seed)?;
        }
    }
    Ok(())
}

/// Breaks on a word that blind chance would need 2^64 attempts for, and coverage some hundred thousand: each right letter
/// leads to code that a wrong one does not reach.
fn canary(input: &[u8]) {
    let is = |at: usize, letter| input.get(at) == Some(&letter);
    if !is(0, b't') || !is(1, b'w') {
        return;
    }
    if !is(2, b'i') || !is(3, b'n') {
        return;
    }
    if !is(4, b'k') || !is(5, b'e') {
        return;
    }
    if is(6, b'e') && is(7, b'p') {
        panic!("the planted bug was found");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_accepts_its_seeds_and_every_change_of_one_byte() {
        for target in targets() {
            let seeds = (target.seeds)();
            assert!(!seeds.is_empty(), "{} has no seed", target.name);
            for (_, seed) in seeds {
                (target.run)(&seed);
                for at in 0..seed.len() {
                    for change in [0x01, 0x80, 0xff] {
                        let mut changed = seed.clone();
                        changed[at] ^= change;
                        (target.run)(&changed);
                    }
                    (target.run)(&seed[..at]);
                }
            }
        }
    }

    #[test]
    fn a_list_that_lies_about_its_length_reserves_no_more_than_the_message_has() {
        // 1,000 rows in 1,005 bytes: no row is that short, and each would take more than 200 bytes in memory
        let rows = [&[3][..], &1_000_u32.to_le_bytes(), &[9; 1_000]].concat();
        let answer = bytes::Bytes::from(rows);
        let refused = allocation::bounded("answer", answer.len(), || wire::Answer::decode(answer.clone()));
        assert!(refused.is_err());
    }

    #[test]
    fn seeds_are_small_and_have_their_own_names() {
        for target in targets() {
            let seeds = (target.seeds)();
            for (number, (name, seed)) in seeds.iter().enumerate() {
                assert!(seed.len() <= SEED_BYTES_MAX, "{}/{name} has {} bytes", target.name, seed.len());
                assert!(
                    seeds[..number].iter().all(|(other, _)| other != name),
                    "{}/{name} twice",
                    target.name
                );
            }
        }
    }

    #[test]
    #[should_panic(expected = "planted bug")]
    fn the_canary_breaks_on_its_word() {
        canary(b"twinkeep, and more");
    }
}
