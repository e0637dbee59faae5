//! Checks before the protocol layer: what it lets pass and must not.
//!
//! Closes the known gaps of its release (unsigned headers that matter: GHSA-xm99-m3gq-83g8; signature version 2;
//! presigned URLs without an end; form uploads held in memory; chunks held in memory) and bounds what a request may
//! be. It looks at heads only; [`body`] watches what follows them.

pub(crate) mod body;

use http::request::Parts;
use http::{HeaderMap, Method, header};
use s3s::{S3Error, S3ErrorCode};

use super::errors::{invalid_argument, s3};

/// All header names and values together, bytes. AWS allows 8 KiB; presigned URLs and long keys get as much again.
const HEADER_BYTES_MAX: usize = 16 << 10;

/// Path and query, bytes: a key of 1,024 bytes, all escaped, and a presigned URL's parameters.
const TARGET_BYTES_MAX: usize = 8 << 10;

/// How long a presigned URL may be valid, seconds: seven days, as AWS has it.
const EXPIRES_SECONDS_MAX: u64 = 7 * 24 * 3600;

/// Body of one request, bytes (S3's own limit: 5 GiB).
const BODY_BYTES_MAX: u64 = wire::limits::PUT_BYTES_MAX;

/// What chunk framing may add to a body, bytes: 5 GiB in chunks of 8 KiB with a signature of 88 bytes each.
const FRAMING_BYTES_MAX: u64 = 64 << 20;

/// XML bodies, bytes: a completed upload of 10,000 parts with checksums takes 2 MiB.
pub(crate) const XML_BYTES_MAX: usize = 4 << 20;

/// `x-amz-` headers that need no signature: they are bound otherwise, or can only make a request fail.
const UNSIGNED_ALLOWED: [&str; 6] = [
    "x-amz-content-sha256",
    "x-amz-date",
    "x-amz-decoded-content-length",
    "x-amz-trailer",
    "x-amz-sdk-checksum-algorithm",
    "x-amz-user-agent",
];

/// Sub-resources whose requests carry XML.
const XML_RESOURCES: [&str; 22] = [
    "delete",
    "uploadId",
    "restore",
    "select",
    "acl",
    "cors",
    "encryption",
    "lifecycle",
    "logging",
    "notification",
    "ownershipControls",
    "policy",
    "replication",
    "requestPayment",
    "tagging",
    "versioning",
    "website",
    "object-lock",
    "publicAccessBlock",
    "accelerate",
    "legal-hold",
    "retention",
];

/// What the head says about the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BodyPlan {
    /// It comes in aws-chunks.
    pub(crate) chunked: bool,
    /// It is XML that the protocol layer will collect and read.
    pub(crate) xml: bool,
    /// Checksum headers are about the object that a completed upload becomes, not about the body.
    pub(crate) completes: bool,
}

/// Checks a request's head.
pub(crate) fn check(head: &Parts) -> Result<BodyPlan, S3Error> {
    check_sizes(head)?;
    let query = head.uri.query().unwrap_or("");
    check_names(query)?;
    check_authentication(&head.headers, query)?;
    if head.method == Method::POST && is_form(&head.headers) {
        return Err(s3(
            S3ErrorCode::NotImplemented,
            "Uploads by browser forms (POST with multipart/form-data) are not implemented. Use a presigned PUT.",
        ));
    }
    let chunked = value(&head.headers, "x-amz-content-sha256").is_some_and(|v| v.starts_with("STREAMING-"));
    check_lengths(&head.headers, chunked)?;
    let resource = |pair: (&str, &str)| XML_RESOURCES.contains(&pair.0);
    let part_upload = parameters(query).any(|(name, _)| name == "partNumber");
    let xml = match head.method {
        Method::POST => parameters(query).any(resource),
        Method::PUT => !part_upload && parameters(query).any(resource),
        _ => false,
    };
    let completes = xml && parameters(query).any(|(name, _)| name == "uploadId");
    Ok(BodyPlan { chunked, xml, completes })
}

