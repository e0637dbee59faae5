//! Admin messages: JSON that comes from the command line, and that it is answered.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use wire::admin::*;
use wire::descriptor::NodeDescriptor;
use wire::{Incarnation, NodeId, RequestId, RowKey, UnixMillis};

use crate::allocation::bounded;
use crate::{Seed, Target, check};

pub(crate) const TARGET: Target = Target { name: "admin", run, seeds };

const REQUEST: u8 = 0;
const RESPONSE: u8 = 1;

fn run(input: &[u8]) {
    match check::choice(input) {
        Some((REQUEST, json)) => same_again::<AdminRequest>("admin request", json),
        Some((RESPONSE, json)) => same_again::<AdminResponse>("admin response", json),
        _ => {}
    }
}

/// JSON has many spellings: what was read is the same after it was written and read once more.
fn same_again<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(what: &str, json: &[u8]) {
    let Ok(read) = bounded(what, json.len(), || serde_json::from_slice::<T>(json)) else { return };
    let written = serde_json::to_vec(&read).expect("what was read has a JSON form");
    let again: T = serde_json::from_slice(&written).expect("what was written can be read");
    assert_eq!(again, read, "{what}: changed on its way through JSON");
}

fn seeds() -> Vec<Seed> {
    let node = NodeDescriptor {
        id: NodeId(4),
        zone: "a".into(),
        peer_address: "node-4.example:7600".into(),
        incarnation: Incarnation(1),
    };
    let requests = [
        ("request-status", AdminRequest::Status),
        ("request-user-add", AdminRequest::UserAdd { name: "jo".into(), admin: true, create_buckets: true }),
        ("request-node-add", AdminRequest::NodeAdd { node, token: RequestId([5; 16]) }),
        (
            "request-grant-add",
            AdminRequest::GrantAdd {
                principal: "jo".into(),
                bucket: "b".into(),
                rights: Right::ALL.to_vec(),
            },
        ),
        (
            "request-compare-entries",
            AdminRequest::CompareEntries {
                group: 3,
                wanted: CompareWanted::Rows { rows: vec![RowKey(Bytes::from_static(b"row"))] },
            },
        ),
        ("request-scrub", AdminRequest::ScrubStart { node: Some(NodeId(1)) }),
        ("request-refused-peers", AdminRequest::RefusedPeers),
    ];
    let key = NewAccessKey {
        user: "jo".into(),
        access_key: "TK0000".into(),
        secret_key: SecretText::new("not one".into()),
    };
    let peer = RefusedPeerRecord {
        at: UnixMillis(5),
        opened_by: ConnectionOpener::Peer,
        address: "192.0.2.1:7600".into(),
        reason: "certificate".into(),
        detail: "the certificate is of another authority".into(),
        certificate_sha256: Some("ab".repeat(32)),
        claimed: None,
        times: 1,
        left_out: 0,
    };
    let refused = RefusedPeersReport {
        region: "twin-1".into(),
        answered_by: "node/1".into(),
        peers: vec![peer],
        unwritten: 0,
    };
    let responses = [
        ("response-done", AdminResponse::Done),
        ("response-key-added", AdminResponse::KeyAdded { key }),
        ("response-rewrap", AdminResponse::Rewrap(RewrapReport::default())),
        ("response-refused-peers", AdminResponse::RefusedPeers(refused)),
        ("response-error", AdminResponse::Error(AdminError::not_available("this", "update"))),
    ];
    let json = |number, text: Result<Vec<u8>, serde_json::Error>| {
        check::chosen(number, &text.expect("these have a JSON form"))
    };
    let requests = requests.iter().map(|(name, request)| (*name, json(REQUEST, serde_json::to_vec(request))));
    let responses =
        responses.iter().map(|(name, response)| (*name, json(RESPONSE, serde_json::to_vec(response))));
    requests.chain(responses).collect()
}
