//! Who is turned away, and what is remembered of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use wire::descriptor::ForeignPeer;
use wire::{DeploymentId, FrameHeader, FrameType, NodeId};

use super::super::tls::server_name;
use super::super::*;
use super::rig::*;

async fn rig() -> Rig {
    Rig::new(PeerOptions::default()).await
}

fn only_reason(refused: &RefusedPeers) -> RefusedReason {
    let recent = refused.recent();
    assert_eq!(recent.len(), 1, "{recent:?}");
    assert!(recent[0].address.ip().is_loopback());
    recent[0].reason.clone()
}

/// TLS as this peer, and nothing on top: a test says itself which bytes to send.
async fn raw(rig: &Rig, tls: &PeerTls) -> TlsStream<TcpStream> {
    let socket = TcpStream::connect(rig.address()).await.unwrap();
    TlsConnector::from(tls.client.clone()).connect(server_name(SERVER), socket).await.unwrap()
}

fn bytes(frame_type: FrameType, class: PeerClass, call: u64, head: &[u8], body: &'static [u8]) -> Vec<u8> {
    let parts = [Bytes::from_static(body)];
    let header = FrameHeader::new(frame_type, class, ECHO, call, head, &parts).unwrap();
    [&header.encode()[..], head, body].concat()
}

fn ping(class: PeerClass) -> Vec<u8> {
    bytes(FrameType::Ping, class, 0, &[], &[])
}

/// Reads until the other end closes or resets.
async fn until_closed<S: AsyncReadExt + Unpin>(stream: &mut S) -> Vec<u8> {
    let mut all = Vec::new();
    let reading = async {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut buffer).await {
            all.extend_from_slice(&buffer[..length]);
        }
    };
    tokio::time::timeout(LONG, reading).await.unwrap();
    all
}

/// Makes sure that the server still answers after whatever a test did to it.
async fn still_serves(rig: &Rig) {
    assert!(ask(&rig.node(), PeerClass::Bulk, ECHO, "still there").await.is_ok());
}

#[tokio::test]
async fn a_peer_from_elsewhere_is_refused_by_client_and_server_alike() {
    let own = identity(PeerRole::Node(CLIENT));
    let cases = [
        (
            Identity { deployment: DeploymentId([8; 16]), ..own.clone() },
            RefusedReason::Foreign(ForeignPeer::Deployment { found: DeploymentId([8; 16]) }),
            RefusedReason::Foreign(ForeignPeer::Deployment { found: DeploymentId([7; 16]) }),
        ),
        (
            Identity { environment: "production".into(), ..own.clone() },
            RefusedReason::Foreign(ForeignPeer::Environment { found: "production".into() }),
            RefusedReason::Foreign(ForeignPeer::Environment { found: "test".into() }),
        ),
        (
            Identity { region: "south".into(), ..own.clone() },
            RefusedReason::Foreign(ForeignPeer::Region { found: "south".into() }),
            RefusedReason::Foreign(ForeignPeer::Region { found: "north".into() }),
        ),
    ];
    for (stranger, by_server, by_client) in cases {
        let rig = rig().await;
        let tls = rig.authority.tls(&stranger);
        // its own client would not even talk to us
        let peers = rig.peers_as(tls.clone(), PeerOptions::default());
        let answer = ask(&peers, PeerClass::Bulk, ECHO, "").await;
        assert!(matches!(answer, Err(CallError::Unreachable { .. })), "{answer:?}");
        assert_eq!(only_reason(peers.refused()), by_client);

        // a client that does is told why, and no call of its is run
        let mut stream = raw_unverified(&rig, &tls).await;
        let frames =
            [ping(PeerClass::Bulk), bytes(FrameType::Request, PeerClass::Bulk, 1, &[], &[])].concat();
        stream.write_all(&frames).await.unwrap();
        let answer = until_closed(&mut stream).await;
        let (fixed, head) = answer.split_first_chunk().unwrap();
        let header = FrameHeader::decode(fixed).unwrap();
        assert_eq!((header.frame_type, header.call), (FrameType::ReplyError, 0));
        assert_eq!(CallRefusal::decode(Bytes::copy_from_slice(head)).unwrap().code, CallRefusal::IDENTITY);
        assert!(rig.server.refused().recent().iter().any(|refused| refused.reason == by_server));
        assert!(rig.server.metrics().refused > 0);
        still_serves(&rig).await;
    }
}