fn check_sizes(head: &Parts) -> Result<(), S3Error> {
    let bytes: usize = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if bytes > HEADER_BYTES_MAX {
        return Err(s3(
            S3ErrorCode::RequestHeaderSectionTooLarge,
            "Your request header section exceeds the maximum allowed request header section size.",
        ));
    }
    if head.uri.path_and_query().is_some_and(|target| target.as_str().len() > TARGET_BYTES_MAX) {
        return Err(s3(S3ErrorCode::InvalidURI, "The request's path and query are too long."));
    }
    Ok(())
}

/// No parameter that S3 knows needs escapes in its name; written with some, it would be one thing here and another where
/// it is acted on.
fn check_names(query: &str) -> Result<(), S3Error> {
    if parameters(query).any(|(name, _)| name.contains(['%', '+'])) {
        return Err(invalid_argument("The names of query parameters must be written without escapes."));
    }
    Ok(())
}

fn check_authentication(headers: &HeaderMap, query: &str) -> Result<(), S3Error> {
    let mut authorizations = headers.get_all(header::AUTHORIZATION).iter();
    let authorization = authorizations.next();
    if authorizations.next().is_some() {
        return Err(invalid_argument("Only one Authorization header is allowed."));
    }
    let in_query = ["X-Amz-Signature", "X-Amz-Algorithm", "X-Amz-Credential", "Signature", "AWSAccessKeyId"];
    let presigned = parameters(query).any(|(name, _)| in_query.contains(&name));
    match authorization {
        Some(_) if presigned => Err(invalid_argument(
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string \
             parameter or the Authorization header should be specified",
        )),
        Some(value) => check_header_signature(headers, value.to_str().unwrap_or("")),
        None if presigned => check_query_signature(headers, query),
        // nothing is allowed without a signature; the access check says so
        None => Ok(()),
    }
}

fn check_header_signature(headers: &HeaderMap, authorization: &str) -> Result<(), S3Error> {
    if !authorization.starts_with("AWS4-HMAC-SHA256") {
        return Err(version_two());
    }
    let field = |name: &str| {
        authorization
            .split([',', ' '])
            .find_map(|field| field.trim().strip_prefix(name).and_then(|rest| rest.strip_prefix('=')))
    };
    check_scope(field("Credential").unwrap_or(""))?;
    check_signed_headers(headers, field("SignedHeaders").unwrap_or(""))
}

fn check_query_signature(headers: &HeaderMap, query: &str) -> Result<(), S3Error> {
    let mut found = parameters(query);
    if found.any(|(name, _)| name == "Signature" || name == "AWSAccessKeyId") {
        return Err(version_two());
    }
    let get = |wanted: &str| parameters(query).find(|(name, _)| *name == wanted).map(|(_, value)| value);
    let expires = get("X-Amz-Expires").and_then(|text| text.parse::<u64>().ok());
    if expires.is_none_or(|seconds| seconds > EXPIRES_SECONDS_MAX) {
        return Err(bad_request(s3(
            S3ErrorCode::Custom("AuthorizationQueryParametersError".into()),
            "X-Amz-Expires must be a number of seconds from 0 to 604800 (seven days)",
        )));
    }
    let decode =
        |text: &str| text.replace("%2F", "/").replace("%2f", "/").replace("%3B", ";").replace("%3b", ";");
    check_scope(&decode(get("X-Amz-Credential").unwrap_or("")))?;
    check_signed_headers(headers, &decode(get("X-Amz-SignedHeaders").unwrap_or("")))
}

