//! Clients that lie, stall, cut and flood.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::objects::bytes;
use crate::server::{Answer, Server, read_answer, wire_form};
use crate::signer::{Payload, Request, now};

async fn ready() -> Server {
    let server = Server::start().await;
    server.make_bucket("bucket").await;
    server
}

fn signed(server: &Server, mut request: Request) -> Request {
    request.sign(&server.alice, &server.host(), Payload::Unsigned, now());
    request
}

#[tokio::test]
async fn a_replayed_put_with_a_copy_source_added_copies_nothing() {
    let server = ready().await;
    server.make_bucket("secret").await;
    server.put("/secret/key", "plaintext").await;
    let put = signed(&server, Request::new("PUT", "/bucket/key").body("abc"));
    assert_eq!(server.send(&put).await.status, 200);
    let replayed = Request { body: vec![], ..put }.header("x-amz-copy-source", "secret/key");
    let answer = server.send(&replayed).await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "AccessDenied"));
    assert_eq!(server.get("/bucket/key").await.body, b"abc");
}

#[tokio::test]
async fn lengths_that_lie_store_nothing() {
    let server = ready().await;
    let put = signed(&server, Request::new("PUT", "/bucket/key").body("abc"));
    let honest = wire_form(&put, &server.host());
    let text = String::from_utf8(honest).unwrap();
    // more announced than sent, then closed
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(text.replace("content-length: 3", "content-length: 10").as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    assert_ne!(read_answer(stream).await.status, 200);
    // two lengths
    let two = text.replace("content-length: 3\r\n", "content-length: 3\r\ncontent-length: 4\r\n");
    assert_eq!(server.raw(two.as_bytes()).await.status, 400);
    // a length and chunks
    let both = text.replace("content-length: 3\r\n", "content-length: 3\r\ntransfer-encoding: chunked\r\n");
    assert_ne!(server.raw(both.as_bytes()).await.status, 200);
    let over = text.replace("content-length: 3", "content-length: 5368709121");
    assert_eq!(server.raw(over.as_bytes()).await.code(), "EntityTooLarge");
    assert_eq!(server.get("/bucket/key").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_leaves_no_stream_behind() {
    let server = ready().await;
    let body = bytes(4 << 20);
    let put = signed(&server, Request::new("PUT", "/bucket/key").body(body));
    let whole = wire_form(&put, &server.host());
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(&whole[..whole.len() - 1000]).await.unwrap();
    // the server has begun to store before the client goes
    let metrics = server.gateway.metrics().clone();
    drop(stream);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while metrics.streams_abandoned.load(Ordering::Relaxed) == 0 {
        assert!(tokio::time::Instant::now() < deadline, "the stream was not given up");
        tokio::task::yield_now().await;
    }
    assert_eq!(server.get("/bucket/key").await.status, 404);
}

#[tokio::test]
async fn a_chunk_above_sixteen_mebibytes_is_refused_by_its_head() {
    let server = ready().await;
    let mut put = Request::new("PUT", "/bucket/key")
        .header("x-amz-decoded-content-length", "33554432")
        .header("x-amz-trailer", "x-amz-checksum-crc32");
    put.sign(&server.alice, &server.host(), Payload::Named("STREAMING-UNSIGNED-PAYLOAD-TRAILER"), now());
    put.headers.push(("content-length".into(), "33554500".into()));
    put.body = b"2000000\r\nabc".to_vec();
    let answer = server.send(&put).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "InvalidChunkSizeError"));
}

#[tokio::test]
async fn xml_is_bounded_in_size_and_depth() {
    let server = ready().await;
    let deep = "<Delete>".repeat(10_000);
    let answer = server.call(Request::new("POST", "/bucket?delete=").body(deep)).await;
    assert_eq!(answer.code(), "MalformedXML");
    let entity = "<!DOCTYPE d [<!ENTITY a \"b\">]><Delete><Object><Key>&a;</Key></Object></Delete>";
    let answer = server.call(Request::new("POST", "/bucket?delete=").body(entity)).await;
    assert_eq!(answer.code(), "MalformedXML");
    let large = format!("<Delete>{}</Delete>", " ".repeat(5 << 20));
    let answer = server.call(Request::new("POST", "/bucket?delete=").body(large)).await;
    assert!(answer.status == 0 || answer.code() == "MaxMessageLengthExceeded", "{}", answer.text());
    let many = "<Object><Key>k</Key></Object>".repeat(1001);
    let answer =
        server.call(Request::new("POST", "/bucket?delete=").body(format!("<Delete>{many}</Delete>"))).await;
    assert_eq!(answer.code(), "MalformedXML");
}

#[tokio::test]
async fn heads_are_bounded() {
    let server = ready().await;
    let get = Request::new("GET", "/bucket/key").header("x-filler", "f".repeat(20 << 10));
    assert_eq!(server.send(&get).await.code(), "RequestHeaderSectionTooLarge");
    let mut many = Request::new("GET", "/bucket/key");
    for number in 0..200 {
        many = many.header(&format!("x-filler-{number}"), "f");
    }
    assert_eq!(server.send(&many).await.status, 431);
}

#[tokio::test]
async fn bytes_that_are_no_request_are_refused() {
    let server = ready().await;
    for garbage in [b"\x16\x03\x01\x02\x00\x01\x00".as_slice(), b"GET\r\n\r\n", b"\0\0\0\0\r\n\r\n"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        stream.shutdown().await.unwrap();
        let status = read_answer(stream).await.status;
        assert!(status == 0 || status == 400, "{status}");
    }
    server.put("/bucket/key", "abc").await;
}

#[tokio::test]
async fn version_two_and_forms_are_refused_with_a_reason() {
    let server = ready().await;
    let old = Request::new("GET", "/bucket/key").header("authorization", "AWS TKX:c2ln");
    let answer = server.send(&old).await;
    assert!(answer.element("Message").unwrap().contains("AWS4-HMAC-SHA256"));
    let form = Request::new("POST", "/bucket").header("content-type", "multipart/form-data; boundary=x");
    let answer = server.send(&form).await;
    assert_eq!((answer.status, answer.code().as_str()), (501, "NotImplemented"));
}

#[tokio::test]
async fn unknown_operations_are_not_implemented() {
    let server = ready().await;
    for request in [Request::new("POST", "/").body("Action=ListUsers"), Request::new("DELETE", "/")] {
        assert_eq!(server.call(request).await.status, 501);
    }
}

#[tokio::test]
async fn extras_that_are_not_there_are_refused() {
    let server = ready().await;
    for (name, value, code) in [
        ("x-amz-acl", "public-read", "AccessControlListNotSupported"),
        ("x-amz-grant-read", "id=x", "AccessControlListNotSupported"),
        ("x-amz-storage-class", "GLACIER", "InvalidStorageClass"),
        ("x-amz-server-side-encryption", "aws:kms", "NotImplemented"),
        ("x-amz-server-side-encryption-customer-algorithm", "AES256", "NotImplemented"),
        ("x-amz-tagging", "a=b", "NotImplemented"),
        ("x-amz-object-lock-mode", "GOVERNANCE", "InvalidRequest"),
    ] {
        let answer = server.call(Request::new("PUT", "/bucket/key").header(name, value).body("abc")).await;
        assert_eq!(answer.code(), code, "{name}");
    }
}

#[tokio::test]
async fn beyond_the_budget_clients_are_told_to_slow_down() {
    let server = Server::start_with(|options| options.requests_max = 0).await;
    let answer = server.get("/").await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "SlowDown"));
    assert!(answer.header("retry-after").is_some());
}

