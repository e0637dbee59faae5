//! Put, get, head, delete: bytes, ranges, headers, conditions.

use crate::server::Server;
use crate::signer::Request;

/// Sizes around every border of the data path: empty, inline, one chunk, several.
const SIZES: [usize; 8] =
    [0, 1, 64 << 10, (64 << 10) + 1, 1 << 20, (1 << 20) + 1, (3 << 20) - 1, (5 << 20) + 7];

pub(crate) fn bytes(size: usize) -> Vec<u8> {
    (0..size).map(|index| (index * 31 + index / 251) as u8).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_every_size_come_back_as_they_were_put() {
    let server = Server::start().await;
    server.make_bucket("bucket").await;
    for size in SIZES {
        let put = server.put("/bucket/key", bytes(size)).await;
        let got = server.get("/bucket/key").await;
        assert_eq!((got.status, got.body.len()), (200, size));
        assert!(got.body == bytes(size), "{size}");
        assert_eq!(got.header("etag"), put.header("etag"));
        assert_eq!(got.header("content-length"), Some(size.to_string().as_str()));
    }
}

#[tokio::test]
async fn what_is_asked_of_another_operation_is_not_stored() {
    let server = Server::start().await;
    server.make_bucket("bucket").await;
    server.put("/bucket/key", "precious").await;
    for (query, status) in
        [("renameObject", 501), ("append&position=8", 501), ("uploadId=abc", 400), ("partNumber=1", 400)]
    {
        let put = Request::new("PUT", &format!("/bucket/key?{query}")).body("");
        assert_eq!(server.call(put).await.status, status, "{query}");
    }
    assert_eq!(server.get("/bucket/key").await.body, b"precious");
}

#[tokio::test]
async fn control_characters_in_names_come_back_as_they_are() {
    let server = Server::start().await;
    server.make_bucket("bucket").await;
    server.put("/bucket/a%0Db", "abc").await;
    let listing = server.get("/bucket?list-type=2").await;
    assert!(listing.text().contains("<Key>a&#13;b</Key>"), "{}", listing.text());
    let delete = |key: &str| {
        let body = format!("<Delete><Object><Key>{key}</Key></Object></Delete>");
        Request::new("POST", "/bucket?delete=").body(body)
    };
    // what no answer could name is not deleted
    server.put("/bucket/%01", "abc").await;
    assert_eq!(server.call(delete("\u{1}")).await.code(), "MalformedXML");
    assert_eq!(server.get("/bucket/%01").await.status, 200);
    let deleted = server.call(delete("a&#13;b")).await;
    assert!(deleted.text().contains("<Key>a&#13;b</Key>"), "{}", deleted.text());
    assert_eq!(server.get("/bucket/a%0Db").await.status, 404);
}

#[tokio::test]
async fn the_etag_is_the_md5_in_quotes() {
    let server = Server::start().await;
    server.make_bucket("bucket").await;
    let put = server.put("/bucket/key", "abc").await;
    assert_eq!(put.header("etag"), Some("\"900150983cd24fb0d6963f7d28e17f72\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_give_their_bytes_whatever_chunks_they_cross() {
    let server = Server::start().await;
    server.make_bucket("bucket").await;
    let body = bytes((3 << 20) + 100);
    server.put("/bucket/key", body.clone()).await;
    let size = body.len();
    let mib = 1 << 20;
    for (range, first, last) in [
        ("bytes=0-0".to_owned(), 0, 0),
        (format!("bytes={}-{}", mib - 1, mib), mib - 1, mib),
        (format!("bytes={}-{}", mib + 5, 2 * mib + 5), mib + 5, 2 * mib + 5),
        (format!("bytes={}-", size - 1), size - 1, size - 1),
        ("bytes=-150".to_owned(), size - 150, size - 1),
        (format!("bytes=-{}", size + 9), 0, size - 1),
        (format!("bytes=5-{}", size + 9), 5, size - 1),
    ] {
        let got = server.call(Request::new("GET", "/bucket/key").header("range", &range)).await;
        assert_eq!(got.status, 206, "{range}");
        assert!(got.body == body[first..=last], "{range}");
        assert_eq!(got.header("content-range"), Some(format!("bytes {first}-{last}/{size}").as_str()));
    }
}

#[tokio::test]
async fn a_range_beyond_the_end_is_not_satisfiable() {
    let server = Server::start().await;
    server.make_bucket("bucket").await;
    server.put("/bucket/key", "abc").await;
    server.put("/bucket/empty", "").await;
    for (path, range) in [("key", "bytes=3-"), ("key", "bytes=-0"), ("empty", "bytes=0-0")] {
        let target = format!("/bucket/{path}");
        let got = server.call(Request::new("GET", &target).header("range", range)).await;
        assert_eq!((got.status, got.code().as_str()), (416, "InvalidRange"), "{range}");
    }
}

#[tokio::test]
async fn metadata_and_headers_come_back() {
    let server = Server::start().await;
    server.make_bucket("bucket").await;
    let stored = [
        ("content-type", "text/plain; charset=utf-8"),
        ("cache-control", "max-age=60"),
        ("content-disposition", "attachment; filename=\"a.txt\""),
        ("content-encoding", "gzip"),
        ("content-language", "de"),
        ("expires", "Sat, 21 Nov 2026 20:00:00 GMT"),
        ("x-amz-meta-colour", "blue"),
        ("x-amz-meta-empty", ""),
    ];
    let mut put = Request::new("PUT", "/bucket/key").body("abc");
    for (name, value) in stored {
        put = put.header(name, value);
    }
    assert_eq!(server.call(put).await.status, 200);
    for method in ["GET", "HEAD"] {
        let got = server.call(Request::new(method, "/bucket/key")).await;
        for (name, value) in stored {
            assert_eq!(got.header(name), Some(value), "{method} {name}");
        }
        assert_eq!(got.header("content-length"), Some("3"));
        assert_eq!(got.header("accept-ranges"), Some("bytes"));
    }
}

#[tokio::test]
async fn a_get_may_override_the_stored_headers() {
    let server = Server::start().await;
    server.make_bucket("bucket").await;
    server.put("/bucket/key", "abc").await;
    let got =
        server.get("/bucket/key?response-content-type=text%2Fcsv&response-cache-control=no-store").await;
    assert_eq!(got.header("content-type"), Some("text/csv"));
    assert_eq!(got.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn reads_on_condition_answer_as_http_says() {
    let server = Server::start().await;
    server.make_bucket("bucket").await;
    let etag = server.put("/bucket/key", "abc").await.header("etag").unwrap().to_owned();
    let past = "Sat, 01 Jan 2000 00:00:00 GMT";
    for (name, value, status) in [
        ("if-match", etag.as_str(), 200),
        ("if-match", "\"other\"", 412),
        ("if-none-match", etag.as_str(), 304),
        ("if-none-match", "\"other\"", 200),
        ("if-modified-since", past, 200),
        ("if-unmodified-since", past, 412),
    ] {
        for method in ["GET", "HEAD"] {
            let got = server.call(Request::new(method, "/bucket/key").header(name, value)).await;
            assert_eq!(got.status, status, "{method} {name}: {value}");
            if status == 304 {
                assert_eq!(got.header("etag"), Some(etag.as_str()));
                assert!(got.body.is_empty());
            }
        }
    }
}

#[tokio::test]
async fn writes_on_condition_change_nothing_when_it_fails() {
    let server = Server::start().await;
    server.make_bucket("bucket").await;
    let new = |body: &str| Request::new("PUT", "/bucket/key").body(body);
    let missing = server.call(new("one").header("if-match", "\"x\"")).await;
    assert_eq!((missing.status, missing.code().as_str()), (404, "NoSuchKey"));
    let first = server.call(new("one").header("if-none-match", "*")).await;
    assert_eq!(first.status, 200);
    let again = server.call(new("two").header("if-none-match", "*")).await;
    assert_eq!((again.status, again.code().as_str()), (412, "PreconditionFailed"));
    assert_eq!(server.get("/bucket/key").await.body, b"one");
    let etag = first.header("etag").unwrap().to_owned();
    assert_eq!(server.call(new("two").header("if-match", etag.clone())).await.status, 200);
    assert_eq!(server.call(new("three").header("if-match", etag.clone())).await.status, 412);
    let delete = Request::new("DELETE", "/bucket/key").header("if-match", etag);
    assert_eq!(server.call(delete).await.status, 412);
    assert_eq!(server.get("/bucket/key").await.body, b"two");
}

#[tokio::test]
async fn deleting_succeeds_whether_or_not_there_is_something() {
    let server = Server::start().await;
    server.make_bucket("bucket").await;
    server.put("/bucket/key", "abc").await;
    for _ in 0..2 {
        assert_eq!(server.call(Request::new("DELETE", "/bucket/key")).await.status, 204);
    }
    let got = server.get("/bucket/key").await;
    assert_eq!((got.status, got.code().as_str()), (404, "NoSuchKey"));
    let head = server.call(Request::new("HEAD", "/bucket/key")).await;
    assert_eq!((head.status, head.body.len()), (404, 0));
}

#[tokio::test]
async fn many_objects_are_deleted_at_once() {
    let server = Server::start().await;
    server.make_bucket("bucket").await;
    for name in ["a", "b", "c&d"] {
        server.put(&format!("/bucket/{}", crate::signer::escape(name)), name).await;
    }
    let delete = |body: &str| Request::new("POST", "/bucket?delete=").body(body);
    let some = "<Delete><Object><Key>a</Key></Object><Object><Key>c&amp;d</Key></Object>\
                <Object><Key>never</Key></Object></Delete>";
    let answer = server.call(delete(some)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.elements("Key"), ["a", "c&amp;d", "never"]);
    let quiet = "<Delete><Quiet>true</Quiet><Object><Key>b</Key></Object></Delete>";
    assert!(server.call(delete(quiet)).await.elements("Key").is_empty());
    assert_eq!(server.get("/bucket?list-type=2").await.element("KeyCount").as_deref(), Some("0"));
    let malformed = server.call(delete("<Delete><Object>")).await;
    assert_eq!((malformed.status, malformed.code().as_str()), (400, "MalformedXML"));
}

#[tokio::test]
async fn odd_names_are_kept_as_they_are() {
    let server = Server::start().await;
    server.make_bucket("bucket").await;
    let long = "k".repeat(1024);
    let names =
        ["a b", "a+b", "a%2Fb", "ä/ö/ü", "dir/", "//double//", "..", "a?b#c", "\u{1F600}", "&<>\"'", &long];
    for name in names {
        let path = format!("/bucket/{}", crate::signer::escape(name).replace("%2F", "/"));
        let path = if name.contains("%2F") { "/bucket/a%252Fb".to_owned() } else { path };
        server.put(&path, name).await;
        assert_eq!(server.get(&path).await.text(), name, "{name}");
    }
    let too_long = format!("/bucket/{}", "k".repeat(1025));
    let answer = server.call(Request::new("PUT", &too_long)).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "KeyTooLongError"));
}

#[tokio::test]
async fn every_answer_carries_a_request_id_and_errors_name_it() {
    let server = Server::start().await;
    server.make_bucket("bucket").await;
    let got = server.get("/bucket/none").await;
    let id = got.header("x-amz-request-id").unwrap().to_owned();
    assert_eq!(got.element("RequestId"), Some(id));
    assert_eq!(got.element("Resource").as_deref(), Some("/bucket/none"));
    assert!(got.header("x-amz-id-2").is_some());
    assert_eq!(got.element("HostId").as_deref(), got.header("x-amz-id-2"));
    let fine = server.put("/bucket/key", "abc").await;
    assert_ne!(fine.header("x-amz-request-id"), got.header("x-amz-request-id"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_cannot_be_read_cuts_the_answer_short() {
    let server = Server::start().await;
    server.make_bucket("bucket").await;
    server.put("/bucket/key", bytes(3 << 20)).await;
    server.region.lose_bodies();
    let got = server.get("/bucket/key").await;
    assert!(got.status != 200 || got.body.len() < 3 << 20, "{} {}", got.status, got.body.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn buckets_are_addressed_as_hosts_below_the_domain() {
    let server = Server::start_with(|options| options.domain = Some("s3.test".into())).await;
    server.make_bucket("bucket").await;
    let mut put = Request::new("PUT", "/key").body("abc");
    put.sign(&server.alice, "bucket.s3.test", crate::signer::Payload::Hashed, crate::signer::now());
    assert_eq!(server.send(&put).await.status, 200);
    assert_eq!(server.get("/bucket/key").await.body, b"abc");
}
