//! A region in one process, in memory and without Raft: for tests and simulations of what sits above the engine.
//!
//! Commands and queries go through their encoded forms and the real state machine, so that limits and outcomes are
//! the engine's own. Nothing is durable and no binary can reach it.

use crate::{
    index::MemoryIndex,
    machine::{AppliedEntry, Machine, MachineError, Payload, Place, Position},
    region::{Consistency, Region, RegionError},
};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::time::Instant;
use wire::{Answer, Command, DecodeError, Epoch, GroupId, Outcome, Query, ReplicaId};

/// A region whose groups are state machines in memory.
pub struct SoloRegion {
    groups: Vec<Mutex<SoloGroup>>,
}

struct SoloGroup {
    machine: Machine<MemoryIndex>,
    /// Bodies by the offset in their place.
    bodies: HashMap<u64, Bytes>,
    log_index: u64,
}

impl SoloRegion {
    /// An empty region of `groups` data groups (a power of two) and the system group.
    pub fn new(groups: u32) -> Result<Self, MachineError> {
        assert!(groups.is_power_of_two(), "a region's group count is a power of two");
        let groups = (0..=groups)
            .map(|group| {
                let machine = Machine::open(GroupId(group), MemoryIndex::default())?;
                Ok(Mutex::new(SoloGroup { machine, bodies: HashMap::new(), log_index: 0 }))
            })
            .collect::<Result<_, MachineError>>()?;
        Ok(Self { groups })
    }

    /// Loses the body of every stored chunk, as a disk would: reads of them fail from now on.
    pub fn lose_bodies(&self) {
        for group in &self.groups {
            lock(group).bodies.clear();
        }
    }

    fn group(&self, group: GroupId) -> Result<MutexGuard<'_, SoloGroup>, RegionError> {
        self.groups.get(group.0 as usize).map(lock).ok_or(RegionError::Unavailable { group })
    }
}

fn lock(group: &Mutex<SoloGroup>) -> MutexGuard<'_, SoloGroup> {
    group.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Region for SoloRegion {
    fn groups(&self) -> u32 {
        self.groups.len() as u32 - 1
    }

    fn epoch(&self) -> Epoch {
        Epoch(1)
    }

    async fn propose(&self, group: GroupId, command: Command, _: Instant) -> Result<Outcome, RegionError> {
        self.group(group)?.propose(command).map_err(|_| RegionError::Protocol { group })
    }

    async fn query(
        &self,
        group: GroupId,
        query: Query,
        _: Consistency,
        _: Instant,
    ) -> Result<(Answer, Bytes), RegionError> {
        let solo = self.group(group)?;
        let (answer, places) = solo.query(&query).map_err(|_| RegionError::Protocol { group })?;
        let mut bodies = BytesMut::new();
        for place in places {
            let body = solo.bodies.get(&place.offset).ok_or(RegionError::Unreadable { group })?;
            bodies.extend_from_slice(body);
        }
        Ok((answer, bodies.freeze()))
    }
}

impl SoloGroup {
    fn propose(&mut self, command: Command) -> Result<Outcome, MachineError> {
        let head = command.encode_head();
        let within = head.len() <= wire::limits::COMMAND_HEAD_BYTES_MAX;
        let over = DecodeError::OverLimit {
            what: "command",
            found: head.len() as u64,
            limit: wire::limits::COMMAND_HEAD_BYTES_MAX as u64,
        };
        if !within {
            return Err(over.into());
        }
        self.log_index += 1;
        let place = Place {
            segment: 1,
            offset: self.log_index,
            head_length: head.len() as u32,
            body_length: command.body.len() as u32,
            body_crc: crc32c::crc32c(&command.body),
        };
        let command = Command::decode(head, command.body)?;
        self.bodies.insert(place.offset, command.body.clone());
        let position = Position { term: 1, leader: ReplicaId(1 << 16), index: self.log_index };
        let entry = AppliedEntry { position, payload: Payload::Command { command, place } };
        let outcome = self.machine.apply(&[entry])?.pop();
        Ok(outcome.expect("one entry has one outcome"))
    }

