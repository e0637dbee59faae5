//! Object bodies that cost nothing to make, cannot be compressed or deduplicated, and can be recognised.
//!
//! One pool of pseudorandom bytes; object *i* is the slice that begins at a place computed from *i*. A shift of the
//! place changes every block of the object, so stores that share equal blocks cannot share ours.

use bytes::Bytes;

use crate::cell::{MIB, SIZES};

/// Seed of the pool, fixed so that two runs store the same bytes.
const SEED: u64 = 0x7477_696e_6b65_6570;
/// Distance in bytes between the places of neighbouring objects: a prime, so that all places come up.
const STRIDE_BYTES: u64 = 4_099;
/// Places an object can begin at, one byte apart; far more than the objects of a cell.
const PLACES: u64 = 4 * MIB;

/// The pool of bytes.
#[derive(Clone)]
pub struct Content {
    pool: Bytes,
}

/// Which object's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentId(pub u64);

impl Default for Content {
    fn default() -> Self {
        let length = (PLACES + SIZES[SIZES.len() - 1]) as usize;
        let mut pool = Vec::with_capacity(length);
        let mut state = SEED;
        while pool.len() < length {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            pool.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
        }
        pool.truncate(length);
        Self { pool: pool.into() }
    }
}

impl Content {
    /// The body of an object, without a copy.
    pub fn body(&self, id: ContentId, bytes: u64) -> Bytes {
        let start = (id.0.wrapping_mul(STRIDE_BYTES) % PLACES) as usize;
        self.pool.slice(start..start + bytes as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_has_the_same_bytes_each_time_and_neighbours_share_no_block() {
        let content = Content::default();
        let one = content.body(ContentId(1), 4 * MIB);
        assert_eq!(one, content.body(ContentId(1), 4 * MIB));
        let two = content.body(ContentId(2), 4 * MIB);
        for (left, right) in one.chunks(4_096).zip(two.chunks(4_096)) {
            assert_ne!(left, right);
        }
    }

    #[test]
    fn the_largest_object_fits_at_every_place() {
        let content = Content::default();
        for id in [0, 1, u64::MAX, PLACES - 1] {
            assert_eq!(content.body(ContentId(id), 16 * MIB).len(), 16 << 20);
        }
    }
}
