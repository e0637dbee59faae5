//! A writer and a total reader of little-endian layouts.
//!
//! Strings and byte strings carry a u32 length; options a presence byte; lists a u32 count. The reader checks every
//! length against what is left before it takes or allocates anything.

use bytes::{BufMut, Bytes, BytesMut};
use thiserror::Error;

/// Why bytes could not be read as what they claim to be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// Fewer bytes than the layout asks for.
    #[error("{what}: {missing} bytes are missing")]
    Short {
        /// What was being read.
        what: &'static str,
        /// How many bytes more it would take.
        missing: usize,
    },
    /// A length or count above its limit.
    #[error("{what}: {found} is over the limit of {limit}")]
    OverLimit {
        /// What was being read.
        what: &'static str,
        /// What the input says.
        found: u64,
        /// The most it may say.
        limit: u64,
    },
    /// A value that the layout does not know.
    #[error("{what}: unknown value {found}")]
    Unknown {
        /// What was being read.
        what: &'static str,
        /// The value found.
        found: u64,
    },
    /// Text that is not UTF-8.
    #[error("{what}: not UTF-8")]
    NotText {
        /// What was being read.
        what: &'static str,
    },
    /// A checksum that does not match.
    #[error("{what}: checksum mismatch")]
    Checksum {
        /// What was being read.
        what: &'static str,
    },
    /// Bytes left over after the last field.
    #[error("{what}: {extra} bytes too many")]
    Trailing {
        /// What was being read.
        what: &'static str,
        /// How many are left.
        extra: usize,
    },
}

/// Writes fields one after another.
#[derive(Debug, Default)]
pub struct Encoder {
    buffer: BytesMut,
}

impl Encoder {
    /// An empty writer.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty writer with room for `bytes`.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { buffer: BytesMut::with_capacity(bytes) }
    }

    /// Appends one byte.
    pub fn u8(&mut self, value: u8) {
        self.buffer.put_u8(value);
    }

    /// Appends a flag as 0 or 1.
    pub fn flag(&mut self, value: bool) {
        self.u8(u8::from(value));
    }

    /// Appends a u16.
    pub fn u16(&mut self, value: u16) {
        self.buffer.put_u16_le(value);
    }

    /// Appends a u32.
    pub fn u32(&mut self, value: u32) {
        self.buffer.put_u32_le(value);
    }

    /// Appends a u64.
    pub fn u64(&mut self, value: u64) {
        self.buffer.put_u64_le(value);
    }

    /// Appends bytes of a length that both sides know.
    pub fn fixed(&mut self, value: &[u8]) {
        self.buffer.put_slice(value);
    }

    /// Appends a count or length as u32.
    pub fn count(&mut self, value: usize) {
        self.u32(u32::try_from(value).expect("no list or byte string here reaches 4 Gi entries"));
    }

    /// Appends a byte string with its length.
    pub fn bytes(&mut self, value: &[u8]) {
        self.count(value.len());
        self.fixed(value);
    }

    /// Appends text with its length.
    pub fn text(&mut self, value: &str) {
        self.bytes(value.as_bytes());
    }

    /// Appends an optional field: presence, then the field.
    pub fn option<T>(&mut self, value: Option<&T>, write: impl FnOnce(&mut Self, &T)) {
        self.flag(value.is_some());
        if let Some(value) = value {
            write(self, value);
        }
    }

    /// Appends a list: count, then the entries.
    pub fn list<T>(&mut self, values: &[T], mut write: impl FnMut(&mut Self, &T)) {
        self.count(values.len());
        for value in values {
            write(self, value);
        }
    }

    /// How many bytes were written so far.
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// The bytes written.
    pub fn finish(self) -> Bytes {
        self.buffer.freeze()
    }
}

/// Reads fields one after another; byte strings are slices of the input, not copies.
#[derive(Clone, Debug)]
pub struct Decoder {
    rest: Bytes,
    what: &'static str,
}

impl Decoder {
    /// Reads `input`, naming it `what` in errors.
    pub fn new(what: &'static str, input: Bytes) -> Self {
        Self { rest: input, what }
    }

