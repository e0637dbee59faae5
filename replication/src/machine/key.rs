//! Keys of index rows. The byte tables are in `index/FORMAT.md`.
//!
//! Numbers are big-endian here, so that rows sort by them; names are escaped so that no name's rows lie among another's.

use bytes::Bytes;
use std::borrow::Cow;
use wire::{BucketId, Sequence, StreamId, SystemTable, VersionId};

/// The first byte of a key.
pub(crate) mod table {
    pub(crate) const VERSION: u8 = 0x02;
    pub(crate) const NULL_VERSION: u8 = 0x03;
    pub(crate) const UPLOAD: u8 = 0x04;
    pub(crate) const PART: u8 = 0x05;
    pub(crate) const CHUNK: u8 = 0x06;
    pub(crate) const OPEN_STREAM: u8 = 0x07;
    pub(crate) const BUCKET: u8 = 0x08;
    pub(crate) const LIVENESS: u8 = 0x09;
    pub(crate) const SYSTEM: u8 = 0x0A;
    pub(crate) const OUTCOME: u8 = 0x0B;
    pub(crate) const META: u8 = 0xF0;
}

/// Ends an escaped name: sorts before every byte that could follow in a longer one.
const TERMINATOR: [u8; 2] = [0, 0];

/// Table byte and bucket id, which come before a name.
const NAME_START: usize = 9;

/// The row without which an index is no whole state.
pub(crate) const FORMAT: [u8; 2] = [table::META, 0];
pub(crate) const APPLIED: [u8; 2] = [table::META, 1];
pub(crate) const MEMBERSHIP: [u8; 2] = [table::META, 2];
pub(crate) const EPOCH: [u8; 2] = [table::META, 3];
pub(crate) const REVISION: [u8; 2] = [table::META, 4];
pub(crate) const PAIR: [u8; 2] = [table::META, 5];
pub(crate) const SHARED: [u8; 2] = [table::META, 6];

/// Where the rows of `table` end.
pub(crate) fn table_end(table: u8) -> [u8; 1] {
    [table + 1]
}

/// What all names of a bucket that begin with `prefix` have in common in `table`.
pub(crate) fn name_prefix(table: u8, bucket: BucketId, prefix: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(NAME_START + prefix.len() + 32);
    key.push(table);
    key.extend_from_slice(&bucket.0.to_be_bytes());
    for byte in prefix {
        key.push(*byte);
        if *byte == 0 {
            key.push(0xFF);
        }
    }
    key
}

/// What all rows of one name have in common in `table`.
pub(crate) fn name(table: u8, bucket: BucketId, name: &[u8]) -> Vec<u8> {
    let mut key = name_prefix(table, bucket, name);
    key.extend_from_slice(&TERMINATOR);
    key
}

/// The first key after all that begin with `prefix`.
pub(crate) fn after(mut prefix: Vec<u8>) -> Vec<u8> {
    while prefix.pop_if(|last| *last == 0xFF).is_some() {}
    *prefix.last_mut().expect("a table's first byte is never 0xFF") += 1;
    prefix
}

/// A version's row. Newer versions come first.
pub(crate) fn version(bucket: BucketId, object: &[u8], sequence: Sequence) -> Vec<u8> {
    let mut key = name(table::VERSION, bucket, object);
    key.extend_from_slice(&(!sequence.0).to_be_bytes());
    key
}

/// The row that says where the null version is when it is not the newest.
pub(crate) fn null_version(bucket: BucketId, object: &[u8]) -> Vec<u8> {
    name(table::NULL_VERSION, bucket, object)
}

/// An upload's row.
pub(crate) fn upload(bucket: BucketId, object: &[u8], upload: VersionId) -> Vec<u8> {
    let mut key = name(table::UPLOAD, bucket, object);
    key.extend_from_slice(&upload.0);
    key
}

/// What all parts of an upload have in common.
pub(crate) fn parts(upload: VersionId) -> Vec<u8> {
    with_id(table::PART, &upload.0)
}

