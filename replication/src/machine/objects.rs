//! Objects: committing, deleting, re-wrapping versions, as S3 has it.

use super::{
    apply::{Applying, Judged},
    key,
    row::{self, VersionRow},
    versions::{self, Name},
};
use crate::index::Index;
use bytes::Bytes;
use wire::{
    BucketId, CommitVersion, DeleteObject, DeleteTarget, Deleted, ObjectContent, ObjectKey, Outcome, Refusal,
    Sequence, UploadRecord, VersionId, VersionRecord, VersionRef, VersioningMode,
};

impl<I: Index> Applying<'_, I> {
    pub(super) fn commit_version(&mut self, commit: &CommitVersion) -> Judged {
        let name = Name { bucket: commit.bucket, object: commit.key.as_bytes() };
        let newest = self.newest(name)?;
        if let Some(committed) = newest.as_ref().filter(|row| row.record.version.version == commit.version) {
            return Ok(Outcome::Committed(committed.record.version));
        }
        self.refuse_frozen(commit.bucket)?;
        versions::check(&commit.condition, newest.as_ref())?;
        let inline = commit.content.parts.iter().filter(|part| part.inline).count();
        if inline > 1 {
            // an entry has one body
            return Err(Refusal::MissingChunks.into());
        }
        self.check_streams(&commit.content.parts)?;
        for part in &commit.content.parts {
            self.adopt_stream(part)?;
        }
        let mut row = self.version_row(commit.version, commit.mode, Some(commit.content.clone()));
        row.place = (inline == 1).then_some(self.entry.place);
        self.add_version(name, &row, newest.as_ref())?;
        Ok(Outcome::Committed(row.record.version))
    }

    pub(super) fn delete_object(&mut self, delete: &DeleteObject) -> Judged {
        let name = Name { bucket: delete.bucket, object: delete.key.as_bytes() };
        let newest = self.newest(name)?;
        versions::check(&delete.condition, newest.as_ref())?;
        let adds_marker = delete.target == DeleteTarget::Current && delete.mode != VersioningMode::Off;
        if adds_marker {
            let existed = newest.as_ref().is_some_and(|row| !row.record.is_delete_marker());
            let marker = self.version_row(delete.marker, delete.mode, None);
            self.add_version(name, &marker, newest.as_ref())?;
            let VersionRecord { version, null, .. } = marker.record;
            return Ok(Outcome::Deleted(Deleted { marker: Some(version), null, existed }));
        }
        let target = match delete.target {
            DeleteTarget::Current | DeleteTarget::Null => self.null(name, newest.as_ref())?,
            DeleteTarget::Version(version) => versions::at(&self.transaction, name, version.sequence)?
                .filter(|row| row.record.version == version),
        };
        let Some(target) = target else {
            return Ok(Outcome::Deleted(Deleted { marker: None, null: false, existed: false }));
        };
        self.remove_version(name, &target, newest.as_ref())?;
        let marker = target.record.is_delete_marker().then_some(target.record.version);
        Ok(Outcome::Deleted(Deleted { marker, null: target.record.null, existed: true }))
    }

    pub(super) fn rewrap(
        &mut self,
        bucket: BucketId,
        object: &ObjectKey,
        version: VersionRef,
        expected: &Bytes,
        header: &Bytes,
    ) -> Judged {
        if version.sequence == Sequence(0) {
            return self.rewrap_upload(bucket, object, version.version, expected, header);
        }
        let name = Name { bucket, object: object.as_bytes() };
        let mut row = versions::at(&self.transaction, name, version.sequence)?
            .filter(|row| row.record.version == version)
            .ok_or(Refusal::NoSuchVersion)?;
        let content = row.record.content.as_mut().ok_or(Refusal::NoSuchVersion)?;
        if content.header != *expected {
            return Err(Refusal::PreconditionFailed.into());
        }
        content.header = header.clone();
        self.transaction.put(key::version(bucket, name.object, version.sequence), row.encode());
        Ok(Outcome::Done)
    }

    fn rewrap_upload(
        &mut self,
        bucket: BucketId,
        object: &ObjectKey,
        upload: VersionId,
        expected: &Bytes,
        header: &Bytes,
    ) -> Judged {
        let row_key = key::upload(bucket, object.as_bytes(), upload);
        let value = self.transaction.get(&row_key)?.ok_or(Refusal::NoSuchUpload)?;
        let mut record = row::read("upload row", value, UploadRecord::decode)?;
        if record.header != *expected {
            return Err(Refusal::PreconditionFailed.into());
        }
        record.header = header.clone();
        self.transaction.put(row_key, row::value(|e| record.encode(e)));
        Ok(Outcome::Done)
    }

    /// The version (or, without content, the delete marker) that the present entry adds.
    pub(super) fn version_row(
        &self,
        version: VersionId,
        mode: VersioningMode,
        content: Option<ObjectContent>,
    ) -> VersionRow {
        let record = VersionRecord {
            version: VersionRef { sequence: self.entry.sequence, version },
            null: mode != VersioningMode::Enabled,
            modified: self.entry.meta.time,
            owner: self.entry.meta.principal,
            content,
        };
        VersionRow { place: None, record }
    }
}
