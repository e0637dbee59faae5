//! What a reconciliation asks of the two regions' endpoints about objects, versions and buckets, and their smaller changes.

use crate::ClientError;
use crate::s3::{Access, Answer, Body, Refusal, Request, S3, first};
use crate::target::Target;
use std::time::Duration;

/// User metadata under which a version that was put back says which lost write it is: `REGION/EPOCH/GROUP/SEQUENCE`, and
/// `/beside` after it if it is kept beside.
pub(super) const MARK: &str = "x-amz-meta-twinkeep-reconciled";

/// The id under which an object's only version is known. It names a place and no identity: whatever is written there next
/// has it too, so nothing is removed by it alone.
pub(super) const NULL_VERSION: &str = "null";

/// The longest wait for the next bytes. 30 s: past the 20 s for which a gateway may hold a request during a leader change.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often a question is asked while a region has no good answer.
const TRIES: u32 = 5;

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(200);

/// A client of each region.
pub(super) struct Clients {
    /// Of the old primary.
    pub(super) from: S3,
    /// Of the new one.
    pub(super) to: S3,
}

/// How both regions are reached.
#[derive(Clone)]
pub(super) struct Endpoints {
    from: Access,
    to: Access,
}

/// An object as a region has it.
pub(super) struct Found {
    pub(super) etag: String,
    pub(super) mark: Option<String>,
}

impl Endpoints {
    pub(super) fn of(target: &Target, from: &str, to: &str) -> Result<Self, ClientError> {
        Ok(Self { from: target.access(from)?, to: target.access(to)? })
    }

    pub(super) fn clients(&self) -> Clients {
        let client = |access: &Access| S3::with_patience(access.clone(), PATIENCE);
        Clients { from: client(&self.from), to: client(&self.to) }
    }
}

/// The current object, or a version of it; none when there is none, and for a delete marker.
pub(super) fn find(
    s3: &mut S3,
    bucket: &str,
    key: &str,
    version: Option<&str>,
) -> Result<Option<Found>, Refusal> {
    let answer = ask(s3, || of_version(Request::new("HEAD", path(bucket, key)), version))?;
    Ok(answer.map(|answer| Found {
        etag: plain_etag(answer.header("etag").unwrap_or_default()),
        mark: answer.header(MARK).map(str::to_owned),
    }))
}

/// Whether a version is there, be it an object or a delete marker.
pub(super) fn has_version(s3: &mut S3, bucket: &str, key: &str, version: &str) -> Result<bool, Refusal> {
    match ask(s3, || of_version(Request::new("HEAD", path(bucket, key)), Some(version))) {
        Ok(found) => Ok(found.is_some()),
        // a delete marker cannot be read
        Err(refusal) if refusal.status == Some(405) => Ok(true),
        Err(refusal) => Err(refusal),
    }
}

/// A bucket's versioning, empty when it was never switched on; none when there is no such bucket.
pub(super) fn versioning(s3: &mut S3, bucket: &str) -> Result<Option<String>, Refusal> {
    let answer = match ask(s3, || Request::new("GET", format!("/{bucket}")).with_query("versioning", "")) {
        // the number of one that has no name any more
        Err(refusal) if refusal.status == Some(400) => None,
        answer => answer?,
    };
    Ok(answer.map(|answer| {
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        first(&text, "Status").unwrap_or_default().to_owned()
    }))
}

/// Sets a bucket's versioning.
pub(super) fn set_versioning(s3: &mut S3, bucket: &str, status: &str) -> Result<(), Refusal> {
    let body = format!(
        "<VersioningConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Status>{status}</Status></VersioningConfiguration>"
    );
    let request = Request::new("PUT", format!("/{bucket}")).with_query("versioning", "");
    s3.call(request.with_body(Body::Whole(body.as_bytes()))).map(drop)
}

/// Deletes the object if it has this ETag.
pub(super) fn delete(s3: &mut S3, bucket: &str, key: &str, etag: &str) -> Result<Option<String>, Refusal> {
    let request = Request::new("DELETE", path(bucket, key)).with_header("if-match", quoted(etag));
    Ok(s3.call(request)?.header("x-amz-version-id").map(str::to_owned))
}

/// Removes a version for good; with an ETag only while the current object has it.
pub(super) fn delete_version(
    s3: &mut S3,
    bucket: &str,
    key: &str,
    version: &str,
    current: Option<&str>,
) -> Result<(), Refusal> {
    let mut request = of_version(Request::new("DELETE", path(bucket, key)), Some(version));
    request.headers.extend(current.map(|etag| ("if-match", quoted(etag))));
    s3.call(request).map(drop)
}

/// Asks until there is a good answer; none for what is not there.
pub(super) fn ask<'a>(s3: &mut S3, request: impl Fn() -> Request<'a>) -> Result<Option<Answer>, Refusal> {
    let mut tries = 0;
    loop {
        let refusal = match s3.call(request()) {
            Ok(answer) => return Ok(Some(answer)),
            Err(refusal) if refusal.status == Some(404) => return Ok(None),
            Err(refusal) => refusal,
        };
        tries += 1;
        if tries == TRIES || refusal.status.is_some_and(|status| status < 500) {
            return Err(refusal);
        }
        std::thread::sleep(PAUSE);
    }
}

/// The request for a version.
pub(super) fn of_version<'a>(request: Request<'a>, version: Option<&'a str>) -> Request<'a> {
    match version {
        Some(version) => request.with_query("versionId", version),
        None => request,
    }
}

pub(super) fn path(bucket: &str, key: &str) -> String {
    format!("/{bucket}/{key}")
}

pub(super) fn quoted(etag: &str) -> String {
    format!("\"{etag}\"")
}

/// An ETag without its quotes, however an answer writes them.
pub(super) fn plain_etag(etag: &str) -> String {
    etag.replace("&quot;", "").replace("&#34;", "").replace('"', "")
}
