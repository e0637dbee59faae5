//! A growing byte buffer whose memory is aligned for direct I/O, without unsafe code.
//!
//! The storage is longer than what is asked for by one block, and the bytes start at the first aligned address in it.

use super::BLOCK_BYTES;

/// Bytes that start at a multiple of [`BLOCK_BYTES`] in memory.
pub(crate) struct AlignedBuffer {
    storage: Vec<u8>,
    start: usize,
    length: usize,
}

impl AlignedBuffer {
    /// An empty buffer with room for `bytes`.
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        let storage = vec![0; bytes.next_multiple_of(BLOCK_BYTES) + BLOCK_BYTES];
        let start = storage.as_ptr().align_offset(BLOCK_BYTES);
        assert!(start < BLOCK_BYTES, "a byte pointer can be aligned within one block");
        Self { storage, start, length: 0 }
    }

    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// Bytes it can hold without moving.
    pub(crate) fn capacity(&self) -> usize {
        self.storage.len() - BLOCK_BYTES
    }

    pub(crate) fn clear(&mut self) {
        self.length = 0;
    }

    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        let at = self.start + self.length;
        self.storage[at..at + bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
    }

    /// Appends zeros until the length is a multiple of `unit`.
    pub(crate) fn pad_to(&mut self, unit: usize) {
        self.pad_zeros(self.length.next_multiple_of(unit) - self.length);
    }

    /// Appends zeros.
    pub(crate) fn pad_zeros(&mut self, padding: usize) {
        self.reserve(padding);
        let at = self.start + self.length;
        self.storage[at..at + padding].fill(0);
        self.length += padding;
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.storage[self.start..self.start + self.length]
    }

    fn reserve(&mut self, extra: usize) {
        let needed = self.length + extra;
        if needed > self.capacity() {
            let mut larger = Self::with_capacity(needed.max(2 * self.capacity()));
            larger.storage[larger.start..larger.start + self.length].copy_from_slice(self.bytes());
            larger.length = self.length;
            *self = larger;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_stay_aligned_and_equal_while_it_grows() {
        let mut buffer = AlignedBuffer::with_capacity(10);
        let mut expected = Vec::new();
        for number in 0..5_000_u32 {
            buffer.extend(&number.to_le_bytes());
            expected.extend_from_slice(&number.to_le_bytes());
        }
        buffer.pad_to(BLOCK_BYTES);
        expected.resize(expected.len().next_multiple_of(BLOCK_BYTES), 0);
        assert_eq!(buffer.bytes(), expected);
        assert_eq!(buffer.bytes().as_ptr().align_offset(BLOCK_BYTES), 0);
    }
}
