//! Tests of asking a region, against a listener with a node's certificate that answers as it is told.

use super::*;
use crate::dev::prepare;
use crate::files;
use crate::testing::dev_options;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::version::TLS13;
use rustls::{RootCertStore, ServerConfig, ServerConnection};
use std::net::TcpListener;
use std::path::Path;
use std::thread::JoinHandle;
use wire::descriptor::{JoinToken, TokenRole};
use wire::{FRAME_PROTOCOL, Incarnation, NodeId};

fn region(data: &Path) -> Deployment {
    prepare(&dev_options(data)).unwrap();
    Deployment::find(data).unwrap()
}

/// A node of `of` that accepts operators of `trusts`.
fn server_config(of: &Deployment, trusts: &Deployment) -> Arc<ServerConfig> {
    let role = TokenRole::Node { id: NodeId(1), incarnation: Incarnation(1) };
    let path = of.region.as_ref().unwrap().token(role);
    let token = JoinToken::parse(&files::read(&path).unwrap()).unwrap();
    let mut roots = RootCertStore::empty();
    let authority = files::read(&trusts.identity.authority_certificate()).unwrap();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(ring::default_provider());
    let clients =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_client_cert_verifier(clients)
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(token.certificate.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(token.private_key.as_bytes()).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = vec![FRAME_PROTOCOL.to_vec()];
    Arc::new(config)
}

/// Answers one connection; gives back the request that came, if one did.
fn serve(
    config: Arc<ServerConfig>,
    answer: impl FnOnce(&[u8]) -> (FrameType, Vec<u8>) + Send + 'static,
) -> (String, JoinHandle<Option<AdminRequest>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let thread = std::thread::spawn(move || {
        let (socket, _) = listener.accept().ok()?;
        let mut stream = StreamOwned::new(ServerConnection::new(config).ok()?, socket);
        let mut fixed = [0; FRAME_HEADER_BYTES];
        stream.read_exact(&mut fixed).ok()?;
        assert_eq!(FrameHeader::decode(&fixed).ok()?.frame_type, FrameType::Ping);
        let pong = FrameHeader::new(FrameType::Pong, PeerClass::Admin, 0, 0, &[], &[]).ok()?;
        stream.write_all(&pong.encode()).ok()?;
        stream.flush().ok()?;
        stream.read_exact(&mut fixed).ok()?;
        let header = FrameHeader::decode(&fixed).ok()?;
        let mut head = vec![0; header.head_bytes as usize];
        stream.read_exact(&mut head).ok()?;
        header.check_head(&head).ok()?;
        assert_eq!((header.class, header.kind), (PeerClass::Admin, ADMIN_CALL_KIND));
        let (frame_type, answer) = answer(&head);
        let reply =
            FrameHeader::new(frame_type, header.class, header.kind, header.call, &answer, &[]).ok()?;
        stream.write_all(&[&reply.encode()[..], &answer].concat()).ok()?;
        stream.conn.send_close_notify();
        stream.flush().ok()?;
        serde_json::from_slice(&head).ok()
    });
    (address, thread)
}

fn ask(deployment: &Deployment, address: &str, request: &AdminRequest) -> Result<AdminResponse, ClientError> {
    let there = Deployment { addresses: vec![address.to_owned()], ..deployment.clone() };
    AdminClient::new(&there)?.ask(request)
}

#[test]
fn a_request_arrives_and_its_answer_comes_back() {
    let base = tempfile::tempdir().unwrap();
    let region = region(base.path());
    let (address, server) = serve(server_config(&region, &region), |_| {
        (FrameType::Reply, serde_json::to_vec(&AdminResponse::TenantKey { version: 3 }).unwrap())
    });
    let answer = ask(&region, &address, &AdminRequest::TenantKeyRotate).unwrap();
    assert_eq!(answer, AdminResponse::TenantKey { version: 3 });
    assert_eq!(server.join().unwrap(), Some(AdminRequest::TenantKeyRotate));
}

#[test]
fn what_is_not_there_yet_says_so() {
    let base = tempfile::tempdir().unwrap();
    let region = region(base.path());
    let (address, server) = serve(server_config(&region, &region), |_| {
        let error = AdminError::not_available("scrubbing", "upgrade the node");
        (FrameType::Reply, serde_json::to_vec(&AdminResponse::Error(error)).unwrap())
    });
    let error = ask(&region, &address, &AdminRequest::ScrubStart { node: None }).unwrap_err();
    assert_eq!((error.exit_code(), error.advice()), (1, "upgrade the node"));
    assert_eq!(error.to_string(), "scrubbing is not available on this server");
    server.join().unwrap();
}

#[test]
fn a_refusal_of_the_transport_is_denied() {
    let base = tempfile::tempdir().unwrap();
    let region = region(base.path());
    let (address, server) = serve(server_config(&region, &region), |_| {
        (
            FrameType::ReplyError,
            CallRefusal::new(CallRefusal::IDENTITY, "another environment").encode().to_vec(),
        )
    });
    assert_eq!(ask(&region, &address, &AdminRequest::Status).unwrap_err().exit_code(), 5);
    server.join().unwrap();
}

#[test]
fn an_operator_of_another_region_is_denied() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (ours, theirs) = (region(ours.path()), region(theirs.path()));
    let (address, server) = serve(server_config(&ours, &theirs), |_| (FrameType::Reply, Vec::new()));
    let error = ask(&ours, &address, &AdminRequest::Status).unwrap_err();
    assert_eq!(error.exit_code(), 5, "{error}");
    assert_eq!(server.join().unwrap(), None);
}

