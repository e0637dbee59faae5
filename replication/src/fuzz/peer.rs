//! Heads of peer messages: Raft's, transfers', repairs', reports. The first byte of an input chooses which.

use super::Seed;
use crate::{
    gc::Freed,
    log::{EntryId, EntryKind, LogEntry},
    maintenance::{Shipped, Told, decode_held, encode_held},
    membership::{self, Step},
    message::{Leadership, ReplicaAddress},
    pair::{CompareRequest, EntriesPage, LeaseAnswer, LeaseRequest, SumsPage},
    raft::{codec, decode_answers, decode_beats, encode_answers},
    repair::message::{Wanted, decode_record, decode_wanted, encode_record, encode_wanted},
    scrub::ScrubFigures,
    status::NodeReport,
    transfer::page::{Page, PageRecord, PageRequest, PageRow, decode_request, encode_request},
};
use bytes::Bytes;
use wire::{
    CompareCursor, ComparePosition, CompareTree, ComparedEntry, ComparedKind, DecodeError, Decoder, Digest,
    Encoder, Epoch, GroupId, LeafSum, PairRole, PairState, ReplicaId, RowKey, UnixMillis,
};

const APPEND: u8 = 0;
const BEATS: u8 = 1;
const BEAT_ANSWERS: u8 = 2;
const VOTE_REQUEST: u8 = 3;
const VOTE_RESPONSE: u8 = 4;
const PAGE_REQUEST: u8 = 5;
const PAGE: u8 = 6;
const WANTED: u8 = 7;
const RECORD: u8 = 8;
const STEP: u8 = 9;
const HELD: u8 = 10;
const NODE_REPORT: u8 = 11;
const SCRUB: u8 = 12;
const FREED: u8 = 13;
const LEADERSHIP: u8 = 14;
const COMPARE_REQUEST: u8 = 15;
const COMPARE_SUMS: u8 = 16;
const COMPARE_ENTRIES: u8 = 17;
const LEASE_REQUEST: u8 = 18;
const LEASE_ANSWER: u8 = 19;

/// Gives the bytes after the first to the decoder that the first one names.
pub fn run(input: &[u8]) {
    let Some((number, rest)) = input.split_first() else { return };
    let rest = Bytes::copy_from_slice(rest);
    match *number {
        APPEND => append(&rest),
        BEATS => drop(decode_beats(rest)),
        BEAT_ANSWERS => canonical(&rest, decode_answers, |answers| encode_answers(answers)),
        VOTE_REQUEST => part(&rest, codec::decode_vote_request, |r, e| codec::encode_vote_request(e, r)),
        VOTE_RESPONSE => part(&rest, codec::decode_vote_response, |r, e| codec::encode_vote_response(e, r)),
        PAGE_REQUEST => canonical(&rest, decode_request, |(group, request)| encode_request(*group, request)),
        PAGE => canonical(&rest, Page::decode, Page::encode),
        WANTED => canonical(&rest, decode_wanted, |(group, wanted)| encode_wanted(*group, wanted)),
        RECORD => canonical(&rest, |head| decode_record(head, Bytes::new()), encode_record),
        STEP => canonical(&rest, membership::decode, |(group, step)| membership::encode(*group, step)),
        HELD => canonical(&rest, decode_held, |(has_pair, told)| encode_held(*has_pair, told)),
        NODE_REPORT => canonical(&rest, NodeReport::decode, NodeReport::encode),
        SCRUB => canonical(&rest, ScrubFigures::decode, ScrubFigures::encode),
        FREED => canonical(&rest, Freed::decode, Freed::encode),
        LEADERSHIP => part(&rest, Leadership::decode, Leadership::encode),
        COMPARE_REQUEST => {
            canonical(&rest, CompareRequest::decode, |(group, request)| request.encode(*group))
        }
        COMPARE_SUMS => canonical(&rest, SumsPage::decode, SumsPage::encode),
        COMPARE_ENTRIES => canonical(&rest, EntriesPage::decode, EntriesPage::encode),
        LEASE_REQUEST => canonical(&rest, LeaseRequest::decode, |request| request.encode()),
        LEASE_ANSWER => canonical(&rest, LeaseAnswer::decode, |answer| answer.encode()),
        _ => {}
    }
}

