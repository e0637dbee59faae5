//! Key bytes in memory: boxed, wiped on drop. They cannot be cloned, compared, printed or serialized.

use zeroize::{Zeroize, ZeroizeOnDrop};

/// Root and master keys, bytes.
pub const KEY_BYTES: usize = 32;

/// Bytes of a key.
pub(crate) struct Secret<const N: usize>(Box<[u8; N]>);

impl<const N: usize> Secret<N> {
    pub(crate) fn zeroed() -> Self {
        Self(Box::new([0; N]))
    }

    /// Filled in the box itself, so that no copy stays on the stack.
    pub(crate) fn fill<E>(fill: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Result<Self, E> {
        let mut secret = Self::zeroed();
        fill(secret.bytes_mut())?;
        Ok(secret)
    }

    pub(crate) fn bytes(&self) -> &[u8; N] {
        &self.0
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8; N] {
        &mut self.0
    }
}

impl<const N: usize> Drop for Secret<N> {
    fn drop(&mut self) {
        self.0.as_mut_slice().zeroize();
    }
}

impl<const N: usize> ZeroizeOnDrop for Secret<N> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_wipe_themselves() {
        fn wipes<T: ZeroizeOnDrop>() {}
        wipes::<Secret<KEY_BYTES>>();
    }

    #[test]
    fn a_failed_source_of_random_bytes_yields_no_key() {
        assert_eq!(Secret::<KEY_BYTES>::fill(|_| Err("no entropy")).map(|_| ()), Err("no entropy"));
    }
}
