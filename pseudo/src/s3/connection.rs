//! How a server is reached and as whom. Secrets come from the environment or a file of their owner's, never from the command line.

use crate::{PseudoError, files};
use chrono::DateTime;
use clap::Args;
use object_store::aws::{AmazonS3, AmazonS3Builder, AwsAuthorizer, AwsCredential, S3ConditionalPut};
use object_store::client::{HttpClient, HttpConnector, HttpRequestBody, ReqwestConnector};
use object_store::{Certificate, ClientOptions};
use std::path::PathBuf;
use std::time::Duration;
use zeroize::Zeroizing;

/// A server that does not answer within this is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest silence within an answer; a region that chooses a new leader is silent for seconds.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// Certificates and credentials, bytes.
const SMALL_FILE_BYTES_MAX: usize = 1 << 20;
const ACCESS_KEY: &str = "AWS_ACCESS_KEY_ID";
const SECRET_KEY: &str = "AWS_SECRET_ACCESS_KEY";
const TOKEN: &str = "AWS_SESSION_TOKEN";

/// How a server is reached.
#[derive(Debug, Clone, Args)]
pub(crate) struct Connection {
    /// The S3 endpoint: https, or http on this machine
    #[arg(long, value_name = "URL", env = "AWS_ENDPOINT_URL")]
    pub(crate) endpoint: Option<String>,
    /// The region's name
    #[arg(long, value_name = "NAME", env = "AWS_REGION", default_value = "us-east-1")]
    pub(crate) region: String,
    /// A certificate authority to trust beside the system's
    #[arg(long, value_name = "FILE", env = "AWS_CA_BUNDLE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Let data and signatures go over http to another machine
    #[arg(long)]
    pub(crate) allow_http: bool,
    /// Lines AWS_ACCESS_KEY_ID=... and AWS_SECRET_ACCESS_KEY=... that only their owner may read [default: the environment]
    #[arg(long, value_name = "FILE")]
    pub(crate) credentials: Option<PathBuf>,
}

/// As whom.
pub(crate) struct Credentials {
    access_key: String,
    secret_key: Zeroizing<String>,
    token: Option<Zeroizing<String>>,
}

impl Connection {
    /// Refuses what would send data in the clear.
    pub(crate) fn check(&self) -> Result<(), PseudoError> {
        let advice = "use https with --ca-file, or say --allow-http if the network is trusted";
        let endpoint = self.endpoint()?;
        if endpoint.starts_with("https://") {
            return Ok(());
        }
        let Some(rest) = endpoint.strip_prefix("http://") else {
            return Err(PseudoError::usage("an endpoint begins with https:// or http://", ""));
        };
        let authority = rest.split('/').next().unwrap_or_default();
        let host = authority
            .rsplit_once(':')
            .filter(|(_, port)| !port.contains(']'))
            .map_or(authority, |(host, _)| host);
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
        if host == "localhost" || address.is_ok_and(|address| address.is_loopback()) || self.allow_http {
            return Ok(());
        }
        Err(PseudoError::usage("plain http to another machine shows data and answers to the network", advice))
    }

    fn endpoint(&self) -> Result<&str, PseudoError> {
        let missing = || PseudoError::usage("no S3 endpoint is named", "name it with --endpoint");
        self.endpoint.as_deref().ok_or_else(missing)
    }

    /// One bucket of the server.
    pub(super) fn bucket(&self, name: &str, credentials: &Credentials) -> Result<AmazonS3, PseudoError> {
        let mut builder = AmazonS3Builder::new()
            .with_endpoint(self.endpoint()?)
            .with_region(&self.region)
            .with_bucket_name(name)
            .with_access_key_id(&credentials.access_key)
            .with_secret_access_key(credentials.secret_key.as_str())
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .with_client_options(self.options()?);
        if let Some(token) = &credentials.token {
            builder = builder.with_token(token.as_str());
        }
        builder.build().map_err(unusable)
    }

    /// A client for requests that are put together here.
    pub(super) fn client(&self) -> Result<HttpClient, PseudoError> {
        ReqwestConnector::default().connect(&self.options()?).map_err(unusable)
    }

