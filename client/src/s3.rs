//! The S3 requests that drills and reconciliations make of a region's endpoint.
//!
//! One request at a time over one connection, none tried twice: what a drill records is what an application would see.
//! HTTP without TLS goes to this machine only.

mod http;
mod sign;

pub(crate) use http::{Answer, BODY_BYTES_MAX, Body};
pub(crate) use sign::{hex, sha256_hex};

use crate::clock::{system_now, utc_compact};
use crate::{ClientError, files};
use http::Connection;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use sign::escape;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use wire::admin::SecretText;

/// Keeps a gateway from passing a request on to the other region: what is asked here is asked of one region.
const HERE: &str = "x-twinkeep-here";

/// A probe's longest wait for the next bytes. 5 s: an answer that comes later counts as none, and it is written again.
const PROBE_PATIENCE: Duration = Duration::from_secs(5);

/// Where a region speaks S3, and as whom.
#[derive(Clone)]
pub(crate) struct Access {
    host: String,
    port: u16,
    tls: Option<Arc<ClientConfig>>,
    region: String,
    access_key: String,
    secret_key: SecretText,
}

/// Why a request was not done. Whether it may have had an effect does not matter to probes: they are written until
/// they are acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The HTTP status; none when there was no answer.
    pub(crate) status: Option<u16>,
    /// What was said.
    pub(crate) reason: String,
}

impl Access {
    /// The endpoint at `url`, trusted by the authorities in the files when it is one over TLS.
    pub(crate) fn new(
        url: &str,
        authorities: &[PathBuf],
        region: &str,
        access_key: String,
        secret_key: SecretText,
    ) -> Result<Self, ClientError> {
        let wrong = |why: &str| {
            ClientError::usage(format!("{url:?} is no endpoint: {why}"), "as in https://s3.example.org")
        };
        let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("it has no scheme"))?;
        let authority = rest.trim_end_matches('/');
        if authority.is_empty() || authority.contains(['/', '@', '?', '#', ' ']) {
            return Err(wrong("it is a scheme, a host and perhaps a port"));
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, Some(port.parse().map_err(|_| wrong("its port is no number"))?))
            }
            _ => (authority, None),
        };
        let bare = host.trim_matches(['[', ']']);
        let tls = match scheme {
            "https" => Some(Arc::new(tls_config(authorities)?)),
            "http" if is_this_machine(bare) => None,
            "http" => return Err(wrong("plain http goes to this machine only, use https")),
            _ => return Err(wrong("its scheme is neither https nor http")),
        };
        let port = port.unwrap_or(if tls.is_some() { 443 } else { 80 });
        Ok(Self { host: bare.to_owned(), port, tls, region: region.to_owned(), access_key, secret_key })
    }
}

/// A client of one region's endpoint.
pub(crate) struct S3 {
    access: Access,
    patience: Duration,
    connection: Option<Connection>,
}

/// A request; names are not escaped.
pub(crate) struct Request<'a> {
    /// The HTTP method.
    pub(crate) method: &'a str,
    /// `/`, `/BUCKET` or `/BUCKET/KEY`.
    pub(crate) path: String,
    /// Names and values of the query.
    pub(crate) query: Vec<(&'a str, &'a str)>,
    /// Further headers, names in lower case.
    pub(crate) headers: Vec<(&'a str, String)>,
    /// What is sent along.
    pub(crate) body: Body<'a>,
}

impl<'a> Request<'a> {
    /// A request without query, headers and body.
    pub(crate) fn new(method: &'a str, path: String) -> Self {
        Self { method, path, query: Vec::new(), headers: Vec::new(), body: Body::Whole(b"") }
    }

    /// The same with a pair in its query.
    pub(crate) fn with_query(mut self, name: &'a str, value: &'a str) -> Self {
        self.query.push((name, value));
        self
    }

    /// The same with a header.
    pub(crate) fn with_header(mut self, name: &'a str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The same with a body.
    pub(crate) fn with_body(self, body: Body<'a>) -> Self {
        Self { body, ..self }
    }
}

impl S3 {
    /// A client that waits for an answer as long as probes do.
    pub(crate) fn new(access: Access) -> Self {
        Self::with_patience(access, PROBE_PATIENCE)
    }

    /// A client that waits so long for the next bytes.
    pub(crate) fn with_patience(access: Access, patience: Duration) -> Self {
        Self { access, patience, connection: None }
    }

    /// Whether the endpoint answers and knows the key: lists the buckets that the key sees.
    pub(crate) fn answers(&mut self) -> Result<(), Refusal> {
        self.call(Request::new("GET", "/".into())).map(drop)
    }

    /// Makes a bucket; one that is there already is no error.
    pub(crate) fn create_bucket(&mut self, bucket: &str) -> Result<(), Refusal> {
        match self.call(Request::new("PUT", format!("/{bucket}"))) {
            Ok(_) => Ok(()),
            Err(refusal) if refusal.status == Some(409) => Ok(()),
            Err(refusal) => Err(refusal),
        }
    }

    /// Writes an object.
    pub(crate) fn put(&mut self, bucket: &str, key: &str, body: &[u8]) -> Result<(), Refusal> {
        let request = Request::new("PUT", format!("/{bucket}/{key}")).with_body(Body::Whole(body));
        self.call(request).map(drop)
    }

