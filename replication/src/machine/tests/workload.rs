//! Random commands over few names, so that they meet each other.

use crate::testing::Random;
use bytes::Bytes;
use wire::*;

pub(super) const KEYS: [&str; 7] = ["a", "a/b", "a/b/c", "a/d", "a\0b", "b", "b/"];
pub(super) const BUCKETS: [BucketId; 2] = [BucketId(3), BucketId(u64::MAX)];

/// Draws commands; remembers which ids it gave out, to use them again.
pub(super) struct Workload {
    pub(super) random: Random,
    ids: u64,
    time: u64,
    streams: Vec<(StreamId, u32)>,
    uploads: Vec<(BucketId, ObjectKey, VersionId, Vec<PartContent>)>,
    recent: Vec<Command>,
}

impl Workload {
    pub(super) fn new(seed: u64) -> Self {
        let random = Random::new(seed);
        Self { random, ids: 0, time: 1_000, streams: Vec::new(), uploads: Vec::new(), recent: Vec::new() }
    }

    fn id(&mut self) -> [u8; 16] {
        self.ids += 1;
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.random.next().to_le_bytes());
        id[8..].copy_from_slice(&self.ids.to_le_bytes());
        id
    }

    pub(super) fn bucket(&mut self) -> BucketId {
        BUCKETS[usize::from(self.random.below(6) == 0)]
    }

    pub(super) fn key(&mut self) -> ObjectKey {
        let number = self.random.below(KEYS.len() as u64) as usize;
        ObjectKey::new(KEYS[number]).unwrap()
    }

    fn mode(&mut self) -> VersioningMode {
        [VersioningMode::Off, VersioningMode::Enabled, VersioningMode::Suspended]
            [self.random.below(3) as usize]
    }

    fn etag(&mut self) -> String {
        format!("etag-{}", self.random.below(3))
    }

    fn etags(&mut self) -> EtagMatch {
        if self.random.below(2) == 0 { EtagMatch::Any } else { EtagMatch::OneOf(vec![self.etag()]) }
    }

    fn condition(&mut self) -> WriteCondition {
        let if_match = (self.random.below(6) == 0).then(|| self.etags());
        let if_none_match = (self.random.below(6) == 0).then(|| self.etags());
        WriteCondition { if_match, if_none_match }
    }

    fn part(&mut self, number: u16) -> PartContent {
        let inline = self.random.below(2) == 0;
        let (stream, chunks) = match self.random.below(self.streams.len() as u64 + 1) as usize {
            at if !inline && at < self.streams.len() => self.streams.swap_remove(at),
            _ => (StreamId(self.id()), 1),
        };
        let size = u64::from(chunks - 1) * (1 << 20) + 1 + self.random.below(1 << 20);
        PartContent { number, stream, size, chunks, inline, etag: self.etag(), checksum: Bytes::new() }
    }

    fn content(&mut self, parts: Vec<PartContent>) -> ObjectContent {
        ObjectContent {
            size: parts.iter().map(|part| part.size).sum(),
            etag: self.etag(),
            checksum: Bytes::from_static(b"sum"),
            header: Bytes::from_static(b"header"),
            metadata: Bytes::from_static(b"metadata"),
            multipart: parts.len() > 1,
            parts,
        }
    }

    /// The next command; `versions` are those that exist in some name (to aim at).
    pub(super) fn next(&mut self, versions: &[(BucketId, ObjectKey, VersionRef)]) -> Command {
        if !self.recent.is_empty() && self.random.below(12) == 0 {
            let again = self.random.below(self.recent.len() as u64) as usize;
            return self.recent[again].clone();
        }
        self.time += self.random.below(3);
        let operation = self.operation(versions);
        let meta = CommandMeta {
            epoch: Epoch(u64::from(self.random.below(40) != 0) + self.time / 2_000),
            time: UnixMillis(self.time),
            principal: PrincipalId(self.random.below(3)),
            request: RequestId(self.id()),
        };
        let body = Bytes::from(self.random.bytes(8));
        let command = Command { meta, operation, body };
        if self.recent.len() == 30 {
            self.recent.remove(0);
        }
        self.recent.push(command.clone());
        command
    }

    fn operation(&mut self, versions: &[(BucketId, ObjectKey, VersionRef)]) -> Operation {
        let (bucket, key, mode) = (self.bucket(), self.key(), self.mode());
        match self.random.below(40) {
            0..8 => self.put_chunk(),
            8..16 => {
                let part = self.part(1);
                let (version, condition) = (VersionId(self.id()), self.condition());
                let content = self.content(vec![part]);
                Operation::CommitVersion(CommitVersion { bucket, key, version, mode, condition, content })
            }
            16..23 => self.delete(versions),
            23 => Operation::AbandonStream { stream: self.any_stream() },
            24..27 => {
                let upload = VersionId(self.id());
                self.uploads.push((bucket, key.clone(), upload, Vec::new()));
                let (header, metadata) = (Bytes::from_static(b"header"), Bytes::from_static(b"metadata"));
                Operation::CreateUpload(CreateUpload {
                    bucket,
                    key,
                    upload,
                    header,
                    metadata,
                    checksum: Bytes::new(),
                })
            }
            27..35 if !self.uploads.is_empty() => self.use_upload(mode),
            35 => Operation::ExpireStreams { created_before: UnixMillis(self.time.saturating_sub(30)) },
            36 => self.rewrap(versions),
            37 => Operation::FreezeBucket { bucket: BUCKETS[1] },
            38 => Operation::ThawBucket { bucket: BUCKETS[1] },
            39 if self.random.below(4) == 0 => Operation::ForgetBucket { bucket: BUCKETS[1] },
            _ => self.put_chunk(),
        }
    }

    fn put_chunk(&mut self) -> Operation {
        if self.streams.is_empty() || self.random.below(3) == 0 {
            let stream = StreamId(self.id());
            self.streams.push((stream, 1));
            return Operation::PutChunk { stream, index: 0 };
        }
        let at = self.random.below(self.streams.len() as u64) as usize;
        let (stream, chunks) = &mut self.streams[at];
        *chunks += 1;
        Operation::PutChunk { stream: *stream, index: *chunks - 1 }
    }

    fn any_stream(&mut self) -> StreamId {
        let fresh = StreamId(self.id());
        let at = self.random.below(self.streams.len() as u64 + 1) as usize;
        self.streams.get(at).map_or(fresh, |(stream, _)| *stream)
    }

    fn delete(&mut self, versions: &[(BucketId, ObjectKey, VersionRef)]) -> Operation {
        let (mut bucket, mut key, mode) = (self.bucket(), self.key(), self.mode());
        let mut target = if self.random.below(3) == 0 { DeleteTarget::Null } else { DeleteTarget::Current };
        if !versions.is_empty() && self.random.below(2) == 0 {
            let at = self.random.below(versions.len() as u64) as usize;
            (bucket, key) = (versions[at].0, versions[at].1.clone());
            target = DeleteTarget::Version(versions[at].2);
        }
        let (marker, condition) = (VersionId(self.id()), self.condition());
        Operation::DeleteObject(DeleteObject { bucket, key, target, mode, marker, condition })
    }

    fn rewrap(&mut self, versions: &[(BucketId, ObjectKey, VersionRef)]) -> Operation {
        let headers = [Bytes::from_static(b"header"), Bytes::from_static(b"new header")];
        let expected = headers[self.random.below(2) as usize].clone();
        let header = headers[self.random.below(2) as usize].clone();
        let at = self.random.below(versions.len() as u64 + 1) as usize;
        let (bucket, key, version) = versions.get(at).cloned().unwrap_or_else(|| {
            let (bucket, key, version) = match self.uploads.first() {
                Some((bucket, key, upload, _)) => (*bucket, key.clone(), *upload),
                None => (BUCKETS[0], ObjectKey::new(KEYS[0]).unwrap(), VersionId([1; 16])),
            };
            (bucket, key, VersionRef { sequence: Sequence(0), version })
        });
        Operation::Rewrap { bucket, key, version, expected, header }
    }

    fn use_upload(&mut self, mode: VersioningMode) -> Operation {
        let at = self.random.below(self.uploads.len() as u64) as usize;
        let (bucket, key, upload, mut parts) = self.uploads[at].clone();
        match self.random.below(8) {
            0 => Operation::AbortUpload { bucket, key, upload },
            1..3 => {
                parts.sort_by_key(|part| part.number);
                parts.retain(|_| self.random.below(8) != 0);
                if self.random.below(4) != 0 {
                    parts.dedup_by_key(|part| part.number);
                }
                let (condition, content) = (self.condition(), self.content(parts));
                Operation::CompleteUpload(CompleteUpload { bucket, key, upload, mode, condition, content })
            }
            _ => {
                let number = 1 + self.random.below(4) as u16;
                let part = self.part(number);
                // the newest attempt first: it is the one that a completion names
                self.uploads[at].3.insert(0, part.clone());
                Operation::PutPart(PutPart { bucket, key, upload, part })
            }
        }
    }
}