#[tokio::test]
async fn connections_of_one_address_are_bounded() {
    let server = Server::start_with(|options| options.connections_per_address_max = 2).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut some = [0; 16];
        stream.read_exact(&mut some).await.unwrap();
        held.push(stream);
    }
    let refused: Answer = server.raw(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert_eq!(refused.status, 0);
    assert_eq!(server.gateway.metrics().connections_refused.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn plain_http_is_served_on_loopback_only() {
    let server = ready().await;
    let listener = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    let gateway = server.gateway.clone();
    assert!(store_node::gateway::serve::serve(listener, None, gateway, stop).await.is_err());
}

#[tokio::test]
async fn a_continue_is_sent_only_to_who_may_write() {
    let server = ready().await;
    let expect = |request: Request| request.header("expect", "100-continue");
    let mut refused = wire_form(&expect(Request::new("PUT", "/bucket/key").body("abc")), &server.host());
    refused.truncate(refused.len() - 3);
    let answer = server.raw(&refused).await;
    assert_eq!(answer.status, 403);
    let allowed = signed(&server, expect(Request::new("PUT", "/bucket/key").body("abc")));
    let whole = wire_form(&allowed, &server.host());
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(&whole[..whole.len() - 3]).await.unwrap();
    let mut begin = [0; 21];
    stream.read_exact(&mut begin).await.unwrap();
    assert_eq!(&begin, b"HTTP/1.1 100 Continue");
    stream.write_all(b"abc").await.unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert!(String::from_utf8_lossy(&rest).contains("200 OK"));
}