    /// Reads an object; none when there is none.
    pub(crate) fn get(&mut self, bucket: &str, key: &str) -> Result<Option<Vec<u8>>, Refusal> {
        match self.call(Request::new("GET", format!("/{bucket}/{key}"))) {
            Ok(answer) => Ok(Some(answer.body)),
            Err(refusal) if refusal.status == Some(404) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    /// Removes an object.
    pub(crate) fn delete(&mut self, bucket: &str, key: &str) -> Result<(), Refusal> {
        self.call(Request::new("DELETE", format!("/{bucket}/{key}"))).map(drop)
    }

    /// Any request; what is not 2xx is refused.
    pub(crate) fn call(&mut self, request: Request<'_>) -> Result<Answer, Refusal> {
        let answer = self.exchange(request).map_err(|error| {
            let reason = match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => "no answer in time".to_owned(),
                _ => error.to_string(),
            };
            Refusal { status: None, reason }
        })?;
        if (200..300).contains(&answer.status) {
            return Ok(answer);
        }
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let code = first(&text, "Code").unwrap_or_default();
        Err(Refusal { status: Some(answer.status), reason: format!("{} {code}", answer.status) })
    }

    fn exchange(&mut self, request: Request<'_>) -> std::io::Result<Answer> {
        let Access { host, port, tls, region, access_key, secret_key } = &self.access;
        let named = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let Request { method, path, query, headers: further, body } = request;
        let path = escape(&path, true);
        let mut query: Vec<String> = query
            .iter()
            .map(|(name, value)| format!("{}={}", escape(name, false), escape(value, false)))
            .collect();
        query.sort();
        let (query, instant) = (query.join("&"), utc_compact(system_now()));
        let body_sha256 = match &body {
            Body::Whole(bytes) => sha256_hex(bytes),
            Body::Pieces { .. } => "UNSIGNED-PAYLOAD".to_owned(),
        };
        let mut headers = vec![
            ("host", named.as_str()),
            ("x-amz-content-sha256", body_sha256.as_str()),
            ("x-amz-date", instant.as_str()),
        ];
        headers.extend(further.iter().map(|(name, value)| (*name, value.as_str())));
        headers.sort_unstable();
        let signable = sign::Signable {
            method,
            path: &path,
            query: &query,
            headers: &headers,
            body_sha256: &body_sha256,
            instant: &instant,
        };
        let authorization = sign::authorization(access_key, secret_key.reveal(), region, &signable);
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(host, *port, tls.as_ref(), self.patience)?,
        };
        let target = if query.is_empty() { path } else { format!("{path}?{query}") };
        let mut head =
            format!("{method} {target} HTTP/1.1\r\nauthorization: {authorization}\r\n{HERE}: true\r\n");
        for (name, value) in headers {
            if value.contains(['\r', '\n']) {
                return Err(std::io::Error::other("a header cannot be sent"));
            }
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let answer = connection.exchange(&head, body)?;
        if answer.keeps_open {
            self.connection = Some(connection);
        }
        Ok(answer)
    }
}

/// The text of the first element with this tag, escapes as they are.
pub(crate) fn first<'a>(xml: &'a str, tag: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{tag}>"))?;
    Some(rest.split_once(&format!("</{tag}>"))?.0)
}

fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn tls_config(authorities: &[PathBuf]) -> Result<ClientConfig, ClientError> {
    let failed = |error: rustls::Error| ClientError::Crypto {
        what: "reading the authority of an S3 endpoint",
        problem: error.to_string(),
    };
    let mut roots = RootCertStore::empty();
    for path in authorities {
        let text = files::read(path)?;
        for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
            let certificate = certificate
                .map_err(|error| ClientError::Content { path: path.clone(), problem: error.to_string() })?;
            roots.add(certificate).map_err(failed)?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(config.map_err(failed)?.with_root_certificates(roots).with_no_client_auth())
}

/// The name that an endpoint's certificate must have.
fn server_name(host: &str) -> std::io::Result<ServerName<'static>> {
    ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(url: &str) -> Result<Access, ClientError> {
        Access::new(url, &[], "twin-1", "key".into(), SecretText::new("secret".into()))
    }

    #[test]
    fn an_endpoint_is_a_scheme_a_host_and_perhaps_a_port() {
        let place = |url| access(url).map(|it| (it.host, it.port, it.tls.is_some())).unwrap();
        assert_eq!(place("http://127.0.0.1:9000"), ("127.0.0.1".into(), 9000, false));
        assert_eq!(place("https://s3.example.org/"), ("s3.example.org".into(), 443, true));
        assert_eq!(place("https://[2001:db8::1]:9001"), ("2001:db8::1".into(), 9001, true));
        assert_eq!(place("http://[::1]"), ("::1".into(), 80, false));
        for wrong in ["s3.example.org", "ftp://h", "https://", "https://h/path", "https://h:x", "https://u@h"]
        {
            assert_eq!(access(wrong).err().map(|error| error.exit_code()), Some(2), "{wrong}");
        }
    }

    #[test]
    fn secrets_never_go_to_another_machine_without_tls() {
        assert_eq!(access("http://10.0.0.1:9000").err().map(|error| error.exit_code()), Some(2));
    }
}
