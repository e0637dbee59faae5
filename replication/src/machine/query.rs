//! Queries: answers from the rows, and the places of the bodies that go with them.

use super::{
    LiveBody, Machine, MachineError, Place, key,
    listing::{self, LIST_BYTES_MAX},
    row::{self, BucketRow, VersionRow},
    transaction::Transaction,
    versions::{self, Name},
};
use crate::index::Index;
use bytes::Bytes;
use wire::{
    Answer, BodyWanted, BucketId, ChunkPosition, ObjectContent, PartRecord, Query, StreamId, SystemRecord,
    SystemTable, UploadRecord, VersionId, WhichVersion, limits,
};

/// Chunks in one answer. 4: as many as a frame's body holds.
const CHUNKS_MAX: u32 = 4;

impl<I: Index> Machine<I> {
    /// Answers a query from what is applied. The bodies at the places belong to the answer, one after another.
    pub fn query(&self, query: &Query) -> Result<(Answer, Vec<Place>), MachineError> {
        if self.installing {
            return Err(MachineError::Installing);
        }
        let answer = match query {
            Query::Version { bucket, key, which, body } => {
                return self.version(Name { bucket: *bucket, object: key.as_bytes() }, *which, *body);
            }
            Query::Chunks { stream, first, count } => return self.chunks(*stream, *first, *count),
            Query::List(list) => listing::list(&self.index, list)?,
            Query::Upload { bucket, key, upload } => {
                Answer::Upload(self.upload(*bucket, key.as_bytes(), *upload)?)
            }
            Query::Parts { bucket, key, upload, after, limit } => {
                match self.upload(*bucket, key.as_bytes(), *upload)? {
                    None => Answer::Parts(None),
                    Some(_) => Answer::Parts(Some(self.parts(*upload, *after, *limit)?)),
                }
            }
            Query::Uploads { bucket, prefix, after, limit } => {
                let (uploads, more) = self.uploads(*bucket, prefix, after.as_ref(), *limit)?;
                Answer::Uploads(uploads, more)
            }
            Query::BucketUsage { bucket } => {
                let row = self.index.get(&key::bucket(*bucket))?.map(BucketRow::decode).transpose()?;
                Answer::BucketUsage(row.unwrap_or_default().usage)
            }
            Query::SystemGet { table, key } => {
                let value = self.index.get(&key::system(*table, key))?;
                let record = value.map(|value| row::read("system row", value, SystemRecord::decode));
                Answer::SystemGet(record.transpose()?)
            }
            Query::SystemScan { table, prefix, after, limit } => {
                let (records, more) = self.system_scan(*table, prefix, after.as_ref(), *limit)?;
                Answer::SystemScan(records, more)
            }
            Query::SystemRevision => Answer::SystemRevision(self.state.revision),
            Query::PairState => Answer::PairState(self.pair()),
        };
        Ok((answer, Vec::new()))
    }

    /// The rows that point to the bodies which belong to a query's answer, in the same order.
    pub fn body_rows(&self, query: &Query) -> Result<Vec<LiveBody>, MachineError> {
        let (answer, places) = self.query(query)?;
        let mut keys = Vec::new();
        match (query, answer) {
            (Query::Chunks { stream, first, .. }, _) => {
                let numbers = (*first..).take(places.len());
                keys.extend(numbers.map(|number| key::chunk(*stream, number)));
            }
            (
                Query::Version { bucket, key: object, .. },
                Answer::Version { record: Some(record), body: Some(at) },
            ) => {
                let parts = record.content.as_ref().map_or(&[][..], |content| &content.parts);
                let version = key::version(*bucket, object.as_bytes(), record.version.sequence);
                keys.push(match parts.get(at.part as usize) {
                    Some(part) if self.body_place(&version)?.is_none() || !part.inline => {
                        key::chunk(part.stream, at.chunk)
                    }
                    _ => version,
                });
            }
            _ => {}
        }
        Ok(keys.into_iter().map(Bytes::from).zip(places).collect())
    }

    fn version(
        &self,
        name: Name<'_>,
        which: WhichVersion,
        wanted: BodyWanted,
    ) -> Result<(Answer, Vec<Place>), MachineError> {
        let transaction = Transaction::new(&self.index);
        let row = match which {
            WhichVersion::Current => versions::newest(&transaction, name)?,
            WhichVersion::Null => {
                let newest = versions::newest(&transaction, name)?;
                versions::null(&transaction, name, newest.as_ref())?
            }
            WhichVersion::Exactly(version) => versions::at(&transaction, name, version.sequence)?
                .filter(|row| row.record.version == version),
        };
        let Some(row) = row else { return Ok((Answer::Version { record: None, body: None }, Vec::new())) };
        let position = row.record.content.as_ref().and_then(|content| chunk_wanted(content, wanted));
        let place = match position {
            Some(position) => self.chunk_place(&row, position)?,
            None => None,
        };
        let body = position.filter(|_| place.is_some());
        Ok((Answer::Version { record: Some(row.record), body }, place.into_iter().collect()))
    }

    fn chunk_place(&self, row: &VersionRow, position: ChunkPosition) -> Result<Option<Place>, MachineError> {
        let parts = row.record.content.as_ref().map_or(&[][..], |content| &content.parts);
        let Some(part) = parts.get(position.part as usize) else { return Ok(None) };
        if part.inline && row.place.is_some() {
            return Ok(row.place);
        }
        match self.index.get(&key::chunk(part.stream, position.chunk))? {
            Some(value) => Ok(Some(row::read("chunk row", value, Place::decode)?)),
            None => Ok(None),
        }
    }

