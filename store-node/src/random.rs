//! Random bytes from the operating system: ids, keys, nonces.

use envelope::Nonce;

/// Fills `buffer`.
pub(crate) fn fill(buffer: &mut [u8]) {
    // without entropy no key, nonce or id can be made: there is nothing to go on with
    getrandom::fill(buffer).expect("the operating system has random bytes");
}

/// Sixteen random bytes, for ids.
pub(crate) fn id() -> [u8; 16] {
    let mut bytes = [0; 16];
    fill(&mut bytes);
    bytes
}

/// For the envelope, which takes its randomness from the caller.
pub(crate) fn source(buffer: &mut [u8]) -> Result<(), std::convert::Infallible> {
    fill(buffer);
    Ok(())
}

/// A nonce, used once.
pub(crate) fn nonce() -> Nonce {
    match Nonce::generate(source) {
        Ok(nonce) => nonce,
        Err(never) => match never {},
    }
}
