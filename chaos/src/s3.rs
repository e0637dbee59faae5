//! A blocking S3 client whose outcomes are the three that a history needs: done, refused, unknown.
//!
//! It never retries: what an application sees is what the test records. Plain HTTP and path style, signed by [`crate::sign`].

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::http::{Answer, Connection, Silence};
use crate::sign::{Credentials, Signable, authorization, encode, instant, query_string, sha256_hex};
use crate::trouble::{Outcome, Trouble};

/// How long one request may take: past the 20 s for which a gateway may hold it during a leader change.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(40);

/// Why an operation was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The server said no (4xx), or was never reached: there is no effect.
    Refused {
        /// The HTTP status, zero when no connection was made.
        status: u16,
        /// The S3 error code, or the reason.
        code: String,
    },
    /// There may be an effect, now or later: a 5xx, a broken connection or no answer in time.
    Unknown {
        /// What was seen.
        reason: String,
    },
}

/// What a write that was acknowledged made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Written {
    /// The version id, when the bucket is versioned.
    pub version: Option<String>,
    /// The entity tag, without quotes.
    pub etag: String,
}

/// One entry of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The version id; empty in a listing of current objects.
    pub version: String,
    /// Whether it is a delete marker.
    pub is_delete_marker: bool,
    /// Bytes; none of a delete marker.
    pub size: Option<u64>,
}

/// One client with one connection.
pub struct S3 {
    connection: Connection,
    host: String,
    credentials: Credentials,
}

impl S3 {
    /// A client of the gateway at this address.
    pub fn new(address: SocketAddr, credentials: Credentials) -> Self {
        Self::with_timeout(address, credentials, REQUEST_TIMEOUT)
    }

    /// A client that gives up earlier or later than the default.
    pub fn with_timeout(address: SocketAddr, credentials: Credentials, timeout: Duration) -> Self {
        S3 { connection: Connection::new(address, timeout), host: address.to_string(), credentials }
    }