#[test]
fn a_node_of_another_region_gets_no_request() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (ours, theirs) = (region(ours.path()), region(theirs.path()));
    let (address, server) = serve(server_config(&theirs, &ours), |_| (FrameType::Reply, Vec::new()));
    assert_eq!(ask(&ours, &address, &AdminRequest::Status).unwrap_err().exit_code(), 4);
    assert_eq!(server.join().unwrap(), None);
}

#[test]
fn the_next_process_is_asked_when_the_first_does_not_answer() {
    let base = tempfile::tempdir().unwrap();
    let region = region(base.path());
    let (address, server) = serve(server_config(&region, &region), |_| {
        (FrameType::Reply, serde_json::to_vec(&AdminResponse::Done).unwrap())
    });
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let there = Deployment { addresses: vec![nobody, address], ..region };
    assert_eq!(AdminClient::new(&there).unwrap().ask(&AdminRequest::UserList).unwrap(), AdminResponse::Done);
    server.join().unwrap();
}

#[test]
fn the_next_processes_are_asked_when_two_accept_and_say_nothing() {
    let base = tempfile::tempdir().unwrap();
    let region = region(base.path());
    let (address, server) = serve(server_config(&region, &region), |_| {
        (FrameType::Reply, serde_json::to_vec(&AdminResponse::Done).unwrap())
    });
    // as a process does that was sent SIGSTOP: its system accepts for it
    let stopped = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let mut addresses: Vec<String> =
        stopped.iter().map(|listener| listener.local_addr().unwrap().to_string()).collect();
    addresses.push(address);
    let there = Deployment { addresses, ..region };
    assert_eq!(AdminClient::new(&there).unwrap().ask(&AdminRequest::UserList).unwrap(), AdminResponse::Done);
    server.join().unwrap();
}

#[test]
fn an_answer_that_is_no_answer_is_an_error() {
    let base = tempfile::tempdir().unwrap();
    let region = region(base.path());
    for (frame_type, answer) in
        [(FrameType::Ping, &b"{}"[..]), (FrameType::Reply, b"{\"type\":\"surprise\"}")]
    {
        let (address, server) =
            serve(server_config(&region, &region), move |_| (frame_type, answer.to_vec()));
        let error = ask(&region, &address, &AdminRequest::Status).unwrap_err();
        assert!(matches!(error, ClientError::Protocol { .. }), "{error}");
        server.join().unwrap();
    }
}