    /// Deletes an object, or one version of it. It is no error that there is none.
    pub(super) async fn delete(
        &self,
        credentials: &Credentials,
        client: &HttpClient,
        bucket: &str,
        key: &str,
        version: Option<&str>,
    ) -> Result<(), PseudoError> {
        let failed = |problem: &str| PseudoError::Store {
            place: format!("deleting an object of {bucket}"),
            problem: problem.to_owned(),
        };
        let version = version.map(|version| format!("?versionId={}", encoded(version, false)));
        let endpoint = self.endpoint()?.trim_end_matches('/');
        let uri = format!("{endpoint}/{bucket}/{}{}", encoded(key, true), version.unwrap_or_default());
        let request = http::Request::builder().method("DELETE").uri(uri).body(HttpRequestBody::empty());
        let mut request = request.map_err(|_| failed("its name cannot be asked for"))?;
        let credential = AwsCredential {
            key_id: credentials.access_key.clone(),
            secret_key: credentials.secret_key.to_string(),
            token: credentials.token.as_ref().map(|token| token.to_string()),
        };
        AwsAuthorizer::new(&credential, "s3", &self.region)
            .try_authorize(&mut request, None)
            .map_err(|_| failed("the request cannot be signed"))?;
        let answer = client.execute(request).await.map_err(|_| failed("the request failed"))?;
        match answer.status().as_u16() {
            200..=299 | 404 => Ok(()),
            403 => Err(failed("these credentials may not do this")),
            status => Err(failed(&format!("the server answered {status}"))),
        }
    }

    /// The server's clock, by the head of whatever it answers; seconds since 1970.
    pub(super) async fn time(&self, client: &HttpClient) -> Result<i64, PseudoError> {
        let failed = || PseudoError::Store {
            place: "the server".to_owned(),
            problem: "it does not say what time it has".to_owned(),
        };
        let request = http::Request::builder().method("HEAD").uri(self.endpoint()?);
        let request = request.body(HttpRequestBody::empty()).map_err(|_| failed())?;
        let answer = client.execute(request).await.map_err(|_| failed())?;
        let date = answer.headers().get(http::header::DATE).and_then(|date| date.to_str().ok());
        let date = date.and_then(|date| DateTime::parse_from_rfc2822(date).ok());
        date.map(|date| date.timestamp()).ok_or_else(failed)
    }

    fn options(&self) -> Result<ClientOptions, PseudoError> {
        let mut options = ClientOptions::new()
            .with_allow_http(true)
            .with_connect_timeout(CONNECT_TIMEOUT)
            .with_read_timeout(READ_TIMEOUT)
            .with_timeout_disabled();
        if let Some(path) = &self.ca_file {
            let pem = files::read(path, SMALL_FILE_BYTES_MAX)?;
            let not_pem = |_| PseudoError::table(path, "no certificates in PEM form");
            for certificate in Certificate::from_pem_bundle(&pem).map_err(not_pem)? {
                options = options.with_root_certificate(certificate);
            }
        }
        Ok(options)
    }

    /// As whom: by the file, else by the environment.
    pub(crate) fn who(&self) -> Result<Credentials, PseudoError> {
        let Some(path) = &self.credentials else {
            let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
            return Credentials::of(&variable).ok_or_else(|| {
                let problem = format!("{ACCESS_KEY} and {SECRET_KEY} are not in the environment");
                PseudoError::usage(problem, "set them, or name a file of them with --credentials")
            });
        };
        let text = files::secret::read_text(path, SMALL_FILE_BYTES_MAX)?;
        let line = |name: &str| {
            let mut pairs = text.lines().filter_map(|line| line.split_once('='));
            pairs.find(|(found, _)| found.trim() == name).map(|(_, value)| value.trim().to_owned())
        };
        Credentials::of(&line).ok_or_else(|| {
            PseudoError::table(path, format!("no lines {ACCESS_KEY}=... and {SECRET_KEY}=..."))
        })
    }
}

/// An endpoint or region that no request can be made with.
fn unusable(_: object_store::Error) -> PseudoError {
    PseudoError::usage("the endpoint or region cannot be used", "check --endpoint")
}

/// Text as it stands in an address: all but letters, digits and `-._~` escaped; slashes stay if they part a name.
fn encoded(text: &str, keeps_slashes: bool) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        let is_plain =
            byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || (keeps_slashes && byte == b'/');
        if is_plain {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

impl Credentials {
    fn of(named: &dyn Fn(&str) -> Option<String>) -> Option<Self> {
        let (access_key, secret_key) = (named(ACCESS_KEY)?, Zeroizing::new(named(SECRET_KEY)?));
        Some(Self { access_key, secret_key, token: named(TOKEN).map(Zeroizing::new) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_goes_to_this_machine_or_where_it_is_told_to() {
        let check = |endpoint: &str, allow_http| {
            let endpoint = Some(endpoint.to_owned());
            let region = "r".to_owned();
            Connection { endpoint, region, ca_file: None, allow_http, credentials: None }.check().is_ok()
        };
        for (endpoint, is_fine) in [
            ("https://s3.example.org", true),
            ("http://127.0.0.1:9000", true),
            ("http://localhost:9000/", true),
            ("http://[::1]:9000", true),
            ("http://[::1]", true),
            ("http://127.0.0.1.example.org:9000", false),
            ("http://10.0.0.1:9000", false),
            ("http://user@10.0.0.1", false),
            ("ftp://127.0.0.1", false),
        ] {
            assert_eq!(check(endpoint, false), is_fine, "{endpoint}");
        }
        assert!(check("http://10.0.0.1:9000", true));
    }
}