/// A part's row.
pub(crate) fn part(upload: VersionId, number: u16) -> Vec<u8> {
    let mut key = parts(upload);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// What all chunks of a stream have in common.
pub(crate) fn chunks(stream: StreamId) -> Vec<u8> {
    with_id(table::CHUNK, &stream.0)
}

/// A chunk's row.
pub(crate) fn chunk(stream: StreamId, index: u32) -> Vec<u8> {
    let mut key = chunks(stream);
    key.extend_from_slice(&index.to_be_bytes());
    key
}

/// The row of a stream that nothing has adopted.
pub(crate) fn open_stream(stream: StreamId) -> Vec<u8> {
    with_id(table::OPEN_STREAM, &stream.0)
}

/// A bucket's row.
pub(crate) fn bucket(bucket: BucketId) -> [u8; 9] {
    let mut key = [table::BUCKET; 9];
    key[1..].copy_from_slice(&bucket.0.to_be_bytes());
    key
}

/// A segment's row.
pub(crate) fn liveness(segment: u32) -> [u8; 5] {
    let mut key = [table::LIVENESS; 5];
    key[1..].copy_from_slice(&segment.to_be_bytes());
    key
}

/// A system record's row, or what all whose keys begin with `record` have in common.
pub(crate) fn system(system: SystemTable, record: &[u8]) -> Vec<u8> {
    let mut key = vec![table::SYSTEM, system.number()];
    key.extend_from_slice(record);
    key
}

/// The row of outcomes up to the entry at `index`.
pub(crate) fn outcome(index: u64) -> [u8; 9] {
    let mut key = [table::OUTCOME; 9];
    key[1..].copy_from_slice(&index.to_be_bytes());
    key
}

/// The number a key ends with.
pub(crate) fn last_u32(key: &[u8]) -> Option<u32> {
    key.last_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

/// The number a key ends with.
pub(crate) fn last_u64(key: &[u8]) -> Option<u64> {
    key.last_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

/// The id a key ends with.
pub(crate) fn last_id(key: &[u8]) -> Option<[u8; 16]> {
    key.last_chunk().copied()
}

/// The escaped name in a version's or upload's key whose suffix has `suffix` bytes, without the terminator.
pub(crate) fn escaped_name(key: &[u8], suffix: usize) -> Option<&[u8]> {
    key.get(NAME_START..key.len().checked_sub(suffix + TERMINATOR.len())?)
}

/// A name as it was before it was escaped.
pub(crate) fn unescape(escaped: &[u8]) -> Cow<'_, [u8]> {
    if !escaped.contains(&0) {
        return Cow::Borrowed(escaped);
    }
    let mut name = Vec::with_capacity(escaped.len());
    let mut rest = escaped.iter();
    while let Some(byte) = rest.next() {
        name.push(*byte);
        if *byte == 0 {
            rest.next();
        }
    }
    Cow::Owned(name)
}

/// The same as shared bytes.
pub(crate) fn unescape_bytes(escaped: &[u8]) -> Bytes {
    Bytes::copy_from_slice(&unescape(escaped))
}

fn with_id(table: u8, id: &[u8; 16]) -> Vec<u8> {
    let mut key = Vec::with_capacity(21);
    key.push(table);
    key.extend_from_slice(id);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_sort_by_name_and_then_newest_first() {
        let names: [&[u8]; 9] =
            [b"a", b"a\0", b"a\0\0", b"a\0b", b"a\x01", b"ab", b"a\xff", b"b", b"b\xff\xff"];
        let mut keys = Vec::new();
        for name in names {
            for sequence in [9, 8, 1] {
                keys.push(version(BucketId(1), name, Sequence(sequence)));
            }
        }
        assert!(keys.is_sorted(), "{keys:?}");
        for (key, name) in keys.iter().zip(names.iter().flat_map(|name| [name; 3])) {
            assert_eq!(&*unescape(escaped_name(key, 8).unwrap()), *name);
        }
    }

    #[test]
    fn the_end_of_a_prefix_is_past_all_that_begin_with_it() {
        assert_eq!(after(vec![2, 0xFF, 0xFF]), vec![3]);
        assert_eq!(after(vec![2, 1]), vec![2, 2]);
        let end = after(name_prefix(table::VERSION, BucketId(u64::MAX), b"\0"));
        assert!(version(BucketId(u64::MAX), b"\0\0\0", Sequence(0)) < end);
        assert!(version(BucketId(u64::MAX), b"\x01", Sequence(0)) >= end);
    }
}
