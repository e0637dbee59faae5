//! Multipart uploads: parts, completion, what is refused, what is shown.

use crate::objects::bytes;
use crate::server::{Answer, Server};
use crate::signer::Request;

const PART: usize = 5 << 20;

pub(crate) async fn begin(server: &Server, request: Request) -> String {
    let answer = server.call(request).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.element("UploadId").unwrap()
}

async fn part(server: &Server, upload: &str, number: u16, body: Vec<u8>) -> String {
    let target = format!("/bucket/key?partNumber={number}&uploadId={upload}");
    let answer = server.call(Request::new("PUT", &target).body(body)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.header("etag").unwrap().to_owned()
}

async fn complete(server: &Server, upload: &str, parts: &[(u16, String)]) -> Answer {
    let parts: String = parts
        .iter()
        .map(|(number, etag)| {
            format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>")
                .replace('"', "&quot;")
        })
        .collect();
    let body = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
    server.call(Request::new("POST", &format!("/bucket/key?uploadId={upload}")).body(body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_become_an_object_in_their_order() {
    let server = Server::start().await;
    server.make_bucket("bucket").await;
    let create = Request::new("POST", "/bucket/key?uploads=")
        .header("content-type", "text/plain")
        .header("x-amz-meta-colour", "blue");
    let upload = begin(&server, create).await;
    // the second part comes first, and once more
    part(&server, &upload, 2, bytes(7)).await;
    let second = part(&server, &upload, 2, bytes(1000)).await;
    let first = part(&server, &upload, 1, bytes(PART)).await;
    let listed = server.get(&format!("/bucket/key?uploadId={upload}")).await;
    assert_eq!(listed.elements("PartNumber"), ["1", "2"]);
    assert_eq!(listed.elements("Size"), [PART.to_string(), "1000".into()]);
    let parts = [(1, first), (2, second)];
    let done = complete(&server, &upload, &parts).await;
    assert_eq!(done.status, 200, "{}", done.text());
    // a client whose answer was lost asks again
    let repeated = complete(&server, &upload, &parts).await;
    assert_eq!(
        (repeated.status, repeated.element("ETag")),
        (200, done.element("ETag")),
        "{}",
        repeated.text()
    );
    let other = complete(&server, &upload, &parts[..1]).await;
    assert_eq!((other.status, other.code().as_str()), (404, "NoSuchUpload"));
    let got = server.get("/bucket/key").await;
    assert!(got.body == [bytes(PART), bytes(1000)].concat());
    assert!(got.header("etag").unwrap().ends_with("-2\""));
    assert_eq!(
        (got.header("content-type"), got.header("x-amz-meta-colour")),
        (Some("text/plain"), Some("blue"))
    );
    // a range across the border of the parts
    let range = format!("bytes={}-{}", PART - 3, PART + 2);
    let across = server.call(Request::new("GET", "/bucket/key").header("range", range)).await;
    assert!(across.body == got.body[PART - 3..=PART + 2]);
    let second = server.get("/bucket/key?partNumber=2").await;
    assert_eq!((second.status, second.header("x-amz-mp-parts-count")), (206, Some("2")));
    assert!(second.body == bytes(1000));
    assert_eq!(server.get("/bucket/key?partNumber=3").await.status, 416);
    let again = server.get(&format!("/bucket/key?uploadId={upload}")).await;
    assert_eq!((again.status, again.code().as_str()), (404, "NoSuchUpload"));
}

#[tokio::test(flavor = "multi_thread")]
async fn completions_that_cannot_be_are_refused() {
    let server = Server::start().await;
    server.make_bucket("bucket").await;
    let upload = begin(&server, Request::new("POST", "/bucket/key?uploads=")).await;
    let one = part(&server, &upload, 1, bytes(10)).await;
    let two = part(&server, &upload, 2, bytes(10)).await;
    let wrong = "\"0123456789abcdef0123456789abcdef\"".to_owned();
    for (parts, code) in [
        (vec![], "MalformedXML"),
        (vec![(2, two.clone()), (1, one.clone())], "InvalidPartOrder"),
        (vec![(1, one.clone()), (1, one.clone())], "InvalidPartOrder"),
        (vec![(1, wrong)], "InvalidPart"),
        (vec![(3, one.clone())], "InvalidPart"),
        (vec![(1, one.clone()), (2, two.clone())], "EntityTooSmall"),
    ] {
        let answer = complete(&server, &upload, &parts).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, code));
    }
    assert_eq!(complete(&server, &upload, &[(2, two)]).await.status, 200);
    assert_eq!(server.get("/bucket/key").await.body, bytes(10));
}

#[tokio::test]
async fn an_aborted_upload_is_gone() {
    let server = Server::start().await;
    server.make_bucket("bucket").await;
    let upload = begin(&server, Request::new("POST", "/bucket/key?uploads=")).await;
    let target = format!("/bucket/key?uploadId={upload}");
    assert_eq!(server.call(Request::new("DELETE", &target)).await.status, 204);
    let again = server.call(Request::new("DELETE", &target)).await;
    assert_eq!((again.status, again.code().as_str()), (404, "NoSuchUpload"));
    let late = server.call(Request::new("PUT", &format!("{target}&partNumber=1")).body("abc")).await;
    assert_eq!((late.status, late.code().as_str()), (404, "NoSuchUpload"));
}

#[tokio::test]
async fn uploads_under_way_are_listed_in_order() {
    let server = Server::start().await;
    server.make_bucket("bucket").await;
    let mut wanted = Vec::new();
    for key in ["a/1", "a/2", "b", "c"] {
        wanted.push((key, begin(&server, Request::new("POST", &format!("/bucket/{key}?uploads="))).await));
    }
    let all = server.get("/bucket?uploads=").await;
    assert_eq!(all.elements("Key"), ["a/1", "a/2", "b", "c"]);
    assert_eq!(all.elements("UploadId"), wanted.iter().map(|(_, id)| id.clone()).collect::<Vec<_>>());
    let page = server.get("/bucket?uploads=&max-uploads=2&delimiter=/").await;
    assert_eq!(
        (page.elements("Key"), page.element("IsTruncated").as_deref()),
        (vec!["b".to_owned()], Some("true"))
    );
    let (key, id) = (page.element("NextKeyMarker").unwrap(), page.element("NextUploadIdMarker").unwrap());
    let rest = format!("/bucket?uploads=&delimiter=/&key-marker={key}&upload-id-marker={id}");
    assert_eq!(server.get(&rest).await.elements("Key"), ["c"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_are_copied_from_objects_and_their_ranges() {
    let server = Server::start().await;
    server.make_bucket("bucket").await;
    server.put("/bucket/source", bytes(PART + 100)).await;
    let upload = begin(&server, Request::new("POST", "/bucket/key?uploads=")).await;
    let mut parts = Vec::new();
    for (number, range) in [(1, format!("bytes=100-{}", PART + 99)), (2, "bytes=0-99".to_owned())] {
        let target = format!("/bucket/key?partNumber={number}&uploadId={upload}");
        let copy = Request::new("PUT", &target)
            .header("x-amz-copy-source", "bucket/source")
            .header("x-amz-copy-source-range", range);
        let answer = server.call(copy).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        parts.push((number, answer.element("ETag").unwrap().replace("&quot;", "\"")));
    }
    assert_eq!(complete(&server, &upload, &parts).await.status, 200);
    let source = bytes(PART + 100);
    assert!(server.get("/bucket/key").await.body == [&source[100..], &source[..100]].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn checksums_of_parts_make_the_objects() {
    let server = Server::start().await;
    server.make_bucket("bucket").await;
    for (algorithm, kind, wanted) in [
        ("CRC32", "FULL_OBJECT", "FULL_OBJECT"),
        ("CRC32C", "", "COMPOSITE"),
        ("CRC64NVME", "", "FULL_OBJECT"),
        ("SHA256", "", "COMPOSITE"),
    ] {
        let mut create =
            Request::new("POST", "/bucket/key?uploads=").header("x-amz-checksum-algorithm", algorithm);
        if !kind.is_empty() {
            create = create.header("x-amz-checksum-type", kind);
        }
        let upload = begin(&server, create).await;
        let one = part(&server, &upload, 1, bytes(PART)).await;
        let two = part(&server, &upload, 2, bytes(100)).await;
        let done = complete(&server, &upload, &[(1, one), (2, two)]).await;
        assert_eq!(done.element("ChecksumType").as_deref(), Some(wanted), "{}", done.text());
        let name = format!("x-amz-checksum-{}", algorithm.to_lowercase());
        let multipart =
            server.call(Request::new("HEAD", "/bucket/key").header("x-amz-checksum-mode", "ENABLED")).await;
        let sum = multipart.header(&name).unwrap().to_owned();
        if wanted == "FULL_OBJECT" {
            // the same as of the same bytes in one piece
            let put = Request::new("PUT", "/bucket/whole")
                .header("x-amz-sdk-checksum-algorithm", algorithm)
                .body([bytes(PART), bytes(100)].concat());
            assert_eq!(server.call(put).await.header(&name), Some(sum.as_str()), "{algorithm}");
        } else {
            assert!(sum.ends_with("-2"), "{sum}");
        }
    }
    let refused = Request::new("POST", "/bucket/key?uploads=")
        .header("x-amz-checksum-algorithm", "SHA1")
        .header("x-amz-checksum-type", "FULL_OBJECT");
    assert_eq!(server.call(refused).await.code(), "InvalidRequest");
}
