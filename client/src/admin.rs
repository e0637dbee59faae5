//! Asks a region: one request and one answer, as JSON in an admin frame over mutual TLS 1.3.
//!
//! It promises that the answer comes from a node or gateway of the very region in the descriptor, by certificate, and
//! that no wait is longer than its limit. It tries the region's processes in order until one answers; a [`Session`] asks
//! one process again and again.

mod session;
mod tls;

pub use session::{Patience, Session};

use crate::ClientError;
use crate::deployment::Deployment;
use bytes::Bytes;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};
use wire::admin::{
    ADMIN_CALL_KIND, ADMIN_MESSAGE_BYTES_MAX, AdminError, AdminErrorCode, AdminRequest, AdminResponse,
};
use wire::{CallRefusal, FRAME_HEADER_BYTES, FrameHeader, FrameType, PeerClass};

/// A process that does not accept a connection in this time is asked no longer; another one is.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// A process that does not greet back in this time is asked no longer either: it is stopped, though its machine accepts
/// connections. 3 s: many times what a handshake takes on a busy machine.
const GREETING_TIMEOUT: Duration = Duration::from_secs(3);

/// After this, further processes are not tried: with that many away there is no quorum to ask. 8 s: two that are stopped
/// do not keep a third from being asked.
const CONNECT_BUDGET: Duration = Duration::from_secs(8);

/// The longest an answer may take: requests that need a leader may wait out an election, long jobs answer at once.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Asks a region under an operator's identity.
#[derive(Clone)]
pub struct AdminClient {
    config: Arc<ClientConfig>,
    region: String,
    addresses: Vec<String>,
}

impl AdminClient {
    /// Reads the identity; connects only when asked something.
    pub fn new(deployment: &Deployment) -> Result<Self, ClientError> {
        let config = tls::client_config(&deployment.identity, &deployment.descriptor)?;
        let (region, addresses) = (deployment.descriptor.region.clone(), deployment.addresses.clone());
        Ok(Self { config: Arc::new(config), region, addresses })
    }

    /// Asks the first process that answers. A refusal by the region is an error.
    pub fn ask(&self, request: &AdminRequest) -> Result<AdminResponse, ClientError> {
        let began = Instant::now();
        let mut tried = Vec::new();
        for address in &self.addresses {
            if began.elapsed() > CONNECT_BUDGET {
                tried.push(format!("{} more not tried", self.addresses.len() - tried.len()));
                break;
            }
            match self.ask_at(address, request) {
                Ok(AdminResponse::Error(error)) => return Err(ClientError::Refused { error }),
                Ok(response) => return Ok(response),
                Err(AskError::Refused(error)) => return Err(ClientError::Refused { error }),
                Err(AskError::Connect(error)) => tried.push(format!("{address}: {error}")),
                // whether it was carried out is not known: asking elsewhere could do it twice
                Err(AskError::Broken(problem)) => {
                    return Err(ClientError::Protocol { address: address.clone(), problem });
                }
            }
        }
        Err(ClientError::Unreachable { region: self.region.clone(), tried: tried.join("; ") })
    }

    /// The error for an answer of the wrong type.
    pub fn unexpected(&self, response: &AdminResponse) -> ClientError {
        let json = serde_json::to_value(response).ok();
        let found = json.as_ref().and_then(|json| json["type"].as_str()).unwrap_or("nothing").to_owned();
        let address = self.addresses.first().cloned().unwrap_or_default();
        ClientError::Protocol { address, problem: format!("an answer of type {found} was not expected") }
    }

    fn ask_at(&self, address: &str, request: &AdminRequest) -> Result<AdminResponse, AskError> {
        let mut stream = open(&self.config, address, CONNECT_TIMEOUT, GREETING_TIMEOUT)?;
        set_timeouts(&stream.sock, ANSWER_TIMEOUT).map_err(AskError::Connect)?;
        exchange(&mut stream, request, 1)
    }
}

type Stream = StreamOwned<ClientConnection, TcpStream>;

/// A connection on which nothing was asked yet.
fn open(
    config: &Arc<ClientConfig>,
    address: &str,
    connect_timeout: Duration,
    greeting_timeout: Duration,
) -> Result<Stream, AskError> {
    let socket = connect(address, connect_timeout, greeting_timeout).map_err(AskError::Connect)?;
    let connection = ClientConnection::new(Arc::clone(config), tls::placeholder_name())
        .map_err(|error| AskError::Connect(io::Error::other(error)))?;
    let mut stream = StreamOwned::new(connection, socket);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).map_err(AskError::Connect)?;
    }
    greet(&mut stream)?;
    Ok(stream)
}

enum AskError {
    /// Nothing was asked yet: another process may be.
    Connect(io::Error),
    /// Turned away before anything was asked.
    Refused(AdminError),
    /// It broke after the request was sent.
    Broken(String),
}

