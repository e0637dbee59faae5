//! What an upload's headers ask for: checksums and their values, and extras that are refused.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::HeaderMap;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Result, TrailingHeaders};

use crate::gateway::checksum::{Algorithm, Checksum};
use crate::gateway::errors::{bad_digest, invalid_argument, not_implemented, s3};
use crate::gateway::upload::StoredStream;

/// What the client says the body's digests are.
pub(super) struct Requested {
    md5: Option<Vec<u8>>,
    /// The checksum to compute for the client, if it named one.
    pub(super) algorithm: Option<Algorithm>,
    value: Option<Vec<u8>>,
    trailing: Option<TrailingHeaders>,
    trailer_announced: bool,
}

impl Requested {
    /// Reads them from a request's headers.
    pub(super) fn of<T>(request: &S3Request<T>) -> S3Result<Self> {
        let headers = &request.headers;
        let md5 = match text(headers, "content-md5")? {
            Some(value) => {
                Some(BASE64.decode(value).ok().filter(|d| d.len() == 16).ok_or_else(invalid_digest)?)
            }
            None => None,
        };
        let mut algorithm = None;
        let mut value = None;
        for candidate in Algorithm::ALL {
            let Some(digest) = text(headers, candidate.header())? else { continue };
            if algorithm.is_some() {
                return Err(s3(
                    S3ErrorCode::InvalidRequest,
                    "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
                ));
            }
            value = Some(candidate.parse_digest(digest).ok_or_else(invalid_checksum)?);
            algorithm = Some(candidate);
        }
        let trailer = text(headers, "x-amz-trailer")?.map(|name| {
            Algorithm::ALL.into_iter().find(|known| known.header().eq_ignore_ascii_case(name.trim()))
        });
        let announced = ["x-amz-sdk-checksum-algorithm", "x-amz-checksum-algorithm"];
        let mut named = None;
        for header in announced {
            if let Some(name) = text(headers, header)? {
                named = Some(Algorithm::parse(name).ok_or_else(unknown_algorithm)?);
            }
        }
        let trailer_announced = match trailer {
            Some(None) => {
                return Err(s3(
                    S3ErrorCode::InvalidRequest,
                    "The value specified in the x-amz-trailer header is not supported",
                ));
            }
            Some(Some(_)) if value.is_some() => {
                return Err(s3(S3ErrorCode::InvalidRequest, "Expecting a single x-amz-checksum- header"));
            }
            Some(found) => {
                algorithm = found;
                true
            }
            None => false,
        };
        let algorithm = algorithm.or(named);
        let trailing = request.trailing_headers.clone();
        Ok(Self { md5, algorithm, value, trailing, trailer_announced })
    }

    /// Compares what arrived; gives the client's checksum, verified.
    pub(super) fn verify(&self, stored: &StoredStream) -> S3Result<Option<Checksum>> {
        if self.md5.as_ref().is_some_and(|wanted| wanted[..] != stored.md5[..]) {
            return Err(bad_digest());
        }
        let Some(algorithm) = self.algorithm else { return Ok(None) };
        let computed = stored.checksums.iter().find(|found| found.algorithm == algorithm);
        let computed = computed.ok_or_else(|| crate::gateway::errors::unexpected("a missing checksum"))?;
        let trailing = match (&self.trailing, self.trailer_announced) {
            (Some(trailing), true) => {
                let value = trailing.read(|headers| {
                    headers.get(algorithm.header()).and_then(|value| value.to_str().ok()).map(str::to_owned)
                });
                let value = value.flatten().ok_or_else(|| {
                    malformed_trailer("The trailer that x-amz-trailer announced did not come.")
                })?;
                Some(algorithm.parse_digest(&value).ok_or_else(invalid_checksum)?)
            }
            (None, true) => {
                return Err(malformed_trailer("The body has no trailer though one was announced."));
            }
            _ => None,
        };
        if self.value.as_ref().or(trailing.as_ref()).is_some_and(|wanted| *wanted != computed.digest) {
            return Err(bad_digest());
        }
        Ok(Some(computed.clone()))
    }
}

/// Headers that ask for what this release does not do, or does for all.
pub(super) fn refuse_extras(headers: &HeaderMap) -> S3Result<()> {
    for name in headers.keys() {
        let Some(name) = name.as_str().strip_prefix("x-amz-") else { continue };
        let value = headers.get(format!("x-amz-{name}")).and_then(|value| value.to_str().ok()).unwrap_or("");
        match name {
            "acl" if !value.is_empty() && value != "private" && value != "bucket-owner-full-control" => {
                return Err(no_acls());
            }
            _ if name.starts_with("grant-") => return Err(no_acls()),
            _ if name.starts_with("object-lock-") => {
                return Err(s3(S3ErrorCode::InvalidRequest, "Bucket is missing Object Lock Configuration"));
            }
            _ if name.starts_with("server-side-encryption-customer-")
                || name.starts_with("copy-source-server-side-encryption-customer-") =>
            {
                return Err(not_implemented("Keys given by the client (SSE-C) are not implemented."));
            }
            "server-side-encryption" if value != "AES256" => {
                return Err(not_implemented("Everything is encrypted; only AES256 can be asked for."));
            }
            "storage-class" if value != "STANDARD" => {
                return Err(s3(S3ErrorCode::InvalidStorageClass, "The only storage class is STANDARD."));
            }
            "tagging" if !value.is_empty() => return Err(not_implemented("Tags are not implemented.")),
            "website-redirect-location" => return Err(not_implemented("Websites are not implemented.")),
            "write-offset-bytes" => return Err(not_implemented("Appending is not implemented.")),
            _ => {}
        }
    }
    Ok(())
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> S3Result<Option<&'a str>> {
    match headers.get(name).map(|value| value.to_str()) {
        None => Ok(None),
        Some(Ok(text)) => Ok(Some(text)),
        Some(Err(_)) => Err(invalid_argument("Header values must be text.")),
    }
}

fn no_acls() -> S3Error {
    s3(
        S3ErrorCode::AccessControlListNotSupported,
        "The bucket does not allow ACLs: rights are granted to principals with `twinkeep`.",
    )
}

fn malformed_trailer(message: &'static str) -> S3Error {
    let mut error = s3(S3ErrorCode::Custom("MalformedTrailerError".into()), message);
    error.set_status_code(http::StatusCode::BAD_REQUEST);
    error
}

fn invalid_digest() -> S3Error {
    s3(S3ErrorCode::InvalidDigest, "The Content-MD5 you specified was invalid.")
}

fn invalid_checksum() -> S3Error {
    s3(S3ErrorCode::InvalidRequest, "Value for an x-amz-checksum- header is invalid.")
}

fn unknown_algorithm() -> S3Error {
    s3(
        S3ErrorCode::InvalidRequest,
        "Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, \
         CRC64NVME, SHA1, SHA256]",
    )
}
