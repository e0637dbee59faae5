//! S3 as one would write it without an index: a list of versions per name, sets of chunks per stream.

use std::collections::{BTreeMap, BTreeSet};
use wire::*;

#[derive(Default)]
pub(super) struct Model {
    /// Newest first.
    pub(super) names: BTreeMap<(BucketId, ObjectKey), Vec<VersionRecord>>,
    pub(super) uploads: BTreeMap<(BucketId, ObjectKey, VersionId), (UploadRecord, Parts)>,
    /// Chunk index → log index of the entry that holds it.
    pub(super) open: BTreeMap<StreamId, (UnixMillis, BTreeMap<u32, u64>)>,
    pub(super) adopted: BTreeMap<StreamId, BTreeMap<u32, u64>>,
    frozen: BTreeSet<BucketId>,
    epoch: Epoch,
    seen: Vec<(RequestId, Operation, Outcome)>,
}

type Parts = BTreeMap<u16, PartRecord>;
type Judged = Result<Outcome, Refusal>;

impl Model {
    pub(super) fn apply(&mut self, index: u64, command: &Command) -> Outcome {
        let idempotent = matches!(
            command.operation,
            Operation::PutChunk { .. } | Operation::AbandonStream { .. } | Operation::ExpireStreams { .. }
        );
        let same = |seen: &&(RequestId, Operation, Outcome)| {
            seen.0 == command.meta.request && seen.1 == command.operation
        };
        if let Some((_, _, outcome)) = self.seen.iter().find(same).filter(|_| !idempotent) {
            return outcome.clone();
        }
        let outcome = self.judge(index, command).unwrap_or_else(Outcome::Refused);
        // a command of an old epoch has done nothing, and is judged again when it comes again
        let passing = matches!(outcome, Outcome::Refused(Refusal::StaleEpoch { .. }));
        if !idempotent && !passing {
            self.seen.push((command.meta.request, command.operation.clone(), outcome.clone()));
        }
        outcome
    }

    /// Log indexes of the entries whose bodies something needs.
    pub(super) fn live(&self) -> BTreeSet<u64> {
        let mut live = BTreeSet::new();
        live.extend(self.open.values().flat_map(|(_, chunks)| chunks.values()));
        live.extend(self.adopted.values().flat_map(|chunks| chunks.values()));
        for record in self.names.values().flatten() {
            let content =
                record.content.as_ref().filter(|content| content.parts.iter().any(|part| part.inline));
            if content
                .is_some_and(|content| !content.parts.iter().any(|p| self.adopted.contains_key(&p.stream)))
            {
                live.insert(record.version.sequence.0);
            }
        }
        live
    }

    pub(super) fn usage(&self, bucket: BucketId) -> BucketUsage {
        let versions =
            self.names.iter().filter(|((of, _), _)| *of == bucket).flat_map(|(_, versions)| versions);
        BucketUsage {
            versions: versions.clone().count() as u64,
            bytes: versions.filter_map(|record| record.content.as_ref()).map(|content| content.size).sum(),
            uploads: self.uploads.keys().filter(|(of, _, _)| *of == bucket).count() as u64,
        }
    }

