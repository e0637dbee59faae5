//! What of a head goes on to the next connection, and what belongs to this one only (RFC 9110, section 7.6.1).

use std::io;

use http::header::{CONNECTION, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, Version};

use crate::config::Endpoint;

/// Names the region that passed a request on. Who gets it does not pass it on again. Answers carry it back.
pub(crate) const MARKER: HeaderName = HeaderName::from_static("x-twinkeep-forwarded");

/// Asks the region that it is sent to, whichever part that one plays: for who reads what only one of the two has.
pub(super) const HERE: HeaderName = HeaderName::from_static("x-twinkeep-here");

/// In a refusal: the region did nothing, since it is not the primary.
pub(crate) const REFUSED: HeaderName = HeaderName::from_static("x-twinkeep-not-primary");

/// Headers between two neighbours, whoever they are.
const BETWEEN_NEIGHBOURS: [HeaderName; 6] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// The request as it goes on: everything as it came, with the marker.
pub(super) fn request<B>(head: &Parts, region: &HeaderValue, body: B) -> Request<B> {
    let mut request = Request::new(body);
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = origin_form(&head.uri);
    *request.version_mut() = Version::HTTP_11;
    *request.headers_mut() = head.headers.clone();
    strip(request.headers_mut());
    request.headers_mut().insert(MARKER, region.clone());
    request
}

/// A request that changes nothing and that nobody signed: whoever serves S3 at the endpoint refuses it by itself.
pub(super) fn probe<B>(endpoint: &Endpoint, body: B) -> io::Result<Request<B>> {
    let host = endpoint.to_string();
    let (_, host) = host.split_once("://").unwrap_or_default();
    let mut request = Request::new(body);
    let host = HeaderValue::from_str(host).map_err(io::Error::other)?;
    request.headers_mut().insert(HOST, host);
    request.headers_mut().insert(HERE, HeaderValue::from_static("probe"));
    Ok(request)
}

/// Takes out what belongs to the connection that it came by.
pub(super) fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&BETWEEN_NEIGHBOURS) {
        headers.remove(name);
    }
}

/// Path and query, byte by byte; a request that names a whole URI is asked for by its path.
fn origin_form(uri: &Uri) -> Uri {
    let target = uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    Uri::from(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_between_two_neighbours_stays_there_and_all_else_goes_on() {
        let (head, ()) = Request::builder()
            .method("PUT")
            .uri("http://s3.example.org/b/a%2Fb+c?x-id=PutObject&empty=&a=%7E")
            .version(Version::HTTP_10)
            .header("host", "s3.example.org")
            .header("connection", "keep-alive, X-Hop")
            .header("x-hop", "1")
            .header("keep-alive", "5")
            .header("te", "trailers")
            .header("transfer-encoding", "chunked")
            .header("trailer", "x-amz-checksum-crc32")
            .header("expect", "100-continue")
            .header("x-amz-meta-two", "a")
            .header("x-amz-meta-two", "b")
            .header("authorization", "AWS4-HMAC-SHA256 ...")
            .body(())
            .unwrap()
            .into_parts();
        let passed = request(&head, &HeaderValue::from_static("twin-2"), ());
        assert_eq!(passed.uri(), "/b/a%2Fb+c?x-id=PutObject&empty=&a=%7E");
        assert_eq!((passed.method(), passed.version()), (&http::Method::PUT, Version::HTTP_11));
        let mut names: Vec<_> = passed.headers().iter().map(|(name, value)| (name.as_str(), value)).collect();
        names.sort_by_key(|(name, _)| *name);
        let values: Vec<String> =
            names.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        assert_eq!(
            values,
            [
                "authorization: AWS4-HMAC-SHA256 ...",
                "expect: 100-continue",
                "host: s3.example.org",
                "trailer: x-amz-checksum-crc32",
                "x-amz-meta-two: a",
                "x-amz-meta-two: b",
                "x-twinkeep-forwarded: twin-2",
            ]
        );
    }
}