    fn query(&self, query: &Query) -> Result<(Answer, Vec<Place>), MachineError> {
        let (answer, places) = self.machine.query(&Query::decode(query.encode())?)?;
        Ok((Answer::decode(answer.encode())?, places))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::{
        BodyWanted, BucketId, ChunkPosition, CommandMeta, CommitVersion, DeleteObject, DeleteTarget,
        ListAfter, ListQuery, ListRow, ObjectContent, ObjectKey, Operation, PartContent, Refusal, RequestId,
        Revision, StreamId, SystemChange, SystemExpect, SystemTable, VersionId, VersioningMode, WhichVersion,
        WriteCondition, group_of,
    };

    const BUCKET: BucketId = BucketId(5);

    fn command(request: u8, operation: Operation, body: &'static [u8]) -> Command {
        let meta = CommandMeta { epoch: Epoch(1), request: RequestId([request; 16]), ..Default::default() };
        Command { meta, operation, body: Bytes::from_static(body) }
    }

    fn commit(key: &str, stream: StreamId, chunks: u32, inline: bool) -> Operation {
        let part = PartContent {
            number: 1,
            stream,
            size: 3 << 19,
            chunks,
            inline,
            etag: "e".into(),
            checksum: Bytes::new(),
        };
        Operation::CommitVersion(CommitVersion {
            bucket: BUCKET,
            key: ObjectKey::new(key.to_owned()).unwrap(),
            version: VersionId(stream.0),
            mode: VersioningMode::Off,
            condition: WriteCondition::default(),
            content: ObjectContent {
                size: 3 << 19,
                etag: "e".into(),
                checksum: Bytes::new(),
                header: Bytes::from_static(b"header"),
                metadata: Bytes::new(),
                multipart: false,
                parts: vec![part],
            },
        })
    }

    #[tokio::test]
    async fn an_object_of_chunks_is_written_read_listed_and_deleted() {
        let region = SoloRegion::new(4).unwrap();
        let key = ObjectKey::new("a/b").unwrap();
        let group = group_of(BUCKET, key.as_bytes(), region.groups());
        let deadline = Instant::now();
        let stream = StreamId([1; 16]);
        for (index, body) in [b"first", b"secnd"].into_iter().enumerate() {
            let put = Operation::PutChunk { stream, index: index as u32 };
            assert_eq!(region.propose(group, command(1, put, body), deadline).await.unwrap(), Outcome::Done);
        }
        let missing = command(1, commit("a/b", stream, 3, false), b"");
        let refused = Outcome::Refused(Refusal::MissingChunks);
        assert_eq!(region.propose(group, missing, deadline).await.unwrap(), refused);
        let whole = command(2, commit("a/b", stream, 2, false), b"");
        let committed = region.propose(group, whole.clone(), deadline).await.unwrap();
        assert!(matches!(committed, Outcome::Committed(_)));
        assert_eq!(region.propose(group, whole, deadline).await.unwrap(), committed);

        let ask =
            async |query| region.query(group, query, Consistency::Linearizable, deadline).await.unwrap();
        let which = WhichVersion::Current;
        let version =
            Query::Version { bucket: BUCKET, key: key.clone(), which, body: BodyWanted::At(1 << 20) };
        let (answer, body) = ask(version.clone()).await;
        let Answer::Version { record: Some(_), body: Some(position) } = answer else { panic!("{answer:?}") };
        assert_eq!((position, &body[..]), (ChunkPosition { part: 0, chunk: 1 }, &b"secnd"[..]));
        let (answer, body) = ask(Query::Chunks { stream, first: 0, count: 9 }).await;
        assert_eq!((answer, &body[..]), (Answer::Chunks(vec![5, 5]), &b"firstsecnd"[..]));

        let list = Query::List(ListQuery {
            bucket: BUCKET,
            prefix: Bytes::new(),
            delimiter: Some(Bytes::from_static(b"/")),
            after: ListAfter::Start,
            limit: 10,
            versions: false,
            content: false,
        });
        let rows = vec![ListRow::Prefix(Bytes::from_static(b"a/"))];
        assert_eq!(ask(list).await.0, Answer::List { rows, resume: None });

        let delete = Operation::DeleteObject(DeleteObject {
            bucket: BUCKET,
            key,
            target: DeleteTarget::Current,
            mode: VersioningMode::Off,
            marker: VersionId([9; 16]),
            condition: WriteCondition::default(),
        });
        let outcome = region.propose(group, command(3, delete, b""), deadline).await.unwrap();
        assert!(matches!(outcome, Outcome::Deleted(deleted) if deleted.existed && deleted.marker.is_none()));
        assert_eq!(ask(version).await.0, Answer::Version { record: None, body: None });
        assert_eq!(ask(Query::Chunks { stream, first: 0, count: 9 }).await.0, Answer::Chunks(vec![]));
    }

    #[tokio::test]
    async fn system_records_change_together_or_not_at_all() {
        let region = SoloRegion::new(1).unwrap();
        let deadline = Instant::now();
        let change = |key: &'static [u8], expect| SystemChange {
            table: SystemTable::Bucket,
            key: Bytes::from_static(key),
            expect,
            value: Some(Bytes::from_static(b"value")),
        };
        let propose = async |request, changes| {
            let command = command(request, Operation::System(changes), b"");
            region.propose(GroupId::SYSTEM, command, deadline).await.unwrap()
        };
        let first = propose(1, vec![change(b"a", SystemExpect::Absent)]).await;
        assert_eq!(first, Outcome::Changed(Revision(1)));
        let second =
            propose(2, vec![change(b"b", SystemExpect::Absent), change(b"a", SystemExpect::Absent)]).await;
        assert_eq!(second, Outcome::Refused(Refusal::Conflict { change: 1 }));
        let scan =
            Query::SystemScan { table: SystemTable::Bucket, prefix: Bytes::new(), after: None, limit: 10 };
        let (answer, _) = region.query(GroupId::SYSTEM, scan, Consistency::Local, deadline).await.unwrap();
        let Answer::SystemScan(records, false) = answer else { panic!("{answer:?}") };
        assert_eq!(records.len(), 1);
        assert_eq!(records[0].created, Revision(1));
    }
}
