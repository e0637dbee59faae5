//! How long things are: plaintext, sealed bytes and chunks of a stream.
//!
//! A stream is cut into chunks of 1 MiB; the last one is shorter. An empty stream is exactly one empty chunk.

use wire::limits::CHUNK_BYTES_MAX;

use crate::suite::TAG_BYTES;

/// A full chunk with its tag, bytes. A buffer of this capacity is sealed without being moved.
pub const CHUNK_SEALED_BYTES_MAX: usize = CHUNK_BYTES_MAX + TAG_BYTES;

const CHUNK_PLAIN: u64 = CHUNK_BYTES_MAX as u64;
const CHUNK_SEALED: u64 = CHUNK_SEALED_BYTES_MAX as u64;
const TAG: u64 = TAG_BYTES as u64;

/// How many chunks a stream of `stream_bytes` plaintext has; at least one.
pub const fn chunk_count(stream_bytes: u64) -> u64 {
    if stream_bytes == 0 { 1 } else { stream_bytes.div_ceil(CHUNK_PLAIN) }
}

/// Plaintext bytes of chunk `index` in a stream of `stream_bytes`; nothing when it has no such chunk.
pub const fn chunk_plain_bytes(index: u64, stream_bytes: u64) -> Option<usize> {
    let count = chunk_count(stream_bytes);
    if index >= count {
        None
    } else if index + 1 < count {
        Some(CHUNK_BYTES_MAX)
    } else {
        // fits: at most one chunk
        Some((stream_bytes - index * CHUNK_PLAIN) as usize)
    }
}

/// Sealed bytes of a stream of `stream_bytes` plaintext; nothing on overflow.
pub const fn sealed_bytes(stream_bytes: u64) -> Option<u64> {
    stream_bytes.checked_add(chunk_count(stream_bytes) * TAG)
}

/// Plaintext bytes of a stream of `sealed` bytes; nothing when no stream has that sealed length.
pub const fn plain_bytes(sealed: u64) -> Option<u64> {
    let tail = sealed % CHUNK_SEALED;
    // a tail is a chunk of its own: tag and at least one byte, or the one empty chunk
    if sealed == 0 || (tail > 0 && tail < TAG) || (tail == TAG && sealed > TAG) {
        return None;
    }
    Some(sealed - sealed.div_ceil(CHUNK_SEALED) * TAG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_and_plain_lengths_are_each_others_inverse() {
        let around = |n: u64| n.saturating_sub(20)..n + 20;
        for plain in around(0).chain(around(CHUNK_PLAIN)).chain(around(7 * CHUNK_PLAIN)).chain([5 << 30]) {
            let sealed = sealed_bytes(plain).unwrap();
            assert_eq!(plain_bytes(sealed), Some(plain), "{plain}");
            let sum: u64 = (0..chunk_count(plain)).map(|i| chunk_plain_bytes(i, plain).unwrap() as u64).sum();
            assert_eq!(sum, plain);
            assert_eq!(chunk_plain_bytes(chunk_count(plain), plain), None);
        }
        assert_eq!(sealed_bytes(u64::MAX), None);
    }

    #[test]
    fn lengths_that_no_stream_has_are_refused() {
        let possible: std::collections::HashSet<u64> =
            (0..200).chain(CHUNK_PLAIN - 100..CHUNK_PLAIN + 200).filter_map(sealed_bytes).collect();
        for sealed in (0..200).chain(CHUNK_SEALED - 50..CHUNK_SEALED + 150) {
            assert_eq!(plain_bytes(sealed).is_some(), possible.contains(&sealed), "{sealed}");
        }
        plain_bytes(u64::MAX);
    }

    #[test]
    fn an_empty_stream_is_one_empty_chunk() {
        assert_eq!((chunk_count(0), chunk_plain_bytes(0, 0), sealed_bytes(0)), (1, Some(0), Some(16)));
    }
}
