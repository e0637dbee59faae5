//! What a gateway of a standby does with requests that the other region is to serve. Both gateways stand before one
//! in-process region: what is asked is which of them answers, and what arrives there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use store_node::gateway::forward::{ForwardOptions, ForwardWaits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use wire::PairRole;

use crate::objects::bytes;
use crate::server::{Answer, Server, read_answer, wire_form};
use crate::signer::{Payload, Request, now, signed_chunks, unsigned_chunks};

const MARKER: &str = "x-twinkeep-forwarded";

fn to(reads: bool, endpoints: &[String]) -> ForwardOptions {
    let endpoints = endpoints.iter().map(|address| format!("http://{address}").parse().unwrap()).collect();
    ForwardOptions { reads, endpoints, tls: None, waits: ForwardWaits::default() }
}

/// A primary with a bucket, and a standby that passes on to it.
async fn pair(reads: bool) -> (Server, Server) {
    let primary = Server::start().await;
    primary.make_bucket("bucket").await;
    let standby = standby_of(&primary, reads, &[primary.host()]).await;
    (primary, standby)
}

async fn standby_of(primary: &Server, reads: bool, endpoints: &[String]) -> Server {
    let standby = primary.beside("twin-2", |options| options.forward = Some(to(reads, endpoints))).await;
    standby.say(PairRole::Standby);
    standby
}

/// Whose answer it is.
fn is_forwarded(answer: &Answer) -> bool {
    assert!(answer.header("x-amz-request-id").is_some(), "{answer:?}");
    answer.header(MARKER) == Some("twin-2")
}

/// An address where nobody listens.
async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_is_asked_of_a_standby_is_answered_by_the_primary() {
    let (primary, standby) = pair(true).await;
    let own_id = primary.get("/bucket?list-type=2").await.header("x-amz-id-2").map(str::to_owned);
    let body = bytes((3 << 20) + 7);
    let put = standby.put("/bucket/a%20key%2Bwith+odd~bytes", body.clone()).await;
    assert!(is_forwarded(&put) && put.header("x-amz-id-2").map(str::to_owned) == own_id);
    let got = standby.get("/bucket/a%20key%2Bwith+odd~bytes").await;
    assert!(is_forwarded(&got) && got.body == body);
    let range =
        Request::new("GET", "/bucket/a%20key%2Bwith+odd~bytes").header("range", "bytes=1048570-1048580");
    let range = standby.call(range).await;
    assert_eq!((range.status, range.body.as_slice()), (206, &body[1_048_570..=1_048_580]));
    let listed = standby.get("/bucket?list-type=2&prefix=a%20").await;
    assert!(is_forwarded(&listed) && listed.elements("Key").len() == 1, "{}", listed.text());
    let head = standby.call(Request::new("HEAD", "/bucket/none")).await;
    assert!(is_forwarded(&head) && head.status == 404 && head.body.is_empty());
    let deleted = standby.call(Request::new("DELETE", "/bucket/a%20key%2Bwith+odd~bytes")).await;
    assert!(is_forwarded(&deleted) && deleted.status == 204);
    assert_eq!(primary.get("/bucket/a%20key%2Bwith+odd~bytes").await.status, 404);
    let made = standby.call(Request::new("PUT", "/made-there")).await;
    assert!(is_forwarded(&made) && made.status == 200);
}

#[tokio::test]
async fn with_writes_only_a_standby_answers_reads_itself() {
    let (_primary, standby) = pair(false).await;
    let put = standby.put("/bucket/key", "body").await;
    assert!(is_forwarded(&put));
    let got = standby.get("/bucket/key").await;
    assert!(got.status == 200 && !is_forwarded(&got));
}

#[tokio::test]
async fn what_was_a_standby_serves_by_itself_once_it_is_the_primary() {
    let (primary, standby) = pair(true).await;
    standby.say(PairRole::Primary);
    primary.say(PairRole::Standby);
    let put = standby.put("/bucket/key", "body").await;
    assert!(!is_forwarded(&put));
}