    /// Bytes of a length that both sides know.
    pub fn fixed(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        match length.checked_sub(self.rest.len()) {
            None | Some(0) => Ok(self.rest.split_to(length)),
            Some(missing) => Err(DecodeError::Short { what: self.what, missing }),
        }
    }

    /// An array of a length that both sides know.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let bytes = self.fixed(N)?;
        let mut array = [0; N];
        array.copy_from_slice(&bytes);
        Ok(array)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.array::<1>()?[0])
    }

    /// A flag; anything but 0 and 1 is an error.
    pub fn flag(&mut self) -> Result<bool, DecodeError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            found => Err(self.unknown(u64::from(found))),
        }
    }

    /// A u16.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// A u32.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// A u64.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A byte string of at most `limit` bytes.
    pub fn bytes(&mut self, limit: usize) -> Result<Bytes, DecodeError> {
        let length = self.u32()? as usize;
        if length > limit {
            return Err(DecodeError::OverLimit {
                what: self.what,
                found: length as u64,
                limit: limit as u64,
            });
        }
        self.fixed(length)
    }

    /// Text of at most `limit` bytes.
    pub fn text(&mut self, limit: usize) -> Result<String, DecodeError> {
        let bytes = self.bytes(limit)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| DecodeError::NotText { what: self.what })
    }

    /// An optional field.
    pub fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        Ok(if self.flag()? { Some(read(self)?) } else { None })
    }

    /// A list of at most `limit` entries. Reserves no more bytes than are left to read: an entry can be much larger in
    /// memory than in the input, so a count alone, even one that the input could hold, is not believed.
    pub fn list<T>(
        &mut self,
        limit: usize,
        mut read: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let count = self.u32()? as usize;
        if count > limit {
            return Err(DecodeError::OverLimit { what: self.what, found: count as u64, limit: limit as u64 });
        }
        let mut values = Vec::with_capacity(count.min(self.rest.len() / size_of::<T>().max(1)));
        for _ in 0..count {
            values.push(read(self)?);
        }
        Ok(values)
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Everything that is left.
    pub fn rest(&mut self) -> Bytes {
        std::mem::take(&mut self.rest)
    }

    /// The error for a value that the layout does not know.
    pub fn unknown(&self, found: u64) -> DecodeError {
        DecodeError::Unknown { what: self.what, found }
    }

    /// Ends reading; bytes left over are an error.
    pub fn finish(self) -> Result<(), DecodeError> {
        match self.rest.len() {
            0 => Ok(()),
            extra => Err(DecodeError::Trailing { what: self.what, extra }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_as_written_and_every_cut_is_an_error() {
        let mut encoder = Encoder::new();
        encoder.u8(1);
        encoder.u16(2);
        encoder.u32(3);
        encoder.u64(4);
        encoder.text("five");
        encoder.option(Some(&6_u64), |e, v| e.u64(*v));
        encoder.list(&[7_u8, 8], |e, v| e.u8(*v));
        let bytes = encoder.finish();
        let read = |input: Bytes| -> Result<_, DecodeError> {
            let mut d = Decoder::new("test", input);
            let all = (
                d.u8()?,
                d.u16()?,
                d.u32()?,
                d.u64()?,
                d.text(8)?,
                d.option(Decoder::u64)?,
                d.list(4, Decoder::u8)?,
            );
            d.finish()?;
            Ok(all)
        };
        assert_eq!(read(bytes.clone()), Ok((1, 2, 3, 4, "five".into(), Some(6), vec![7, 8])));
        for cut in 0..bytes.len() {
            assert!(read(bytes.slice(..cut)).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_lying_count_is_refused_before_anything_is_allocated() {
        let mut d = Decoder::new("list", Bytes::from_static(&[255, 255, 255, 255, 0]));
        assert_eq!(
            d.list(10, Decoder::u8),
            Err(DecodeError::OverLimit { what: "list", found: u64::from(u32::MAX), limit: 10 })
        );
    }
}
