//! AWS Signature Version 4: request headers and presigned addresses.
//!
//! Promises the signatures of the AWS documentation's examples. A [`Signer`] holds the day's derived key, so that
//! signing a prepared request costs a few SHA-256 blocks; presigned addresses are made before a timed window and
//! cost nothing inside it. Payloads are not hashed (`UNSIGNED-PAYLOAD`) unless the caller gives a digest.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::clock::Moment;

/// What the payload digest says when the payload is not part of the signature.
pub const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

/// Lifetime of a presigned address: one day, longer than any run; servers accept up to seven.
const PRESIGNED_LIFETIME_S: u32 = 86_400;

/// An access key and its secret. Neither printed nor copied: share it behind an `Arc`.
pub struct Credentials {
    access_key: String,
    secret_key: Zeroizing<Box<str>>,
}

impl Credentials {
    /// Takes the pair as the server printed it.
    pub fn new(access_key: &str, secret_key: &str) -> Self {
        Self { access_key: access_key.to_owned(), secret_key: Zeroizing::new(secret_key.into()) }
    }
}

/// Signs requests of one day, one region and one access key.
pub struct Signer {
    access_key: String,
    region: String,
    moment: String,
    key: Hmac<Sha256>,
}

/// A request as the signature sees it.
#[derive(Clone, Copy)]
pub struct Canonical<'a> {
    /// HTTP method.
    pub method: &'a str,
    /// Path, already percent-encoded.
    pub path: &'a str,
    /// Query pairs, not encoded, in any order.
    pub query: &'a [(&'a str, &'a str)],
    /// Headers to sign with lower-case names, sorted by name.
    pub headers: &'a [(&'a str, &'a str)],
    /// SHA-256 of the body in hexadecimal, or [`UNSIGNED_PAYLOAD`].
    pub payload: &'a str,
}

impl Signer {
    /// Derives the key of `moment`'s day.
    pub fn new(credentials: &Credentials, region: &str, moment: Moment) -> Self {
        let moment = moment.compact();
        let secret = Zeroizing::new(format!("AWS4{}", &*credentials.secret_key));
        let day = keyed(secret.as_bytes(), &moment[..8]);
        let in_region = keyed(&day, region);
        let service = keyed(&in_region, "s3");
        let key = mac(&keyed(&service, "aws4_request"));
        Self { access_key: credentials.access_key.clone(), region: region.to_owned(), moment, key }
    }

    /// The moment that `x-amz-date` must carry.
    pub fn moment(&self) -> &str {
        &self.moment
    }

    /// The value of the `authorization` header.
    pub fn authorization(&self, request: Canonical<'_>) -> String {
        let signature = self.signature(&request, &encoded_query(request.query));
        format!(
            "AWS4-HMAC-SHA256 Credential={}/{},SignedHeaders={},Signature={signature}",
            self.access_key,
            self.scope(),
            signed_headers(request.headers),
        )
    }

    /// Path and query of an address that carries its own signature over method, host, path and `query`.
    pub fn presign(&self, method: &str, host: &str, path: &str, query: &[(&str, &str)]) -> String {
        self.presign_for(method, host, path, query, PRESIGNED_LIFETIME_S)
    }

    fn presign_for(
        &self,
        method: &str,
        host: &str,
        path: &str,
        query: &[(&str, &str)],
        lifetime_s: u32,
    ) -> String {
        let credential = format!("{}/{}", self.access_key, self.scope());
        let lifetime = lifetime_s.to_string();
        let mut pairs = vec![
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
            ("X-Amz-Credential", credential.as_str()),
            ("X-Amz-Date", self.moment.as_str()),
            ("X-Amz-Expires", lifetime.as_str()),
            ("X-Amz-SignedHeaders", "host"),
        ];
        pairs.extend_from_slice(query);
        let encoded = encoded_query(&pairs);
        let headers = [("host", host)];
        let request = Canonical { method, path, query: &pairs, headers: &headers, payload: UNSIGNED_PAYLOAD };
        let signature = self.signature(&request, &encoded);
        format!("{path}?{encoded}&X-Amz-Signature={signature}")
    }

    fn scope(&self) -> String {
        format!("{}/{}/s3/aws4_request", &self.moment[..8], self.region)
    }

