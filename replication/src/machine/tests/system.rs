//! The system group.

use super::*;

fn change(key: &'static str, expect: SystemExpect, value: Option<&'static str>) -> SystemChange {
    let (key, value) = (Bytes::from_static(key.as_bytes()), value.map(|v| Bytes::from_static(v.as_bytes())));
    SystemChange { table: SystemTable::Setting, key, expect, value }
}

fn system(index: u64, changes: Vec<SystemChange>) -> AppliedEntry {
    let mut meta = CommandMeta::default();
    meta.request.0[..8].copy_from_slice(&index.to_le_bytes());
    entry(index, Command { meta, operation: Operation::System(changes), body: Bytes::new() })
}

#[test]
fn records_keep_the_revision_that_created_them() {
    let mut machine = Machine::open(GroupId::SYSTEM, MemoryIndex::default()).unwrap();
    let outcomes = machine
        .apply(&[
            system(
                1,
                vec![change("a", SystemExpect::Absent, Some("1")), change("b", SystemExpect::Any, Some("1"))],
            ),
            system(4, vec![change("a", SystemExpect::At(Revision(1)), Some("2"))]),
            system(5, vec![change("a", SystemExpect::At(Revision(1)), Some("3"))]),
            system(6, vec![change("b", SystemExpect::Present, None)]),
            system(
                7,
                vec![change("b", SystemExpect::Absent, Some("4")), change("a", SystemExpect::Absent, None)],
            ),
        ])
        .unwrap();
    let conflict = |change| Outcome::Refused(Refusal::Conflict { change });
    let changed = |revision| Outcome::Changed(Revision(revision));
    assert_eq!(outcomes, [changed(1), changed(4), conflict(0), changed(6), conflict(1)]);

    let machine = Machine::open(GroupId::SYSTEM, machine.into_index()).unwrap();
    let record = SystemRecord {
        key: Bytes::from_static(b"a"),
        value: Bytes::from_static(b"2"),
        created: Revision(1),
        changed: Revision(4),
    };
    let table = SystemTable::Setting;
    let get = Query::SystemGet { table, key: Bytes::from_static(b"a") };
    assert_eq!(machine.query(&get).unwrap().0, Answer::SystemGet(Some(record.clone())));
    let scan = Query::SystemScan { table, prefix: Bytes::new(), after: None, limit: 5 };
    assert_eq!(machine.query(&scan).unwrap().0, Answer::SystemScan(vec![record], false));
    assert_eq!(machine.query(&Query::SystemRevision).unwrap().0, Answer::SystemRevision(Revision(6)));
}

#[test]
fn scans_go_page_by_page_and_keep_to_prefix_table_and_size() {
    let mut machine = Machine::open(GroupId::SYSTEM, MemoryIndex::default()).unwrap();
    let keys = ["a", "a1", "a2", "a3", "b"];
    let mut changes: Vec<_> = keys.map(|key| change(key, SystemExpect::Any, Some("v"))).into();
    changes.push(SystemChange { table: SystemTable::Job, ..changes[0].clone() });
    machine.apply(&[system(1, changes)]).unwrap();
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let (table, prefix) = (SystemTable::Setting, Bytes::from_static(b"a"));
        let (answer, _) = machine.query(&Query::SystemScan { table, prefix, after, limit: 2 }).unwrap();
        let Answer::SystemScan(page, more) = answer else { panic!("{answer:?}") };
        found.extend(page.iter().map(|record| record.key.clone()));
        after = found.last().cloned();
        if !more {
            break;
        }
    }
    assert_eq!(found, keys[..4]);

    for (index, key) in (2_u64..).zip([&b"c1"[..], b"c2", b"c3", b"c4", b"c5", b"c6", b"c7"]) {
        let mut large = change("", SystemExpect::Any, None);
        (large.key, large.value) = (Bytes::from(key), Some(vec![0; limits::SYSTEM_VALUE_BYTES_MAX].into()));
        let second = SystemChange { key: [key, b"-"].concat().into(), ..large.clone() };
        machine.apply(&[system(index, vec![large, second])]).unwrap();
    }
    let (table, prefix) = (SystemTable::Setting, Bytes::from_static(b"c"));
    let (answer, _) = machine.query(&Query::SystemScan { table, prefix, after: None, limit: 100 }).unwrap();
    assert!(answer.encode().len() < limits::FRAME_HEAD_BYTES_MAX);
    assert!(matches!(answer, Answer::SystemScan(page, true) if page.len() == 11));
}

#[test]
fn operations_belong_to_their_kind_of_group() {
    let mut machine = open(MemoryIndex::default());
    let refused = [Outcome::Refused(Refusal::WrongGroup)];
    assert_eq!(machine.apply(&[system(1, vec![])]).unwrap(), refused);
    let mut machine = Machine::open(GroupId::SYSTEM, MemoryIndex::default()).unwrap();
    let freeze = Operation::FreezeBucket { bucket: BUCKETS[0] };
    let command = Command { meta: CommandMeta::default(), operation: freeze, body: Bytes::new() };
    assert_eq!(machine.apply(&[entry(1, command)]).unwrap(), refused);
}
