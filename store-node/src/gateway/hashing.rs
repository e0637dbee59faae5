//! MD5 and the requested checksum over a body, in order, beside its sealing.
//!
//! A chunk is hashed before it is sealed, because sealing overwrites the plaintext. MD5 (0.6 GB/s) is the slowest
//! step of a large upload, so chunks go to the blocking pool one after another while the next one arrives.

use bytes::BytesMut;
use envelope::{ChunkPosition, EnvelopeError, StreamSealer};
use md5::{Digest as _, Md5};
use tokio::task::JoinHandle;

use super::checksum::{Algorithm, Checksum, Hasher};

/// Chunks up to this are hashed and sealed where they are: cheaper than handing them over (64 KiB take 0.15 ms).
const INLINE_WORK_BYTES_MAX: usize = wire::limits::INLINE_BYTES_MAX;

/// Digests under way and the sealer of the stream.
pub(crate) struct SealingLane {
    md5: Md5,
    checksums: Vec<Hasher>,
    sealer: StreamSealer,
}

/// A chunk that is being hashed and sealed.
#[expect(clippy::large_enum_variant, reason = "there is one per upload")]
pub(crate) enum Working {
    Done(Processed),
    Apart(JoinHandle<Processed>),
}

type Processed = Result<(SealingLane, BytesMut), EnvelopeError>;

impl Working {
    pub(crate) async fn done(self) -> Processed {
        match self {
            Self::Done(processed) => processed,
            Self::Apart(handle) => match handle.await {
                Ok(processed) => processed,
                Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
            },
        }
    }
}

/// What came out.
pub(crate) struct Digests {
    pub(crate) md5: [u8; 16],
    pub(crate) checksums: Vec<Checksum>,
}

impl SealingLane {
    pub(crate) fn new(sealer: StreamSealer, algorithms: &[Algorithm]) -> Self {
        let checksums = algorithms.iter().map(|algorithm| algorithm.hasher()).collect();
        Self { md5: Md5::new(), checksums, sealer }
    }

    /// Hashes and seals the next chunk.
    pub(crate) fn process(&mut self, at: ChunkPosition, buffer: &mut BytesMut) -> Result<(), EnvelopeError> {
        self.md5.update(&buffer[..]);
        for checksum in &mut self.checksums {
            checksum.update(buffer);
        }
        self.sealer.seal_in_place(at, buffer)
    }

    /// The same, begun at once and off the async threads when it is much work.
    pub(crate) fn begin(mut self, at: ChunkPosition, mut buffer: BytesMut) -> Working {
        let small = buffer.len() <= INLINE_WORK_BYTES_MAX;
        let work = move || self.process(at, &mut buffer).map(|()| (self, buffer));
        if small { Working::Done(work()) } else { Working::Apart(tokio::task::spawn_blocking(work)) }
    }

    pub(crate) fn finish(self) -> Digests {
        Digests {
            md5: self.md5.finalize().into(),
            checksums: self.checksums.into_iter().map(Hasher::finish).collect(),
        }
    }
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// The ETag of an object made of parts: MD5 over the parts' MD5s, and how many they are.
pub(crate) fn multipart_etag<'a>(parts: impl ExactSizeIterator<Item = &'a str>) -> String {
    let count = parts.len();
    let mut md5 = Md5::new();
    for part in parts {
        let digits = part.as_bytes().chunks_exact(2);
        let bytes: Vec<u8> = digits.map(|pair| hex_digit(pair[0]) * 16 + hex_digit(pair[1])).collect();
        md5.update(&bytes);
    }
    format!("{}-{count}", hex(&md5.finalize()))
}

fn hex_digit(digit: u8) -> u8 {
    char::from(digit).to_digit(16).map_or(0, |value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_multipart_etag_is_the_md5_of_md5s_with_the_count() {
        // two parts "a" and "b", as S3 and its clients compute it
        let parts = ["0cc175b9c0f1b6a831c399e269772661", "92eb5ffee6ae2fec3ad71c777531578f"];
        let mut md5 = Md5::new();
        md5.update(Md5::digest(b"a"));
        md5.update(Md5::digest(b"b"));
        assert_eq!(multipart_etag(parts.into_iter()), format!("{}-2", hex(&md5.finalize())));
    }
}
