//! A deleted bucket with more uploads than one entry ends.

use super::{super::buckets::FORGOTTEN_ROWS, *};

#[test]
fn a_bucket_with_many_uploads_is_forgotten_by_several_entries() {
    let (bucket, other) = (BUCKETS[0], BUCKETS[1]);
    let uploads = FORGOTTEN_ROWS as u64 + 1;
    let create = |index: u64, bucket: BucketId| {
        let operation = Operation::CreateUpload(CreateUpload {
            bucket,
            key: ObjectKey::new("key").unwrap(),
            upload: VersionId(u128::from(index).to_be_bytes()),
            header: Bytes::from_static(b"header"),
            metadata: Bytes::new(),
            checksum: Bytes::new(),
        });
        let request = RequestId(u128::from(index).to_le_bytes());
        let meta = CommandMeta { request, ..Default::default() };
        entry(index, Command { meta, operation, body: Bytes::new() })
    };
    let mut machine = open(MemoryIndex::default());
    let entries: Vec<_> = (1..=uploads).map(|index| create(index, bucket)).collect();
    entries.chunks(1_000).for_each(|entries| drop(machine.apply(entries).unwrap()));
    machine.apply(&[create(uploads + 1, other)]).unwrap();
    let mut index = uploads + 1;
    let mut ask = |machine: &mut Machine<MemoryIndex>, operation| {
        index += 1;
        let meta = CommandMeta { request: RequestId([index as u8; 16]), ..Default::default() };
        let outcome =
            machine.apply(&[entry(index, Command { meta, operation, body: Bytes::new() })]).unwrap();
        let usage = machine.query(&Query::BucketUsage { bucket }).unwrap().0;
        let Answer::BucketUsage(usage) = usage else { panic!("{usage:?}") };
        (outcome.into_iter().next().unwrap(), usage.uploads)
    };
    ask(&mut machine, Operation::FreezeBucket { bucket });
    let forget = || Operation::ForgetBucket { bucket };
    assert_eq!(ask(&mut machine, forget()), (Outcome::Forgotten { whole: false }, 1));
    assert_eq!(ask(&mut machine, forget()), (Outcome::Forgotten { whole: true }, 0));
    assert_eq!(ask(&mut machine, forget()), (Outcome::Forgotten { whole: true }, 0));
    let usage = machine.query(&Query::BucketUsage { bucket: other }).unwrap().0;
    assert_eq!(usage, Answer::BucketUsage(BucketUsage { versions: 0, bytes: 0, uploads: 1 }));
}
