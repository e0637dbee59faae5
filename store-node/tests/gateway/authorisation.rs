//! Nothing without a signature and a right: every route against every kind of wrong caller.

use std::time::{Duration, Instant};

use store_node::gateway::records::Rights;

use crate::server::Server;
use crate::signer::{Key, Payload, Request, now};

const SECRET: &str = "plaintext-that-must-not-leak";

/// Every route that exists, as a request by somebody who knows bucket, object and upload.
fn routes(upload: &str) -> Vec<Request> {
    let with_body = |method, target: &str| Request::new(method, target).body("<a/>");
    let mut routes = vec![
        Request::new("PUT", "/bucket/key").body("abc"),
        Request::new("PUT", "/bucket/copy").header("x-amz-copy-source", "bucket/key"),
        with_body("POST", "/bucket?delete="),
        with_body("POST", &format!("/bucket/key?uploadId={upload}")),
        Request::new("PUT", &format!("/bucket/key?partNumber=1&uploadId={upload}")).body("abc"),
        Request::new("PUT", &format!("/bucket/key?partNumber=1&uploadId={upload}"))
            .header("x-amz-copy-source", "bucket/key"),
        Request::new("DELETE", &format!("/bucket/key?uploadId={upload}")),
        Request::new("GET", &format!("/bucket/key?uploadId={upload}")),
        Request::new("POST", "/bucket/key?uploads="),
        Request::new("DELETE", "/bucket/key"),
        Request::new("DELETE", "/bucket"),
    ];
    for target in
        ["/bucket/key", "/bucket/key?attributes=", "/bucket/key?tagging=", "/bucket", "/bucket/none"]
    {
        routes.push(Request::new("GET", target));
    }
    for resource in [
        "list-type=2",
        "versions=",
        "uploads=",
        "location=",
        "versioning=",
        "policy=",
        "cors=",
        "tagging=",
        "lifecycle=",
        "encryption=",
        "object-lock=",
        "acl=",
        "notification=",
        "replication=",
    ] {
        routes.push(Request::new("GET", &format!("/bucket?{resource}")));
    }
    for resource in ["versioning=", "policy=", "cors=", "tagging=", "lifecycle=", "acl=", "encryption="] {
        routes.push(with_body("PUT", &format!("/bucket?{resource}")));
    }
    routes.push(Request::new("HEAD", "/bucket"));
    routes.push(Request::new("HEAD", "/bucket/key"));
    routes
}

async fn prepared() -> (Server, String) {
    let server = Server::start().await;
    server.make_bucket("bucket").await;
    server.put("/bucket/key", SECRET).await;
    let upload = crate::multipart::begin(&server, Request::new("POST", "/bucket/key?uploads=")).await;
    (server, upload)
}

/// Refused, and nothing of what is stored is in the answer; afterwards everything is as before.
async fn assert_refused(server: &Server, upload: &str, prepare: impl Fn(&mut Request)) {
    for mut request in routes(upload) {
        prepare(&mut request);
        let shown = format!("{} {}", request.method, request.target());
        let answer = server.send(&request).await;
        assert_eq!(answer.status, 403, "{shown}: {}", answer.text());
        let everything = format!("{:?} {}", answer.headers, answer.text());
        assert!(!everything.contains(SECRET), "{shown}");
        assert!(answer.header("etag").is_none(), "{shown}");
    }
    assert_eq!(server.get("/bucket/key").await.text(), SECRET);
    assert_eq!(server.get("/bucket?list-type=2").await.elements("Key"), ["key"]);
}

#[tokio::test]
async fn without_a_signature_nothing_is_allowed() {
    let (server, upload) = prepared().await;
    assert_refused(&server, &upload, |_| {}).await;
    let listing = server.send(&Request::new("GET", "/")).await;
    assert_eq!((listing.status, listing.code().as_str()), (403, "AccessDenied"));
    assert_eq!(server.send(&Request::new("PUT", "/other-bucket")).await.status, 403);
}

#[tokio::test]
async fn with_a_wrong_secret_nothing_is_allowed() {
    let (server, upload) = prepared().await;
    let wrong = Key { id: server.alice.id.clone(), secret: server.bob.secret.clone() };
    let host = server.host();
    assert_refused(&server, &upload, |request| {
        request.sign(&wrong, &host, Payload::Hashed, now());
    })
    .await;
}

#[tokio::test]
async fn with_an_unknown_key_nothing_is_allowed() {
    let (server, upload) = prepared().await;
    let unknown = Key { id: "TKAAAAAAAAAAAAAAAAAA".into(), secret: "s".repeat(40) };
    let host = server.host();
    assert_refused(&server, &upload, |request| {
        request.sign(&unknown, &host, Payload::Hashed, now());
    })
    .await;
}

