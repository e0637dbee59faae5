//! AWS Signature Version 4 for the harness's own S3 client: header signatures over a whole body.
//!
//! Written apart from the server's implementation on purpose: two readings of one specification check each other.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// An access key and what it is used for.
#[derive(Clone)]
pub struct Credentials {
    /// The access key id.
    pub access_key: String,
    /// The secret.
    pub secret_key: String,
    /// The region name in the credential scope.
    pub region: String,
}

/// What a signature covers.
pub struct Signable<'a> {
    /// The HTTP method.
    pub method: &'a str,
    /// The path, percent-encoded as it is sent.
    pub path: &'a str,
    /// Query pairs, not encoded.
    pub query: &'a [(String, String)],
    /// Headers to sign, names in lower case; `host` and `x-amz-content-sha256` among them.
    pub headers: &'a [(String, String)],
    /// SHA-256 of the body, in hexadecimal.
    pub body_sha256: &'a str,
    /// The instant of signing, as `20261121T204605Z`.
    pub instant: &'a str,
}

/// The value of the `authorization` header.
pub fn authorization(credentials: &Credentials, signable: &Signable<'_>) -> String {
    let mut headers: Vec<(String, String)> = signable.headers.to_vec();
    headers.sort();
    let names = headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(";");
    let lines: String = headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
    let canonical = format!(
        "{}\n{}\n{}\n{lines}\n{names}\n{}",
        signable.method,
        signable.path,
        query_string(signable.query),
        signable.body_sha256
    );
    let day = &signable.instant[..8];
    let scope = format!("{day}/{}/s3/aws4_request", credentials.region);
    let text =
        format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{}", signable.instant, sha256_hex(canonical.as_bytes()));
    let mut key = keyed(format!("AWS4{}", credentials.secret_key).as_bytes(), day.as_bytes());
    for part in [credentials.region.as_str(), "s3", "aws4_request"] {
        key = keyed(&key, part.as_bytes());
    }
    let signature = hexadecimal(&keyed(&key, text.as_bytes()));
    format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
        credentials.access_key
    )
}

/// The query as it is sent and signed: encoded, sorted by name.
pub fn query_string(query: &[(String, String)]) -> String {
    let mut pairs: Vec<(String, String)> =
        query.iter().map(|(name, value)| (encode(name, false), encode(value, false))).collect();
    pairs.sort();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// Percent-encodes all but the unreserved characters, and the slash too unless it is kept.
pub fn encode(text: &str, keep_slash: bool) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        let plain = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || (keep_slash && byte == b'/');
        if plain {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// SHA-256 in lower-case hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

/// Bytes in lower-case hexadecimal.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Seconds since 1970 as `20261121T204605Z`.
pub fn instant(unix_seconds: u64) -> String {
    let (days, second) = (unix_seconds / 86_400, unix_seconds % 86_400);
    let (year, month, day) = civil(days);
    format!("{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

/// Days since 1970 as a date of the Gregorian calendar.
fn civil(days: u64) -> (u64, u64, u64) {
    // Years counted from March, so that the leap day is the last day of a year; eras of 400 years have 146,097 days.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

fn keyed(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_dates_of_the_calendar() {
        assert_eq!(instant(0), "19700101T000000Z");
        assert_eq!(instant(951_782_400), "20000229T000000Z");
        assert_eq!(instant(1_795_293_965), "20261121T204605Z");
    }

    #[test]
    fn the_published_example_of_a_signed_get_has_its_published_signature() {
        let credentials = Credentials {
            access_key: "AKIAIOSFODNN7EXAMPLE".into(),
            secret_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into(),
            region: "us-east-1".into(),
        };
        let empty = sha256_hex(b"");
        let headers = [
            ("host", "examplebucket.s3.amazonaws.com"),
            ("range", "bytes=0-9"),
            ("x-amz-content-sha256", &empty),
            ("x-amz-date", "20130524T000000Z"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let value = authorization(
            &credentials,
            &Signable {
                method: "GET",
                path: "/test.txt",
                query: &[],
                headers: &headers,
                body_sha256: &empty,
                instant: "20130524T000000Z",
            },
        );
        assert!(
            value.ends_with("f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
            "{value}"
        );
    }
}
