//! Writes a lost object into the new primary as the old one has it.
//!
//! Kept are the bytes, the ETag (with the parts of an upload as they were), checksums, system headers and user metadata; one
//! entry of metadata is added, the mark. The region checks all bytes against the checksum that they had before anything is
//! visible. Not kept, since S3 has no way to say them: the version's id, when it was written and by whom.

use super::objects::{Clients, MARK, ask, of_version, path, plain_etag, quoted};
use crate::s3::{Answer, BODY_BYTES_MAX, Body, Refusal, Request, S3, first};
use std::io;
use wire::admin::LostWrite;

/// User metadata, bytes of names and values together (S3's own limit).
const USER_METADATA_BYTES_MAX: usize = 2 << 10;

/// The highest number of a part (S3's own limit).
const PART_NUMBER_MAX: u32 = 10_000;

const USER_METADATA: &str = "x-amz-meta-";

/// Headers that are stored with an object.
const STORED: [&str; 6] = [
    "content-type",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "expires",
];

/// Checksums, as headers name them and as an upload announces them.
const CHECKSUMS: [(&str, &str); 5] = [
    ("x-amz-checksum-crc32", "CRC32"),
    ("x-amz-checksum-crc32c", "CRC32C"),
    ("x-amz-checksum-crc64nvme", "CRC64NVME"),
    ("x-amz-checksum-sha1", "SHA1"),
    ("x-amz-checksum-sha256", "SHA256"),
];

/// What writing an object came to.
pub(super) struct Written {
    pub(super) version: Option<String>,
    pub(super) not_kept: Vec<String>,
}

/// A lost write as the old primary has it.
struct Source<'a> {
    write: &'a LostWrite,
    size: u64,
    etag: String,
    head: Answer,
}

/// Writes what the old primary has of a lost write under `name`: above exactly the object with the ETag `above`, or where
/// there is none.
pub(super) fn copy(
    clients: &mut Clients,
    write: &LostWrite,
    name: &str,
    mark: &str,
    above: Option<&str>,
) -> Result<Written, Refusal> {
    let Clients { from, to } = clients;
    let source = Source::find(from, write)?;
    let path = path(write.bucket.as_deref().unwrap_or_default(), name);
    let (headers, not_kept) = source.headers(mark);
    let condition = match above {
        Some(etag) => ("if-match", quoted(etag)),
        None => ("if-none-match", "*".to_owned()),
    };
    let answer = if source.etag.contains('-') {
        source.copy_parts(from, to, &path, headers, condition)?
    } else {
        let mut request = Request::new("PUT", path);
        request.headers = headers;
        request.headers.extend(checksum(&source.head).map(|(name, _, value)| (name, value)));
        request.headers.push(condition);
        source.send(from, to, request, 0, source.size)?
    };
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let etag = answer.header("etag").or_else(|| first(&text, "ETag")).map(plain_etag).unwrap_or_default();
    if etag != source.etag {
        return Err(refusal(&format!("it was written with another ETag: {etag}")));
    }
    Ok(Written { version: answer.header("x-amz-version-id").map(str::to_owned), not_kept })
}

impl<'a> Source<'a> {
    fn find(from: &mut S3, write: &'a LostWrite) -> Result<Self, Refusal> {
        let head = head(from, write, None)?;
        let head = head.ok_or_else(|| refusal("the old primary does not have it any more"))?;
        let etag = plain_etag(head.header("etag").unwrap_or_default());
        let size = length(&head)?;
        if Some(&etag) != write.etag.as_ref() || Some(size) != write.size {
            return Err(refusal("the old primary has another object there"));
        }
        Ok(Self { write, size, etag, head })
    }

    /// The headers under which it is written anew, and what cannot be kept.
    fn headers(&self, mark: &str) -> (Vec<(&str, String)>, Vec<String>) {
        let is_kept =
            |name: &str| STORED.contains(&name) || (name.starts_with(USER_METADATA) && name != MARK);
        let kept = self.head.headers().filter(|(name, _)| is_kept(name));
        let mut headers: Vec<(&str, String)> = kept.map(|(name, value)| (name, value.to_owned())).collect();
        let of_user =
            headers.iter().filter_map(|(name, value)| Some((name.strip_prefix(USER_METADATA)?, value)));
        let bytes: usize = of_user.map(|(name, value)| name.len() + value.len()).sum();
        if bytes + MARK.len() - USER_METADATA.len() + mark.len() > USER_METADATA_BYTES_MAX {
            return (headers, vec!["its metadata leaves no room for the mark".to_owned()]);
        }
        headers.push((MARK, mark.to_owned()));
        (headers, Vec::new())
    }

    /// Sends `length` bytes from `start` on, as the body of `request`.
    fn send(
        &self,
        from: &mut S3,
        to: &mut S3,
        request: Request<'_>,
        start: u64,
        length: u64,
    ) -> Result<Answer, Refusal> {
        let Request { method, path, query, headers, .. } = request;
        let again = |body| Request {
            method,
            path: path.clone(),
            query: query.clone(),
            headers: headers.clone(),
            body,
        };
        if length <= BODY_BYTES_MAX as u64 {
            let bytes = self.read(from, start, length)?;
            return to.call(again(Body::Whole(&bytes)));
        }
        let (mut at, end) = (start, start + length);
        let mut next = || {
            let piece = (end - at).min(BODY_BYTES_MAX as u64);
            let bytes = self.read(from, at, piece).map_err(|refusal| io::Error::other(refusal.reason))?;
            at += piece;
            Ok(bytes)
        };
        to.call(again(Body::Pieces { length, next: &mut next }))
    }