/// A signature made for another service must not work here.
fn check_scope(credential: &str) -> Result<(), S3Error> {
    if let Some(before) = credential.strip_suffix("/s3/aws4_request") {
        let region = before.rsplit('/').next().unwrap_or("");
        // what the protocol layer can read; clients that are told the region's name use that then
        if region.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-') {
            return Ok(());
        }
        return Err(bad_request(s3(
            S3ErrorCode::AuthorizationHeaderMalformed,
            "The region in the credential is wrong: sign with this region's name, or any of a-z, 0-9 and hyphens.",
        )));
    }
    Err(bad_request(s3(
        S3ErrorCode::AuthorizationHeaderMalformed,
        "The credential must end in /REGION/s3/aws4_request.",
    )))
}

/// A header that changes what a request does must be part of what was signed.
fn check_signed_headers(headers: &HeaderMap, signed: &str) -> Result<(), S3Error> {
    let is_signed = |name: &str| signed.split(';').any(|found| found.eq_ignore_ascii_case(name));
    if !is_signed("host") {
        return Err(not_signed());
    }
    for (name, value) in headers {
        let name = name.as_str();
        if !name.starts_with("x-amz-") {
            continue;
        }
        // the protocol layer leaves such values out of what it verifies
        if std::str::from_utf8(value.as_bytes()).is_err() {
            return Err(invalid_argument("Header values must be UTF-8."));
        }
        if !UNSIGNED_ALLOWED.contains(&name) && !is_signed(name) {
            return Err(not_signed());
        }
    }
    Ok(())
}

fn check_lengths(headers: &HeaderMap, chunked: bool) -> Result<(), S3Error> {
    let decoded = single_number(headers, "x-amz-decoded-content-length")?;
    let length = single_number(headers, "content-length")?;
    if length.is_some() && headers.contains_key(header::TRANSFER_ENCODING) {
        return Err(bad_request(s3(
            S3ErrorCode::InvalidRequest,
            "Content-Length and Transfer-Encoding must not come together.",
        )));
    }
    let (payload, on_the_wire) = if chunked { (decoded, length) } else { (length, length) };
    let limit = if chunked { BODY_BYTES_MAX + FRAMING_BYTES_MAX } else { BODY_BYTES_MAX };
    if payload.is_some_and(|bytes| bytes > BODY_BYTES_MAX) || on_the_wire.is_some_and(|bytes| bytes > limit) {
        return Err(s3(
            S3ErrorCode::EntityTooLarge,
            "Your proposed upload exceeds the maximum allowed size of 5 GiB. Use a multipart upload.",
        ));
    }
    if let (true, Some(decoded), Some(length)) = (chunked, decoded, length)
        && decoded > length
    {
        return Err(invalid_argument("x-amz-decoded-content-length is larger than Content-Length."));
    }
    Ok(())
}

/// A header that is a number, once, and nothing else.
fn single_number(headers: &HeaderMap, name: &str) -> Result<Option<u64>, S3Error> {
    let mut values = headers.get_all(name).iter();
    let Some(first) = values.next() else { return Ok(None) };
    let digits = first.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    match (digits.and_then(|text| text.parse().ok()), values.next()) {
        (Some(number), None) => Ok(Some(number)),
        _ => Err(invalid_argument("A length header must be one number.")),
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    value(headers, "content-type").is_some_and(|text| {
        text.trim_start().get(..19).is_some_and(|begin| begin.eq_ignore_ascii_case("multipart/form-data"))
    })
}

fn value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Query parameters; their names have no escapes ([`check_names`]), their values may.
pub(crate) fn parameters(query: &str) -> impl Iterator<Item = (&str, &str)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

fn not_signed() -> S3Error {
    s3(
        S3ErrorCode::AccessDenied,
        "There were headers present in the request which were not signed: sign `host` and every x-amz- header.",
    )
}

fn version_two() -> S3Error {
    s3(
        S3ErrorCode::InvalidRequest,
        "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256: configure \
         signature version 4 (boto3: Config(signature_version='s3v4')) and any region but us-east-1.",
    )
}

fn bad_request(mut error: S3Error) -> S3Error {
    error.set_status_code(http::StatusCode::BAD_REQUEST);
    error
}

#[cfg(test)]
mod tests;
