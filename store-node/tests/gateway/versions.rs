//! Versioned buckets: versions, delete markers, the null version.

use crate::server::Server;
use crate::signer::Request;

pub(crate) async fn set_versioning(server: &Server, status: &str) {
    let body = format!("<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>");
    let answer = server.call(Request::new("PUT", "/bucket?versioning=").body(body)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

async fn versioned() -> Server {
    let server = Server::start().await;
    server.make_bucket("bucket").await;
    set_versioning(&server, "Enabled").await;
    server
}

#[tokio::test]
async fn every_version_stays_readable() {
    let server = versioned().await;
    let mut ids = Vec::new();
    for body in ["one", "two", "three"] {
        ids.push((
            server.put("/bucket/key", body).await.header("x-amz-version-id").unwrap().to_owned(),
            body,
        ));
    }
    assert_eq!(server.get("/bucket/key").await.body, b"three");
    for (id, body) in &ids {
        let got = server.get(&format!("/bucket/key?versionId={id}")).await;
        assert_eq!((got.text().as_str(), got.header("x-amz-version-id")), (*body, Some(id.as_str())));
    }
    let unknown = format!("{:048x}", 1);
    let got = server.get(&format!("/bucket/key?versionId={unknown}")).await;
    assert_eq!((got.status, got.code().as_str()), (404, "NoSuchVersion"));
    let invalid = server.get("/bucket/key?versionId=nonsense").await;
    assert_eq!((invalid.status, invalid.code().as_str()), (400, "InvalidArgument"));
}

#[tokio::test]
async fn a_delete_marker_hides_and_its_removal_shows_again() {
    let server = versioned().await;
    server.put("/bucket/key", "abc").await;
    let deleted = server.call(Request::new("DELETE", "/bucket/key")).await;
    assert_eq!((deleted.status, deleted.header("x-amz-delete-marker")), (204, Some("true")));
    let marker = deleted.header("x-amz-version-id").unwrap().to_owned();
    let hidden = server.get("/bucket/key").await;
    assert_eq!((hidden.status, hidden.code().as_str()), (404, "NoSuchKey"));
    assert_eq!(hidden.header("x-amz-delete-marker"), Some("true"));
    let named = server.get(&format!("/bucket/key?versionId={marker}")).await;
    assert_eq!((named.status, named.code().as_str()), (405, "MethodNotAllowed"));
    assert_eq!(named.header("allow"), Some("DELETE"));
    let removed = server.call(Request::new("DELETE", &format!("/bucket/key?versionId={marker}"))).await;
    assert_eq!((removed.status, removed.header("x-amz-delete-marker")), (204, Some("true")));
    assert_eq!(server.get("/bucket/key").await.body, b"abc");
}

#[tokio::test]
async fn a_suspended_bucket_replaces_its_null_version() {
    let server = Server::start().await;
    server.make_bucket("bucket").await;
    server.put("/bucket/key", "before").await;
    set_versioning(&server, "Enabled").await;
    let enabled = server.put("/bucket/key", "enabled").await;
    let id = enabled.header("x-amz-version-id").unwrap().to_owned();
    assert_eq!(server.get("/bucket/key?versionId=null").await.body, b"before");
    set_versioning(&server, "Suspended").await;
    let suspended = server.put("/bucket/key", "suspended").await;
    assert_eq!(suspended.header("x-amz-version-id"), Some("null"));
    assert_eq!(server.get("/bucket/key?versionId=null").await.body, b"suspended");
    assert_eq!(server.get(&format!("/bucket/key?versionId={id}")).await.body, b"enabled");
    let all = server.get("/bucket?versions=").await;
    assert_eq!(all.elements("VersionId"), ["null".to_owned(), id]);
}

#[tokio::test]
async fn versions_are_listed_newest_first_page_by_page() {
    let server = versioned().await;
    let mut wanted = Vec::new();
    for key in ["a", "b"] {
        let mut of_key = Vec::new();
        for body in ["1", "2", "3"] {
            let put = server.put(&format!("/bucket/{key}"), body).await;
            of_key.insert(0, put.header("x-amz-version-id").unwrap().to_owned());
        }
        wanted.extend(of_key);
    }
    let mut found = Vec::new();
    let mut markers = String::new();
    loop {
        let page = server.get(&format!("/bucket?versions=&max-keys=2{markers}")).await;
        assert_eq!(page.status, 200, "{}", page.text());
        found.extend(page.elements("VersionId"));
        if page.element("IsTruncated").as_deref() == Some("false") {
            break;
        }
        let key = page.element("NextKeyMarker").unwrap();
        let version = page.element("NextVersionIdMarker").unwrap();
        markers = format!("&key-marker={key}&version-id-marker={version}");
    }
    assert_eq!(found, wanted);
}

#[tokio::test]
async fn batches_delete_single_versions() {
    let server = versioned().await;
    let id = server.put("/bucket/key", "abc").await.header("x-amz-version-id").unwrap().to_owned();
    let body = format!("<Delete><Object><Key>key</Key><VersionId>{id}</VersionId></Object></Delete>");
    let answer = server.call(Request::new("POST", "/bucket?delete=").body(body)).await;
    assert_eq!(answer.element("VersionId"), Some(id));
    assert_eq!(server.get("/bucket?versions=").await.elements("VersionId"), Vec::<String>::new());
    assert_eq!(server.call(Request::new("DELETE", "/bucket")).await.status, 204);
}