/// As [`raw`], for strangers: their own verifier would refuse our server, so they use one of our region's.
async fn raw_unverified(rig: &Rig, stranger: &PeerTls) -> TlsStream<TcpStream> {
    let mut config = (*rig.authority.tls(&identity(PeerRole::Node(CLIENT))).client).clone();
    config.client_auth_cert_resolver = stranger.client.client_auth_cert_resolver.clone();
    let socket = TcpStream::connect(rig.address()).await.unwrap();
    TlsConnector::from(Arc::new(config)).connect(server_name(SERVER), socket).await.unwrap()
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused() {
    let rig = rig().await;
    let other = Authority::new();
    let (certificate, key) = other.issue(&identity(PeerRole::Node(CLIENT)).to_string());
    // trusts our authority, but is not signed by it
    let tls =
        PeerTls::from_pem(certificate.as_bytes(), key.as_bytes(), rig.authority.pem().as_bytes()).unwrap();
    let peers = rig.peers_as(tls, PeerOptions::default());
    let answer = ask(&peers, PeerClass::Bulk, ECHO, "").await;
    assert!(matches!(answer, Err(CallError::Unreachable { .. })), "{answer:?}");
    let refused = &rig.server.refused().recent()[0];
    let reason = RefusedReason::Certificate { detail: "the certificate is of another authority".into() };
    assert_eq!(refused.reason, reason);
    // which certificate it was, and whose name is in it
    let shown = Presented::of(&CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap());
    assert_eq!(shown.claimed, Some(identity(PeerRole::Node(CLIENT)).to_string()));
    assert_eq!(refused.certificate, Some(shown));
    assert!(matches!(only_reason(peers.refused()), RefusedReason::ByPeer { .. }));
    // and a server of another authority is refused by our client
    let peers = rig.peers_as(other.tls(&identity(PeerRole::Node(CLIENT))), PeerOptions::default());
    assert!(ask(&peers, PeerClass::Bulk, ECHO, "").await.is_err());
    assert_eq!(only_reason(peers.refused()), reason);
    let claimed = peers.refused().recent()[0].certificate.clone().and_then(|shown| shown.claimed);
    assert_eq!(claimed, Some(identity(PeerRole::Node(SERVER)).to_string()));
    still_serves(&rig).await;
}

#[tokio::test]
async fn a_peer_without_a_certificate_is_refused() {
    let rig = rig().await;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(rig.authority.pem().as_bytes()).unwrap()).unwrap();
    let anonymous = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut config = (*rig.authority.tls(&identity(PeerRole::Node(CLIENT))).client).clone();
    config.client_auth_cert_resolver = anonymous.client_auth_cert_resolver;
    let socket = TcpStream::connect(rig.address()).await.unwrap();
    // TLS 1.3 tells the client only after its own side is done
    if let Ok(mut stream) = TlsConnector::from(Arc::new(config)).connect(server_name(SERVER), socket).await {
        _ = stream.write_all(&ping(PeerClass::Admin)).await;
        assert_eq!(until_closed(&mut stream).await, []);
    }
    still_serves(&rig).await;
    assert!(matches!(only_reason(rig.server.refused()), RefusedReason::Handshake { .. }));
}

#[tokio::test]
async fn a_genuine_certificate_without_an_identity_is_refused() {
    let rig = rig().await;
    for uri in ["https://example.org/", "twinkeep://not-hexadecimal/test/north/node/1"] {
        let (certificate, key) = rig.authority.issue(uri);
        let tls = PeerTls::from_pem(certificate.as_bytes(), key.as_bytes(), rig.authority.pem().as_bytes());
        assert!(matches!(tls, Err(TlsError::Identity { .. })), "the process itself would not start");
    }
    let nameless = rig.authority.issue("https://example.org/");
    let mut config = (*rig.authority.tls(&identity(PeerRole::Node(CLIENT))).client).clone();
    config.client_auth_cert_resolver = resolver(&nameless);
    let socket = TcpStream::connect(rig.address()).await.unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(server_name(SERVER), socket).await.unwrap();
    _ = stream.write_all(&ping(PeerClass::Admin)).await;
    assert_eq!(until_closed(&mut stream).await, []);
    assert!(matches!(only_reason(rig.server.refused()), RefusedReason::Identity { .. }));
}

fn resolver((certificate, key): &(String, String)) -> Arc<dyn rustls::client::ResolvesClientCert> {
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
    let key = rustls::pki_types::PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_client_auth_cert(chain, key)
        .unwrap()
        .client_auth_cert_resolver
}

#[tokio::test]
async fn a_client_notices_that_another_node_answers() {
    let rig = rig().await;
    let peers = rig.node();
    peers.set_address(NodeId(9), rig.address());
    let answer = peers.call(NodeId(9), PeerClass::Bulk, ECHO, Bytes::new(), Vec::new(), LONG).await;
    assert!(matches!(answer, Err(CallError::Unreachable { .. })));
    assert_eq!(only_reason(peers.refused()), RefusedReason::OtherPeer { found: "node/1".into() });
}