    fn judge(&mut self, index: u64, command: &Command) -> Judged {
        if command.meta.epoch < self.epoch {
            return Err(Refusal::StaleEpoch { current: self.epoch });
        }
        self.epoch = self.epoch.max(command.meta.epoch.min(FIRST_EPOCH));
        let meta = &command.meta;
        match &command.operation {
            Operation::PutChunk { stream, index: chunk } => {
                if !self.adopted.contains_key(stream) {
                    let (_, chunks) = self.open.entry(*stream).or_insert((meta.time, BTreeMap::new()));
                    chunks.entry(*chunk).or_insert(index);
                }
            }
            Operation::AbandonStream { stream } => drop(self.open.remove(stream)),
            Operation::ExpireStreams { created_before } => {
                self.open.retain(|_, (created, _)| *created >= *created_before);
            }
            Operation::CommitVersion(c) => {
                if let Some(done) = self.committed(c.bucket, &c.key, c.version) {
                    return Ok(done);
                }
                self.accepts(c.bucket)?;
                self.check(c.bucket, &c.key, &c.condition)?;
                c.content.parts.iter().filter(|part| !part.inline).try_for_each(|part| self.whole(part))?;
                c.content.parts.iter().filter(|part| !part.inline).for_each(|part| self.adopt(part));
                let content = Some(c.content.clone());
                return Ok(Outcome::Committed(
                    self.add(index, meta, c.bucket, &c.key, c.version, c.mode, content),
                ));
            }
            Operation::DeleteObject(d) => return self.delete(index, meta, d),
            Operation::CreateUpload(c) => {
                self.accepts(c.bucket)?;
                let record = UploadRecord {
                    upload: c.upload,
                    initiated: meta.time,
                    owner: meta.principal,
                    header: c.header.clone(),
                    metadata: c.metadata.clone(),
                    checksum: c.checksum.clone(),
                };
                self.uploads.entry((c.bucket, c.key.clone(), c.upload)).or_insert((record, BTreeMap::new()));
            }
            Operation::PutPart(p) => return self.put_part(index, meta, p),
            Operation::CompleteUpload(c) => return self.complete(index, meta, c),
            Operation::AbortUpload { bucket, key, upload } => {
                let id = (*bucket, key.clone(), *upload);
                let (_, parts) = self.uploads.remove(&id).ok_or(Refusal::NoSuchUpload)?;
                parts.values().for_each(|part| drop(self.adopted.remove(&part.part.stream)));
            }
            Operation::Rewrap { bucket, key, version, expected, header } => {
                let present = if version.sequence.0 == 0 {
                    let upload = self.uploads.get_mut(&(*bucket, key.clone(), version.version));
                    &mut upload.ok_or(Refusal::NoSuchUpload)?.0.header
                } else {
                    let mut versions = self.names.get_mut(&(*bucket, key.clone())).into_iter().flatten();
                    let record = versions.find(|r| r.version == *version).ok_or(Refusal::NoSuchVersion)?;
                    &mut record.content.as_mut().ok_or(Refusal::NoSuchVersion)?.header
                };
                if present != expected {
                    return Err(Refusal::PreconditionFailed);
                }
                *present = header.clone();
            }
            Operation::FreezeBucket { bucket } => {
                self.frozen.insert(*bucket);
                return Ok(Outcome::Frozen { empty: self.usage(*bucket).versions == 0 });
            }
            Operation::ThawBucket { bucket } => drop(self.frozen.remove(bucket)),
            Operation::ForgetBucket { bucket } => {
                let gone: Vec<_> = self.uploads.keys().filter(|id| id.0 == *bucket).cloned().collect();
                for (_, parts) in gone.iter().filter_map(|id| self.uploads.remove(id)).collect::<Vec<_>>() {
                    parts.values().for_each(|part| drop(self.adopted.remove(&part.part.stream)));
                }
                return Ok(Outcome::Forgotten { whole: true });
            }
            Operation::System(_) | Operation::PairStep(_) | Operation::Shipped(_) | Operation::Adopt(_) => {
                return Err(Refusal::WrongGroup);
            }
        }
        Ok(Outcome::Done)
    }

    fn delete(&mut self, index: u64, meta: &CommandMeta, d: &DeleteObject) -> Judged {
        self.check(d.bucket, &d.key, &d.condition)?;
        let current = self.versions(d.bucket, &d.key).first();
        let existed = current.is_some_and(|record| !record.is_delete_marker());
        if d.target == DeleteTarget::Current && d.mode != VersioningMode::Off {
            let marker = self.add(index, meta, d.bucket, &d.key, d.marker, d.mode, None);
            let null = d.mode == VersioningMode::Suspended;
            return Ok(Outcome::Deleted(Deleted { marker: Some(marker), null, existed }));
        }
        let meant = |record: &VersionRecord| match d.target {
            DeleteTarget::Version(version) => record.version == version,
            _ => record.null,
        };
        Ok(Outcome::Deleted(match self.remove(d.bucket, &d.key, meant) {
            None => Deleted { marker: None, null: false, existed: false },
            Some(gone) => {
                let marker = gone.content.is_none().then_some(gone.version);
                Deleted { marker, null: gone.null, existed: true }
            }
        }))
    }

    fn put_part(&mut self, index: u64, meta: &CommandMeta, p: &PutPart) -> Judged {
        self.accepts(p.bucket)?;
        let id = (p.bucket, p.key.clone(), p.upload);
        let (_, parts) = self.uploads.get(&id).ok_or(Refusal::NoSuchUpload)?;
        let replaced = parts.get(&p.part.number).map(|part| part.part.stream);
        if replaced == Some(p.part.stream) {
            return Ok(Outcome::Done);
        }
        if p.part.inline {
            if self.adopted.contains_key(&p.part.stream) || self.open.contains_key(&p.part.stream) {
                return Err(Refusal::MissingChunks);
            }
            self.adopted.insert(p.part.stream, BTreeMap::from([(0, index)]));
        } else {
            self.whole(&p.part)?;
            self.adopt(&p.part);
        }
        replaced.map(|stream| self.adopted.remove(&stream));
        let record = PartRecord { part: p.part.clone(), modified: meta.time };
        self.uploads.get_mut(&id).unwrap().1.insert(p.part.number, record);
        Ok(Outcome::Done)
    }

