//! An S3 endpoint of the other region, as the configuration names it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::Uri;

/// Where S3 is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Over TLS.
    pub tls: bool,
    /// A name or an address, the latter without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Endpoint {
    /// Whether it cannot be on another machine.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
    }
}

impl FromStr for Endpoint {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let uri: Uri = text.parse().map_err(|_| "it is no URL")?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("it does not begin with https:// or http://"),
        };
        let authority = uri.authority().ok_or("it names no host")?;
        if authority.as_str().contains('@') || uri.path() != "/" || uri.query().is_some() {
            return Err("it has more than a host and a port");
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        if host.is_empty() {
            return Err("it names no host");
        }
        // `Authority::port` takes a number that is too large for none
        let port = match authority.as_str()[authority.host().len()..].strip_prefix(':') {
            Some(port) => port.parse().map_err(|_| "its port is no number up to 65535")?,
            None if tls => 443,
            None => 80,
        };
        Ok(Self { tls, host, port })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{scheme}://{open}{}{close}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_hosts_with_a_scheme_and_a_port() {
        for (text, shown, is_loopback) in [
            ("https://S3.example.org", "https://s3.example.org:443", false),
            ("https://s3.example.org:9000/", "https://s3.example.org:9000", false),
            ("http://127.0.0.1:9001", "http://127.0.0.1:9001", true),
            ("https://[::1]:9000", "https://[::1]:9000", true),
            ("http://localhost", "http://localhost:80", true),
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!((endpoint.to_string().as_str(), endpoint.is_loopback()), (shown, is_loopback));
        }
        for wrong in [
            "",
            "s3.example.org:9000",
            "ftp://h",
            "https://",
            "https://h/b",
            "https://h?x",
            "https://u@h",
            "https://h:99999",
        ] {
            assert!(wrong.parse::<Endpoint>().is_err(), "{wrong}");
        }
    }
}
