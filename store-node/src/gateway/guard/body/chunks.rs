//! Reads along the sizes of aws-chunks: the protocol layer holds a whole chunk in memory before it passes it on.

use crate::gateway::context::Fault;

/// One aws-chunk, bytes. 16 MiB: some SDKs send a whole part as one chunk; others send 64 KiB to 1 MiB.
const CHUNK_BYTES_MAX: u64 = 16 << 20;

/// A chunk's head line, bytes: sixteen digits, a signature extension, a line end.
const LINE_BYTES_MAX: usize = 256;

/// Everything behind the last chunk, bytes.
const TRAILER_BYTES_MAX: usize = 16 << 10;

/// Follows the framing, and what it may still carry.
#[derive(Debug)]
pub(super) struct ChunkScanner {
    step: Step,
    /// Bytes of the announced length that no chunk has announced yet.
    left: u64,
}

/// Where in the framing the next byte stands.
#[derive(Debug)]
enum Step {
    /// In the digits of a size: what they say so far, how many bytes of the line were seen.
    Size { value: u64, seen: usize },
    /// Behind the digits, before the line's end.
    Extension { value: u64, seen: usize },
    /// In data (with its line end) of which so much is left.
    Data { left: u64 },
    /// Behind the last chunk.
    Trailer { seen: usize },
}

impl Default for Step {
    fn default() -> Self {
        Self::Size { value: 0, seen: 0 }
    }
}

impl ChunkScanner {
    /// For chunks that carry `decoded_length` bytes in all, if that was said.
    pub(super) fn new(decoded_length: Option<u64>) -> Self {
        Self { step: Step::default(), left: decoded_length.unwrap_or(u64::MAX) }
    }

    /// Takes the next bytes.
    pub(super) fn scan(&mut self, mut data: &[u8]) -> Result<(), Fault> {
        while let Some((&byte, rest)) = data.split_first() {
            match &mut self.step {
                Step::Data { left } => {
                    let step = usize::try_from(*left).unwrap_or(usize::MAX).min(data.len());
                    *left -= step as u64;
                    data = &data[step..];
                    if *left == 0 {
                        self.step = Step::default();
                    }
                    continue;
                }
                Step::Trailer { seen } => {
                    *seen += data.len();
                    return if *seen > TRAILER_BYTES_MAX { Err(Fault::Framing) } else { Ok(()) };
                }
                Step::Size { value, seen } => {
                    *seen += 1;
                    match char::from(byte).to_digit(16) {
                        Some(digit) => *value = *value * 16 + u64::from(digit),
                        None if *seen > 1 && (byte == b';' || byte == b'\r') => {
                            self.step = Step::Extension { value: *value, seen: *seen };
                        }
                        None => return Err(Fault::Framing),
                    }
                }
                Step::Extension { value, seen } => {
                    *seen += 1;
                    if *seen > LINE_BYTES_MAX {
                        return Err(Fault::Framing);
                    }
                    if byte == b'\n' {
                        let size = *value;
                        // else a whole chunk would be held that no room was taken for
                        self.left = self.left.checked_sub(size).ok_or(Fault::Framing)?;
                        self.step = match size {
                            0 => Step::Trailer { seen: 0 },
                            size => Step::Data { left: size + 2 },
                        };
                    }
                }
            }
            if let Step::Size { value, .. } = &self.step
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
        let mut scanner = ChunkScanner::new(None);
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
    fn chunks_carry_no_more_than_was_announced() {
        let body = b"5\r\nhello\r\n3\r\nyou\r\n0\r\n\r\n";
        assert_eq!(ChunkScanner::new(Some(8)).scan(body), Ok(()));
        assert_eq!(ChunkScanner::new(Some(7)).scan(body), Err(Fault::Framing));
        assert_eq!(ChunkScanner::new(Some(1)).scan(b"1000000\r\n"), Err(Fault::Framing));
    }

    #[test]
    fn framing_that_is_none_is_refused() {
        assert_eq!(scan(&[b"\r\n"]), Err(Fault::Framing));
        assert_eq!(scan(&[b"5,"]), Err(Fault::Framing));
        assert_eq!(scan(&[b"5;", &[b'a'; 300]]), Err(Fault::Framing));
        assert_eq!(scan(&[b"0\r\n", &vec![b'a'; 17 << 10]]), Err(Fault::Framing));
    }
}