fn broken(error: impl std::fmt::Display) -> AskError {
    AskError::Broken(error.to_string())
}

fn decode_refusal(head: Vec<u8>) -> Result<CallRefusal, AskError> {
    CallRefusal::decode(Bytes::from(head)).map_err(broken)
}

/// What the transport or the process says before the request was looked at.
fn refused(refusal: CallRefusal) -> AdminError {
    let (code, advice) = match refusal.code {
        CallRefusal::IDENTITY | CallRefusal::CLASS => {
            (AdminErrorCode::Denied, "use the operator's identity of this region")
        }
        CallRefusal::TOO_MANY => (AdminErrorCode::Busy, "ask again in a moment"),
        CallRefusal::PROTOCOL => {
            (AdminErrorCode::NotAvailable, "use the `twinkeep` of the region's own release")
        }
        // the process is starting, stopping or overloaded; the admin API itself answers with errors of its own
        CallRefusal::HANDLER_CODES.. => (AdminErrorCode::Unavailable, "ask again in a moment"),
        _ => (AdminErrorCode::Internal, "its log says more"),
    };
    AdminError { code, message: refusal.message, advice: advice.to_owned() }
}

fn connect(address: &str, connect_timeout: Duration, greeting_timeout: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for candidate in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&candidate, connect_timeout) {
            Ok(socket) => {
                socket.set_nodelay(true)?;
                set_timeouts(&socket, greeting_timeout)?;
                return Ok(socket);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn set_timeouts(socket: &TcpStream, timeout: Duration) -> io::Result<()> {
    socket.set_read_timeout(Some(timeout))?;
    socket.set_write_timeout(Some(timeout))
}

/// Introduces this end with a bare ping: TLS 1.3 does not tell a client that it was turned away, the answer does.
/// Nothing was asked yet when it fails.
fn greet(stream: &mut (impl Read + Write)) -> Result<(), AskError> {
    let ping = FrameHeader::new(FrameType::Ping, PeerClass::Admin, 0, 0, &[], &[]);
    let ping = ping.expect("an empty frame is within every limit");
    stream.write_all(&ping.encode()).and_then(|()| stream.flush()).map_err(turned_away)?;
    let (header, head) = read_frame(stream)?;
    match header.frame_type {
        FrameType::Pong => Ok(()),
        FrameType::ReplyError => Err(AskError::Refused(refused(decode_refusal(head)?))),
        other => Err(AskError::Broken(format!("a frame of type {other:?} is no greeting"))),
    }
}

/// The error of a connection that ended before anything was asked; a certificate that is not accepted is told apart.
fn turned_away(error: io::Error) -> AskError {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    if let Some(rustls::Error::AlertReceived(alert)) = tls {
        let message = format!("the region does not accept this identity ({alert:?})");
        let advice = "use the operator's identity of this region".to_owned();
        return AskError::Refused(AdminError { code: AdminErrorCode::Denied, message, advice });
    }
    AskError::Connect(error)
}

/// One frame without a body.
fn read_frame(stream: &mut impl Read) -> Result<(FrameHeader, Vec<u8>), AskError> {
    let mut fixed = [0; FRAME_HEADER_BYTES];
    stream.read_exact(&mut fixed).map_err(turned_away)?;
    let header = FrameHeader::decode(&fixed).map_err(broken)?;
    if header.head_bytes as usize > ADMIN_MESSAGE_BYTES_MAX || header.body_bytes != 0 {
        return Err(AskError::Broken("the answer is not one to an admin request".to_owned()));
    }
    let mut head = vec![0; header.head_bytes as usize];
    stream.read_exact(&mut head).map_err(turned_away)?;
    header.check_head(&head).map_err(broken)?;
    Ok((header, head))
}

/// Asks under the number `call`, which no other request on this connection has.
fn exchange(
    stream: &mut (impl Read + Write),
    request: &AdminRequest,
    call: u64,
) -> Result<AdminResponse, AskError> {
    let head = serde_json::to_vec(request).map_err(broken)?;
    let header = FrameHeader::new(FrameType::Request, PeerClass::Admin, ADMIN_CALL_KIND, call, &head, &[])
        .map_err(broken)?;
    stream
        .write_all(&[&header.encode()[..], &head].concat())
        .and_then(|()| stream.flush())
        .map_err(broken)?;
    let (header, head) = read_frame(stream).map_err(|error| match error {
        AskError::Connect(error) => broken(error),
        other => other,
    })?;
    if header.call != call {
        return Err(AskError::Broken("the answer is not one to this request".to_owned()));
    }
    match header.frame_type {
        FrameType::Reply => serde_json::from_slice(&head).map_err(broken),
        FrameType::ReplyError => Ok(AdminResponse::Error(refused(decode_refusal(head)?))),
        other => Err(AskError::Broken(format!("a frame of type {other:?} is no answer"))),
    }
}

#[cfg(test)]
#[path = "admin/tests.rs"]
mod tests;
