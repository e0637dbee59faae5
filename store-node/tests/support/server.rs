//! A gateway on an in-process region behind a real socket, and a client that writes what it is told to.

use std::net::SocketAddr;
use std::sync::Arc;

use envelope::{RegionName, RootKey};
use replication::region::Region;
use replication::solo::SoloRegion;
use store_node::gateway::directory::Directory;
use store_node::gateway::keyring::{Keyring, KeyringOptions};
use store_node::gateway::records::Rights;
use store_node::gateway::serve::serve;
use store_node::gateway::{Gateway, GatewayOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wire::{DeploymentId, PairRole, TenantId};

use super::signer::{Key, Payload, Request, now};

/// A running gateway with three principals: `alice` owns what she makes, `bob` has grants, `mallory` has none.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) gateway: Gateway,
    pub(crate) region: Arc<SoloRegion>,
    pub(crate) alice: Key,
    pub(crate) bob: Key,
    pub(crate) mallory: Key,
    /// What a look at the nodes shows.
    role: watch::Sender<PairRole>,
    stop: CancellationToken,
}

/// An answer as it came.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(adjust: impl FnOnce(&mut GatewayOptions)) -> Self {
        let region = Arc::new(SoloRegion::new(4).unwrap());
        let shared: Arc<dyn Region> = region.clone();
        let root = RootKey::generate(getrandom::fill).unwrap();
        let options = KeyringOptions {
            deployment: DeploymentId([7; 16]),
            region: RegionName::parse("home").unwrap(),
            tenant: TenantId(1),
        };
        let keyring = Arc::new(Keyring::open(shared.clone(), &root, options).await.unwrap());
        let directory = Arc::new(Directory::open(shared.clone(), keyring.clone()).await.unwrap());
        let mut keys = Vec::new();
        for name in ["alice", "bob", "mallory"] {
            directory.create_principal(name, false, true).await.unwrap();
            let made = directory.add_key(name).await.unwrap();
            keys.push(Key { id: made.id.clone(), secret: made.secret.to_string() });
        }
        let mut options = GatewayOptions::new("home");
        adjust(&mut options);
        let gateway = Gateway::new(shared, keyring, directory, options);
        let [alice, bob, mallory] = keys.try_into().unwrap_or_else(|_| unreachable!());
        Self::serving(gateway, region, [alice, bob, mallory]).await
    }

    /// Another gateway to the same region, with the same principals.
    pub(crate) async fn beside(&self, name: &str, adjust: impl FnOnce(&mut GatewayOptions)) -> Self {
        let (keyring, directory) = (self.gateway.keyring().clone(), self.gateway.directory().clone());
        let mut options = GatewayOptions::new(name);
        adjust(&mut options);
        let gateway = Gateway::new(self.region.clone(), keyring, directory, options);
        let keys = [self.alice.clone(), self.bob.clone(), self.mallory.clone()];
        Self::serving(gateway, self.region.clone(), keys).await
    }

    async fn serving(gateway: Gateway, region: Arc<SoloRegion>, keys: [Key; 3]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let (background, background_stop) = (gateway.clone(), stop.clone());
        tokio::spawn(async move { background.run_background(background_stop).await });
        tokio::spawn(serve(listener, None, gateway.clone(), stop.clone()));
        let role = watch::Sender::new(PairRole::Primary);
        let (looked_at, shown) = (gateway.clone(), role.subscribe());
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            loop {
                looked_at.role_is_wanted().await;
                let role = *shown.borrow();
                looked_at.end_look(&looked_at.begin_look(), Some(role));
            }
        }));
        let [alice, bob, mallory] = keys;
        Self { address, gateway, region, alice, bob, mallory, role, stop }
    }

    /// The region plays this part in its pair from now on.
    pub(crate) fn say(&self, role: PairRole) {
        self.role.send_replace(role);
        self.gateway.end_look(&self.gateway.begin_look(), Some(role));
    }

    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    /// Signs as `key` and sends.
    pub(crate) async fn send_as(&self, key: &Key, mut request: Request) -> Answer {
        request.sign(key, &self.host(), Payload::Hashed, now());
        self.send(&request).await
    }

    /// Signs as `alice` and sends.
    pub(crate) async fn call(&self, request: Request) -> Answer {
        self.send_as(&self.alice.clone(), request).await
    }

    /// Sends what is there, with a length and nothing else added.
    pub(crate) async fn send(&self, request: &Request) -> Answer {
        self.raw(&wire_form(request, &self.host())).await
    }

    /// Sends bytes and reads until the server closes.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // a server that has said no may close before everything is sent
        let _ = stream.write_all(bytes).await;
        read_answer(stream).await
    }

    pub(crate) async fn grant(&self, name: &str, bucket: &str, rights: Rights) {
        self.gateway.directory().grant(name, bucket, rights).await.unwrap();
    }

    pub(crate) async fn make_bucket(&self, name: &str) {
        let answer = self.call(Request::new("PUT", &format!("/{name}"))).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    pub(crate) async fn put(&self, path: &str, body: impl Into<Vec<u8>>) -> Answer {
        let answer = self.call(Request::new("PUT", path).body(body)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer
    }

    pub(crate) async fn get(&self, target: &str) -> Answer {
        self.call(Request::new("GET", target)).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A request's bytes: the connection is closed after it.
pub(crate) fn wire_form(request: &Request, host: &str) -> Vec<u8> {
    let mut text = format!("{} {} HTTP/1.1\r\n", request.method, request.target());
    let has = |name: &str| request.headers.iter().any(|(found, _)| found == name);
    if !has("host") {
        text.push_str(&format!("host: {host}\r\n"));
    }
    for (name, value) in &request.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    let bodied = !request.body.is_empty() || matches!(request.method, "PUT" | "POST");
    if bodied && !has("content-length") && !has("transfer-encoding") {
        text.push_str(&format!("content-length: {}\r\n", request.body.len()));
    }
    text.push_str("connection: close\r\n\r\n");
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(&request.body);
    bytes
}

/// Reads an answer up to the end of the connection.
pub(crate) async fn read_answer(mut stream: TcpStream) -> Answer {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    Answer::parse(&bytes)
}

impl Answer {
    /// An answer that never came has the status 0.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
            return Self { status: 0, headers: vec![], body: bytes.to_vec() };
        };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        if head.starts_with("HTTP/1.1 100") {
            return Self::parse(&bytes[end + 4..]);
        }
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
            .collect();
        let mut body = bytes[end + 4..].to_vec();
        if headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked") {
            body = dechunk(&body);
        }
        Self { status: status.unwrap_or(0), headers, body }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The error's code.
    pub(crate) fn code(&self) -> String {
        self.element("Code").unwrap_or_default()
    }

    /// The content of the first element of that name.
    pub(crate) fn element(&self, name: &str) -> Option<String> {
        let text = self.text();
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        rest.split_once(&format!("</{name}>")).map(|(found, _)| found.to_owned())
    }

    /// The contents of all elements of that name.
    pub(crate) fn elements(&self, name: &str) -> Vec<String> {
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        let text = self.text();
        text.split(&open).skip(1).filter_map(|rest| Some(rest.split_once(&close)?.0.to_owned())).collect()
    }
}

fn dechunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = bytes.windows(2).position(|window| window == b"\r\n") {
        let size = usize::from_str_radix(String::from_utf8_lossy(&bytes[..end]).trim(), 16).unwrap_or(0);
        if size == 0 || bytes.len() < end + 2 + size + 2 {
            break;
        }
        body.extend_from_slice(&bytes[end + 2..end + 2 + size]);
        bytes = &bytes[end + 2 + size + 2..];
    }
    body
}
