//! One HTTP/1.1 connection to an S3 endpoint, as lean as hyper allows.
//!
//! TCP_NODELAY is set; bodies are sent from shared memory; answers are handed to the caller frame by frame.
//! Only plain HTTP: the benchmark measures servers on loopback, and TLS would hide their cost behind the client's.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::error::BenchError;

/// Longest wait for a connection: loopback and laboratory networks answer in milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest answer kept as text for an error message, in bytes.
const ERROR_TEXT_BYTES_MAX: usize = 300;

/// Host and port of a plain HTTP endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority(String);

impl Authority {
    /// Takes `http://host:port`, with or without a final slash.
    pub fn parse(endpoint: &str) -> Result<Self, BenchError> {
        let bad = |detail: &str| BenchError::Argument {
            what: "--endpoint",
            detail: format!("{endpoint:?} {detail}; expected http://host:port"),
        };
        let rest = endpoint.strip_prefix("http://").ok_or_else(|| bad("does not begin with http://"))?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.is_empty() || rest.contains('/') {
            return Err(bad("has no host or has a path"));
        }
        Ok(Self(if rest.contains(':') { rest.to_owned() } else { format!("{rest}:80") }))
    }

    /// `host:port`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An open connection; one request at a time.
pub struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
}

impl Connection {
    /// Connects. The task that drives the socket ends when this value is dropped.
    pub async fn open(authority: &Authority) -> Result<Self, BenchError> {
        let failed = |error: &dyn std::error::Error| BenchError::Transport {
            operation: "connect",
            detail: format!("{}: {error}", authority.as_str()),
        };
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(authority.as_str()))
            .await
            .map_err(|error| failed(&error))?
            .map_err(|error| failed(&error))?;
        stream.set_nodelay(true).map_err(|error| failed(&error))?;
        let (sender, driver) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
        tokio::spawn(async move {
            // A failing socket fails the request in flight, which reports it.
            drop(driver.await);
        });
        Ok(Self { sender })
    }

    /// Sends one request; returns when the answer's head is there.
    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, BenchError> {
        self.sender.ready().await.map_err(|error| transport(&error))?;
        self.sender.send_request(request).await.map_err(|error| transport(&error))
    }
}

/// Reads an answer to its end without keeping it; returns its length, or what differs from `expected`.
pub async fn consume(mut body: Incoming, expected: Option<&Bytes>) -> Result<Consumed, BenchError> {
    let mut consumed = Consumed { bytes: 0, is_equal: true };
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| transport(&error))?;
        let Some(data) = frame.data_ref() else { continue };
        let start = consumed.bytes as usize;
        if let Some(expected) = expected {
            consumed.is_equal &= expected.get(start..start + data.len()) == Some(&data[..]);
        }
        consumed.bytes += data.len() as u64;
    }
    if let Some(expected) = expected {
        consumed.is_equal &= consumed.bytes == expected.len() as u64;
    }
    Ok(consumed)
}

/// What an answer's body was.
#[derive(Clone, Copy, Debug)]
pub struct Consumed {
    /// Its length.
    pub bytes: u64,
    /// Whether it was what was expected; true when nothing was.
    pub is_equal: bool,
}

/// The whole answer as text, for small documents and error messages.
pub async fn text(body: Incoming) -> Result<String, BenchError> {
    let collected = body.collect().await.map_err(|error| transport(&error))?;
    Ok(String::from_utf8_lossy(&collected.to_bytes()).into_owned())
}

/// The beginning of an error answer on one line.
pub fn first_words(text: &str) -> String {
    let line: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    line.chars().take(ERROR_TEXT_BYTES_MAX).collect()
}

fn transport(error: &hyper::Error) -> BenchError {
    let mut detail = error.to_string();
    if let Some(cause) = std::error::Error::source(error) {
        detail = format!("{detail}: {cause}");
    }
    BenchError::Transport { operation: "request", detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_plain_http_with_a_host() {
        assert_eq!(Authority::parse("http://127.0.0.1:9000/").unwrap().as_str(), "127.0.0.1:9000");
        assert_eq!(Authority::parse("http://store").unwrap().as_str(), "store:80");
        for wrong in ["https://store", "http://", "http://store/path", "store:9000"] {
            assert!(Authority::parse(wrong).is_err(), "{wrong}");
        }
    }
}
