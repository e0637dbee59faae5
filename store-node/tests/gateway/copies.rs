//! Copies: bytes, metadata, conditions, rights on the source.

use store_node::gateway::records::Rights;

use crate::objects::bytes;
use crate::server::Server;
use crate::signer::Request;

fn copy(target: &str, source: &str) -> Request {
    Request::new("PUT", target).header("x-amz-copy-source", source)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_has_the_bytes_and_metadata_of_its_source() {
    let server = Server::start().await;
    for bucket in ["bucket", "second"] {
        server.make_bucket(bucket).await;
    }
    for size in [10, (2 << 20) + 5] {
        let put = Request::new("PUT", "/bucket/a%20b").header("x-amz-meta-colour", "blue").body(bytes(size));
        assert_eq!(server.call(put).await.status, 200);
        let copied = server.call(copy("/second/copy", "/bucket/a%20b")).await;
        assert_eq!(copied.status, 200, "{}", copied.text());
        let got = server.get("/second/copy").await;
        assert!(got.body == bytes(size));
        assert_eq!(got.header("x-amz-meta-colour"), Some("blue"));
        assert_eq!(copied.element("ETag").unwrap().replace("&quot;", "\""), got.header("etag").unwrap());
    }
}

#[tokio::test]
async fn metadata_is_replaced_on_request() {
    let server = Server::start().await;
    server.make_bucket("bucket").await;
    let put = Request::new("PUT", "/bucket/key").header("x-amz-meta-colour", "blue").body("abc");
    server.call(put).await;
    let itself = server.call(copy("/bucket/key", "bucket/key")).await;
    assert_eq!((itself.status, itself.code().as_str()), (400, "InvalidRequest"));
    let replace = copy("/bucket/key", "bucket/key")
        .header("x-amz-metadata-directive", "REPLACE")
        .header("x-amz-meta-shape", "round");
    assert_eq!(server.call(replace).await.status, 200);
    let got = server.get("/bucket/key").await;
    assert_eq!((got.header("x-amz-meta-colour"), got.header("x-amz-meta-shape")), (None, Some("round")));
    assert_eq!(got.body, b"abc");
}

#[tokio::test]
async fn a_copy_on_condition_is_judged_by_its_source() {
    let server = Server::start().await;
    server.make_bucket("bucket").await;
    let etag = server.put("/bucket/key", "abc").await.header("etag").unwrap().to_owned();
    let with = |name: &str, value: &str| copy("/bucket/copy", "bucket/key").header(name, value);
    assert_eq!(server.call(with("x-amz-copy-source-if-match", "\"other\"")).await.status, 412);
    assert_eq!(server.call(with("x-amz-copy-source-if-none-match", &etag)).await.status, 412);
    assert_eq!(server.call(with("x-amz-copy-source-if-match", &etag)).await.status, 200);
    assert_eq!(server.call(with("if-none-match", "*")).await.status, 412);
}

#[tokio::test]
async fn a_copy_needs_the_right_to_read_its_source() {
    let server = Server::start().await;
    for bucket in ["bucket", "secret"] {
        server.make_bucket(bucket).await;
    }
    server.put("/secret/key", "abc").await;
    server.grant("bob", "bucket", Rights::OWN).await;
    let bob = server.bob.clone();
    let denied = server.send_as(&bob, copy("/bucket/copy", "secret/key")).await;
    assert_eq!((denied.status, denied.code().as_str()), (403, "AccessDenied"));
    server.grant("bob", "secret", Rights::READ).await;
    assert_eq!(server.send_as(&bob, copy("/bucket/copy", "secret/key")).await.status, 200);
}

#[tokio::test]
async fn an_older_version_is_copied_by_its_id() {
    let server = Server::start().await;
    server.make_bucket("bucket").await;
    crate::versions::set_versioning(&server, "Enabled").await;
    let first = server.put("/bucket/key", "one").await.header("x-amz-version-id").unwrap().to_owned();
    server.put("/bucket/key", "two").await;
    let restored = server.call(copy("/bucket/key", &format!("bucket/key?versionId={first}"))).await;
    assert_eq!(
        (restored.status, restored.header("x-amz-copy-source-version-id")),
        (200, Some(first.as_str()))
    );
    assert_eq!(server.get("/bucket/key").await.body, b"one");
}
