//! What the tests share: an authority, certificates for any identity, a handler to talk to, and a server on loopback.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use wire::{DeploymentId, NodeId};

use super::super::*;

pub(super) const SERVER: NodeId = NodeId(1);
pub(super) const CLIENT: NodeId = NodeId(2);

/// Longer than any test should take; only a failing test waits for it.
pub(super) const LONG: Duration = Duration::from_secs(30);

/// Answers with what was sent.
pub(super) const ECHO: u16 = 1;
/// Reports on `arrivals`, then waits for a permit of `gate` before it echoes.
pub(super) const GATED: u16 = 2;
/// Refuses.
pub(super) const REFUSE: u16 = 3;
/// Panics.
pub(super) const PANIC: u16 = 4;
/// A stream: answers each item with its head, then ends.
pub(super) const COPY: u16 = 5;
/// A stream: reports on `arrivals` and waits for a permit of `gate` before each answer.
pub(super) const COPY_GATED: u16 = 6;
/// As [`GATED`], on the connection's task.
pub(super) const GATED_INLINE: u16 = 7;

pub(super) fn identity(role: PeerRole) -> Identity {
    Identity { deployment: DeploymentId([7; 16]), environment: "test".into(), region: "north".into(), role }
}

pub(super) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        Self { issuer: CertifiedIssuer::self_signed(params, key).unwrap() }
    }

    /// Certificate and key in PEM for any URI.
    pub(super) fn issue(&self, uri: &str) -> (String, String) {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    pub(super) fn pem(&self) -> String {
        self.issuer.pem()
    }

    pub(super) fn tls(&self, identity: &Identity) -> PeerTls {
        let (certificate, key) = self.issue(&identity.to_string());
        PeerTls::from_pem(certificate.as_bytes(), key.as_bytes(), self.pem().as_bytes()).unwrap()
    }
}

/// A server on loopback with a handler that tests can hold back.
pub(super) struct Rig {
    pub(super) authority: Authority,
    pub(super) server: PeerServer,
    pub(super) gate: Arc<Semaphore>,
    pub(super) arrivals: mpsc::UnboundedReceiver<Bytes>,
}

impl Rig {
    pub(super) async fn new(options: PeerOptions) -> Self {
        let authority = Authority::new();
        let (handler, gate, arrivals) = Tester::new();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let tls = authority.tls(&identity(PeerRole::Node(SERVER)));
        let server = PeerServer::start(listener, tls, handler, options).unwrap();
        Self { authority, server, gate, arrivals }
    }

    /// Another process of the same region.
    pub(super) fn peers(&self, role: PeerRole, options: PeerOptions) -> Peers {
        self.peers_as(self.authority.tls(&identity(role)), options)
    }

    pub(super) fn peers_as(&self, tls: PeerTls, options: PeerOptions) -> Peers {
        let peers = Peers::new(tls, options);
        peers.set_address(SERVER, self.server.address());
        peers
    }

    pub(super) fn node(&self) -> Peers {
        self.peers(PeerRole::Node(CLIENT), PeerOptions::default())
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    pub(super) async fn arrived(&mut self) -> Bytes {
        tokio::time::timeout(LONG, self.arrivals.recv()).await.unwrap().unwrap()
    }
}

/// One call with no body.
pub(super) async fn ask(
    peers: &Peers,
    class: PeerClass,
    kind: u16,
    head: impl Into<Bytes>,
) -> Result<Reply, CallError> {
    peers.call(SERVER, class, kind, head.into(), Vec::new(), LONG).await
}

pub(super) struct Tester {
    gate: Arc<Semaphore>,
    arrivals: mpsc::UnboundedSender<Bytes>,
}

impl Tester {
    pub(super) fn new() -> (Arc<Self>, Arc<Semaphore>, mpsc::UnboundedReceiver<Bytes>) {
        let gate = Arc::new(Semaphore::new(0));
        let (sender, arrivals) = mpsc::unbounded_channel();
        (Arc::new(Self { gate: gate.clone(), arrivals: sender }), gate, arrivals)
    }

    async fn pass(&self, head: &Bytes) {
        _ = self.arrivals.send(head.clone());
        self.gate.acquire().await.unwrap().forget();
    }
}

#[async_trait]
impl Handler for Tester {
    async fn call(
        &self,
        _from: &Identity,
        _class: PeerClass,
        kind: u16,
        head: Bytes,
        body: Bytes,
    ) -> Result<Reply, CallRefusal> {
        match kind {
            ECHO => {}
            GATED | GATED_INLINE => self.pass(&head).await,
            REFUSE => return Err(CallRefusal::new(CallRefusal::HANDLER_CODES + 1, "not today")),
            _ => panic!("asked to"),
        }
        Ok(Reply { head, body })
    }

    async fn stream(
        &self,
        _from: &Identity,
        _class: PeerClass,
        kind: u16,
        _head: Bytes,
        mut incoming: IncomingStream,
    ) -> Result<(), CallRefusal> {
        loop {
            match incoming.next().await {
                Ok(Some(item)) => {
                    if kind == COPY_GATED {
                        self.pass(&item.head).await;
                    }
                    incoming.reply(item.head)?;
                }
                Ok(None) => return Ok(()),
                Err(_) => {
                    _ = self.arrivals.send(Bytes::from_static(b"broken"));
                    return Err(CallRefusal::new(CallRefusal::HANDLER_CODES, "broken"));
                }
            }
        }
    }

    fn inline(&self, class: PeerClass, kind: u16) -> bool {
        kind == GATED_INLINE || class == PeerClass::Liveness
    }
}
