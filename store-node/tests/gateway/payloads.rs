//! The forms in which bodies come, and what proves them: signatures, digests, checksums, trailers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::objects::bytes;
use crate::server::{Answer, Server};
use crate::signer::{Payload, Request, now, signed_chunks, unsigned_chunks};

const CRC32_OF_ABC: &str = "NSRBwg==";

async fn ready() -> Server {
    let server = Server::start().await;
    server.make_bucket("bucket").await;
    server
}

fn crc32(body: &[u8]) -> String {
    let sum = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, body) as u32;
    BASE64.encode(sum.to_be_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn signed_chunks_are_taken_and_a_changed_one_is_refused() {
    let server = ready().await;
    let at = now();
    let body = bytes(200_000);
    let pieces: Vec<&[u8]> = body.chunks(65_536).collect();
    let mut put = Request::new("PUT", "/bucket/key")
        .header("x-amz-decoded-content-length", body.len().to_string())
        .header("content-encoding", "aws-chunked");
    let form = Payload::Named("STREAMING-AWS4-HMAC-SHA256-PAYLOAD");
    let seed = put.sign(&server.alice, &server.host(), form, at);
    put.body = signed_chunks(&server.alice, &seed, at, &pieces, None);
    assert_eq!(server.send(&put).await.status, 200);
    let got = server.get("/bucket/key").await;
    assert!(got.body == body);
    assert_eq!(got.header("content-encoding"), None);
    let middle = put.body.len() / 2;
    put.body[middle] ^= 1;
    let refused = server.send(&put).await;
    assert_eq!((refused.status, refused.code().as_str()), (403, "SignatureDoesNotMatch"));
}

#[tokio::test]
async fn signed_chunks_with_a_signed_trailer_are_taken() {
    let server = ready().await;
    let at = now();
    let mut put = Request::new("PUT", "/bucket/key")
        .header("x-amz-decoded-content-length", "3")
        .header("x-amz-trailer", "x-amz-checksum-crc32");
    let form = Payload::Named("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER");
    let seed = put.sign(&server.alice, &server.host(), form, at);
    let trailer = Some(("x-amz-checksum-crc32", CRC32_OF_ABC));
    put.body = signed_chunks(&server.alice, &seed, at, &[b"abc"], trailer);
    let answer = server.send(&put).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("x-amz-checksum-crc32"), Some(CRC32_OF_ABC));
}

