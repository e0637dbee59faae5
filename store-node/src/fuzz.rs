//! The server's decoders as the fuzzer (`chaos/fuzz`) sees them: bytes in, a panic when a promise is broken.
//!
//! Built for tests and with the feature `fuzz` only. [`config`] is the configuration file, [`record`] what the gateway
//! keeps in the region or is handed by clients. What S3 clients send is tried whole, over a connection, by
//! `tests/gateway/mutations.rs`: the protocol layer's own parsers are part of it there.

pub mod config;
pub mod record;

/// One input to begin from, and its name.
pub type Seed = (&'static str, Vec<u8>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_and_every_change_of_one_byte_keep_every_promise() {
        type Target = fn(&[u8]);
        let targets: [(Target, Vec<Seed>); 2] =
            [(config::run, config::seeds()), (record::run, record::seeds())];
        for (run, seeds) in targets {
            for (_, seed) in seeds {
                run(&seed);
                for at in 0..seed.len() {
                    let mut changed = seed.clone();
                    changed[at] ^= 0x11;
                    run(&changed);
                    run(&seed[..at]);
                }
            }
        }
    }
}