#[tokio::test(flavor = "multi_thread")]
async fn chunked_bodies_and_their_trailers_arrive_as_they_were_sent() {
    let (primary, standby) = pair(true).await;
    let (at, body) = (now(), bytes(200_000));
    let pieces: Vec<&[u8]> = body.chunks(65_536).collect();
    let mut put = Request::new("PUT", "/bucket/signed")
        .header("x-amz-decoded-content-length", body.len().to_string())
        .header("content-encoding", "aws-chunked");
    let form = Payload::Named("STREAMING-AWS4-HMAC-SHA256-PAYLOAD");
    let seed = put.sign(&standby.alice, &standby.host(), form, at);
    put.body = signed_chunks(&standby.alice, &seed, at, &pieces, None);
    let answer = standby.send(&put).await;
    assert!(is_forwarded(&answer) && answer.status == 200, "{}", answer.text());
    assert!(primary.get("/bucket/signed").await.body == body);
    let middle = put.body.len() / 2;
    put.body[middle] ^= 1;
    let refused = standby.send(&put).await;
    assert_eq!((refused.status, refused.code().as_str()), (403, "SignatureDoesNotMatch"));
    let trailer = ("x-amz-checksum-crc32", "NSRBwg==");
    let mut put = Request::new("PUT", "/bucket/trailed")
        .header("x-amz-decoded-content-length", "3")
        .header("x-amz-trailer", trailer.0);
    put.sign(&standby.alice, &standby.host(), Payload::Named("STREAMING-UNSIGNED-PAYLOAD-TRAILER"), at);
    put.body = unsigned_chunks(&[b"abc"], Some(trailer));
    let answer = standby.send(&put).await;
    assert_eq!((answer.status, answer.header(trailer.0)), (200, Some(trailer.1)), "{}", answer.text());
    // the same in HTTP's own chunks: it has no length until it ends
    put.headers.push(("transfer-encoding".into(), "chunked".into()));
    put.body = [format!("{:x}\r\n", put.body.len()).as_bytes(), &put.body, b"\r\n0\r\n\r\n"].concat();
    let answer = standby.send(&put).await;
    assert!(is_forwarded(&answer) && answer.status == 200, "{}", answer.text());
}

#[tokio::test]
async fn presigned_urls_work_at_the_standby() {
    let (_primary, standby) = pair(true).await;
    standby.put("/bucket/key", "body").await;
    let mut get = Request::new("GET", "/bucket/key");
    get.presign(&standby.alice, &standby.host(), 60, now());
    let got = standby.send(&get).await;
    assert!(is_forwarded(&got) && got.text() == "body", "{}", got.text());
    get.query.iter_mut().find(|(name, _)| name == "X-Amz-Expires").unwrap().1 = "61".into();
    let refused = standby.send(&get).await;
    assert!(!is_forwarded(&refused) && refused.status == 403);
}

#[tokio::test]
async fn without_a_right_signature_nothing_is_passed_on() {
    let primary = Server::start().await;
    // whoever asked it would get 503
    let standby = standby_of(&primary, true, &[nobody().await]).await;
    let stranger = crate::signer::Key { id: "AKIDUNKNOWN".into(), secret: "secret".into() };
    let unknown = standby.send_as(&stranger, Request::new("PUT", "/bucket/key").body("b")).await;
    assert_eq!((unknown.status, unknown.code().as_str()), (403, "InvalidAccessKeyId"));
    let wrong = crate::signer::Key { secret: "secret".into(), ..standby.alice.clone() };
    let wrong = standby.send_as(&wrong, Request::new("GET", "/bucket/key")).await;
    assert_eq!((wrong.status, wrong.code().as_str()), (403, "SignatureDoesNotMatch"));
    let unsigned = standby.send(&Request::new("GET", "/bucket/key")).await;
    assert_eq!((unsigned.status, unsigned.code().as_str()), (403, "AccessDenied"));
    let marked = standby.send(&Request::new("PUT", "/bucket/key").header(MARKER, "twin-1").body("b")).await;
    assert_eq!((marked.status, marked.code().as_str()), (403, "AccessDenied"));
}

