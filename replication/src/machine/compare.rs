//! What both regions of a pair must have alike, as entries that can be compared without keys: which rows make an entry, and
//! what of them its digests cover.
//!
//! Left out: places and liveness, remembered outcomes (grouped as entries happened to be batched), Raft's own rows, records
//! that each region keeps for itself, and chunks and parts that nothing visible points to. A row that cannot be read is an
//! entry too, by its bytes: whoever looks for damage must not stop at it.

mod walk;

pub(crate) use walk::{LeavesWalk, SumsWalk, Walk, entries_at};

use super::{Machine, MachineError, Place, key, row, row::VersionRow};
use crate::index::{Index, Row, RowBytes};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use std::ops::Range;
use wire::{
    BucketId, COMPARE_LEAVES, CompareTree, ComparedEntry, ComparedKind, Decoder, Digest, PartRecord, RowKey,
    StreamId, SystemRecord, SystemTable, VersionId,
};

/// Tables whose rows belong to a bucket, in order.
const BUCKET_TABLES: [u8; 4] =
    [key::table::VERSION, key::table::NULL_VERSION, key::table::UPLOAD, key::table::BUCKET];

/// Rows of one stream or upload that are read at one moment. 4,096: some milliseconds.
const ROWS_AT_ONCE: usize = 4_096;

/// Rows, a few at a time: those of one call as they are at one moment, those of two maybe not.
pub(crate) trait RowSource {
    /// The first `rows_max` rows of a range.
    fn rows(&self, range: Range<&[u8]>, rows_max: usize) -> Result<Vec<Row>, MachineError>;
}

impl<I: Index> RowSource for Machine<I> {
    fn rows(&self, range: Range<&[u8]>, rows_max: usize) -> Result<Vec<Row>, MachineError> {
        Ok(self.index.scan(range, true).take(rows_max).collect::<Result<_, _>>()?)
    }
}

/// The first tree behind `after` that has anything in it: buckets by number, then streams, then tables.
fn next_tree(
    source: &impl RowSource,
    after: Option<CompareTree>,
) -> Result<Option<CompareTree>, MachineError> {
    let bucket = match after {
        None => next_bucket(source, 0)?,
        Some(CompareTree::Bucket { bucket: u64::MAX }) => None,
        Some(CompareTree::Bucket { bucket }) => next_bucket(source, bucket + 1)?,
        Some(_) => None,
    };
    if let Some(bucket) = bucket {
        return Ok(Some(CompareTree::Bucket { bucket }));
    }
    let is_before_streams = matches!(after, None | Some(CompareTree::Bucket { .. }));
    if is_before_streams && !tree_rows(source, CompareTree::Streams, &[], 1)?.is_empty() {
        return Ok(Some(CompareTree::Streams));
    }
    let mut table = match after {
        Some(CompareTree::System { table }) => table.checked_add(1),
        _ => Some(0),
    };
    while let Some(from) = table {
        let end = key::table_end(key::table::SYSTEM);
        let first = source.rows(&[key::table::SYSTEM, from]..&end, 1)?.pop();
        let Some(found) = first.and_then(|(row_key, _)| row_key.get(1).copied()) else { break };
        if super::is_shared(&[key::table::SYSTEM, found]) {
            return Ok(Some(CompareTree::System { table: found }));
        }
        table = found.checked_add(1);
    }
    Ok(None)
}

fn next_bucket(source: &impl RowSource, from: u64) -> Result<Option<u64>, MachineError> {
    let mut next: Option<u64> = None;
    for table in BUCKET_TABLES {
        let start = key::name_prefix(table, BucketId(from), &[]);
        if let Some((row_key, _)) = source.rows(&start..&key::table_end(table), 1)?.pop() {
            let bucket = row_key.get(1..9).and_then(key::last_u64);
            let bucket = bucket.ok_or(MachineError::Row { row: "key of a bucket's row" })?;
            next = Some(next.map_or(bucket, |next| next.min(bucket)));
        }
    }
    Ok(next)
}

