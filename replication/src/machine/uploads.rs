//! Multipart uploads: parts own their chunks until a version takes them over.

use super::{
    apply::{Applying, Halt, Judged},
    key, row,
    versions::{self, Name},
};
use crate::index::Index;
use std::collections::BTreeMap;
use wire::{
    BucketId, CompleteUpload, CreateUpload, ObjectKey, Outcome, PartContent, PartRecord, PutPart, Refusal,
    UploadRecord, VersionId,
};

impl<I: Index> Applying<'_, I> {
    pub(super) fn create_upload(&mut self, create: &CreateUpload) -> Judged {
        self.refuse_frozen(create.bucket)?;
        let row_key = key::upload(create.bucket, create.key.as_bytes(), create.upload);
        if self.transaction.get(&row_key)?.is_some() {
            return Ok(Outcome::Done);
        }
        let record = UploadRecord {
            upload: create.upload,
            initiated: self.entry.meta.time,
            owner: self.entry.meta.principal,
            header: create.header.clone(),
            metadata: create.metadata.clone(),
            checksum: create.checksum.clone(),
        };
        self.transaction.put(row_key, row::value(|e| record.encode(e)));
        let mut bucket = self.bucket(create.bucket)?;
        bucket.usage.uploads += 1;
        self.put_bucket(create.bucket, bucket);
        Ok(Outcome::Done)
    }

    pub(super) fn put_part(&mut self, put: &PutPart) -> Judged {
        self.refuse_frozen(put.bucket)?;
        self.require_upload(put.bucket, &put.key, put.upload)?;
        let row_key = key::part(put.upload, put.part.number);
        let replaced = match self.transaction.get(&row_key)? {
            Some(value) => Some(row::read("part row", value, PartRecord::decode)?),
            None => None,
        };
        if replaced.as_ref().is_some_and(|replaced| replaced.part.stream == put.part.stream) {
            return Ok(Outcome::Done);
        }
        if put.part.inline {
            self.adopt_body(put.part.stream)?;
        } else {
            self.check_streams(std::slice::from_ref(&put.part))?;
            self.adopt_stream(&put.part)?;
        }
        if let Some(replaced) = replaced {
            self.free_stream(replaced.part.stream)?;
        }
        let record = PartRecord { part: put.part.clone(), modified: self.entry.meta.time };
        self.transaction.put(row_key, row::value(|e| record.encode(e)));
        Ok(Outcome::Done)
    }

    pub(super) fn complete_upload(&mut self, complete: &CompleteUpload) -> Judged {
        let name = Name { bucket: complete.bucket, object: complete.key.as_bytes() };
        let newest = self.newest(name)?;
        if let Some(committed) = newest.as_ref().filter(|row| row.record.version.version == complete.upload) {
            return Ok(Outcome::Committed(committed.record.version));
        }
        self.refuse_frozen(complete.bucket)?;
        self.require_upload(complete.bucket, &complete.key, complete.upload)?;
        versions::check(&complete.condition, newest.as_ref())?;
        let stored = self.stored_parts(complete.upload)?;
        let mut above = 0;
        for part in &complete.content.parts {
            let same = |stored: &PartContent| {
                (stored.stream, stored.chunks, stored.inline) == (part.stream, part.chunks, part.inline)
            };
            if part.number <= above || !stored.get(&part.number).is_some_and(same) {
                return Err(Refusal::InvalidPart { number: part.number }.into());
            }
            above = part.number;
        }
        let kept =
            |number: u16| complete.content.parts.binary_search_by_key(&number, |part| part.number).is_ok();
        self.free_parts(complete.upload, kept)?;
        self.remove_upload(complete.bucket, &complete.key, complete.upload)?;
        let row = self.version_row(complete.upload, complete.mode, Some(complete.content.clone()));
        self.add_version(name, &row, newest.as_ref())?;
        Ok(Outcome::Committed(row.record.version))
    }

    pub(super) fn abort_upload(&mut self, bucket: BucketId, object: &ObjectKey, upload: VersionId) -> Judged {
        self.require_upload(bucket, object, upload)?;
        self.free_parts(upload, |_| false)?;
        self.remove_upload(bucket, object, upload)?;
        Ok(Outcome::Done)
    }

    /// Removes all part rows of an upload, and the chunks of those that are not kept. Gives how many there were.
    pub(super) fn free_parts(
        &mut self,
        upload: VersionId,
        kept: impl Fn(u16) -> bool,
    ) -> Result<usize, Halt> {
        let parts = self.stored_parts(upload)?;
        let count = parts.len();
        for (number, part) in parts {
            self.transaction.delete(key::part(upload, number));
            if !kept(number) && part.chunks > 0 {
                self.free_stream(part.stream)?;
            }
        }
        Ok(count)
    }

    fn stored_parts(&self, upload: VersionId) -> Result<BTreeMap<u16, PartContent>, Halt> {
        let prefix = key::parts(upload);
        let mut parts = BTreeMap::new();
        for found in self.transaction.scan(&prefix..&key::after(prefix.clone())) {
            let record = row::read("part row", found?.1, PartRecord::decode)?;
            parts.insert(record.part.number, record.part);
        }
        Ok(parts)
    }

    fn require_upload(&self, bucket: BucketId, object: &ObjectKey, upload: VersionId) -> Result<(), Halt> {
        match self.transaction.get(&key::upload(bucket, object.as_bytes(), upload))? {
            Some(_) => Ok(()),
            None => Err(Refusal::NoSuchUpload.into()),
        }
    }

    fn remove_upload(&mut self, bucket: BucketId, object: &ObjectKey, upload: VersionId) -> Result<(), Halt> {
        self.transaction.delete(key::upload(bucket, object.as_bytes(), upload));
        let mut row = self.bucket(bucket)?;
        row.usage.uploads = row.usage.uploads.saturating_sub(1);
        self.put_bucket(bucket, row);
        Ok(())
    }
}
