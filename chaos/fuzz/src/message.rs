//! Commands, queries, answers, outcomes and records: what frames, log entries and rows hold.

use bytes::Bytes;
use wire::*;

use crate::{Seed, Target, check};

pub(crate) const TARGET: Target = Target { name: "message", run, seeds };

/// The chooser's numbers.
mod number {
    pub(super) const COMMAND: u8 = 0;
    pub(super) const QUERY: u8 = 1;
    pub(super) const ANSWER: u8 = 2;
    pub(super) const OUTCOME: u8 = 3;
    pub(super) const VERSION: u8 = 4;
    pub(super) const UPLOAD: u8 = 5;
    pub(super) const PART: u8 = 6;
    pub(super) const SYSTEM: u8 = 7;
    pub(super) const NODE: u8 = 8;
    pub(super) const PLACEMENT: u8 = 9;
}

fn run(input: &[u8]) {
    let Some((number, rest)) = check::choice(input) else { return };
    let rest = Bytes::copy_from_slice(rest);
    match number {
        number::COMMAND => check::canonical(
            "command",
            &rest,
            |head| Command::decode(head, Bytes::new()),
            Command::encode_head,
        ),
        number::QUERY => check::canonical("query", &rest, Query::decode, Query::encode),
        number::ANSWER => check::canonical("answer", &rest, Answer::decode, Answer::encode),
        number::OUTCOME => check::canonical_part("outcome", &rest, Outcome::decode, Outcome::encode),
        number::VERSION => {
            check::canonical_part("version", &rest, VersionRecord::decode, VersionRecord::encode);
        }
        number::UPLOAD => check::canonical_part("upload", &rest, UploadRecord::decode, UploadRecord::encode),
        number::PART => check::canonical_part("part", &rest, PartRecord::decode, PartRecord::encode),
        number::SYSTEM => {
            check::canonical_part("system record", &rest, SystemRecord::decode, SystemRecord::encode);
        }
        number::NODE => check::canonical("node", &rest, NodeRecord::decode, NodeRecord::encode),
        number::PLACEMENT => {
            check::canonical("placement", &rest, PlacementRecord::decode, PlacementRecord::encode);
        }
        _ => {}
    }
}

const VERSION: VersionRef = VersionRef { sequence: Sequence(9), version: VersionId([2; 16]) };

fn key() -> ObjectKey {
    ObjectKey::new("jobs/1").expect("a short name is a name")
}

fn content() -> ObjectContent {
    let part = |number, inline| PartContent {
        number,
        stream: StreamId([3; 16]),
        size: 5,
        chunks: 1,
        inline,
        etag: "0123".into(),
        checksum: Bytes::from_static(b"sum"),
    };
    ObjectContent {
        size: 10,
        etag: "0123-2".into(),
        checksum: Bytes::new(),
        header: Bytes::from_static(b"header"),
        metadata: Bytes::from_static(b"metadata"),
        multipart: true,
        parts: vec![part(1, true), part(2, false)],
    }
}

fn version() -> VersionRecord {
    let (modified, owner) = (UnixMillis(1), PrincipalId(2));
    VersionRecord { version: VERSION, null: false, modified, owner, content: Some(content()) }
}

fn upload() -> UploadRecord {
    UploadRecord {
        upload: VERSION.version,
        initiated: UnixMillis(1),
        owner: PrincipalId(2),
        header: Bytes::from_static(b"header"),
        metadata: Bytes::from_static(b"metadata"),
        checksum: Bytes::from_static(b"sum"),
    }
}

fn part() -> PartRecord {
    PartRecord { part: content().parts.remove(0), modified: UnixMillis(1) }
}

fn system_record() -> SystemRecord {
    let (key, value) = (Bytes::from_static(b"key"), Bytes::from_static(b"value"));
    SystemRecord { key, value, created: Revision(1), changed: Revision(2) }
}

fn commands() -> Vec<Seed> {
    let (bucket, mode) = (BucketId(4), VersioningMode::Enabled);
    let (if_match, if_none_match) = (Some(EtagMatch::OneOf(vec!["0123".into()])), Some(EtagMatch::Any));
    let condition = WriteCondition { if_match, if_none_match };
    let (key, upload, stream) = (key(), VERSION.version, StreamId([3; 16]));
    let commit = CommitVersion {
        bucket,
        key: key.clone(),
        version: upload,
        mode,
        condition: condition.clone(),
        content: content(),
    };
    let target = DeleteTarget::Version(VERSION);
    let delete =
        DeleteObject { bucket, key: key.clone(), target, mode, marker: upload, condition: condition.clone() };
    let create = CreateUpload {
        bucket,
        key: key.clone(),
        upload,
        header: Bytes::from_static(b"header"),
        metadata: Bytes::from_static(b"metadata"),
        checksum: Bytes::from_static(b"sum"),
    };
    let put = PutPart { bucket, key: key.clone(), upload, part: part().part };
    let complete = CompleteUpload { bucket, key: key.clone(), upload, mode, condition, content: content() };
    let expected = Bytes::from_static(b"old");
    let header = Bytes::from_static(b"new");
    let change = SystemChange {
        table: SystemTable::Bucket,
        key: Bytes::from_static(b"bucket"),
        expect: SystemExpect::At(Revision(7)),
        value: Some(Bytes::from_static(b"value")),
    };
    let operations = [
        ("command-put-chunk", Operation::PutChunk { stream, index: 3 }),
        ("command-abandon", Operation::AbandonStream { stream }),
        ("command-commit", Operation::CommitVersion(commit)),
        ("command-delete", Operation::DeleteObject(delete)),
        ("command-create-upload", Operation::CreateUpload(create)),
        ("command-put-part", Operation::PutPart(put)),
        ("command-complete", Operation::CompleteUpload(complete)),
        ("command-abort", Operation::AbortUpload { bucket, key: key.clone(), upload }),
        ("command-expire", Operation::ExpireStreams { created_before: UnixMillis(9) }),
        ("command-rewrap", Operation::Rewrap { bucket, key, version: VERSION, expected, header }),
        ("command-freeze", Operation::FreezeBucket { bucket }),
        ("command-system", Operation::System(vec![change])),
    ];
    let encode = |(name, operation)| {
        let command = Command { meta: CommandMeta::default(), operation, body: Bytes::new() };
        (name, check::chosen(number::COMMAND, &command.encode_head()))
    };
    operations.into_iter().map(encode).collect()
}

