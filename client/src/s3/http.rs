//! One HTTP/1.1 connection, with or without TLS: a request with its whole body, an answer with its whole body.

use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::io::{self, BufRead, BufReader, Error, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

/// An endpoint that does not accept a connection in this time is taken for away.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Status line and headers, bytes.
const HEAD_BYTES_MAX: u64 = 64 << 10;

/// A body, bytes: probes are smaller by far, larger objects are read in pieces, lists of buckets are cut short by nobody.
pub(crate) const BODY_BYTES_MAX: usize = 8 << 20;

trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

/// A connection.
pub(super) struct Connection(BufReader<Box<dyn Stream>>);

/// What is sent with a request.
pub(crate) enum Body<'a> {
    /// All of it at once.
    Whole(&'a [u8]),
    /// So many bytes, read piece by piece as they are sent.
    Pieces {
        /// Bytes of all pieces together.
        length: u64,
        /// Gives the next piece; asked until there are `length` bytes.
        next: &'a mut dyn FnMut() -> io::Result<Vec<u8>>,
    },
}

/// An answer, whatever its status.
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// Its headers, names in lower case.
    headers: Vec<(String, String)>,
    /// The whole body.
    pub(crate) body: Vec<u8>,
    /// Whether the connection can be used again.
    pub(super) keeps_open: bool,
}

impl Answer {
    /// The value of a header, its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers().find(|(found, _)| *found == name).map(|(_, value)| value)
    }

    /// All headers, names in lower case.
    pub(crate) fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

#[derive(Default)]
struct Head {
    status: u16,
    headers: Vec<(String, String)>,
    length: Option<usize>,
    is_chunked: bool,
    closes: bool,
}