/// An append request: the length of its head, the head, the bodies. The lists inside a membership have many spellings,
/// so what was read is written and read once more.
fn append(input: &Bytes) {
    let Some((length, rest)) = input.split_first_chunk::<2>() else { return };
    let head_bytes = usize::from(u16::from_le_bytes(*length)).min(rest.len());
    let (head, body) = (input.slice(2..2 + head_bytes), input.slice(2 + head_bytes..));
    let Ok(request) = codec::decode_append(head, body) else { return };
    let (head, bodies) = codec::encode_append(&request);
    let again =
        codec::decode_append(head.clone(), bodies.concat().into()).expect("what was written can be read");
    assert_eq!(codec::encode_append(&again), (head, bodies), "an append request changed on its way");
}

fn canonical<T>(
    input: &Bytes,
    decode: impl FnOnce(Bytes) -> Result<T, DecodeError>,
    encode: impl FnOnce(&T) -> Bytes,
) {
    if let Ok(value) = decode(input.clone()) {
        assert_eq!(encode(&value), *input, "another encoding than was read");
    }
}

fn part<T>(
    input: &Bytes,
    decode: impl FnOnce(&mut Decoder) -> Result<T, DecodeError>,
    encode: impl FnOnce(&T, &mut Encoder),
) {
    let whole = |bytes| {
        let mut decoder = Decoder::new("part", bytes);
        let value = decode(&mut decoder)?;
        decoder.finish().map(|()| value)
    };
    canonical(input, whole, |value| encoded(|e| encode(value, e)));
}

fn encoded(write: impl FnOnce(&mut Encoder)) -> Bytes {
    let mut encoder = Encoder::new();
    write(&mut encoder);
    encoder.finish()
}

/// Real encodings of every kind of message.
pub fn seeds() -> Vec<Seed> {
    let id = EntryId { term: 3, leader: ReplicaId(0x1_0001), index: 9 };
    let (group, kind) = (GroupId(4), EntryKind::Normal);
    let head = Bytes::from_static(b"head");
    let entry = LogEntry { id, kind, head: head.clone(), body: Bytes::new() };
    let record = PageRecord { id, kind, head, body_length: 4 };
    let (key, value) = (Bytes::from_static(b"key"), Bytes::from_static(b"value"));
    let rows = vec![PageRow { key: key.clone(), value, record: Some(record) }];
    let page = Page { session: 3, applied: 9, rows, last: true };
    let step = Step::SetVoters(vec![ReplicaId(1), ReplicaId(2)]);
    let scrub = ScrubFigures { finished: Some(UnixMillis(7)), ..ScrubFigures::default() };
    let leadership = Leadership { group, reign: (3, ReplicaId(1)), leader: Some(ReplicaId(1)) };
    let request = PageRequest::Rows { session: 3, after: key.clone() };
    let shipped = Shipped { epoch: Epoch(2), upto: 8, is_there: true };
    let mut seeds = raft_seeds();
    seeds.extend(compare_seeds());
    seeds.extend([
        ("page-request", chosen(PAGE_REQUEST, &encode_request(group, &request))),
        ("page", chosen(PAGE, &page.encode())),
        ("wanted-row", chosen(WANTED, &encode_wanted(group, &Wanted::Row(key)))),
        ("wanted-entry", chosen(WANTED, &encode_wanted(group, &Wanted::Entry(id)))),
        ("record", chosen(RECORD, &encode_record(&entry))),
        ("step", chosen(STEP, &membership::encode(group, &step))),
        ("held", chosen(HELD, &encode_held(true, &[(group, Told { held: 9, shipped: Some(shipped) })]))),
        ("node-report", chosen(NODE_REPORT, &NodeReport::example().encode())),
        ("scrub", chosen(SCRUB, &scrub.encode())),
        ("freed", chosen(FREED, &Freed::default().encode())),
        ("leadership", chosen(LEADERSHIP, &encoded(|e| leadership.encode(e)))),
        ("lease-request", chosen(LEASE_REQUEST, &LeaseRequest { group, stamp: Some(9) }.encode())),
        (
            "lease-answer",
            chosen(LEASE_ANSWER, &LeaseAnswer { state: PairState::default(), stamp: 9 }.encode()),
        ),
    ]);
    seeds
}