#[tokio::test]
async fn what_a_caller_may_do_is_judged_where_the_request_is_served() {
    let (_primary, standby) = pair(true).await;
    let refused = standby.send_as(&standby.mallory, Request::new("GET", "/bucket/key")).await;
    assert!(is_forwarded(&refused) && refused.status == 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_passed_on_once() {
    let (primary, standby) = pair(true).await;
    primary.say(PairRole::Standby);
    let refused = standby.call(Request::new("PUT", "/bucket/key").body("body")).await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "SlowDown"));
    assert!(refused.text().contains("Neither region of the pair is the primary"), "{}", refused.text());
    assert_eq!(refused.header("retry-after"), Some("1"));
    let marked = Request::new("GET", "/bucket/key").header(MARKER, "twin-1");
    let marked = standby.call(marked).await;
    assert_eq!((marked.status, marked.header("x-twinkeep-not-primary")), (503, Some("true")));
    assert!(marked.text().contains("not passed on a second time"), "{}", marked.text());
    // the primary takes it for what it is
    let here =
        standby.call(Request::new("PUT", "/bucket/key").header("x-twinkeep-here", "true").body("b")).await;
    assert!(here.status == 200 && !is_forwarded(&here), "a region that is named itself answers itself");
    primary.say(PairRole::Primary);
    let marked = primary.call(Request::new("PUT", "/bucket/key").header(MARKER, "twin-2").body("body")).await;
    assert_eq!(marked.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_wait_out_a_switch_and_a_sealed_region_answers_them_itself() {
    let (primary, standby) = pair(true).await;
    standby.put("/bucket/key", "body").await;
    primary.say(PairRole::Standby);
    let (got, ()) = tokio::join!(standby.get("/bucket/key"), async {
        let refused_one = || primary.gateway.metrics().operations().iter().any(|seen| seen.statuses[5] > 0);
        while !refused_one() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        primary.say(PairRole::Primary);
    });
    assert!(is_forwarded(&got) && got.text() == "body");
    primary.say(PairRole::Standby);
    standby.say(PairRole::Sealed);
    let got = standby.get("/bucket/key").await;
    assert!(!is_forwarded(&got) && got.text() == "body");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_away_is_passed_over_and_with_none_the_client_is_told() {
    let primary = Server::start().await;
    primary.make_bucket("bucket").await;
    let standby = standby_of(&primary, true, &[nobody().await, primary.host(), nobody().await]).await;
    for number in 0..6 {
        assert!(is_forwarded(&standby.put(&format!("/bucket/{number}"), "body").await));
    }
    let alone = standby_of(&primary, true, &[nobody().await]).await;
    let refused = alone.call(Request::new("PUT", "/bucket/key").body("body")).await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "SlowDown"));
    assert!(refused.text().contains("endpoints do not answer: nothing was done"), "{}", refused.text());
    assert_eq!(refused.header("retry-after"), Some("1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_answer_never_came_is_not_sent_again() {
    let primary = Server::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let standby = standby_of(&primary, true, &[address]).await;
    let asked = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b"a body") {
            assert!(stream.read_buf(&mut seen).await.unwrap() > 0, "{}", String::from_utf8_lossy(&seen));
        }
        drop(stream);
        (String::from_utf8_lossy(&seen).into_owned(), listener)
    });
    let answer =
        standby.call(Request::new("PUT", "/bucket/a%20key%2B+b?x-id=PutObject").body("a body")).await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "SlowDown"));
    assert!(answer.text().contains("whether the request was carried out is not known"), "{}", answer.text());
    let (seen, listener) = asked.await.unwrap();
    assert!(seen.starts_with("PUT /bucket/a%20key%2B+b?x-id=PutObject HTTP/1.1\r\n"), "{seen}");
    assert!(seen.contains(&format!("host: {}\r\n", standby.host())), "{seen}");
    assert!(seen.contains("x-twinkeep-forwarded: twin-2\r\n") && !seen.contains("connection:"), "{seen}");
    let again = tokio::time::timeout(Duration::from_millis(200), listener.accept()).await;
    assert!(again.is_err(), "it was sent once more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_waits_for_consent_gets_it_from_where_the_body_goes() {
    let (_primary, standby) = pair(true).await;
    let ask = async |path: &str| {
        let mut put =
            Request::new("PUT", path).header("content-length", "6").header("expect", "100-continue");
        put.sign(&standby.alice, &standby.host(), Payload::Unsigned, now());
        let mut stream = TcpStream::connect(standby.address).await.unwrap();
        stream.write_all(&wire_form(&put, &standby.host())).await.unwrap();
        stream
    };
    let mut stream = ask("/bucket/key").await;
    let mut line = [0; 25];
    stream.read_exact(&mut line).await.unwrap();
    assert_eq!(&line, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"a body").await.unwrap();
    let answer = read_answer(stream).await;
    assert!(is_forwarded(&answer) && answer.status == 200, "{}", answer.text());
    // refused by its head: no byte of the body was asked for
    let mut stream = ask("/no-such-bucket/key").await;
    let mut line = [0; 12];
    stream.read_exact(&mut line).await.unwrap();
    assert_eq!(&line, b"HTTP/1.1 404");
    assert_eq!(standby.get("/bucket/key").await.text(), "a body");
}

