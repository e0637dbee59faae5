//! A blocking HTTP/1.1 connection over plain TCP, whose every failure says whether the server may have acted.
//!
//! Only what the tests need: requests with a known length, answers with a length or chunks, one deadline per request.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// The longest answer the harness reads; listings and objects of the tests are far smaller.
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;
/// How long a connection attempt may take on loopback or a virtual link.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// An answer, whatever its status.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Header names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Silence {
    /// No connection was made: the server cannot have acted.
    NotSent(String),
    /// The request may have reached the server: it may act now, later or never.
    Unknown(String),
}

/// A connection that is opened when needed and kept for the next request.
#[derive(Debug)]
pub struct Connection {
    address: SocketAddr,
    stream: Option<BufReader<TcpStream>>,
    timeout: Duration,
}

impl Connection {
    /// A connection to this address; `timeout` bounds each request as a whole.
    pub fn new(address: SocketAddr, timeout: Duration) -> Self {
        Connection { address, stream: None, timeout }
    }

    /// Sends one request and reads its answer. `target` and `headers` go as they are; the length is added here.
    pub fn request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(String, String)],
        body: &[u8],
    ) -> Result<Answer, Silence> {
        let deadline = Instant::now() + self.timeout;
        let mut stream = match self.stream.take() {
            Some(stream) if is_open(&stream) => stream,
            _ => BufReader::new(self.connect()?),
        };
        let mut head = format!("{method} {target} HTTP/1.1\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let answer = exchange(&mut stream, head.as_bytes(), body, method, deadline)
            .map_err(|error| Silence::Unknown(error.to_string()))?;
        let closing = answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        if !closing {
            self.stream = Some(stream);
        }
        Ok(answer)
    }

    fn connect(&self) -> Result<TcpStream, Silence> {
        let stream = TcpStream::connect_timeout(&self.address, CONNECT_TIMEOUT)
            .map_err(|error| Silence::NotSent(error.to_string()))?;
        stream.set_nodelay(true).map_err(|error| Silence::NotSent(error.to_string()))?;
        Ok(stream)
    }
}

/// Whether an idle connection is still open: a server that went away has left an end of stream to read.
fn is_open(stream: &BufReader<TcpStream>) -> bool {
    let socket = stream.get_ref();
    if socket.set_nonblocking(true).is_err() {
        return false;
    }
    let peeked = socket.peek(&mut [0_u8; 1]);
    let waiting = matches!(&peeked, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock);
    waiting && socket.set_nonblocking(false).is_ok()
}

fn exchange(
    stream: &mut BufReader<TcpStream>,
    head: &[u8],
    body: &[u8],
    method: &str,
    deadline: Instant,
) -> std::io::Result<Answer> {
    arm(stream, deadline)?;
    stream.get_mut().write_all(head)?;
    stream.get_mut().write_all(body)?;
    loop {
        let (status, headers) = read_head(stream, deadline)?;
        if (100..200).contains(&status) {
            continue;
        }
        let mut answer = Answer { status, headers, body: Vec::new() };
        if method != "HEAD" && status != 204 && status != 304 {
            answer.body = read_body(stream, &answer, deadline)?;
        }
        return Ok(answer);
    }
}

/// Gives the next read what is left of the request's time.
fn arm(stream: &BufReader<TcpStream>, deadline: Instant) -> std::io::Result<()> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer before the deadline"));
    }
    stream.get_ref().set_read_timeout(Some(left))?;
    stream.get_ref().set_write_timeout(Some(left))
}

fn read_head(
    stream: &mut BufReader<TcpStream>,
    deadline: Instant,
) -> std::io::Result<(u16, Vec<(String, String)>)> {
    let status_line = read_line(stream, deadline)?;
    let status = status_line.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| malformed("status line"))?;
    let mut headers = Vec::new();
    loop {
        let line = read_line(stream, deadline)?;
        if line.is_empty() {
            return Ok((status, headers));
        }
        let (name, value) = line.split_once(':').ok_or_else(|| malformed("header"))?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

fn read_line(stream: &mut BufReader<TcpStream>, deadline: Instant) -> std::io::Result<String> {
    arm(stream, deadline)?;
    let mut line = String::new();
    if stream.by_ref().take(64 * 1024).read_line(&mut line)? == 0 {
        return Err(std::io::Error::new(
            std::io::ErrorKind::UnexpectedEof,
            "the server closed the connection",
        ));
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn read_body(
    stream: &mut BufReader<TcpStream>,
    answer: &Answer,
    deadline: Instant,
) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    if answer.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        loop {
            let line = read_line(stream, deadline)?;
            let size = usize::from_str_radix(line.split(';').next().unwrap_or_default(), 16)
                .map_err(|_| malformed("chunk size"))?;
            read_exactly(stream, size, &mut body, deadline)?;
            read_line(stream, deadline)?;
            if size == 0 {
                return Ok(body);
            }
        }
    }
    let length = answer.header("content-length").and_then(|value| value.parse().ok());
    read_exactly(stream, length.ok_or_else(|| malformed("content-length"))?, &mut body, deadline)?;
    Ok(body)
}

fn read_exactly(
    stream: &mut BufReader<TcpStream>,
    count: usize,
    body: &mut Vec<u8>,
    deadline: Instant,
) -> std::io::Result<()> {
    let start = body.len();
    if start + count > ANSWER_BYTES_MAX {
        return Err(malformed("answer larger than the harness reads"));
    }
    body.resize(start + count, 0);
    let mut filled = start;
    while filled < body.len() {
        arm(stream, deadline)?;
        let read = stream.read(&mut body[filled..])?;
        if read == 0 {
            return Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "the body ends early"));
        }
        filled += read;
    }
    Ok(())
}

fn malformed(what: &str) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, format!("malformed answer: {what}"))
}
