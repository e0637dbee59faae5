//! What clients may send, changed at random: framed bodies with trailers, XML, ranges and queries. Whatever comes, there is
//! an answer, it is no server error, and a body that is taken is the one that was proved.
//!
//! Prints its seed; `SEED` repeats one and `RUNS` makes a longer run of it. Without coverage: the parsers of the protocol layer are
//! not ours to instrument.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::server::{Answer, Server};
use crate::signer::{Payload, Request, now, signed_chunks, unsigned_chunks};

/// Changed requests of each kind.
const RUNS: u64 = 300;

/// What parsers stumble over.
const WORDS: [&[u8]; 20] = [
    b"<!DOCTYPE a [<!ENTITY b \"c\"><!ENTITY d \"&b;&b;\">]>",
    b"&b;",
    b"&#0;",
    b"&#x110000;",
    b"<![CDATA[",
    b"]]>",
    b"<?xml version=\"1.1\"?>",
    b"<a xmlns:b=\"c\">",
    b"</Part>",
    b"<Part><PartNumber>65537</PartNumber></Part>",
    b"-1",
    b"18446744073709551616",
    b"ffffffffffffffff\r\n",
    b"0\r\n\r\n",
    b"\r\n",
    b"\n",
    b";chunk-signature=",
    b"x-amz-checksum-crc32:",
    b"\xff\xfe",
    b"\0",
];

/// SplitMix64.
struct Random(u64);

impl Random {
    fn new() -> Self {
        let given = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
        let clock = || SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
        let seed = given.unwrap_or_else(clock);
        println!("seed {seed} (repeat with SEED={seed})");
        Self(seed)
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % end.max(1) as u64) as usize
    }

    /// A few changes: bytes, words, pieces cut out, pieces twice.
    fn change(&mut self, original: &[u8]) -> Vec<u8> {
        let mut bytes = original.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            let end = (at + 1 + self.below(24)).min(bytes.len());
            match self.below(6) {
                0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                1 if at < bytes.len() => bytes[at] = self.below(256) as u8,
                2 => drop(bytes.splice(at..at, WORDS[self.below(WORDS.len())].iter().copied())),
                3 => drop(bytes.drain(at..end.max(at))),
                4 => {
                    let piece = bytes[at..end.max(at)].to_vec();
                    bytes.splice(at..at, piece.repeat(1 + self.below(50)));
                }
                _ => bytes.truncate(if self.below(4) == 0 { at } else { bytes.len() }),
            }
        }
        bytes
    }

    /// The same for a place where only printable ASCII can stand.
    fn change_text(&mut self, original: &str) -> String {
        let changed = self.change(original.as_bytes());
        changed.into_iter().map(|byte| char::from(b' ' + byte % 95)).filter(|letter| *letter != ' ').collect()
    }
}

