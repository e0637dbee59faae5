//! Work bounds, and how much a page of a listing costs (printed; machines differ).

use super::*;

const BUCKET: BucketId = BUCKETS[0];

fn filled(index: impl Index, keys: u64, versions: u64, deleted: bool) -> Machine<impl Index> {
    let mut machine = open(index);
    let mut log_index = 0;
    for key in 0..keys {
        let mut entries = Vec::new();
        for version in 0..versions {
            log_index += 1;
            let operation = operation(key, log_index, deleted && version + 1 == versions);
            let mut meta = CommandMeta::default();
            meta.request.0[..8].copy_from_slice(&log_index.to_le_bytes());
            entries.push(entry(log_index, Command { meta, operation, body: Bytes::from_static(b"body") }));
        }
        machine.apply(&entries).unwrap();
    }
    machine
}

fn operation(key: u64, id: u64, delete: bool) -> Operation {
    let name = format!("prefix/of/some/length/{:05}/{key:010}", key / 1000);
    let (key, condition) = (ObjectKey::new(name).unwrap(), WriteCondition::default());
    let mut version = VersionId([0; 16]);
    version.0[..8].copy_from_slice(&id.to_le_bytes());
    let mode = VersioningMode::Enabled;
    if delete {
        let target = DeleteTarget::Current;
        return Operation::DeleteObject(DeleteObject {
            bucket: BUCKET,
            key,
            target,
            mode,
            marker: version,
            condition,
        });
    }
    let etag = "0123456789abcdef0123456789abcdef".to_owned();
    let checksum = Bytes::from_static(b"checksum");
    let part = PartContent {
        number: 1,
        stream: StreamId(version.0),
        size: 4,
        chunks: 1,
        inline: true,
        etag: etag.clone(),
        checksum: checksum.clone(),
    };
    let content = ObjectContent {
        size: 4,
        etag,
        checksum,
        header: vec![1; 120].into(),
        metadata: vec![2; 60].into(),
        multipart: false,
        parts: vec![part],
    };
    Operation::CommitVersion(CommitVersion { bucket: BUCKET, key, version, mode, condition, content })
}

fn list(delimiter: Option<&'static str>, after: ListAfter) -> Query {
    let delimiter = delimiter.map(|d| Bytes::from_static(d.as_bytes()));
    let (prefix, limit) = (Bytes::from_static(b"prefix/of/some/length/"), 1000);
    Query::List(ListQuery {
        bucket: BUCKET,
        prefix,
        delimiter,
        after,
        limit,
        versions: false,
        content: false,
    })
}

#[test]
fn pages_of_a_thousand_are_found_without_walking_what_is_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    let store = SledStore::open(directory.path(), SledOptions::default()).unwrap();
    let begin = std::time::Instant::now();
    let machine = filled(store.group(GroupId(1)).unwrap(), 10_000, 1, false);
    println!("10,000 commits, each applied alone: {:?}", begin.elapsed());
    for (what, query, expected) in [
        ("1,000 rows", list(None, ListAfter::Start), 1_000),
        ("10 prefixes of 1,000 rows", list(Some("/"), ListAfter::Start), 10),
    ] {
        let mut best = std::time::Duration::MAX;
        for _ in 0..20 {
            let begin = std::time::Instant::now();
            let (answer, _) = machine.query(&query).unwrap();
            best = best.min(begin.elapsed());
            assert!(matches!(answer, Answer::List { rows, .. } if rows.len() == expected));
        }
        println!("{what}: {best:?}");
    }
}

#[test]
fn a_listing_over_deleted_names_ends_after_a_bounded_number_of_rows() {
    let machine = filled(MemoryIndex::default(), 11_000, 2, true);
    let (mut after, mut pages) = (ListAfter::Start, 0);
    loop {
        let (answer, _) = machine.query(&list(None, after)).unwrap();
        let Answer::List { rows, resume } = answer else { panic!("{answer:?}") };
        assert_eq!(rows, []);
        pages += 1;
        match resume {
            Some(resume) => after = resume,
            None => break,
        }
    }
    assert_eq!(pages, 2, "22,000 rows, 20,000 of them in one query");
}

#[test]
fn many_old_versions_are_passed_over() {
    let machine = filled(MemoryIndex::default(), 20, 2_000, false);
    let (answer, _) = machine.query(&list(None, ListAfter::Start)).unwrap();
    assert!(matches!(answer, Answer::List { rows, resume: None } if rows.len() == 20));
}