/// Rows of a tree's entries behind `after` (from the start if empty): at least one unless these were all.
fn tree_rows(
    source: &impl RowSource,
    tree: CompareTree,
    after: &[u8],
    rows_max: usize,
) -> Result<Vec<Row>, MachineError> {
    let prefixes = match tree {
        CompareTree::Bucket { bucket } => {
            BUCKET_TABLES.map(|table| key::name_prefix(table, BucketId(bucket), &[])).to_vec()
        }
        CompareTree::Streams => vec![vec![key::table::OPEN_STREAM]],
        CompareTree::System { table } => vec![vec![key::table::SYSTEM, table]],
    };
    for prefix in prefixes {
        let end = key::after(prefix.clone());
        let start = if after >= &*prefix { next(after) } else { prefix };
        if start < end {
            let rows = source.rows(&start..&end, rows_max)?;
            if !rows.is_empty() {
                return Ok(rows);
            }
        }
    }
    Ok(Vec::new())
}

/// The entry at a row's key, if there is one and it is part of what is compared.
fn entry_at(source: &impl RowSource, row_key: &[u8]) -> Result<Option<ComparedEntry>, MachineError> {
    let is_compared = match row_key {
        [table, _, ..] if BUCKET_TABLES.contains(table) || *table == key::table::OPEN_STREAM => true,
        [key::table::SYSTEM, _, ..] => super::is_shared(row_key),
        _ => false,
    };
    if !is_compared {
        return Ok(None);
    }
    let found = source.rows(row_key..&next(row_key), 1)?;
    found.first().map(|row| entry(source, row)).transpose()
}

/// The entry that a row is, with all that belongs to it.
fn entry(source: &impl RowSource, (row_key, value): &Row) -> Result<ComparedEntry, MachineError> {
    let mut content = Sha256::new();
    let mut entry = ComparedEntry {
        row: RowKey(Bytes::copy_from_slice(row_key)),
        kind: ComparedKind::Record,
        name: String::new(),
        version: None,
        size: None,
        etag: None,
        modified: None,
        record: digest(&[value]),
        content: Digest::default(),
    };
    match row_key[0] {
        key::table::VERSION => version(source, &mut entry, row_key, value, &mut content)?,
        key::table::NULL_VERSION => {
            entry.kind = ComparedKind::NullVersion;
            entry.name = object_name(row_key, 0);
        }
        key::table::UPLOAD => {
            entry.kind = ComparedKind::Upload;
            entry.name = object_name(row_key, 16);
            if let Some(upload) = key::last_id(row_key) {
                add_parts(source, VersionId(upload), &mut content)?;
            }
        }
        key::table::BUCKET => entry.kind = ComparedKind::Figures,
        key::table::OPEN_STREAM => {
            entry.kind = ComparedKind::Stream;
            if let Some(stream) = key::last_id(row_key) {
                entry.name = StreamId(stream).to_string();
                add_chunks(source, StreamId(stream), &mut content)?;
            }
        }
        _ => entry.name = record_name(row_key, value),
    }
    entry.content = Digest(content.finalize().into());
    Ok(entry)
}

/// What stands for an entry in its leaf's sum.
fn entry_digest(entry: &ComparedEntry) -> Digest {
    digest(&[&entry.row.0, &entry.record.0, &entry.content.0])
}

/// The leaf of the entry at a row's key: all versions and uploads of one name are in one.
fn leaf_of(row_key: &[u8]) -> u16 {
    let suffix = match row_key.first() {
        Some(&key::table::VERSION) => 8,
        Some(&key::table::UPLOAD) => 16,
        _ => 0,
    };
    let name = row_key.get(1..row_key.len().saturating_sub(suffix)).unwrap_or_default();
    let [first, second, ..] = digest(&[name]).0;
    u16::from_be_bytes([first, second]) % COMPARE_LEAVES
}