    fn complete(&mut self, index: u64, meta: &CommandMeta, c: &CompleteUpload) -> Judged {
        if let Some(done) = self.committed(c.bucket, &c.key, c.upload) {
            return Ok(done);
        }
        self.accepts(c.bucket)?;
        let id = (c.bucket, c.key.clone(), c.upload);
        let (_, parts) = self.uploads.get(&id).ok_or(Refusal::NoSuchUpload)?;
        self.check(c.bucket, &c.key, &c.condition)?;
        for (at, part) in c.content.parts.iter().enumerate() {
            let repeated = at > 0 && c.content.parts[at - 1].number >= part.number;
            if repeated || parts.get(&part.number).is_none_or(|stored| stored.part.stream != part.stream) {
                return Err(Refusal::InvalidPart { number: part.number });
            }
        }
        let (_, parts) = self.uploads.remove(&id).unwrap();
        for part in parts.values().filter(|stored| !c.content.parts.contains(&stored.part)) {
            self.adopted.remove(&part.part.stream);
        }
        let content = Some(c.content.clone());
        Ok(Outcome::Committed(self.add(index, meta, c.bucket, &c.key, c.upload, c.mode, content)))
    }

    fn versions(&self, bucket: BucketId, key: &ObjectKey) -> &[VersionRecord] {
        self.names.get(&(bucket, key.clone())).map_or(&[], |versions| versions)
    }

    fn committed(&self, bucket: BucketId, key: &ObjectKey, version: VersionId) -> Option<Outcome> {
        let newest = self.versions(bucket, key).first()?.version;
        (newest.version == version).then_some(Outcome::Committed(newest))
    }

    fn accepts(&self, bucket: BucketId) -> Result<(), Refusal> {
        if self.frozen.contains(&bucket) { Err(Refusal::BucketFrozen) } else { Ok(()) }
    }

    fn check(&self, bucket: BucketId, key: &ObjectKey, condition: &WriteCondition) -> Result<(), Refusal> {
        let current = self.versions(bucket, key).first().and_then(|record| record.content.as_ref());
        let matches = |wanted: &EtagMatch| match (wanted, current) {
            (_, None) => false,
            (EtagMatch::Any, Some(_)) => true,
            (EtagMatch::OneOf(etags), Some(content)) => etags.contains(&content.etag),
        };
        match (&condition.if_match, &condition.if_none_match) {
            (Some(_), _) if current.is_none() => Err(Refusal::NoSuchKey),
            (Some(wanted), _) if !matches(wanted) => Err(Refusal::PreconditionFailed),
            (_, Some(unwanted)) if matches(unwanted) => Err(Refusal::PreconditionFailed),
            _ => Ok(()),
        }
    }

    fn whole(&self, part: &PartContent) -> Result<(), Refusal> {
        let chunks = self.open.get(&part.stream).map(|(_, chunks)| chunks).ok_or(Refusal::MissingChunks)?;
        let whole = (0..part.chunks).all(|chunk| chunks.contains_key(&chunk));
        if whole { Ok(()) } else { Err(Refusal::MissingChunks) }
    }

    fn adopt(&mut self, part: &PartContent) {
        let (_, mut chunks) = self.open.remove(&part.stream).unwrap();
        chunks.retain(|chunk, _| *chunk < part.chunks);
        self.adopted.insert(part.stream, chunks);
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one record")]
    fn add(
        &mut self,
        index: u64,
        meta: &CommandMeta,
        bucket: BucketId,
        key: &ObjectKey,
        version: VersionId,
        mode: VersioningMode,
        content: Option<ObjectContent>,
    ) -> VersionRef {
        let null = mode != VersioningMode::Enabled;
        if null {
            self.remove(bucket, key, |record| record.null);
        }
        let version = VersionRef { sequence: Sequence(index), version };
        let record = VersionRecord { version, null, modified: meta.time, owner: meta.principal, content };
        self.names.entry((bucket, key.clone())).or_default().insert(0, record);
        version
    }

    fn remove(
        &mut self,
        bucket: BucketId,
        key: &ObjectKey,
        meant: impl Fn(&VersionRecord) -> bool,
    ) -> Option<VersionRecord> {
        let versions = self.names.get_mut(&(bucket, key.clone()))?;
        let gone = versions.remove(versions.iter().position(meant)?);
        for part in gone.content.iter().flat_map(|content| &content.parts) {
            self.adopted.remove(&part.stream);
        }
        Some(gone)
    }
}
