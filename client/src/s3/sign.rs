//! AWS Signature Version 4 in the header, over a whole body or none of it.

use ring::digest::{SHA256, digest};
use ring::hmac::{self, HMAC_SHA256};
use std::fmt::Write;

/// What a signature covers.
pub(super) struct Signable<'a> {
    /// The HTTP method.
    pub(super) method: &'a str,
    /// The path, as it is sent.
    pub(super) path: &'a str,
    /// The query, as it is sent: in order, all but letters, digits and `-._~` escaped.
    pub(super) query: &'a str,
    /// Headers, names in lower case and in order.
    pub(super) headers: &'a [(&'a str, &'a str)],
    /// SHA-256 of the body, or that it is not signed.
    pub(super) body_sha256: &'a str,
    /// When, as `20261121T204605Z`.
    pub(super) instant: &'a str,
}

/// The value of the `authorization` header.
pub(super) fn authorization(access_key: &str, secret_key: &str, region: &str, it: &Signable<'_>) -> String {
    let names: Vec<&str> = it.headers.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let lines = it.headers.iter().fold(String::new(), |mut text, (name, value)| {
        let _ = writeln!(text, "{name}:{}", value.trim());
        text
    });
    let request = format!("{}\n{}\n{}\n{lines}\n{names}\n{}", it.method, it.path, it.query, it.body_sha256);
    let day = it.instant.split('T').next().unwrap_or_default();
    let scope = format!("{day}/{region}/s3/aws4_request");
    let text = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{}", it.instant, sha256_hex(request.as_bytes()));
    let first = zeroize::Zeroizing::new(format!("AWS4{secret_key}"));
    let mut key = hmac::Key::new(HMAC_SHA256, first.as_bytes());
    for part in [day, region, "s3", "aws4_request"] {
        key = hmac::Key::new(HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref());
    }
    let signature = hex(hmac::sign(&key, text.as_bytes()).as_ref());
    format!("AWS4-HMAC-SHA256 Credential={access_key}/{scope}, SignedHeaders={names}, Signature={signature}")
}

/// Escapes all but the unreserved characters, and the slash too unless it is kept.
pub(super) fn escape(text: &str, keeps_slash: bool) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut escaped, byte| {
        let is_plain = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if is_plain || (keeps_slash && byte == b'/') {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
        escaped
    })
}

/// SHA-256 in lower-case digits.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex(digest(&SHA256, bytes).as_ref())
}

/// Bytes in lower-case digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_but_for_unreserved_characters() {
        assert_eq!(escape("a/b c+ä~", true), "a/b%20c%2B%C3%A4~");
        assert_eq!(escape("a/b", false), "a%2Fb");
    }

    #[test]
    fn the_published_example_of_a_signed_get_has_its_published_signature() {
        let empty = sha256_hex(b"");
        let headers = [
            ("host", "examplebucket.s3.amazonaws.com"),
            ("range", "bytes=0-9"),
            ("x-amz-content-sha256", &empty),
            ("x-amz-date", "20130524T000000Z"),
        ];
        let signable = Signable {
            method: "GET",
            path: "/test.txt",
            query: "",
            headers: &headers,
            body_sha256: &empty,
            instant: "20130524T000000Z",
        };
        let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
        let value = authorization("AKIAIOSFODNN7EXAMPLE", secret, "us-east-1", &signable);
        let published = "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41";
        assert!(value.ends_with(published), "{value}");
    }
}
