//! A source that has to be read from its end: kept in a temporary file without a name, sealed with AES-256 in counter mode under a
//! key that is only in memory. What people wrote is never on a disk of this machine in the clear.

use crate::files;
use aes::Aes256;
use aes::cipher::{Block, BlockCipherEncrypt, KeyInit};
use pipeline::RandomAccess;
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use zeroize::Zeroizing;

const BLOCK_BYTES: u64 = 16;
/// Copied at once, bytes; whole blocks.
const CHUNK_BYTES: usize = 64 << 10;

/// A sealed copy of a stream.
pub(crate) struct Spool {
    file: File,
    cipher: Aes256,
    bytes: u64,
}

impl Spool {
    /// Reads a stream to its end.
    pub(crate) fn new(mut reader: impl Read, folder: &Path) -> io::Result<Self> {
        let mut key = Zeroizing::new([0; 32]);
        files::random(&mut *key).map_err(|error| io::Error::other(error.to_string()))?;
        let cipher = Aes256::new((&*key).into());
        let mut spool = Self { file: tempfile::tempfile_in(folder)?, cipher, bytes: 0 };
        let mut buffer = Zeroizing::new(vec![0; CHUNK_BYTES]);
        loop {
            let mut filled = 0;
            while filled < buffer.len() {
                match reader.read(&mut buffer[filled..]) {
                    Ok(0) => break,
                    Ok(count) => filled += count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            spool.turn(&mut buffer[..filled], spool.bytes);
            spool.file.write_all(&buffer[..filled])?;
            spool.bytes += filled as u64;
            if filled < buffer.len() {
                return Ok(spool);
            }
        }
    }

    /// Seals or opens bytes that stand at a place: each block is mixed with its encrypted number.
    fn turn(&self, bytes: &mut [u8], offset: u64) {
        let first = offset / BLOCK_BYTES;
        let skip = usize::try_from(offset % BLOCK_BYTES).expect("less than a block");
        let blocks = (skip + bytes.len()).div_ceil(16);
        let number = |block: u64| u128::from(first + block).to_le_bytes();
        let mut stream: Vec<Block<Aes256>> = (0..blocks as u64).map(|block| number(block).into()).collect();
        self.cipher.encrypt_blocks(&mut stream);
        let mask = stream.iter().flatten().skip(skip);
        bytes.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
    }
}

impl RandomAccess for Spool {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)?;
        self.turn(buffer, offset);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_part_of_a_sealed_copy_is_what_it_was_and_the_file_shows_nothing_of_it() {
        let clear: Vec<u8> = (0..200_000_u32).map(|place| (place / 7) as u8).collect();
        let spool = Spool::new(&clear[..], &std::env::temp_dir()).unwrap();
        assert_eq!(spool.bytes(), clear.len() as u64);
        for (from, count) in
            [(0, 200_000), (1, 1), (15, 2), (16, 16), (65_530, 20), (131_072, 68_928), (200_000, 0)]
        {
            let mut buffer = vec![0; count];
            spool.read_exact_at(&mut buffer, from as u64).unwrap();
            assert_eq!(buffer, clear[from..from + count], "{count} bytes from {from}");
        }
        assert!(spool.read_exact_at(&mut [0; 2], 199_999).is_err());
        let mut sealed = vec![0; clear.len()];
        spool.file.read_exact_at(&mut sealed, 0).unwrap();
        let same = sealed.iter().zip(&clear).filter(|(one, other)| one == other).count();
        assert!(same < clear.len() / 100, "{same} bytes are the same");
        assert_eq!(Spool::new(&b""[..], &std::env::temp_dir()).unwrap().bytes(), 0);
    }
}
