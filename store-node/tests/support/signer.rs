//! Signature version 4, written from its specification: independent of the code under test.

use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// An access key.
#[derive(Clone)]
pub(crate) struct Key {
    pub(crate) id: String,
    pub(crate) secret: String,
}

/// A request about to be signed and sent.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    /// Escaped path.
    pub(crate) path: String,
    /// Escaped names and values.
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// What is signed in place of the body's hash.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Payload {
    Hashed,
    Unsigned,
    Named(&'static str),
}

pub(crate) const REGION: &str = "home";

impl Request {
    pub(crate) fn new(method: &'static str, target: &str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (name.to_owned(), value.replace('/', "%2F"))
        };
        Self { method, path: path.into(), query: pairs.map(pair).collect(), headers: vec![], body: vec![] }
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_lowercase(), value.into()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn target(&self) -> String {
        if self.query.is_empty() {
            return self.path.clone();
        }
        let pairs: Vec<String> = self
            .query
            .iter()
            .map(|(name, value)| if value.is_empty() { name.clone() } else { format!("{name}={value}") })
            .collect();
        format!("{}?{}", self.path, pairs.join("&"))
    }

    /// Signs in the `Authorization` header; gives the seed signature.
    pub(crate) fn sign(&mut self, key: &Key, host: &str, payload: Payload, at: u64) -> String {
        let hash = match payload {
            Payload::Hashed => hex(&Sha256::digest(&self.body)),
            Payload::Unsigned => "UNSIGNED-PAYLOAD".to_owned(),
            Payload::Named(name) => name.to_owned(),
        };
        let time = amz_time(at);
        self.headers.push(("host".into(), host.into()));
        self.headers.push(("x-amz-date".into(), time.clone()));
        self.headers.push(("x-amz-content-sha256".into(), hash.clone()));
        let signed = self.signed_headers();
        let signature = self.signature(key, &signed, &hash, &time);
        let scope = scope(&time);
        self.headers.push((
            "authorization".into(),
            format!(
                "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={signed}, Signature={signature}",
                key.id
            ),
        ));
        signature
    }

    /// Signs in the query.
    pub(crate) fn presign(&mut self, key: &Key, host: &str, expires: u64, at: u64) {
        let time = amz_time(at);
        self.headers.push(("host".into(), host.into()));
        let signed = self.signed_headers();
        for (name, value) in [
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256".to_owned()),
            ("X-Amz-Credential", escape(&format!("{}/{}", key.id, scope(&time)))),
            ("X-Amz-Date", time.clone()),
            ("X-Amz-Expires", expires.to_string()),
            ("X-Amz-SignedHeaders", escape(&signed)),
        ] {
            self.query.push((name.into(), value));
        }
        let signature = self.signature(key, &signed, "UNSIGNED-PAYLOAD", &time);
        self.query.push(("X-Amz-Signature".into(), signature));
    }

    fn signed_headers(&self) -> String {
        let mut names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names.join(";")
    }

    fn signature(&self, key: &Key, signed: &str, hash: &str, time: &str) -> String {
        let mut query = self.query.clone();
        query.sort();
        let query: Vec<String> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut headers = self.headers.clone();
        headers.sort();
        let headers: String =
            headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
        let (method, path, query) = (self.method, &self.path, query.join("&"));
        let canonical = format!("{method}\n{path}\n{query}\n{headers}\n{signed}\n{hash}");
        let digest = hex(&Sha256::digest(canonical));
        let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{}\n{digest}", scope(time));
        hex(&hmac(&signing_key(key, time), to_sign.as_bytes()))
    }
}

/// Frames a body in signed chunks; `trailer` adds a signed trailing header.
pub(crate) fn signed_chunks(
    key: &Key,
    seed: &str,
    at: u64,
    chunks: &[&[u8]],
    trailer: Option<(&str, &str)>,
) -> Vec<u8> {
    let time = amz_time(at);
    let signing = signing_key(key, &time);
    let mut previous = seed.to_owned();
    let mut body = Vec::new();
    for chunk in chunks.iter().copied().chain([&b""[..]]) {
        let (empty, digest) = (hex(&Sha256::digest(b"")), hex(&Sha256::digest(chunk)));
        let to_sign =
            format!("AWS4-HMAC-SHA256-PAYLOAD\n{time}\n{}\n{previous}\n{empty}\n{digest}", scope(&time));
        previous = hex(&hmac(&signing, to_sign.as_bytes()));
        body.extend_from_slice(format!("{:x};chunk-signature={previous}\r\n", chunk.len()).as_bytes());
        body.extend_from_slice(chunk);
        if !chunk.is_empty() || trailer.is_none() {
            body.extend_from_slice(b"\r\n");
        }
    }
    if let Some((name, value)) = trailer {
        let digest = hex(&Sha256::digest(format!("{name}:{value}\n")));
        let to_sign = format!("AWS4-HMAC-SHA256-TRAILER\n{time}\n{}\n{previous}\n{digest}", scope(&time));
        let signature = hex(&hmac(&signing, to_sign.as_bytes()));
        let lines = format!("{name}:{value}\r\nx-amz-trailer-signature:{signature}\r\n\r\n");
        body.extend_from_slice(lines.as_bytes());
    }
    body
}

/// Frames a body in unsigned chunks with a trailing header.
pub(crate) fn unsigned_chunks(chunks: &[&[u8]], trailer: Option<(&str, &str)>) -> Vec<u8> {
    let mut body = Vec::new();
    for chunk in chunks {
        body.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        body.extend_from_slice(chunk);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"0\r\n");
    if let Some((name, value)) = trailer {
        body.extend_from_slice(format!("{name}:{value}\r\n").as_bytes());
    }
    body.extend_from_slice(b"\r\n");
    body
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Escapes everything that RFC 3986 reserves.
pub(crate) fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

fn scope(time: &str) -> String {
    format!("{}/{REGION}/s3/aws4_request", &time[..8])
}

fn signing_key(key: &Key, time: &str) -> Vec<u8> {
    let mut signing = hmac(format!("AWS4{}", key.secret).as_bytes(), &time.as_bytes()[..8]);
    for part in [REGION, "s3", "aws4_request"] {
        signing = hmac(&signing, part.as_bytes());
    }
    signing
}

fn hmac(key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(data);
    mac.finalize().into_bytes().to_vec()
}

/// `YYYYMMDDTHHMMSSZ`; days to dates by the civil calendar's 400-year cycle.
fn amz_time(at: u64) -> String {
    let (days, seconds) = ((at / 86_400) as i64, at % 86_400);
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_shifted + 2) / 5 + 1;
    let month = if month_shifted < 10 { month_shifted + 3 } else { month_shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}