fn compare_seeds() -> Vec<Seed> {
    let (tree, after) = (CompareTree::Bucket { bucket: 7 }, RowKey(Bytes::from_static(b"\x02row")));
    let cursor = CompareCursor { tree, after: after.clone() };
    let sums = CompareRequest::Sums { after: Some(cursor.clone()), bucket: Some(7) };
    let leaves = CompareRequest::Leaves { tree, leaves: vec![1, 4_095], after: after.clone() };
    let rows = CompareRequest::Rows { rows: vec![after.clone()] };
    let position = ComparePosition { node: 1, role: PairRole::Standby, epoch: 2, from: 3, to: 4 };
    let leaf = LeafSum { leaf: 5, entries: 6, bytes: 7, sum: Digest([8; 32]) };
    let page = SumsPage { position, trees: vec![(tree, vec![leaf])], next: Some(cursor) };
    let entry = ComparedEntry {
        row: after.clone(),
        kind: ComparedKind::Version,
        name: "jobs/1".into(),
        version: Some("null".into()),
        size: Some(5),
        etag: Some("0123".into()),
        modified: Some(UnixMillis(6)),
        record: Digest([1; 32]),
        content: Digest([2; 32]),
    };
    let entries = EntriesPage { position, entries: vec![entry], next: Some(after) };
    let group = GroupId(4);
    vec![
        ("compare-sums-request", chosen(COMPARE_REQUEST, &sums.encode(group))),
        ("compare-leaves-request", chosen(COMPARE_REQUEST, &leaves.encode(group))),
        ("compare-rows-request", chosen(COMPARE_REQUEST, &rows.encode(group))),
        ("compare-sums", chosen(COMPARE_SUMS, &page.encode())),
        ("compare-entries", chosen(COMPARE_ENTRIES, &entries.encode())),
    ]
}

fn raft_seeds() -> Vec<Seed> {
    // written field by field, as the types of these messages are openraft's: term, leader, index; flags; lists
    let id = |e: &mut Encoder| [3, 0x1_0001, 9].into_iter().for_each(|number| e.u64(number));
    let vote = |e: &mut Encoder| {
        e.u64(3);
        e.u64(0x1_0001);
        e.flag(true);
    };
    let membership = encoded(|e| {
        e.list(&[[1_u64, 2, 3]], |e, voters| e.list(voters, |e, voter| e.u64(*voter)));
        e.list(&[1_u64, 2, 3], |e, replica| e.u64(*replica));
    });
    let entries: [(u8, &[u8], u32); 3] = [
        (codec::ENTRY_BLANK, b"", 0),
        (codec::ENTRY_NORMAL, b"head", 4),
        (codec::ENTRY_MEMBERSHIP, &membership, 0),
    ];
    let append_head = |entries: &[(u8, &[u8], u32)]| {
        encoded(|e| {
            vote(e);
            e.option(Some(&()), |e, ()| id(e));
            e.option(None, |_, ()| {});
            e.list(entries, |e, (kind, head, body_bytes)| {
                id(e);
                e.u8(*kind);
                e.bytes(head);
                e.u32(*body_bytes);
            });
        })
    };
    let append = append_head(&entries);
    let length = u16::try_from(append.len()).expect("a head of three entries is short");
    let address = ReplicaAddress { group: GroupId(4), replica: ReplicaId(0x2_0001) };
    let beats = encoded(|e| {
        e.list(&[address], |e, address| {
            address.encode(e);
            e.bytes(&append_head(&[]));
        });
    });
    let answers = encoded(|e| {
        e.list(&[0_u8, 1, 2], |e, kind| {
            e.flag(true);
            e.u8(*kind);
            match kind {
                0 => e.flag(false),
                1 => id(e),
                _ => vote(e),
            }
        });
    });
    let voting = encoded(|e| {
        vote(e);
        e.option(Some(&()), |e, ()| id(e));
        e.flag(false);
    });
    vec![
        ("append", chosen(APPEND, &[&length.to_le_bytes()[..], &append, b"body"].concat())),
        ("heartbeats", chosen(BEATS, &beats)),
        ("heartbeat-answers", chosen(BEAT_ANSWERS, &answers)),
        ("vote-request", chosen(VOTE_REQUEST, &voting)),
        ("vote-response", chosen(VOTE_RESPONSE, &voting)),
    ]
}

fn chosen(number: u8, encoding: &[u8]) -> Vec<u8> {
    [&[number], encoding].concat()
}