impl Connection {
    /// Connects; `patience` is the longest wait for the next bytes.
    pub(super) fn open(
        host: &str,
        port: u16,
        tls: Option<&Arc<ClientConfig>>,
        patience: Duration,
    ) -> io::Result<Self> {
        let mut last = Error::new(ErrorKind::NotFound, "the name has no address");
        for address in (host, port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
                Ok(socket) => {
                    socket.set_nodelay(true)?;
                    socket.set_read_timeout(Some(patience))?;
                    socket.set_write_timeout(Some(patience))?;
                    return Self::over(socket, host, tls);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn over(socket: TcpStream, host: &str, tls: Option<&Arc<ClientConfig>>) -> io::Result<Self> {
        let Some(config) = tls else { return Ok(Self(BufReader::new(Box::new(socket)))) };
        let connection = ClientConnection::new(Arc::clone(config), super::server_name(host)?);
        let stream = StreamOwned::new(connection.map_err(Error::other)?, socket);
        Ok(Self(BufReader::new(Box::new(stream))))
    }

    /// Sends a request, whose head lacks only its length and its end, and reads the answer.
    pub(super) fn exchange(&mut self, head: &str, body: Body<'_>) -> io::Result<Answer> {
        let has_no_body = head.starts_with("HEAD ");
        self.send(head, body)?;
        let mut head = self.read_head()?;
        while (100..200).contains(&head.status) {
            head = self.read_head()?;
        }
        let body = match head {
            _ if has_no_body => Vec::new(),
            Head { status: 204 | 304, .. } => Vec::new(),
            Head { is_chunked: true, .. } => self.read_chunks()?,
            Head { length: Some(length), .. } => self.read_body(length)?,
            Head { length: None, .. } => return Err(malformed("it has no length")),
        };
        Ok(Answer { status: head.status, headers: head.headers, body, keeps_open: !head.closes })
    }

    fn send(&mut self, head: &str, body: Body<'_>) -> io::Result<()> {
        let stream = self.0.get_mut();
        let length = match &body {
            Body::Whole(bytes) => bytes.len() as u64,
            Body::Pieces { length, .. } => *length,
        };
        let head = format!("{head}content-length: {length}\r\n\r\n");
        match body {
            Body::Whole(bytes) => stream.write_all(&[head.as_bytes(), bytes].concat())?,
            Body::Pieces { mut length, next } => {
                stream.write_all(head.as_bytes())?;
                while length > 0 {
                    let piece = next()?;
                    let left = length.checked_sub(piece.len() as u64).filter(|_| !piece.is_empty());
                    length = left.ok_or_else(|| Error::other("what is to be sent has another length"))?;
                    stream.write_all(&piece)?;
                }
            }
        }
        stream.flush()
    }

    fn read_head(&mut self) -> io::Result<Head> {
        let mut left = HEAD_BYTES_MAX;
        let line = self.read_line(&mut left)?;
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let mut head =
            Head { status: status.ok_or_else(|| malformed("it has no status"))?, ..Head::default() };
        loop {
            let line = self.read_line(&mut left)?;
            if line.is_empty() {
                return Ok(head);
            }
            let (name, value) = line.split_once(':').ok_or_else(|| malformed("a header has no value"))?;
            let (name, value) = (name.to_ascii_lowercase(), value.trim());
            head.headers.push((name.clone(), value.to_owned()));
            match name.as_str() {
                "content-length" => {
                    head.length = Some(value.parse().map_err(|_| malformed("its length is no number"))?);
                }
                "transfer-encoding" => head.is_chunked = value.eq_ignore_ascii_case("chunked"),
                "connection" => head.closes = value.eq_ignore_ascii_case("close"),
                _ => {}
            }
        }
    }

    fn read_chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.read_line(&mut HEAD_BYTES_MAX.clone())?;
            let size = line.split(';').next().unwrap_or_default();
            let size = usize::from_str_radix(size, 16).map_err(|_| malformed("a chunk has no size"))?;
            if body.len().saturating_add(size) > BODY_BYTES_MAX {
                return Err(malformed("it is too long"));
            }
            body.extend(self.read_body(size)?);
            self.read_line(&mut HEAD_BYTES_MAX.clone())?;
            if size == 0 {
                return Ok(body);
            }
        }
    }

    fn read_body(&mut self, length: usize) -> io::Result<Vec<u8>> {
        if length > BODY_BYTES_MAX {
            return Err(malformed("it is too long"));
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        Ok(body)
    }

    /// One line without its end, out of the bytes that are left for the head.
    fn read_line(&mut self, left: &mut u64) -> io::Result<String> {
        let mut line = String::new();
        let count = self.0.by_ref().take(*left).read_line(&mut line)? as u64;
        *left -= count;
        if !line.ends_with('\n') {
            return Err(Error::new(ErrorKind::UnexpectedEof, "the answer ends in the middle"));
        }
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }
}

fn malformed(why: &str) -> Error {
    Error::new(ErrorKind::InvalidData, format!("the answer cannot be understood: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// Says what it was told to say, whatever it is asked.
    struct Script(VecDeque<u8>);

    impl Read for Script {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }

    impl Write for Script {
        fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
            Ok(buffer.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn answer(text: &str) -> io::Result<Answer> {
        let script: Box<dyn Stream> = Box::new(Script(text.bytes().collect()));
        Connection(BufReader::new(script)).exchange("GET / HTTP/1.1\r\n", Body::Whole(b""))
    }

    #[test]
    fn answers_have_a_length_or_chunks() {
        let plain =
            answer("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab").unwrap();
        assert_eq!((plain.status, plain.body.as_slice(), plain.keeps_open), (200, &b"ab"[..], true));
        let chunked = "HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nab\r\n1;x\r\nc\r\n0\r\n\r\n";
        let chunked = answer(chunked).unwrap();
        assert_eq!((chunked.status, chunked.body.as_slice(), chunked.keeps_open), (503, &b"abc"[..], false));
    }

    #[test]
    fn an_answer_that_is_cut_or_without_sense_is_an_error() {
        for wrong in [
            "",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\na",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 what\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        ] {
            assert!(answer(wrong).is_err(), "{wrong:?}");
        }
    }
}