#[tokio::test]
async fn buckets_below_the_pairs_domain_are_understood_on_both_sides() {
    let primary = Server::start_with(|options| {
        options.domain = Some("s3.one.example".into());
        options.pair_domain = Some("s3.two.example".into());
    })
    .await;
    primary.make_bucket("bucket").await;
    let standby = primary
        .beside("twin-2", |options| {
            options.domain = Some("s3.two.example".into());
            options.pair_domain = Some("s3.one.example".into());
            options.forward = Some(to(true, &[primary.host()]));
        })
        .await;
    standby.say(PairRole::Standby);
    for domain in ["s3.one.example", "s3.two.example"] {
        let mut put = Request::new("PUT", "/key").body(domain);
        put.sign(&standby.alice, &format!("bucket.{domain}"), Payload::Hashed, now());
        let answer = standby.send(&put).await;
        assert!(is_forwarded(&answer) && answer.status == 200, "{}", answer.text());
        assert_eq!(primary.get("/bucket/key").await.text(), domain);
    }
    let mut put = Request::new("PUT", "/key").body("elsewhere");
    put.sign(&standby.alice, "bucket.s3.three.example", Payload::Hashed, now());
    standby.send(&put).await;
    assert_eq!(primary.get("/bucket/key").await.text(), "s3.two.example");
}

/// An endpoint that answers probes and requests when it is told to; what came is counted.
#[derive(Default)]
struct Strange {
    /// Probes are answered.
    is_there: AtomicBool,
    probes: AtomicUsize,
    probes_now: AtomicUsize,
    probes_at_once: AtomicUsize,
    requests: AtomicUsize,
    /// So many probes must have been answered before a request is.
    answers_after: AtomicUsize,
}

impl Strange {
    async fn start() -> (Arc<Self>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let strange = Arc::<Self>::default();
        let serving = strange.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        (strange, address)
    }