#[tokio::test]
async fn plain_text_is_refused() {
    let rig = rig().await;
    let mut socket = TcpStream::connect(rig.address()).await.unwrap();
    socket.write_all(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n").await.unwrap();
    until_closed(&mut socket).await;
    assert!(matches!(only_reason(rig.server.refused()), RefusedReason::Handshake { .. }));
    still_serves(&rig).await;
}

#[tokio::test]
async fn roles_are_held_to_their_classes() {
    let rig = rig().await;
    let allowed = |role: PeerRole, name: &'static str| {
        let peers = rig.peers(role, PeerOptions::default());
        async move {
            let mut allowed = Vec::new();
            for class in PeerClass::ALL {
                match ask(&peers, class, ECHO, "").await {
                    Ok(_) => allowed.push(class),
                    Err(CallError::Unreachable { reason }) => {
                        assert_eq!(*reason, *format!("{name} may not use class {}", class.name()));
                    }
                    Err(other) => panic!("{other:?}"),
                }
            }
            allowed
        }
    };
    assert_eq!(allowed(PeerRole::Node(CLIENT), "node/2").await, PeerClass::ALL);
    assert_eq!(allowed(PeerRole::Gateway(CLIENT.0), "gateway/2").await, [PeerClass::Bulk, PeerClass::Admin]);
    assert_eq!(allowed(PeerRole::Operator("ada".into()), "operator/ada").await, [PeerClass::Admin]);
    let refused = rig.server.refused().recent();
    assert_eq!(refused.len(), 5);
    assert!(refused.iter().all(|refused| matches!(refused.reason, RefusedReason::Class { .. })));
}

#[tokio::test]
async fn a_class_cannot_be_changed_after_the_first_frame() {
    let rig = rig().await;
    let tls = rig.authority.tls(&identity(PeerRole::Operator("ada".into())));
    let mut stream = raw(&rig, &tls).await;
    stream.write_all(&ping(PeerClass::Admin)).await.unwrap();
    stream.write_all(&bytes(FrameType::Request, PeerClass::Append, 1, b"sneaky", &[])).await.unwrap();
    let answer = until_closed(&mut stream).await;
    assert!(answer.is_empty() || answer == bytes_of_pong(PeerClass::Admin), "no answer to the request");
}

fn bytes_of_pong(class: PeerClass) -> Vec<u8> {
    FrameHeader::new(FrameType::Pong, class, 0, 0, &[], &[]).unwrap().encode().to_vec()
}

#[tokio::test]
async fn damaged_or_senseless_frames_end_the_connection_and_nothing_else() {
    let class = PeerClass::Bulk;
    let good = || bytes(FrameType::Request, class, 1, b"head", b"body");
    let damaged = |at: usize| {
        let mut frame = good();
        frame[at] ^= 1;
        frame
    };
    let mut lying = good();
    lying[20..24].copy_from_slice(&u32::MAX.to_le_bytes());
    let mut lying_body = good();
    lying_body[24..28].copy_from_slice(&u32::MAX.to_le_bytes());
    let item = bytes(FrameType::StreamItem, class, 5, &[], &[]);
    let header = FrameHeader::new(FrameType::StreamOpen, class, COPY_GATED, 5, &[], &[]).unwrap().encode();
    let cases = [
        ("magic", damaged(0)),
        ("version", damaged(4)),
        ("call", damaged(8)),
        ("reserved", damaged(18)),
        ("head checksum", damaged(33)),
        ("head", damaged(37)),
        ("body", damaged(41)),
        ("head length", lying),
        ("body length", lying_body),
        ("call number twice", [gated(), gated()].concat()),
        ("call number 0", bytes(FrameType::Request, class, 0, &[], &[])),
        ("an answer from the opener", bytes(FrameType::Reply, class, 1, &[], &[])),
        ("more items than the window", [header.to_vec(), item.repeat(40)].concat()),
    ];
    for (name, frame) in cases {
        let rig = rig().await;
        let tls = rig.authority.tls(&identity(PeerRole::Node(CLIENT)));
        let mut stream = raw(&rig, &tls).await;
        stream.write_all(&[ping(class), frame].concat()).await.unwrap();
        until_closed(&mut stream).await;
        still_serves(&rig).await;
        let failures = rig.server.metrics().classes[class.index()].checksum_failures;
        let of_checksums = matches!(name, "call" | "head checksum" | "head" | "body");
        assert_eq!(failures, u64::from(of_checksums), "{name}");
    }
}