    fn read(&self, from: &mut S3, start: u64, length: u64) -> Result<Vec<u8>, Refusal> {
        if length == 0 {
            return Ok(Vec::new());
        }
        let answer = ask(from, || {
            of_write("GET", self.write)
                .with_header("range", format!("bytes={start}-{}", start + length - 1))
                .with_header("if-match", quoted(&self.etag))
        })?;
        let bytes = answer.ok_or_else(|| refusal("the old primary does not have it any more"))?.body;
        if bytes.len() as u64 == length {
            Ok(bytes)
        } else {
            Err(refusal("the old primary sent another length"))
        }
    }

    /// Uploads the parts as they were, so that the ETag and the checksums come out the same.
    fn copy_parts(
        &self,
        from: &mut S3,
        to: &mut S3,
        path: &str,
        headers: Vec<(&str, String)>,
        condition: (&'static str, String),
    ) -> Result<Answer, Refusal> {
        let whole = checksum(&self.head);
        let kind = self.head.header("x-amz-checksum-type").map(str::to_owned);
        let kind = || kind.clone().map(|kind| ("x-amz-checksum-type", kind));
        let mut request = Request::new("POST", path.to_owned()).with_query("uploads", "");
        request.headers = headers;
        if let Some((_, algorithm, _)) = &whole {
            request.headers.push(("x-amz-checksum-algorithm", (*algorithm).to_owned()));
            request.headers.extend(kind());
        }
        let answer = to.call(request)?;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let upload = first(&text, "UploadId").ok_or_else(|| refusal("the upload has no id"))?;
        let sent = self.send_parts(from, to, path, upload).and_then(|parts| {
            let body = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
            let mut request = Request::new("POST", path.to_owned()).with_query("uploadId", upload);
            request.headers.push(condition);
            request.headers.push(("x-amz-mp-object-size", self.size.to_string()));
            if let Some((name, _, value)) = &whole {
                request.headers.push((name, value.clone()));
                request.headers.extend(kind());
            }
            to.call(request.with_body(Body::Whole(body.as_bytes())))
        });
        if sent.is_err() {
            // its parts are freed; after an answer that was lost there may be an object, and no upload any more
            let _ = to.call(Request::new("DELETE", path.to_owned()).with_query("uploadId", upload));
        }
        sent
    }

    fn send_parts(&self, from: &mut S3, to: &mut S3, path: &str, upload: &str) -> Result<String, Refusal> {
        let (mut start, mut parts) = (0, String::new());
        for number in 1..=PART_NUMBER_MAX {
            if start == self.size {
                break;
            }
            // numbers may have gaps
            let Some(part) = head(from, self.write, Some(number))? else { continue };
            let length = length(&part)?;
            let (name, number) = (path.to_owned(), number.to_string());
            let mut request =
                Request::new("PUT", name).with_query("partNumber", &number).with_query("uploadId", upload);
            request.headers.extend(checksum(&part).map(|(name, _, value)| (name, value)));
            let answer = self.send(from, to, request, start, length)?;
            let etag = answer.header("etag").unwrap_or_default();
            parts.push_str(&format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"));
            start += length;
        }
        if start == self.size {
            Ok(parts)
        } else {
            Err(refusal("the old primary does not name all of its parts"))
        }
    }
}

/// What the old primary says of a write's object, or of one of its parts; none when that is not there.
fn head(from: &mut S3, write: &LostWrite, part: Option<u32>) -> Result<Option<Answer>, Refusal> {
    let part = part.map(|number| number.to_string());
    let answer = ask(from, || {
        let request = of_write("HEAD", write).with_header("x-amz-checksum-mode", "ENABLED");
        match &part {
            Some(number) => request.with_query("partNumber", number),
            None => request,
        }
    });
    match answer {
        // no part has this number
        Err(refusal) if part.is_some() && refusal.status == Some(416) => Ok(None),
        answer => answer,
    }
}

fn of_write<'a>(method: &'a str, write: &'a LostWrite) -> Request<'a> {
    let text = |value: &'a Option<String>| value.as_deref().unwrap_or_default();
    let request = Request::new(method, path(text(&write.bucket), text(&write.key)));
    of_version(request, write.version.as_deref())
}

/// The checksum in an answer: its header, its algorithm, its value.
fn checksum(answer: &Answer) -> Option<(&'static str, &'static str, String)> {
    CHECKSUMS.iter().find_map(|(name, algorithm)| Some((*name, *algorithm, answer.header(name)?.to_owned())))
}

fn length(answer: &Answer) -> Result<u64, Refusal> {
    let length = answer.header("content-length").and_then(|length| length.parse().ok());
    length.ok_or_else(|| refusal("the old primary does not say how long it is"))
}

fn refusal(reason: &str) -> Refusal {
    Refusal { status: None, reason: reason.to_owned() }
}
