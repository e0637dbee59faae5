//! `store-node health ADDRESS`: asks a running process whether it is ready. For images without a shell, where a health
//! check can only be this same program.
//!
//! It promises an answer within a few seconds and bounded memory, whatever is at the address.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;
use thiserror::Error;

/// Shorter than the 3 s that health checks usually allow.
const TIMEOUT: Duration = Duration::from_secs(2);

/// A report with a reason per group of the largest region fits.
const ANSWER_BYTES_MAX: u64 = 256 << 10;

/// Why a process does not count as ready.
#[derive(Debug, Error)]
pub enum ProbeError {
    /// Nobody answers there.
    #[error("{address}: no answer")]
    NoAnswer {
        /// Who was asked.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It answers, and says why it is not ready.
    #[error("{address}: {report}")]
    NotReady {
        /// Who was asked.
        address: SocketAddr,
        /// What it said.
        report: String,
    },
}

/// Asks the process whose `health.listen` is `address`; its report when it is ready. Blocks.
pub fn ready(address: SocketAddr) -> Result<String, ProbeError> {
    let answer = ask(address).map_err(|source| ProbeError::NoAnswer { address, source })?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let report = body.trim().to_owned();
    let status = head.split(' ').nth(1);
    if status == Some("200") { Ok(report) } else { Err(ProbeError::NotReady { address, report }) }
}

fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut socket = TcpStream::connect_timeout(&address, TIMEOUT)?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    socket.set_write_timeout(Some(TIMEOUT))?;
    let request = format!("GET /health/ready HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    socket.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn answering(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let count = socket.read(&mut request).unwrap();
            assert!(request[..count].starts_with(b"GET /health/ready HTTP/1.1\r\n"));
            socket.write_all(answer.as_bytes()).unwrap();
        });
        address
    }

    #[test]
    fn a_ready_process_is_ready() {
        let address = answering("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nyes");
        assert_eq!(ready(address).unwrap(), "yes");
    }

    #[test]
    fn a_process_that_is_not_ready_says_why() {
        let address = answering("HTTP/1.1 503 Service Unavailable\r\n\r\nno leader\n");
        let error = ready(address).unwrap_err();
        assert_eq!(error.to_string(), format!("{address}: no leader"));
    }

    #[test]
    fn nobody_there_is_no_answer() {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(matches!(ready(address), Err(ProbeError::NoAnswer { .. })));
    }
}