    fn chunks(&self, stream: StreamId, first: u32, count: u32) -> Result<(Answer, Vec<Place>), MachineError> {
        let start = key::chunk(stream, first);
        let end = match first.checked_add(count.min(CHUNKS_MAX)) {
            Some(end) => key::chunk(stream, end),
            None => key::after(key::chunks(stream)),
        };
        let mut places = Vec::new();
        for (found, expected) in self.index.scan(&start..&end, true).zip(first..) {
            let (row_key, value) = found?;
            if key::last_u32(&row_key) != Some(expected) {
                break;
            }
            places.push(row::read("chunk row", value, Place::decode)?);
        }
        Ok((Answer::Chunks(places.iter().map(|place| place.body_length).collect()), places))
    }

    fn upload(
        &self,
        bucket: BucketId,
        object: &[u8],
        upload: VersionId,
    ) -> Result<Option<UploadRecord>, MachineError> {
        let value = self.index.get(&key::upload(bucket, object, upload))?;
        Ok(value.map(|value| row::read("upload row", value, UploadRecord::decode)).transpose()?)
    }

    fn parts(
        &self,
        upload: VersionId,
        after: u16,
        limit: u32,
    ) -> Result<(Vec<PartRecord>, bool), MachineError> {
        let end = key::after(key::parts(upload));
        let start = match after.checked_add(1) {
            Some(first) => key::part(upload, first),
            None => return Ok((Vec::new(), false)),
        };
        self.page(&start, &end, limit, usize::from(limits::PART_NUMBER_MAX), |_, value| {
            Ok(row::read("part row", value, PartRecord::decode)?)
        })
    }

    fn uploads(
        &self,
        bucket: BucketId,
        prefix: &[u8],
        after: Option<&(Bytes, VersionId)>,
        limit: u32,
    ) -> Result<(Vec<(Bytes, UploadRecord)>, bool), MachineError> {
        let prefix = key::name_prefix(key::table::UPLOAD, bucket, prefix);
        let end = key::after(prefix.clone());
        let start = match after {
            Some((name, upload)) => {
                let mut past = key::upload(bucket, name, *upload);
                past.push(0);
                past.max(prefix)
            }
            None => prefix,
        };
        self.page(&start, &end, limit, limits::LIST_ROWS_MAX, |row_key, value| {
            let name = key::escaped_name(row_key, 16).ok_or(MachineError::Row { row: "upload key" })?;
            Ok((key::unescape_bytes(name), row::read("upload row", value, UploadRecord::decode)?))
        })
    }

    fn system_scan(
        &self,
        table: SystemTable,
        prefix: &[u8],
        after: Option<&Bytes>,
        limit: u32,
    ) -> Result<(Vec<SystemRecord>, bool), MachineError> {
        let prefix = key::system(table, prefix);
        let end = key::after(prefix.clone());
        let start = match after {
            Some(after) => {
                let mut past = key::system(table, after);
                past.push(0);
                past.max(prefix)
            }
            None => prefix,
        };
        self.page(&start, &end, limit, limits::LIST_ROWS_MAX, |_, value| {
            Ok(row::read("system row", value, SystemRecord::decode)?)
        })
    }

    /// Rows of a range up to a limit of rows and of bytes, and whether there are more.
    fn page<T>(
        &self,
        start: &[u8],
        end: &[u8],
        limit: u32,
        rows_max: usize,
        read: impl Fn(&[u8], crate::index::RowBytes) -> Result<T, MachineError>,
    ) -> Result<(Vec<T>, bool), MachineError> {
        let limit = rows_max.min(limit as usize);
        let mut rows = Vec::new();
        let mut bytes = 0;
        for found in self.index.scan(start..end, true) {
            let (row_key, value) = found?;
            bytes += row_key.len() + value.len();
            if rows.len() == limit || (bytes > LIST_BYTES_MAX && !rows.is_empty()) {
                return Ok((rows, true));
            }
            rows.push(read(&row_key, value)?);
        }
        Ok((rows, false))
    }
}

/// Where the wanted byte lies: chunks hold 1 MiB of plaintext each, but for the last of a part.
fn chunk_wanted(content: &ObjectContent, wanted: BodyWanted) -> Option<ChunkPosition> {
    let offset = match wanted {
        BodyWanted::Nothing => return None,
        BodyWanted::At(offset) => offset,
        BodyWanted::Last(length) => content.size.saturating_sub(length),
        BodyWanted::Part(number) => {
            let part = content.parts.iter().position(|part| part.number == number)?;
            return (content.parts[part].chunks > 0).then_some(ChunkPosition { part: part as u32, chunk: 0 });
        }
    };
    if content.size == 0 && offset == 0 {
        // an empty object may still have a sealed chunk that proves its emptiness
        let part = content.parts.iter().position(|part| part.chunks > 0)?;
        return Some(ChunkPosition { part: part as u32, chunk: 0 });
    }
    let mut start = 0_u64;
    for (part, content) in content.parts.iter().enumerate() {
        let end = start.saturating_add(content.size);
        if offset < end {
            let chunk = u32::try_from((offset - start) / limits::CHUNK_BYTES_MAX as u64).ok()?;
            return (chunk < content.chunks).then_some(ChunkPosition { part: part as u32, chunk });
        }
        start = end;
    }
    None
}
