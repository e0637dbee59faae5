//! The versions of one name: finding them, adding one, removing one.
//!
//! A name has at most one null version. When it is not the newest, a row says where it is: so it is found without
//! walking the versions, and a name that is written once costs one row.

use super::{
    MachineError,
    apply::{Applying, Halt},
    key,
    row::{self, VersionRow},
    transaction::Transaction,
};
use crate::index::Index;
use wire::{BucketId, Decoder, Refusal, Sequence, WriteCondition};

/// A name in a bucket.
#[derive(Clone, Copy)]
pub(super) struct Name<'a> {
    pub(super) bucket: BucketId,
    pub(super) object: &'a [u8],
}

/// The newest version of a name, if there is one.
pub(super) fn newest<I: Index>(
    transaction: &Transaction<'_, I>,
    name: Name<'_>,
) -> Result<Option<VersionRow>, MachineError> {
    let prefix = key::name(key::table::VERSION, name.bucket, name.object);
    let found = transaction.first(&prefix..&key::after(prefix.clone()))?;
    Ok(found.map(|(_, value)| VersionRow::decode(value)).transpose()?)
}

/// The version at `sequence`, whatever its id.
pub(super) fn at<I: Index>(
    transaction: &Transaction<'_, I>,
    name: Name<'_>,
    sequence: Sequence,
) -> Result<Option<VersionRow>, MachineError> {
    let found = transaction.get(&key::version(name.bucket, name.object, sequence))?;
    Ok(found.map(VersionRow::decode).transpose()?)
}

/// The null version of a name whose newest version is `newest`.
pub(super) fn null<I: Index>(
    transaction: &Transaction<'_, I>,
    name: Name<'_>,
    newest: Option<&VersionRow>,
) -> Result<Option<VersionRow>, MachineError> {
    match newest {
        None => Ok(None),
        Some(newest) if newest.record.null => Ok(Some(newest.clone())),
        Some(_) => match transaction.get(&key::null_version(name.bucket, name.object))? {
            None => Ok(None),
            Some(value) => {
                let sequence = Sequence(row::read("null version row", value, Decoder::u64)?);
                at(transaction, name, sequence)?.map(Some).ok_or(MachineError::Row { row: "null version" })
            }
        },
    }
}

/// Judges a condition; a delete marker is no object.
pub(super) fn check(condition: &WriteCondition, newest: Option<&VersionRow>) -> Result<(), Refusal> {
    let etag = newest.and_then(|row| row.record.content.as_ref()).map(|content| &*content.etag);
    if let Some(wanted) = &condition.if_match {
        let etag = etag.ok_or(Refusal::NoSuchKey)?;
        if !wanted.matches(etag) {
            return Err(Refusal::PreconditionFailed);
        }
    }
    match (&condition.if_none_match, etag) {
        (Some(unwanted), Some(etag)) if unwanted.matches(etag) => Err(Refusal::PreconditionFailed),
        _ => Ok(()),
    }
}

impl<I: Index> Applying<'_, I> {
    pub(super) fn newest(&self, name: Name<'_>) -> Result<Option<VersionRow>, Halt> {
        Ok(newest(&self.transaction, name)?)
    }

    pub(super) fn null(
        &self,
        name: Name<'_>,
        newest: Option<&VersionRow>,
    ) -> Result<Option<VersionRow>, Halt> {
        Ok(null(&self.transaction, name, newest)?)
    }

    /// Adds a version above `newest`; a null version takes the place of the one before it.
    pub(super) fn add_version(
        &mut self,
        name: Name<'_>,
        row: &VersionRow,
        newest: Option<&VersionRow>,
    ) -> Result<(), Halt> {
        let replaced = if row.record.null { self.null(name, newest)? } else { None };
        if let Some(replaced) = &replaced {
            self.remove_version(name, replaced, newest)?;
        } else if let Some(newest) = newest.filter(|newest| newest.record.null) {
            let sequence = newest.record.version.sequence;
            self.transaction.put(key::null_version(name.bucket, name.object), &sequence.0.to_le_bytes());
        }
        if let Some(place) = &row.place {
            self.transaction.hold(place);
        }
        let sequence = row.record.version.sequence;
        self.transaction.put(key::version(name.bucket, name.object, sequence), row.encode());
        let mut bucket = self.bucket(name.bucket)?;
        bucket.usage.versions += 1;
        bucket.usage.bytes = bucket.usage.bytes.saturating_add(row.size());
        self.put_bucket(name.bucket, bucket);
        Ok(())
    }

    /// Removes a version for good and frees its chunks.
    pub(super) fn remove_version(
        &mut self,
        name: Name<'_>,
        row: &VersionRow,
        newest: Option<&VersionRow>,
    ) -> Result<(), Halt> {
        let version = row.record.version;
        let is_newest = newest.is_some_and(|newest| newest.record.version == version);
        self.transaction.delete(key::version(name.bucket, name.object, version.sequence));
        let null_row = key::null_version(name.bucket, name.object);
        if is_newest {
            // a null version that becomes the newest needs no row that says where it is
            if !row.record.null && self.newest(name)?.is_some_and(|next| next.record.null) {
                self.transaction.delete(null_row);
            }
        } else if row.record.null {
            self.transaction.delete(null_row);
        }
        if let Some(place) = &row.place {
            self.transaction.release(place);
        }
        for part in row.record.content.iter().flat_map(|content| &content.parts) {
            if part.chunks > 0 && !(part.inline && row.place.is_some()) {
                self.free_stream(part.stream)?;
            }
        }
        let mut bucket = self.bucket(name.bucket)?;
        bucket.usage.versions = bucket.usage.versions.saturating_sub(1);
        bucket.usage.bytes = bucket.usage.bytes.saturating_sub(row.size());
        self.put_bucket(name.bucket, bucket);
        Ok(())
    }
}