async fn put_with_trailer(server: &Server, body: &[u8], framed: Vec<u8>, announced: &str) -> Answer {
    let mut put = Request::new("PUT", "/bucket/key")
        .header("x-amz-decoded-content-length", body.len().to_string())
        .header("x-amz-trailer", announced);
    put.sign(&server.alice, &server.host(), Payload::Named("STREAMING-UNSIGNED-PAYLOAD-TRAILER"), now());
    put.body = framed;
    server.send(&put).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsigned_body_is_proved_by_its_trailer() {
    let server = ready().await;
    let name = "x-amz-checksum-crc32";
    for size in [0, 3, 100_000, (2 << 20) + 1] {
        let body = bytes(size);
        let pieces: Vec<&[u8]> = body.chunks(1 << 20).collect();
        let framed = unsigned_chunks(&pieces, Some((name, &crc32(&body))));
        let answer = put_with_trailer(&server, &body, framed, name).await;
        assert_eq!(answer.status, 200, "{size}: {}", answer.text());
        assert!(server.get("/bucket/key").await.body == body);
    }
}

#[tokio::test]
async fn wrong_missing_and_other_trailers_are_refused() {
    let server = ready().await;
    let name = "x-amz-checksum-crc32";
    let wrong = unsigned_chunks(&[b"abd"], Some((name, CRC32_OF_ABC)));
    assert_eq!(put_with_trailer(&server, b"abd", wrong, name).await.code(), "BadDigest");
    let missing = unsigned_chunks(&[b"abc"], None);
    assert_eq!(put_with_trailer(&server, b"abc", missing, name).await.code(), "MalformedTrailerError");
    let other = unsigned_chunks(&[b"abc"], Some(("x-amz-checksum-crc32c", "AAAAAA==")));
    assert_eq!(put_with_trailer(&server, b"abc", other, name).await.code(), "MalformedTrailerError");
    let unknown = unsigned_chunks(&[b"abc"], Some(("x-amz-meta-a", "b")));
    assert_eq!(put_with_trailer(&server, b"abc", unknown, "x-amz-meta-a").await.code(), "InvalidRequest");
    assert_eq!(server.get("/bucket/key").await.status, 404);
}

#[tokio::test]
async fn all_five_checksums_are_verified_kept_and_shown() {
    let server = ready().await;
    for (name, value) in [
        ("crc32", CRC32_OF_ABC),
        ("crc32c", "Nks/tw=="),
        ("crc64nvme", "BeXKuz/B+us="),
        ("sha1", "qZk+NkcGgWq6PiVxeFDCbJzQ2J0="),
        ("sha256", "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="),
    ] {
        let header = format!("x-amz-checksum-{name}");
        let put = |body: &str| Request::new("PUT", "/bucket/key").header(&header, value).body(body);
        let answer = server.call(put("abc")).await;
        assert_eq!((answer.status, answer.header(&header)), (200, Some(value)), "{name}: {}", answer.text());
        let shown =
            server.call(Request::new("GET", "/bucket/key").header("x-amz-checksum-mode", "ENABLED")).await;
        assert_eq!(shown.header(&header), Some(value));
        assert_eq!(shown.header("x-amz-checksum-type"), Some("FULL_OBJECT"));
        assert_eq!(server.get("/bucket/key").await.header(&header), None);
        assert_eq!(server.call(put("abd")).await.code(), "BadDigest", "{name}");
    }
}

#[tokio::test]
async fn digests_that_make_no_sense_are_refused() {
    let server = ready().await;
    let put = |name: &str, value: &str| Request::new("PUT", "/bucket/key").header(name, value).body("abc");
    assert_eq!(server.call(put("content-md5", "nonsense")).await.code(), "InvalidDigest");
    assert_eq!(server.call(put("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==")).await.code(), "BadDigest");
    assert_eq!(server.call(put("content-md5", "kAFQmDzST7DWlj99KOF/cg==")).await.status, 200);
    assert_eq!(server.call(put("x-amz-checksum-crc32", "AAAA")).await.code(), "InvalidRequest");
    let two = put("x-amz-checksum-crc32", CRC32_OF_ABC).header("x-amz-checksum-crc32c", "Nks/tw==");
    assert_eq!(server.call(two).await.code(), "InvalidRequest");
}

#[tokio::test]
async fn a_body_other_than_the_signed_one_is_refused() {
    let server = ready().await;
    for size in [3, 200_000] {
        let mut put = Request::new("PUT", "/bucket/key").body(bytes(size));
        put.sign(&server.alice, &server.host(), Payload::Hashed, now());
        put.body[size / 2] ^= 1;
        let answer = server.send(&put).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "XAmzContentSHA256Mismatch"), "{size}");
    }
    assert_eq!(server.get("/bucket/key").await.status, 404);
}

#[tokio::test]
async fn presigned_urls_put_and_get_until_they_expire() {
    let server = ready().await;
    let mut put = Request::new("PUT", "/bucket/key").body("abc");
    put.presign(&server.alice, &server.host(), 60, now());
    assert_eq!(server.send(&put).await.status, 200);
    let mut get = Request::new("GET", "/bucket/key");
    get.presign(&server.alice, &server.host(), 60, now());
    assert_eq!(server.send(&get).await.body, b"abc");
    let mut late = Request::new("GET", "/bucket/key");
    late.presign(&server.alice, &server.host(), 60, now() - 61);
    let answer = server.send(&late).await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "AccessDenied"));
}

#[tokio::test]
async fn batches_are_proved_by_their_digest() {
    let server = ready().await;
    server.put("/bucket/a", "abc").await;
    let body = "<Delete><Object><Key>a</Key></Object></Delete>";
    let send = |sum: String| {
        let mut request =
            Request::new("POST", "/bucket?delete=").header("x-amz-checksum-crc32", sum).body(body);
        request.sign(&server.alice, &server.host(), Payload::Unsigned, now());
        request
    };
    assert_eq!(server.send(&send(crc32(b"other"))).await.code(), "BadDigest");
    assert_eq!(server.get("/bucket/a").await.status, 200);
    assert_eq!(server.send(&send(crc32(body.as_bytes()))).await.status, 200);
    assert_eq!(server.get("/bucket/a").await.status, 404);
}
