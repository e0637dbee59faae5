//! Buckets: making, finding, listing, deleting them, and their settings.

use store_node::gateway::records::Rights;

use crate::server::Server;
use crate::signer::Request;

#[tokio::test]
async fn a_bucket_is_made_once() {
    let server = Server::start().await;
    server.make_bucket("bucket").await;
    let again = server.call(Request::new("PUT", "/bucket")).await;
    assert_eq!((again.status, again.code().as_str()), (409, "BucketAlreadyOwnedByYou"));
    let bob = server.bob.clone();
    let other = server.send_as(&bob, Request::new("PUT", "/bucket")).await;
    assert_eq!((other.status, other.code().as_str()), (409, "BucketAlreadyExists"));
}

#[tokio::test]
async fn names_that_are_none_are_refused() {
    let server = Server::start().await;
    for name in ["ab", "Upper", "under_score", "-dash", "a..b", "192.168.5.4", &"b".repeat(64)] {
        let answer = server.call(Request::new("PUT", &format!("/{name}"))).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "InvalidBucketName"), "{name}");
    }
}

#[tokio::test]
async fn callers_see_the_buckets_they_have_rights_on() {
    let server = Server::start().await;
    for name in ["one-bucket", "two-bucket"] {
        server.make_bucket(name).await;
    }
    let bob = server.bob.clone();
    assert_eq!(server.get("/").await.elements("Name"), ["one-bucket", "two-bucket"]);
    let none = server.send_as(&bob, Request::new("GET", "/")).await;
    assert_eq!(none.status, 200);
    assert!(none.text().contains("<Buckets"), "{}", none.text());
    server.grant("bob", "two-bucket", Rights::READ).await;
    assert_eq!(server.send_as(&bob, Request::new("GET", "/")).await.elements("Name"), ["two-bucket"]);
    let page = server.get("/?max-buckets=1").await;
    assert_eq!(page.elements("Name"), ["one-bucket"]);
    let token = page.element("ContinuationToken").unwrap();
    let rest = server.get(&format!("/?continuation-token={token}&max-buckets=1")).await;
    assert_eq!(rest.elements("Name"), ["two-bucket"]);
    assert_eq!(rest.element("ContinuationToken"), None);
}

#[tokio::test]
async fn a_bucket_says_where_it_is() {
    let server = Server::start().await;
    server.make_bucket("bucket").await;
    let head = server.call(Request::new("HEAD", "/bucket")).await;
    assert_eq!((head.status, head.header("x-amz-bucket-region")), (200, Some("home")));
    assert!(server.get("/bucket?location").await.text().contains(">home</LocationConstraint>"));
    let missing = server.call(Request::new("HEAD", "/missing")).await;
    assert_eq!((missing.status, missing.body.len()), (404, 0));
}

#[tokio::test]
async fn only_an_empty_bucket_is_deleted() {
    let server = Server::start().await;
    server.make_bucket("bucket").await;
    server.put("/bucket/key", "abc").await;
    let full = server.call(Request::new("DELETE", "/bucket")).await;
    assert_eq!((full.status, full.code().as_str()), (409, "BucketNotEmpty"));
    // it still takes writes
    server.put("/bucket/other", "abc").await;
    for key in ["key", "other"] {
        server.call(Request::new("DELETE", &format!("/bucket/{key}"))).await;
    }
    // an unfinished upload is no content
    let upload = server.call(Request::new("POST", "/bucket/key?uploads=")).await;
    assert_eq!(upload.status, 200, "{}", upload.text());
    assert_eq!(server.call(Request::new("DELETE", "/bucket")).await.status, 204);
    let gone = server.get("/bucket?list-type=2").await;
    assert_eq!((gone.status, gone.code().as_str()), (404, "NoSuchBucket"));
}

#[tokio::test]
async fn a_bucket_made_again_is_another_one() {
    let server = Server::start().await;
    server.make_bucket("bucket").await;
    server.grant("bob", "bucket", Rights::READ).await;
    assert_eq!(server.call(Request::new("DELETE", "/bucket")).await.status, 204);
    server.make_bucket("bucket").await;
    server.put("/bucket/key", "abc").await;
    let bob = server.bob.clone();
    assert_eq!(server.send_as(&bob, Request::new("GET", "/bucket/key")).await.status, 403);
}

#[tokio::test]
async fn versioning_is_set_and_shown() {
    let server = Server::start().await;
    server.make_bucket("bucket").await;
    assert_eq!(server.get("/bucket?versioning=").await.element("Status"), None);
    for status in ["Enabled", "Suspended"] {
        let body = format!("<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>");
        let answer = server.call(Request::new("PUT", "/bucket?versioning=").body(body)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(server.get("/bucket?versioning=").await.element("Status").as_deref(), Some(status));
    }
}

#[tokio::test]
async fn settings_that_were_never_made_are_answered_as_aws_does() {
    let server = Server::start().await;
    server.make_bucket("bucket").await;
    for (resource, code) in [
        ("policy", "NoSuchBucketPolicy"),
        ("cors", "NoSuchCORSConfiguration"),
        ("tagging", "NoSuchTagSet"),
        ("lifecycle", "NoSuchLifecycleConfiguration"),
        ("encryption", "ServerSideEncryptionConfigurationNotFoundError"),
        ("object-lock", "ObjectLockConfigurationNotFoundError"),
    ] {
        let got = server.get(&format!("/bucket?{resource}=")).await;
        assert_eq!((got.status, got.code().as_str()), (404, code));
        let put = server.call(Request::new("PUT", &format!("/bucket?{resource}=")).body("<a/>")).await;
        assert!(put.status >= 400, "{resource}: {}", put.status);
    }
    for resource in ["policy", "cors", "tagging", "lifecycle"] {
        let of = |bucket: &str| Request::new("DELETE", &format!("/{bucket}?{resource}="));
        assert_eq!(server.call(of("bucket")).await.status, 204, "{resource}");
        assert_eq!(server.call(of("absent")).await.status, 404, "{resource}");
    }
    assert_eq!(server.call(Request::new("HEAD", "/bucket")).await.status, 200, "the bucket itself stays");
    let acl = server.get("/bucket?acl=").await;
    assert_eq!((acl.status, acl.code().as_str()), (501, "NotImplemented"));
}
