//! Random bytes from the operating system, for the process itself.

/// Fills `buffer`.
pub(crate) fn fill(buffer: &mut [u8]) {
    // without entropy no identity can be made: there is nothing to go on with
    getrandom::fill(buffer).expect("the operating system has random bytes");
}
