//! Reads along the sizes of aws-chunks: the protocol layer holds a whole chunk in memory before it passes it on.

use crate::gateway::context::Fault;

/// One aws-chunk, bytes. 16 MiB: some SDKs send a whole part as one chunk; others send 64 KiB to 1 MiB.
const CHUNK_BYTES_MAX: u64 = 16 << 20;

/// A chunk's head line, bytes: sixteen digits, a signature extension, a line end.
const LINE_BYTES_MAX: usize = 256;

/// Everything behind the last chunk, bytes.
const TRAILER_BYTES_MAX: usize = 16 << 10;

/// Where in the framing the next byte stands.
#[derive(Debug)]
pub(super) enum ChunkScanner {
    /// In the digits of a size: what they say so far, how many bytes of the line were seen.
    Size { value: u64, seen: usize },
    /// Behind the digits, before the line's end.
    Extension { value: u64, seen: usize },
    /// In data (with its line end) of which so much is left.
    Data { left: u64 },
    /// Behind the last chunk.
    Trailer { seen: usize },
}

impl Default for ChunkScanner {
    fn default() -> Self {
        Self::Size { value: 0, seen: 0 }
    }
}

impl ChunkScanner {
    /// Takes the next bytes.
    pub(super) fn scan(&mut self, mut data: &[u8]) -> Result<(), Fault> {
        while let Some((&byte, rest)) = data.split_first() {
            match self {
                Self::Data { left } => {
                    let step = usize::try_from(*left).unwrap_or(usize::MAX).min(data.len());
                    *left -= step as u64;
                    data = &data[step..];
                    if *left == 0 {
                        *self = Self::default();
                    }
                    continue;
                }
                Self::Trailer { seen } => {
                    *seen += data.len();
                    return if *seen > TRAILER_BYTES_MAX { Err(Fault::Framing) } else { Ok(()) };
                }
                Self::Size { value, seen } => {
                    *seen += 1;
                    match char::from(byte).to_digit(16) {
                        Some(digit) => *value = *value * 16 + u64::from(digit),
                        None if *seen > 1 && (byte == b';' || byte == b'\r') => {
                            *self = Self::Extension { value: *value, seen: *seen };
                        }
                        None => return Err(Fault::Framing),
                    }
                }
                Self::Extension { value, seen } => {
                    *seen += 1;
                    if *seen > LINE_BYTES_MAX {
                        return Err(Fault::Framing);
                    }
                    if byte == b'\n' {
                        *self = match *value {
                            0 => Self::Trailer { seen: 0 },
                            size => Self::Data { left: size + 2 },
                        };
                    }
                }
            }
            if let Self::Size { value, .. } = self
                && *value > CHUNK_BYTES_MAX
            {
                return Err(Fault::ChunkTooLarge);
            }
            data = rest;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(pieces: &[&[u8]]) -> Result<(), Fault> {
        let mut scanner = ChunkScanner::default();
        pieces.iter().try_for_each(|piece| scanner.scan(piece))
    }

    #[test]
    fn chunks_pass_however_they_are_cut() {
        let body =
            b"5;chunk-signature=ab\r\nhello\r\nA\r\n0123456789\r\n0\r\nx-amz-checksum-crc32:AA==\r\n\r\n";
        assert_eq!(scan(&[body]), Ok(()));
        let bytes: Vec<&[u8]> = body.chunks(1).collect();
        assert_eq!(scan(&bytes), Ok(()));
    }

    #[test]
    fn a_chunk_above_sixteen_mebibytes_is_refused_before_its_data() {
        assert_eq!(scan(&[b"1000000\r\n"]), Ok(()));
        assert_eq!(scan(&[b"1000001\r\n"]), Err(Fault::ChunkTooLarge));
        assert_eq!(scan(&[b"ffffffffffffffffffff"]), Err(Fault::ChunkTooLarge));
    }

    #[test]
    fn framing_that_is_none_is_refused() {
        assert_eq!(scan(&[b"\r\n"]), Err(Fault::Framing));
        assert_eq!(scan(&[b"5,"]), Err(Fault::Framing));
        assert_eq!(scan(&[b"5;", &[b'a'; 300]]), Err(Fault::Framing));
        assert_eq!(scan(&[b"0\r\n", &vec![b'a'; 17 << 10]]), Err(Fault::Framing));
    }
}