    async fn serve(self: Arc<Self>, mut stream: TcpStream) {
        let mut seen = Vec::new();
        while !seen.windows(4).any(|window| window == b"\r\n\r\n") {
            if stream.read_buf(&mut seen).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let head = String::from_utf8_lossy(&seen).to_lowercase();
        if head.contains("x-twinkeep-here: probe") {
            assert!(head.starts_with("get / http/1.1\r\n") && !head.contains("authorization"), "{head}");
            let at_once = self.probes_now.fetch_add(1, Ordering::SeqCst) + 1;
            self.probes_at_once.fetch_max(at_once, Ordering::SeqCst);
            if self.is_there.load(Ordering::SeqCst) {
                let _ = stream
                    .write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                    .await;
            } else {
                // says nothing until the other end gives up
                let _ = stream.read_to_end(&mut seen).await;
            }
            self.probes_now.fetch_sub(1, Ordering::SeqCst);
            self.probes.fetch_add(1, Ordering::SeqCst);
            return;
        }
        self.requests.fetch_add(1, Ordering::SeqCst);
        let wanted = self.answers_after.load(Ordering::SeqCst);
        while wanted == 0 || self.probes.load(Ordering::SeqCst) < wanted {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let _ =
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\ndone").await;
    }
}

/// A standby that waits for `waits`, and passes on to such an endpoint.
async fn standby_of_strange(waits: ForwardWaits) -> (Server, Server, Arc<Strange>) {
    let primary = Server::start().await;
    let (strange, address) = Strange::start().await;
    let forward = ForwardOptions { waits, ..to(true, &[address]) };
    let standby = primary.beside("twin-2", |options| options.forward = Some(forward)).await;
    standby.say(PairRole::Standby);
    (primary, standby, strange)
}

const LONG: Duration = Duration::from_secs(3600);

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_takes_requests_and_says_nothing_is_left_out_and_probed_until_it_is_back() {
    let short = Duration::from_millis(300);
    let waits = ForwardWaits { patience: short, probe: short, answer: LONG, long_answer: LONG };
    let (_primary, standby, strange) = standby_of_strange(waits).await;
    let standby = Arc::new(standby);
    let all: Vec<_> = (0..8)
        .map(|number| {
            let standby = standby.clone();
            let put = Request::new("PUT", &format!("/bucket/{number}")).body("body");
            tokio::spawn(async move { standby.call(put).await })
        })
        .collect();
    for asked in all {
        let answer = asked.await.unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (503, "SlowDown"), "{}", answer.text());
    }
    let sent = strange.requests.load(Ordering::SeqCst);
    assert!(sent > 0);
    // from now on nothing is sent there
    for _ in 0..20 {
        let answer = standby.get("/bucket/key").await;
        assert!(answer.text().contains("endpoints do not answer: nothing was done"), "{}", answer.text());
    }
    assert_eq!(strange.requests.load(Ordering::SeqCst), sent);
    assert_eq!(strange.probes_at_once.load(Ordering::SeqCst), 1, "a probe for all of them");
    strange.answers_after.store(1, Ordering::SeqCst);
    strange.is_there.store(true, Ordering::SeqCst);
    loop {
        let answer = standby.get("/bucket/key").await;
        if answer.status == 200 {
            assert!(answer.text() == "done" && answer.header(MARKER) == Some("twin-2"));
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(strange.requests.load(Ordering::SeqCst) > sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_waited_for_as_long_as_somebody_is_there_and_other_requests_for_a_time() {
    let waits = ForwardWaits {
        patience: Duration::from_millis(20),
        probe: LONG,
        answer: Duration::from_millis(200),
        long_answer: LONG,
    };
    let (_primary, standby, strange) = standby_of_strange(waits).await;
    strange.is_there.store(true, Ordering::SeqCst);
    let answer = standby.call(Request::new("PUT", "/bucket/key").body("body")).await;
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("whether the request was carried out is not known"), "{}", answer.text());
    // probes that came after it would have been cut
    let wanted = strange.probes.load(Ordering::SeqCst) + 50;
    strange.answers_after.store(wanted, Ordering::SeqCst);
    let copy = Request::new("PUT", "/bucket/copy").header("x-amz-copy-source", "/bucket/key");
    let copied = standby.call(copy).await;
    assert_eq!((copied.status, copied.text().as_str()), (200, "done"));
    assert!(strange.probes.load(Ordering::SeqCst) >= wanted);
    // who was slow once is asked again
    assert_eq!(standby.get("/bucket/key").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_answers_probes_by_itself() {
    let primary = Server::start().await;
    let standby = standby_of(&primary, true, &[primary.host()]).await;
    for server in [&primary, &standby] {
        let host = server.host();
        let probe =
            format!("GET / HTTP/1.1\r\nhost: {host}\r\nx-twinkeep-here: probe\r\nconnection: close\r\n\r\n");
        let answer = server.raw(probe.as_bytes()).await;
        assert!(!is_forwarded(&answer) && (400..500).contains(&answer.status), "{}", answer.text());
    }
}
