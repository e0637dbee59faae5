//! Sums of digests, and layouts.

use super::*;

#[test]
fn sums_do_not_depend_on_order_and_carry_over_all_bytes() {
    let digests = [Digest([0xFF; 32]), Digest([0x80; 32]), Digest(std::array::from_fn(|at| at as u8))];
    let sum = |order: [usize; 3]| {
        order.into_iter().fold(Digest::default(), |mut sum, at| {
            sum.add(&digests[at]);
            sum
        })
    };
    assert_eq!(sum([0, 1, 2]), sum([2, 0, 1]));
    let mut minus_one = Digest([0xFF; 32]);
    minus_one.add(&Digest(std::array::from_fn(|at| u8::from(at == 0))));
    assert_eq!(minus_one, Digest::default());
}

#[test]
fn entries_and_leaves_come_back_as_sent_and_every_cut_is_an_error() {
    let entry = ComparedEntry {
        row: RowKey(Bytes::from_static(b"\x02row")),
        kind: ComparedKind::Version,
        name: "name".into(),
        version: Some("null".into()),
        size: Some(3),
        etag: Some("etag".into()),
        modified: Some(UnixMillis(4)),
        record: Digest([5; 32]),
        content: Digest([6; 32]),
    };
    let leaf = LeafSum { leaf: 4_095, entries: 2, bytes: 3, sum: Digest([7; 32]) };
    let position = ComparePosition { node: 1, role: PairRole::Standby, epoch: 2, from: 3, to: 4 };
    let cursor = CompareCursor { tree: CompareTree::Bucket { bucket: 9 }, after: entry.row.clone() };
    let mut e = Encoder::new();
    entry.encode(&mut e);
    leaf.encode(&mut e);
    position.encode(&mut e);
    cursor.encode(&mut e);
    let bytes = e.finish();
    let read = |bytes: Bytes| {
        let mut d = Decoder::new("comparison", bytes);
        let read = (
            ComparedEntry::decode(&mut d)?,
            LeafSum::decode(&mut d)?,
            ComparePosition::decode(&mut d)?,
            CompareCursor::decode(&mut d)?,
        );
        d.finish().map(|()| read)
    };
    assert_eq!(read(bytes.clone()), Ok((entry, leaf, position, cursor)));
    for cut in 0..bytes.len() {
        assert!(read(bytes.slice(..cut)).is_err(), "cut at {cut}");
    }
}