#[tokio::test]
async fn with_an_old_signature_nothing_is_allowed() {
    let (server, upload) = prepared().await;
    let (alice, host) = (server.alice.clone(), server.host());
    assert_refused(&server, &upload, |request| {
        request.sign(&alice, &host, Payload::Hashed, now() - 16 * 60);
    })
    .await;
    assert_refused(&server, &upload, |request| request.presign(&alice, &host, 60, now() - 120)).await;
}

#[tokio::test]
async fn without_a_grant_nothing_is_allowed() {
    let (server, upload) = prepared().await;
    let (mallory, host) = (server.mallory.clone(), server.host());
    assert_refused(&server, &upload, |request| {
        request.sign(&mallory, &host, Payload::Hashed, now());
    })
    .await;
    let listing = server.send_as(&mallory, Request::new("GET", "/")).await;
    assert_eq!((listing.status, listing.elements("Name")), (200, vec![]));
}

#[tokio::test]
async fn each_right_allows_its_own_and_no_more() {
    let (server, _) = prepared().await;
    let bob = server.bob.clone();
    for (right, read, write, list, delete) in [
        (Rights::READ, 200, 403, 403, 403),
        (Rights::WRITE, 403, 200, 403, 403),
        (Rights::LIST, 403, 403, 200, 403),
        (Rights::DELETE, 403, 403, 403, 204),
    ] {
        server.grant("bob", "bucket", right).await;
        let get = server.send_as(&bob, Request::new("GET", "/bucket/key")).await;
        let put = server.send_as(&bob, Request::new("PUT", "/bucket/other").body("abc")).await;
        let all = server.send_as(&bob, Request::new("GET", "/bucket?list-type=2")).await;
        let gone = server.send_as(&bob, Request::new("DELETE", "/bucket/gone")).await;
        let several =
            Request::new("POST", "/bucket?delete=").body("<Delete><Object><Key>gone</Key></Object></Delete>");
        let several = server.send_as(&bob, several).await;
        let bucket = server.send_as(&bob, Request::new("DELETE", "/bucket")).await;
        assert_eq!(
            [get, put, all, gone, bucket].map(|answer| answer.status),
            [read, write, list, delete, 403],
            "{right:?}"
        );
        assert_eq!(several.status == 200, delete == 204, "{right:?}");
        server.gateway.directory().revoke("bob", "bucket", right).await.unwrap();
    }
}

#[tokio::test]
async fn a_removed_key_or_principal_is_refused_at_once_here_and_soon_elsewhere() {
    let (server, _) = prepared().await;
    let bob = server.bob.clone();
    server.grant("bob", "bucket", Rights::READ).await;
    assert_eq!(server.send_as(&bob, Request::new("GET", "/bucket/key")).await.status, 200);
    // another gateway's directory
    let other = store_node::gateway::directory::Directory::open(
        server.region.clone(),
        server.gateway.keyring().clone(),
    )
    .await
    .unwrap();
    other.remove_key(&bob.id).await.unwrap();
    let began = Instant::now();
    while server.send_as(&bob, Request::new("GET", "/bucket/key")).await.status == 200 {
        assert!(began.elapsed() < Duration::from_secs(5), "a removed key goes on working");
        tokio::task::yield_now().await;
    }
    let refused = server.send_as(&bob, Request::new("GET", "/bucket/key")).await;
    assert_eq!(refused.code(), "InvalidAccessKeyId");
    server.gateway.directory().remove_principal("mallory").await.unwrap();
    let mallory = server.mallory.clone();
    assert_eq!(server.send_as(&mallory, Request::new("GET", "/")).await.status, 403);
    assert!(server.gateway.directory().remove_principal("alice").await.is_err(), "alice owns a bucket");
}

#[tokio::test]
async fn an_expected_owner_that_is_not_the_owner_is_refused() {
    let (server, _) = prepared().await;
    let get = |owner: &str| Request::new("GET", "/bucket/key").header("x-amz-expected-bucket-owner", owner);
    assert_eq!(server.call(get("somebody")).await.status, 403);
    let owner = server.get("/bucket?list-type=2&fetch-owner=true").await.element("ID").unwrap();
    assert_eq!(server.call(get(&owner)).await.status, 200);
}

#[tokio::test]
async fn secrets_are_not_in_the_system_group() {
    let (server, _) = prepared().await;
    use replication::region::{Consistency, Region};
    for table in wire::SystemTable::ALL {
        let query = wire::Query::SystemScan { table, prefix: Default::default(), after: None, limit: 1000 };
        let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
        let asked = server.region.query(wire::GroupId::SYSTEM, query, Consistency::Local, deadline).await;
        let wire::Answer::SystemScan(records, _) = asked.unwrap().0 else { panic!("another answer") };
        for record in records {
            let secret = server.alice.secret.as_bytes();
            assert!(!record.value.windows(secret.len()).any(|window| window == secret), "{table:?}");
        }
    }
}