fn queries() -> Vec<Seed> {
    let (bucket, upload) = (BucketId(4), VERSION.version);
    let list = ListQuery {
        bucket,
        prefix: Bytes::from_static(b"jobs/"),
        delimiter: Some(Bytes::from_static(b"/")),
        after: ListAfter::Version(Bytes::from_static(b"jobs/1"), Sequence(3)),
        limit: 100,
        versions: true,
        content: false,
    };
    let name = Bytes::from_static(b"jobs/1");
    let queries = [
        (
            "query-version",
            Query::Version {
                bucket,
                key: key(),
                which: WhichVersion::Exactly(VERSION),
                body: BodyWanted::At(1 << 20),
            },
        ),
        ("query-chunks", Query::Chunks { stream: StreamId([3; 16]), first: 1, count: 2 }),
        ("query-list", Query::List(list)),
        ("query-parts", Query::Parts { bucket, key: key(), upload, after: 1, limit: 10 }),
        (
            "query-uploads",
            Query::Uploads { bucket, prefix: name.clone(), after: Some((name.clone(), upload)), limit: 10 },
        ),
        (
            "query-system-scan",
            Query::SystemScan {
                table: SystemTable::Grant,
                prefix: name.clone(),
                after: Some(name),
                limit: 10,
            },
        ),
    ];
    let encode = |(name, query): (_, Query)| (name, check::chosen(number::QUERY, &query.encode()));
    queries.into_iter().map(encode).collect()
}

fn answers() -> Vec<Seed> {
    let listed = ListedVersion {
        key: Bytes::from_static(b"jobs/1"),
        version: VERSION,
        latest: true,
        null: false,
        modified: UnixMillis(1),
        owner: PrincipalId(2),
        content: Some(content()),
    };
    let rows = vec![ListRow::Prefix(Bytes::from_static(b"jobs/")), ListRow::Version(listed)];
    let name = Bytes::from_static(b"jobs/1");
    // the dearest answer for its size: empty rows, one more than the list has just had room for
    let empty = vec![ListRow::Prefix(Bytes::new()); 65];
    let answers = [
        (
            "answer-version",
            Answer::Version { record: Some(version()), body: Some(ChunkPosition { part: 1, chunk: 2 }) },
        ),
        ("answer-chunks", Answer::Chunks(vec![16, 32])),
        ("answer-list", Answer::List { rows, resume: Some(ListAfter::Key(name.clone())) }),
        ("answer-list-of-empty-rows", Answer::List { rows: empty, resume: None }),
        ("answer-parts", Answer::Parts(Some((vec![part()], true)))),
        ("answer-uploads", Answer::Uploads(vec![(name, upload())], false)),
        ("answer-usage", Answer::BucketUsage(BucketUsage { versions: 1, bytes: 2, uploads: 3 })),
        ("answer-scan", Answer::SystemScan(vec![system_record()], true)),
    ];
    let encode = |(name, answer): (_, Answer)| (name, check::chosen(number::ANSWER, &answer.encode()));
    answers.into_iter().map(encode).collect()
}

fn records() -> Vec<Seed> {
    let part_of = |number, write: &dyn Fn(&mut Encoder)| {
        let mut encoder = Encoder::new();
        write(&mut encoder);
        check::chosen(number, &encoder.finish())
    };
    let deleted = Outcome::Deleted(Deleted { marker: Some(VERSION), null: true, existed: true });
    let refused = Outcome::Refused(Refusal::InvalidPart { number: 3 });
    let node = NodeRecord {
        state: NodeState::Draining,
        incarnation: Incarnation(2),
        disk: Some([7; 16]),
        zone: "a".into(),
        peer_address: "node-1.example:7600".into(),
    };
    let placement = PlacementRecord { nodes: vec![NodeId(1), NodeId(2), NodeId(3)] };
    vec![
        ("outcome-deleted", part_of(number::OUTCOME, &|e| deleted.encode(e))),
        ("outcome-refused", part_of(number::OUTCOME, &|e| refused.encode(e))),
        ("record-version", part_of(number::VERSION, &|e| version().encode(e))),
        ("record-upload", part_of(number::UPLOAD, &|e| upload().encode(e))),
        ("record-part", part_of(number::PART, &|e| part().encode(e))),
        ("record-system", part_of(number::SYSTEM, &|e| system_record().encode(e))),
        ("record-node", check::chosen(number::NODE, &node.encode())),
        ("record-placement", check::chosen(number::PLACEMENT, &placement.encode())),
    ]
}

fn seeds() -> Vec<Seed> {
    [commands(), queries(), answers(), records()].concat()
}