fn gated() -> Vec<u8> {
    FrameHeader::new(FrameType::Request, PeerClass::Bulk, GATED, 1, &[], &[]).unwrap().encode().to_vec()
}

#[tokio::test]
async fn the_first_frame_must_be_a_bare_ping() {
    for first in [
        bytes(FrameType::Request, PeerClass::Admin, 1, &[], &[]),
        bytes(FrameType::Ping, PeerClass::Admin, 0, b"head", &[]),
    ] {
        let rig = rig().await;
        let tls = rig.authority.tls(&identity(PeerRole::Node(CLIENT)));
        let mut stream = raw(&rig, &tls).await;
        stream.write_all(&first).await.unwrap();
        assert_eq!(until_closed(&mut stream).await, []);
        assert!(matches!(only_reason(rig.server.refused()), RefusedReason::Protocol { .. }));
    }
}

#[tokio::test]
async fn a_handshake_that_crawls_is_dropped() {
    let options = PeerOptions { handshake: Duration::from_millis(500), ..PeerOptions::default() };
    let rig = Rig::new(options).await;
    let mut socket = TcpStream::connect(rig.address()).await.unwrap();
    socket.write_all(&[22, 3, 1]).await.unwrap();
    until_closed(&mut socket).await;
    assert_eq!(only_reason(rig.server.refused()), RefusedReason::HandshakeTimeout);
    // so is one that gets through TLS and then says nothing
    let tls = rig.authority.tls(&identity(PeerRole::Node(CLIENT)));
    let mut stream = raw(&rig, &tls).await;
    assert_eq!(until_closed(&mut stream).await, []);
    assert_eq!(rig.server.refused().total(), 2);
}

#[tokio::test]
async fn a_frame_that_crawls_ends_the_connection() {
    let options = PeerOptions { frame: Duration::from_millis(50), ..PeerOptions::default() };
    let rig = Rig::new(options).await;
    let tls = rig.authority.tls(&identity(PeerRole::Node(CLIENT)));
    let mut stream = raw(&rig, &tls).await;
    let frame = bytes(FrameType::Request, PeerClass::Bulk, 1, b"head", b"body");
    stream.write_all(&[ping(PeerClass::Bulk), frame[..42].to_vec()].concat()).await.unwrap();
    until_closed(&mut stream).await;
    assert_eq!(rig.server.metrics().classes[PeerClass::Bulk.index()].disconnects, 1);
}

#[tokio::test]
async fn a_silent_connection_is_probed_and_a_dead_one_given_up() {
    let quick = |options: PeerOptions| PeerOptions {
        probe: Duration::from_millis(20),
        silence: Duration::from_secs(2),
        ..options
    };
    let mut rig = Rig::new(quick(PeerOptions::default())).await;
    let peers = rig.peers(PeerRole::Node(CLIENT), quick(PeerOptions::default()));
    // waits for longer than the silence allowed: the probes keep it alive
    let waiting = tokio::spawn({
        let peers = peers.clone();
        async move { ask(&peers, PeerClass::Bulk, GATED, "waits").await }
    });
    rig.arrived().await;
    // a peer that never probes
    let tls = rig.authority.tls(&identity(PeerRole::Node(NodeId(3))));
    let mut mute = raw(&rig, &tls).await;
    mute.write_all(&ping(PeerClass::Bulk)).await.unwrap();
    assert_eq!(until_closed(&mut mute).await, bytes_of_pong(PeerClass::Bulk));
    rig.gate.add_permits(1);
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test]
async fn connections_are_bounded_per_peer_and_in_all() {
    let rig = Rig::new(PeerOptions { connections_per_peer: 1, ..PeerOptions::default() }).await;
    let peers = rig.node();
    assert!(ask(&peers, PeerClass::Liveness, ECHO, "").await.is_ok());
    assert!(matches!(ask(&peers, PeerClass::Admin, ECHO, "").await, Err(CallError::Unreachable { .. })));
    assert!(
        ask(&rig.peers(PeerRole::Node(NodeId(3)), PeerOptions::default()), PeerClass::Admin, ECHO, "")
            .await
            .is_ok()
    );
    assert_eq!(only_reason(rig.server.refused()), RefusedReason::TooMany);

    let rig = Rig::new(PeerOptions { connections: 1, ..PeerOptions::default() }).await;
    let peers = rig.node();
    assert!(ask(&peers, PeerClass::Liveness, ECHO, "").await.is_ok());
    assert!(ask(&peers, PeerClass::Admin, ECHO, "").await.is_err());
    assert_eq!(only_reason(rig.server.refused()), RefusedReason::TooMany);
    assert!(ask(&peers, PeerClass::Liveness, ECHO, "").await.is_ok());
}