fn runs() -> u64 {
    std::env::var("RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(RUNS)
}

/// An answer that says yes, or no for a reason of the client's.
#[track_caller]
fn sensible(answer: &Answer, request: &Request) {
    let right = (200..500).contains(&answer.status) || answer.status == 501;
    let body = String::from_utf8_lossy(&request.body);
    assert!(
        right,
        "{} {} was answered {} {}\n{:?}\n{body:?}",
        request.method,
        request.target(),
        answer.status,
        answer.text(),
        request.headers
    );
}

fn crc32(body: &[u8]) -> String {
    let sum = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, body) as u32;
    BASE64.encode(sum.to_be_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn framed_bodies_are_taken_as_proved_or_refused() {
    let (server, mut random) = (Server::start().await, Random::new());
    server.make_bucket("bucket").await;
    let body = b"a body of three pieces, each in a chunk of its own".to_vec();
    let pieces: Vec<&[u8]> = body.chunks(20).collect();
    let sum = crc32(&body);
    let trailer = Some(("x-amz-checksum-crc32", sum.as_str()));
    for number in 0..runs() {
        let key = format!("/bucket/{number}");
        let put = || {
            Request::new("PUT", &key)
                .header("x-amz-decoded-content-length", body.len().to_string())
                .header("content-encoding", "aws-chunked")
        };
        let (at, host) = (now(), server.host());
        let mut unsigned = put().header("x-amz-trailer", "x-amz-checksum-crc32");
        unsigned.sign(&server.alice, &host, Payload::Named("STREAMING-UNSIGNED-PAYLOAD-TRAILER"), at);
        unsigned.body = unsigned_chunks(&pieces, trailer);
        let mut signed = put();
        let seed =
            signed.sign(&server.alice, &host, Payload::Named("STREAMING-AWS4-HMAC-SHA256-PAYLOAD"), at);
        signed.body = signed_chunks(&server.alice, &seed, at, &pieces, None);
        let mut both = put().header("x-amz-trailer", "x-amz-checksum-crc32");
        let form = Payload::Named("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER");
        let seed = both.sign(&server.alice, &host, form, at);
        both.body = signed_chunks(&server.alice, &seed, at, &pieces, trailer);
        for mut request in [unsigned, signed, both] {
            request.body = random.change(&request.body);
            let answer = server.send(&request).await;
            sensible(&answer, &request);
            let found = server.get(&key).await;
            match answer.status {
                200 => assert!(found.body == body, "another body than was proved: {:?}", request.body),
                // an earlier of the three may have been taken
                _ => assert!(found.status == 404 || found.body == body, "{:?}", request.body),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn xml_bodies_are_understood_or_refused() {
    let (server, mut random) = (Server::start().await, Random::new());
    server.make_bucket("bucket").await;
    let begun = server.call(Request::new("POST", "/bucket/large?uploads=")).await;
    let upload = begun.element("UploadId").unwrap();
    let part = server.put(&format!("/bucket/large?partNumber=1&uploadId={upload}"), "part").await;
    let etag = part.header("etag").unwrap().to_owned();
    let parts = format!("<Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part>");
    let targets = [
        (
            "POST",
            format!("/bucket/large?uploadId={upload}"),
            format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>"),
        ),
        (
            "POST",
            "/bucket?delete=".to_owned(),
            "<Delete><Object><Key>a</Key><VersionId>null</VersionId></Object><Quiet>true</Quiet></Delete>".to_owned(),
        ),
        (
            "PUT",
            "/bucket?versioning=".to_owned(),
            "<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>".to_owned(),
        ),
        (
            "PUT",
            "/another".to_owned(),
            "<CreateBucketConfiguration><LocationConstraint>home</LocationConstraint></CreateBucketConfiguration>"
                .to_owned(),
        ),
    ];
    for _ in 0..runs() {
        for (method, target, xml) in &targets {
            let body = random.change(xml.as_bytes());
            // the digest is right, so that the parser gets to see the body
            let request =
                Request::new(method, target).header("x-amz-checksum-crc32", crc32(&body)).body(body);
            let mut signed = request.clone();
            signed.sign(&server.alice, &server.host(), Payload::Hashed, now());
            sensible(&server.send(&signed).await, &signed);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_conditions_and_queries_are_understood_or_refused() {
    let (server, mut random) = (Server::start().await, Random::new());
    server.make_bucket("bucket").await;
    server.put("/bucket/key", "0123456789").await;
    let headers = [
        ("range", "bytes=2-5"),
        ("if-match", "\"781e5e245d69b566979b86e28d23f2c7\""),
        ("if-modified-since", "Sat, 21 Nov 2026 20:00:00 GMT"),
        ("x-amz-copy-source", "/bucket/key?versionId=null"),
        ("x-amz-checksum-mode", "ENABLED"),
    ];
    let queries = [
        ("list-type=2&max-keys=10&continuation-token=", "AQBr"),
        ("list-type=2&encoding-type=url&prefix=", "k"),
        ("versions=&key-marker=key&version-id-marker=", "null"),
        ("uploads=&max-uploads=", "3"),
        ("max-keys=", "1000"),
    ];
    for _ in 0..runs() {
        for (name, value) in headers {
            let method = if name == "x-amz-copy-source" { "PUT" } else { "GET" };
            let target = if method == "PUT" { "/bucket/copy" } else { "/bucket/key" };
            let mut request = Request::new(method, target).header(name, random.change_text(value));
            request.sign(&server.alice, &server.host(), Payload::Hashed, now());
            sensible(&server.send(&request).await, &request);
        }
        for (query, value) in queries {
            let value = crate::signer::escape(&random.change_text(value));
            let mut request = Request::new("GET", &format!("/bucket?{query}{value}"));
            request.sign(&server.alice, &server.host(), Payload::Hashed, now());
            sensible(&server.send(&request).await, &request);
        }
    }
}
