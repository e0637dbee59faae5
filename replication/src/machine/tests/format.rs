//! Golden rows: what `index/FORMAT.md` says, byte by byte.

use super::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn rows_have_the_bytes_of_the_format() {
    let mut machine = open(MemoryIndex::default());
    let key = ObjectKey::new("a\0b").unwrap();
    let part = |inline, stream| PartContent {
        number: 1,
        stream: StreamId([stream; 16]),
        size: 5,
        chunks: 1,
        inline,
        etag: "e".into(),
        checksum: Bytes::new(),
    };
    let content = ObjectContent {
        size: 5,
        etag: "e".into(),
        checksum: Bytes::new(),
        header: Bytes::from_static(b"h"),
        metadata: Bytes::from_static(b"m"),
        multipart: false,
        parts: vec![part(true, 0x11)],
    };
    let (bucket, upload, header) = (BucketId(3), VersionId([0x22; 16]), Bytes::from_static(b"h"));
    let commit = |version, mode| {
        let (key, content, version) = (key.clone(), content.clone(), VersionId([version; 16]));
        let condition = WriteCondition::default();
        Operation::CommitVersion(CommitVersion { bucket, key, version, mode, condition, content })
    };
    let (metadata, checksum) = (Bytes::new(), Bytes::new());
    let create = CreateUpload { bucket, key: key.clone(), upload, header, metadata, checksum };
    let operations = [
        commit(0x33, VersioningMode::Off),
        commit(0x34, VersioningMode::Enabled),
        Operation::CreateUpload(create),
        Operation::PutPart(PutPart { bucket, key: key.clone(), upload, part: part(true, 0x44) }),
        Operation::PutChunk { stream: StreamId([0x55; 16]), index: 7 },
    ];
    for (index, operation) in (1..).zip(operations) {
        let meta = CommandMeta {
            epoch: Epoch(1),
            time: UnixMillis(9),
            principal: PrincipalId(2),
            request: RequestId([0x66; 16]),
        };
        machine
            .apply(&[entry(index, Command { meta, operation, body: Bytes::from_static(b"body") })])
            .unwrap();
    }
    let found: Vec<_> =
        rows(machine.index()).iter().map(|(key, value)| format!("{} {}", hex(key), hex(value))).collect();
    let golden = include_str!("golden_rows.txt");
    assert_eq!(found.join("\n"), golden.trim_end(), "rows changed: a released layout is never edited");
}
