//! Tests of the admin messages' JSON.

use super::*;
use crate::UnixMillis;

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
