//! Tests of the admin messages' JSON.

use super::*;
use crate::{
    ComparePosition, CompareTree, ComparedEntry, ComparedKind, Digest, LeafSum, PairRole, RowKey, UnixMillis,
};
use bytes::Bytes;

#[test]
fn requests_keep_their_json() {
    let cases = [
        (AdminRequest::Status, r#"{"type":"status"}"#),
        (
            AdminRequest::UserAdd { name: "mara".into(), admin: true, create_buckets: false },
            r#"{"type":"user_add","name":"mara","admin":true,"create_buckets":false}"#,
        ),
        (AdminRequest::NodeDrain { node: NodeId(3) }, r#"{"type":"node_drain","node":3}"#),
        (
            AdminRequest::PairStep { step: PairChange::Follow { since: vec![(0, 7)] }, epoch: 2 },
            r#"{"type":"pair_step","step":{"change":"follow","since":[[0,7]]},"epoch":2}"#,
        ),
        (
            AdminRequest::CompareSums {
                group: 1,
                after: Some(CompareCursor {
                    tree: CompareTree::Bucket { bucket: 7 },
                    after: RowKey(Bytes::from_static(b"\x02row")),
                }),
                bucket: Some(CompareBucket::Name { name: "jobs".into() }),
            },
            r#"{"type":"compare_sums","group":1,"after":{"tree":{"kind":"bucket","bucket":7},"after":"02726f77"},"bucket":{"by":"name","name":"jobs"}}"#,
        ),
        (
            AdminRequest::CompareEntries {
                group: 0,
                wanted: CompareWanted::Leaves {
                    tree: CompareTree::System { table: 2 },
                    leaves: vec![1, 4_095],
                    after: RowKey::default(),
                },
            },
            r#"{"type":"compare_entries","group":0,"wanted":{"by":"leaves","tree":{"kind":"system","table":2},"leaves":[1,4095],"after":""}}"#,
        ),
        (
            AdminRequest::CompareEntries {
                group: 0,
                wanted: CompareWanted::Rows { rows: vec![RowKey(Bytes::from_static(b"\xFF"))] },
            },
            r#"{"type":"compare_entries","group":0,"wanted":{"by":"rows","rows":["ff"]}}"#,
        ),
        (AdminRequest::RefusedPeers, r#"{"type":"refused_peers"}"#),
        (AdminRequest::PairResync { group: 3, epoch: 2 }, r#"{"type":"pair_resync","group":3,"epoch":2}"#),
    ];
    for (request, json) in cases {
        assert_eq!(serde_json::to_string(&request).unwrap(), json);
        assert_eq!(serde_json::from_str::<AdminRequest>(json).unwrap(), request);
    }
}

#[test]
fn fields_of_a_newer_peer_are_ignored_and_missing_ones_filled_in() {
    let json = r#"{"type":"user_add","name":"mara","quota":7}"#;
    assert_eq!(
        serde_json::from_str::<AdminRequest>(json).unwrap(),
        AdminRequest::UserAdd { name: "mara".into(), admin: false, create_buckets: false }
    );
    let json = r#"{"type":"error","code":"on_fire","message":"hot"}"#;
    let AdminResponse::Error(error) = serde_json::from_str(json).unwrap() else { panic!("not an error") };
    assert_eq!((error.code, error.advice.as_str()), (AdminErrorCode::Unknown, ""));
}

#[test]
fn a_response_survives_its_json_and_its_debug_form_hides_the_secret() {
    let response = AdminResponse::UserAdded {
        user: UserSummary { name: "mara".into(), admin: false, created: UnixMillis(5), keys: 1 },
        key: NewAccessKey {
            user: "mara".into(),
            access_key: "TK1".into(),
            secret_key: SecretText::new("hush".into()),
        },
    };
    let json = serde_json::to_string(&response).unwrap();
    assert!(json.contains(r#""secret_key":"hush""#), "{json}");
    assert_eq!(serde_json::from_str::<AdminResponse>(&json).unwrap(), response);
    assert!(!format!("{response:?}").contains("hush"));
}

#[test]
fn the_record_of_refused_peers_keeps_its_json() {
    let peer = RefusedPeerRecord {
        at: UnixMillis(5),
        opened_by: ConnectionOpener::Peer,
        address: "192.0.2.1:7600".into(),
        reason: "certificate".into(),
        detail: "the certificate is of another authority".into(),
        certificate_sha256: Some("ab".into()),
        claimed: None,
        times: 2,
        left_out: 7,
    };
    let json = r#"{"at":5,"opened_by":"peer","address":"192.0.2.1:7600","reason":"certificate","detail":"the certificate is of another authority","certificate_sha256":"ab","claimed":null,"times":2,"left_out":7}"#;
    assert_eq!(serde_json::to_string(&peer).unwrap(), json);
    assert_eq!(serde_json::from_str::<RefusedPeerRecord>(json).unwrap(), peer);
    // a line of an older or newer release
    let short = r#"{"at":5,"opened_by":"relay","address":"192.0.2.1:7600","reason":"weather"}"#;
    let read = serde_json::from_str::<RefusedPeerRecord>(short).unwrap();
    assert_eq!((read.opened_by, read.times, read.left_out), (ConnectionOpener::Unknown, 0, 0));
}

#[test]
fn answers_to_comparisons_keep_their_json() {
    let position = ComparePosition { node: 3, role: PairRole::Standby, epoch: 2, from: 4, to: 5 };
    let leaf = LeafSum { leaf: 9, entries: 1, bytes: 2, sum: Digest([0xAB; 32]) };
    let sums = CompareSums { tree: CompareTree::Streams, name: None, leaves: vec![leaf] };
    let page = CompareSumsPage { position, bucket: Some(7), trees: vec![sums], next: None };
    let digits = "ab".repeat(32);
    let json = format!(
        r#"{{"type":"compare_sums","position":{{"node":3,"role":"standby","epoch":2,"from":4,"to":5}},"bucket":7,"trees":[{{"tree":{{"kind":"streams"}},"name":null,"leaves":[{{"leaf":9,"entries":1,"bytes":2,"sum":"{digits}"}}]}}],"next":null}}"#
    );
    let response = AdminResponse::CompareSums(page);
    assert_eq!(serde_json::to_string(&response).unwrap(), json);
    assert_eq!(serde_json::from_str::<AdminResponse>(&json).unwrap(), response);
    let entry = ComparedEntry {
        row: RowKey(Bytes::from_static(b"row")),
        kind: ComparedKind::DeleteMarker,
        name: "jobs/1".into(),
        version: None,
        size: None,
        etag: None,
        modified: Some(UnixMillis(6)),
        record: Digest([1; 32]),
        content: Digest([2; 32]),
    };
    let json = serde_json::to_string(&entry).unwrap();
    assert!(json.len() <= entry.json_bytes_max(), "{json}");
    assert!(json.starts_with(r#"{"row":"726f77","kind":"delete_marker","name":"jobs/1","#), "{json}");
    assert_eq!(serde_json::from_str::<ComparedEntry>(&json).unwrap(), entry);
    let broken = json.replacen("0101", "01zz", 1);
    assert!(serde_json::from_str::<ComparedEntry>(&broken).is_err());
}