fn version(
    source: &impl RowSource,
    entry: &mut ComparedEntry,
    row_key: &[u8],
    value: &RowBytes,
    content: &mut Sha256,
) -> Result<(), MachineError> {
    entry.kind = ComparedKind::Version;
    entry.name = object_name(row_key, 8);
    let Ok(VersionRow { place, record }) = VersionRow::decode(value.clone()) else { return Ok(()) };
    if let Some(place) = &place {
        entry.record = digest(&[&value[..1], &value[1 + Place::ENCODED_BYTES..]]);
        add_body(content, 0, place);
    }
    entry.version = Some(if record.null { "null".to_owned() } else { record.version.to_string() });
    entry.modified = Some(record.modified);
    let Some(object) = &record.content else {
        entry.kind = ComparedKind::DeleteMarker;
        return Ok(());
    };
    (entry.size, entry.etag) = (Some(object.size), Some(object.etag.clone()));
    for part in object.parts.iter().filter(|part| !part.inline && part.chunks > 0) {
        content.update(part.number.to_le_bytes());
        add_chunks(source, part.stream, content)?;
    }
    Ok(())
}

fn add_parts(source: &impl RowSource, upload: VersionId, content: &mut Sha256) -> Result<(), MachineError> {
    all_rows(source, key::parts(upload), &mut |(row_key, value)| {
        content.update(row_key);
        content.update(digest(&[value]).0);
        match row::read("part row", value.clone(), PartRecord::decode) {
            Ok(record) => add_chunks(source, record.part.stream, content),
            Err(_) => Ok(()),
        }
    })
}

fn add_chunks(source: &impl RowSource, stream: StreamId, content: &mut Sha256) -> Result<(), MachineError> {
    all_rows(source, key::chunks(stream), &mut |(row_key, value)| {
        match (key::last_u32(row_key), row::read("chunk row", value.clone(), Place::decode)) {
            (Some(index), Ok(place)) => add_body(content, index, &place),
            _ => content.update(value),
        }
        Ok(())
    })
}

/// Length and checksum of a sealed body: where it lies is each replica's own affair.
fn add_body(content: &mut Sha256, index: u32, place: &Place) {
    content.update(index.to_le_bytes());
    content.update(place.body_length.to_le_bytes());
    content.update(place.body_crc.to_le_bytes());
}

fn all_rows(
    source: &impl RowSource,
    prefix: Vec<u8>,
    visit: &mut dyn FnMut(&Row) -> Result<(), MachineError>,
) -> Result<(), MachineError> {
    let end = key::after(prefix.clone());
    let mut start = prefix;
    loop {
        let rows = source.rows(&start..&end, ROWS_AT_ONCE)?;
        rows.iter().try_for_each(&mut *visit)?;
        match rows.last() {
            Some((last, _)) if rows.len() == ROWS_AT_ONCE => start = next(last),
            _ => return Ok(()),
        }
    }
}

fn object_name(row_key: &[u8], suffix: usize) -> String {
    let name = key::escaped_name(row_key, suffix).map(key::unescape).unwrap_or_default();
    String::from_utf8_lossy(&name).into_owned()
}

/// What operators know a record by: its key, if that is text; grants are told apart by their row.
fn record_name(row_key: &[u8], value: &RowBytes) -> String {
    let is_text = row_key.get(1) != Some(&SystemTable::Grant.number());
    let record = row::read("system row", value.clone(), |d: &mut Decoder| SystemRecord::decode(d));
    let name =
        record.ok().filter(|_| is_text).map(|record| String::from_utf8_lossy(&record.key).into_owned());
    name.unwrap_or_default()
}

fn digest(pieces: &[&[u8]]) -> Digest {
    let mut hasher = Sha256::new();
    for piece in pieces {
        // with its length: no two lists of pieces look alike
        hasher.update((piece.len() as u64).to_le_bytes());
        hasher.update(piece);
    }
    Digest(hasher.finalize().into())
}

fn next(row_key: &[u8]) -> Vec<u8> {
    [row_key, &[0]].concat()
}