    fn signature(&self, request: &Canonical<'_>, encoded_query: &str) -> String {
        let mut text = format!("{}\n{}\n{encoded_query}\n", request.method, request.path);
        for (name, value) in request.headers {
            text.push_str(name);
            text.push(':');
            text.push_str(value.trim());
            text.push('\n');
        }
        text.push('\n');
        text.push_str(&signed_headers(request.headers));
        text.push('\n');
        text.push_str(request.payload);
        let digest = hexadecimal(&Sha256::digest(text.as_bytes()));
        let to_sign = format!("AWS4-HMAC-SHA256\n{}\n{}\n{digest}", self.moment, self.scope());
        let mut key = self.key.clone();
        key.update(to_sign.as_bytes());
        hexadecimal(&key.finalize().into_bytes())
    }
}

/// SHA-256 in hexadecimal, for payloads that are signed.
pub fn digest(payload: &[u8]) -> String {
    hexadecimal(&Sha256::digest(payload))
}

/// Percent-encodes all but the unreserved characters; `/` stays when `text` is a path.
pub fn percent_encoded(text: &str, is_path: bool) -> String {
    let mut encoded = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte))
            }
            b'/' if is_path => encoded.push('/'),
            _ => {
                encoded.push('%');
                push_hexadecimal(&mut encoded, byte, b"0123456789ABCDEF");
            }
        }
    }
    encoded
}

fn encoded_query(pairs: &[(&str, &str)]) -> String {
    let mut encoded: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{}={}", percent_encoded(name, false), percent_encoded(value, false)))
        .collect();
    encoded.sort_unstable();
    encoded.join("&")
}

fn signed_headers(headers: &[(&str, &str)]) -> String {
    let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
    names.join(";")
}

fn mac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

fn keyed(key: &[u8], text: &str) -> Zeroizing<Vec<u8>> {
    let mut mac = mac(key);
    mac.update(text.as_bytes());
    Zeroizing::new(mac.finalize().into_bytes().to_vec())
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        push_hexadecimal(&mut text, *byte, b"0123456789abcdef");
    }
    text
}

fn push_hexadecimal(text: &mut String, byte: u8, digits: &[u8; 16]) {
    text.push(char::from(digits[usize::from(byte >> 4)]));
    text.push(char::from(digits[usize::from(byte & 15)]));
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const HOST: &str = "examplebucket.s3.amazonaws.com";

    /// The published example pair; it opens nothing.
    fn example() -> Signer {
        let credentials =
            Credentials::new("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
        Signer::new(&credentials, "us-east-1", Moment::from_unix(1_369_353_600))
    }

    fn signature_of(request: Canonical<'_>) -> String {
        let header = example().authorization(request);
        header.rsplit_once("Signature=").unwrap().1.to_owned()
    }

    #[test]
    fn the_documented_ranged_get_has_the_documented_signature() {
        let headers = [
            ("host", HOST),
            ("range", "bytes=0-9"),
            ("x-amz-content-sha256", EMPTY),
            ("x-amz-date", "20130524T000000Z"),
        ];
        let request =
            Canonical { method: "GET", path: "/test.txt", query: &[], headers: &headers, payload: EMPTY };
        assert_eq!(signature_of(request), "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
    }

    #[test]
    fn the_documented_put_has_the_documented_signature() {
        let payload = digest(b"Welcome to Amazon S3.");
        let headers = [
            ("date", "Fri, 24 May 2013 00:00:00 GMT"),
            ("host", HOST),
            ("x-amz-content-sha256", payload.as_str()),
            ("x-amz-date", "20130524T000000Z"),
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
        ];
        let path = percent_encoded("/test$file.text", true);
        let request =
            Canonical { method: "PUT", path: &path, query: &[], headers: &headers, payload: &payload };
        assert_eq!(signature_of(request), "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
    }

    #[test]
    fn the_documented_queries_have_the_documented_signatures() {
        let headers = [("host", HOST), ("x-amz-content-sha256", EMPTY), ("x-amz-date", "20130524T000000Z")];
        let get = Canonical { method: "GET", path: "/", query: &[], headers: &headers, payload: EMPTY };
        assert_eq!(
            signature_of(Canonical { query: &[("lifecycle", "")], ..get }),
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
        );
        assert_eq!(
            signature_of(Canonical { query: &[("prefix", "J"), ("max-keys", "2")], ..get }),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
        );
    }

    #[test]
    fn the_documented_presigned_address_has_the_documented_signature() {
        let address = example().presign_for("GET", HOST, "/test.txt", &[], 86_400);
        assert_eq!(
            address,
            "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256\
             &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
             &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
             &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
        );
    }

    #[test]
    fn query_values_are_encoded_with_their_slashes_and_sorted() {
        let text = encoded_query(&[("prefix", "a/b c"), ("list-type", "2"), ("marker", "ü")]);
        assert_eq!(text, "list-type=2&marker=%C3%BC&prefix=a%2Fb%20c");
    }
}