    /// Any request: path not encoded, query pairs, further headers in lower case.
    pub fn call(
        &mut self,
        method: &str,
        path: &str,
        query: &[(&str, &str)],
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer, Failure> {
        let path = encode(path, true);
        let query: Vec<(String, String)> =
            query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let (instant, body_sha256) = (instant(now), sha256_hex(body));
        let mut signed = vec![
            ("host".to_owned(), self.host.clone()),
            ("x-amz-content-sha256".to_owned(), body_sha256.clone()),
            ("x-amz-date".to_owned(), instant.clone()),
        ];
        signed.extend(headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let signable = Signable {
            method,
            path: &path,
            query: &query,
            headers: &signed,
            body_sha256: &body_sha256,
            instant: &instant,
        };
        let authorization = authorization(&self.credentials, &signable);
        signed.push(("authorization".to_owned(), authorization));
        let target = if query.is_empty() { path } else { format!("{path}?{}", query_string(&query)) };
        let answer =
            self.connection.request(method, &target, &signed, body).map_err(|silence| match silence {
                Silence::NotSent(reason) => Failure::Refused { status: 0, code: reason },
                Silence::Unknown(reason) => Failure::Unknown { reason },
            })?;
        judge(answer)
    }

    /// Makes a bucket.
    pub fn create_bucket(&mut self, bucket: &str) -> Result<(), Failure> {
        self.call("PUT", &format!("/{bucket}"), &[], &[], b"").map(drop)
    }

    /// Switches versioning on.
    pub fn enable_versioning(&mut self, bucket: &str) -> Result<(), Failure> {
        let body = b"<VersioningConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Status>Enabled</Status></VersioningConfiguration>";
        self.call("PUT", &format!("/{bucket}"), &[("versioning", "")], &[], body).map(drop)
    }

    /// Writes an object.
    pub fn put(&mut self, bucket: &str, key: &str, body: &[u8]) -> Result<Written, Failure> {
        self.put_with(bucket, key, &[], body)
    }

    /// Writes an object with further headers, such as user metadata or a condition.
    pub fn put_with(
        &mut self,
        bucket: &str,
        key: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Written, Failure> {
        self.call("PUT", &format!("/{bucket}/{key}"), &[], headers, body).map(|answer| written(&answer))
    }

    /// Reads an object; none when there is no such key.
    pub fn get(&mut self, bucket: &str, key: &str) -> Result<Option<Vec<u8>>, Failure> {
        self.read(bucket, key, &[])
    }

    /// Reads one version of an object; none when there is no such version.
    pub fn get_version(
        &mut self,
        bucket: &str,
        key: &str,
        version: &str,
    ) -> Result<Option<Vec<u8>>, Failure> {
        self.read(bucket, key, &[("versionId", version)])
    }

    fn read(&mut self, bucket: &str, key: &str, query: &[(&str, &str)]) -> Result<Option<Vec<u8>>, Failure> {
        match self.call("GET", &format!("/{bucket}/{key}"), query, &[], b"") {
            Ok(answer) => Ok(Some(answer.body)),
            Err(Failure::Refused { status: 404, .. }) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Deletes an object, or puts a delete marker on it.
    pub fn delete(&mut self, bucket: &str, key: &str) -> Result<Written, Failure> {
        self.call("DELETE", &format!("/{bucket}/{key}"), &[], &[], b"").map(|answer| written(&answer))
    }

    /// Writes an object in parts.
    pub fn put_multipart(&mut self, bucket: &str, key: &str, parts: &[Vec<u8>]) -> Result<Written, Failure> {
        let path = format!("/{bucket}/{key}");
        let answer = self.call("POST", &path, &[("uploads", "")], &[], b"").map_err(no_effect)?;
        let upload = first(&text(&answer), "UploadId").unwrap_or_default();
        let mut listed = String::new();
        for (place, part) in parts.iter().enumerate() {
            let number = (place + 1).to_string();
            let query = [("partNumber", number.as_str()), ("uploadId", upload.as_str())];
            let answer = self.call("PUT", &path, &query, &[], part).map_err(no_effect)?;
            let etag = answer.header("etag").unwrap_or_default();
            listed.push_str(&format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"));
        }
        let body = format!("<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>");
        let answer = self.call("POST", &path, &[("uploadId", &upload)], &[], body.as_bytes())?;
        let etag = first(&text(&answer), "ETag").unwrap_or_default();
        // A completion may answer 200 and carry an error in its body: AWS does so when it fails after the first byte.
        if etag.is_empty() {
            return Err(Failure::Unknown { reason: text(&answer) });
        }
        Ok(Written {
            etag: etag.replace("&quot;", "").replace('"', ""),
            version: answer.header("x-amz-version-id").map(str::to_owned),
        })
    }

    /// Every current object under a prefix, in the order the server gave.
    pub fn list(&mut self, bucket: &str, prefix: &str) -> Result<Vec<Entry>, Failure> {
        let (mut entries, mut token) = (Vec::new(), String::new());
        loop {
            let mut query = vec![("list-type", "2"), ("prefix", prefix)];
            if !token.is_empty() {
                query.push(("continuation-token", token.as_str()));
            }
            let page = text(&self.call("GET", &format!("/{bucket}"), &query, &[], b"")?);
            entries.extend(elements(&page, "Contents").iter().map(|element| entry(element, false)));
            match first(&page, "NextContinuationToken") {
                Some(next) => token = next,
                None => return Ok(entries),
            }
        }
    }

    /// Every version and delete marker of a bucket.
    pub fn list_versions(&mut self, bucket: &str) -> Result<Vec<Entry>, Failure> {
        let (mut entries, mut key, mut version) = (Vec::new(), String::new(), String::new());
        loop {
            let mut query = vec![("versions", "")];
            if !key.is_empty() {
                query.extend([("key-marker", key.as_str()), ("version-id-marker", version.as_str())]);
            }
            let page = text(&self.call("GET", &format!("/{bucket}"), &query, &[], b"")?);
            entries.extend(elements(&page, "Version").iter().map(|element| entry(element, false)));
            entries.extend(elements(&page, "DeleteMarker").iter().map(|element| entry(element, true)));
            let next_version = first(&page, "NextVersionIdMarker").unwrap_or_default();
            match first(&page, "NextKeyMarker") {
                Some(next_key) if !next_key.is_empty() => (key, version) = (next_key, next_version),
                _ => return Ok(entries),
            }
        }
    }

    /// Repeats an operation that has no lasting effect until it answers, for at most `patience`.
    pub fn persist<T>(
        &mut self,
        patience: Duration,
        mut operation: impl FnMut(&mut S3) -> Result<T, Failure>,
    ) -> Outcome<T> {
        let deadline = Instant::now() + patience;
        loop {
            match operation(self) {
                Ok(value) => return Ok(value),
                Err(failure) if Instant::now() > deadline => {
                    return Err(Trouble::new(format!(
                        "no good answer in {patience:?}; the last was {failure:?}"
                    )));
                }
                // A refused connection answers at once; without a pause the loop would only burn CPU the server needs.
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }
}

/// The text between the first pair of these tags, with XML's own escapes undone.
pub fn first(xml: &str, tag: &str) -> Option<String> {
    elements(xml, tag).first().map(|text| unescape(text))
}

/// The inner text of each element with this tag; elements of one name never nest in S3's answers.
pub fn elements<'a>(xml: &'a str, tag: &str) -> Vec<&'a str> {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    let mut rest = xml;
    let mut found = Vec::new();
    while let Some((_, after)) = rest.split_once(&open) {
        let Some((inner, tail)) = after.split_once(&close) else { break };
        found.push(inner);
        rest = tail;
    }
    found
}

fn judge(answer: Answer) -> Result<Answer, Failure> {
    match answer.status {
        200..300 => Ok(answer),
        500.. => Err(Failure::Unknown { reason: format!("{} {}", answer.status, text(&answer)) }),
        status => {
            let code = first(&text(&answer), "Code").unwrap_or_default();
            Err(Failure::Refused { status, code })
        }
    }
}

/// A failed step before the completion of an upload leaves no object, whatever became of the step.
fn no_effect(failure: Failure) -> Failure {
    match failure {
        Failure::Unknown { reason } => Failure::Refused { status: 0, code: reason },
        refused => refused,
    }
}

fn written(answer: &Answer) -> Written {
    Written {
        version: answer.header("x-amz-version-id").map(str::to_owned),
        etag: answer.header("etag").unwrap_or_default().replace('"', ""),
    }
}

fn entry(element: &str, is_delete_marker: bool) -> Entry {
    Entry {
        key: first(element, "Key").unwrap_or_default(),
        version: first(element, "VersionId").unwrap_or_default(),
        is_delete_marker,
        size: first(element, "Size").and_then(|size| size.parse().ok()),
    }
}

/// What an answer says.
pub fn text(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.body).into_owned()
}

fn unescape(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
}
