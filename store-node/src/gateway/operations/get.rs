//! GetObject and HeadObject: one query brings record and first chunk, the rest follows as it is sent.

use std::sync::Arc;

use bytes::Bytes;
use envelope::{ObjectPlace, SealedPart, open_metadata, verify_parts};
use http::{HeaderMap, HeaderValue};
use s3s::dto;
use s3s::{Body, S3Error, S3ErrorCode, S3Request, S3Response, S3Result};
use wire::{
    Answer, BodyWanted, ChunkPosition, GroupId, ObjectContent, ObjectKey, Query, UnixMillis, VersionRecord,
    VersioningMode,
};

use super::conditions::{ReadConditions, Verdict, not_modified};
use super::put::object_key;
use super::shown::{self, ShownChecksum};
use crate::gateway::checksum::Checksum;
use crate::gateway::context::RequestContext;
use crate::gateway::directory::Bucket;
use crate::gateway::download::{Download, FirstChunk, OpenedObject};
use crate::gateway::metadata::ObjectMetadata;
use crate::gateway::{Core, bucket_of, context, errors};

/// A version that exists, as the region has it.
pub(super) struct Found {
    pub(super) group: GroupId,
    pub(super) key: ObjectKey,
    pub(super) record: VersionRecord,
    mode: VersioningMode,
    named: bool,
    first: Option<(ChunkPosition, Bytes)>,
}

/// A version that is an object, not a delete marker.
pub(super) struct Live {
    pub(super) group: GroupId,
    pub(super) key: ObjectKey,
    pub(super) version_id: Option<String>,
    pub(super) version: wire::VersionRef,
    pub(super) modified: UnixMillis,
    pub(super) content: ObjectContent,
    first: Option<(ChunkPosition, Bytes)>,
}

/// A version with its key and metadata at hand.
pub(super) struct Opened {
    pub(super) object: Arc<OpenedObject>,
    pub(super) metadata: ObjectMetadata,
    pub(super) first: Option<FirstChunk>,
}

/// Asks the region for a version.
pub(super) async fn find(
    core: &Arc<Core>,
    context: &RequestContext,
    bucket: &Bucket,
    key: &str,
    version_id: Option<&str>,
    body: BodyWanted,
) -> S3Result<Found> {
    let key = object_key(key)?;
    let which = shown::which_version(version_id)?;
    let group = core.group_of(bucket.id, &key);
    let query = Query::Version { bucket: bucket.id, key: key.clone(), which, body };
    let (answer, bulk) = core.query(group, query, context.deadline()).await?;
    let Answer::Version { record, body } = answer else {
        return Err(errors::unexpected("the answer with a version"));
    };
    let named = version_id.is_some();
    let missing = if named { errors::no_such_version } else { errors::no_such_key };
    let record = record.ok_or_else(missing)?;
    let first = body.map(|position| (position, bulk));
    Ok(Found { group, key, record, mode: bucket.versioning, named, first })
}

impl Found {
    /// The object; a delete marker is none.
    pub(super) fn live(self) -> S3Result<Live> {
        let Self { group, key, record, mode, named, first } = self;
        let version_id = shown::version_id(mode, record.null, record.version);
        let VersionRecord { version, modified, content, .. } = record;
        match content {
            Some(content) => Ok(Live { group, key, version_id, version, modified, content, first }),
            None => Err(delete_marker(version_id, named, modified)),
        }
    }
}

impl Live {
    /// Unwraps the object's key, opens its metadata, checks its list of parts.
    pub(super) async fn open(self, core: &Arc<Core>, bucket: &Bucket) -> S3Result<Opened> {
        let tenant = core.keyring.options().tenant;
        let place = ObjectPlace::new(tenant, bucket.id, self.key.as_bytes(), self.version.version);
        let sealed = |error: envelope::EnvelopeError| errors::sealed(&error);
        let key = core.keyring.open_object(&place, &self.content.header).await.map_err(sealed)?;
        let plain = open_metadata(&key, &place, self.content.metadata.clone()).map_err(sealed)?;
        let metadata = ObjectMetadata::decode(plain).map_err(|error| errors::undecodable(&error))?;
        if let Some(seal) = &metadata.parts_seal {
            verify_parts(&key, &place, &sealed_parts(&self.content), seal).map_err(sealed)?;
        }
        let first = self.first.map(|(position, sealed)| FirstChunk {
            part: position.part as usize,
            chunk: position.chunk,
            sealed,
        });
        let object = OpenedObject { group: self.group, place, key, content: self.content };
        Ok(Opened { object: Arc::new(object), metadata, first })
    }
}

/// The list of parts as it is sealed.
pub(super) fn sealed_parts(content: &ObjectContent) -> Vec<SealedPart> {
    let part = |part: &wire::PartContent| SealedPart {
        part: part.number,
        stream: part.stream,
        stream_bytes: part.size,
    };
    content.parts.iter().map(part).collect()
}

pub(super) async fn get(
    core: &Arc<Core>,
    request: S3Request<dto::GetObjectInput>,
) -> S3Result<S3Response<dto::GetObjectOutput>> {
    let context = context::of(&request)?.clone();
    let bucket = bucket_of(&request)?;
    let input = request.input;
    if input.range.is_some() && input.part_number.is_some() {
        return Err(errors::s3(
            S3ErrorCode::InvalidRequest,
            "Cannot specify both Range header and partNumber query parameter",
        ));
    }
    let wanted = match (input.range, input.part_number) {
        (_, Some(number)) => BodyWanted::Part(part_number(number)?),
        (Some(dto::Range::Int { first, .. }), None) => BodyWanted::At(first),
        (Some(dto::Range::Suffix { length }), None) => BodyWanted::Last(length),
        (None, None) => BodyWanted::At(0),
    };
    let live =
        find(core, &context, &bucket, &input.key, input.version_id.as_deref(), wanted).await?.live()?;
    let conditions = ReadConditions {
        if_match: input.if_match.as_ref(),
        if_none_match: input.if_none_match.as_ref(),
        if_modified_since: input.if_modified_since.as_ref(),
        if_unmodified_since: input.if_unmodified_since.as_ref(),
    };
    check(&conditions, &live)?;
    let span = Span::of(&live.content, input.range, input.part_number)?;
    let shows_checksum = input.checksum_mode.is_some_and(|mode| mode.as_str() == dto::ChecksumMode::ENABLED);
    let head = Head::new(&live, &span, shows_checksum)?;
    let Opened { object, metadata, first } = live.open(core, &bucket).await?;
    let mut download = Download::new(core.clone(), object, span.start, span.length, first);
    let body = match download.try_now()? {
        Some(bytes) => Body::from(bytes),
        None => Body::http_body_unsync(download),
    };
    let ShownChecksum { crc32, crc32c, crc64nvme, sha1, sha256, kind } = head.checksum;
    Ok(S3Response::new(dto::GetObjectOutput {
        body: Some(dto::StreamingBlob::from(body)),
        accept_ranges: Some("bytes".into()),
        content_length: Some(shown::size(span.length)),
        content_range: span.content_range(),
        e_tag: Some(head.etag),
        last_modified: Some(head.modified),
        version_id: head.version_id,
        parts_count: head.parts_count,
        checksum_crc32: crc32,
        checksum_crc32c: crc32c,
        checksum_crc64nvme: crc64nvme,
        checksum_sha1: sha1,
        checksum_sha256: sha256,
        checksum_type: kind,
        expires: metadata.shown_expires(),
        metadata: metadata.shown_user(),
        content_type: Some(metadata.content_type.unwrap_or_else(default_type)),
        cache_control: metadata.cache_control,
        content_disposition: metadata.content_disposition,
        content_encoding: metadata.content_encoding,
        content_language: metadata.content_language,
        ..Default::default()
    }))
}

pub(super) async fn head(
    core: &Arc<Core>,
    request: S3Request<dto::HeadObjectInput>,
) -> S3Result<S3Response<dto::HeadObjectOutput>> {
    let context = context::of(&request)?.clone();
    let bucket = bucket_of(&request)?;
    let input = request.input;
    let version_id = input.version_id.as_deref();
    let found = find(core, &context, &bucket, &input.key, version_id, BodyWanted::Nothing).await?;
    let live = found.live()?;
    let conditions = ReadConditions {
        if_match: input.if_match.as_ref(),
        if_none_match: input.if_none_match.as_ref(),
        if_modified_since: input.if_modified_since.as_ref(),
        if_unmodified_since: input.if_unmodified_since.as_ref(),
    };
    check(&conditions, &live)?;
    let span = Span::of(&live.content, input.range, input.part_number)?;
    let shows_checksum = input.checksum_mode.is_some_and(|mode| mode.as_str() == dto::ChecksumMode::ENABLED);
    let head = Head::new(&live, &span, shows_checksum)?;
    let Opened { metadata, .. } = live.open(core, &bucket).await?;
    let ShownChecksum { crc32, crc32c, crc64nvme, sha1, sha256, kind } = head.checksum;
    let output = dto::HeadObjectOutput {
        accept_ranges: Some("bytes".into()),
        content_length: Some(shown::size(span.length)),
        content_range: span.content_range(),
        e_tag: Some(head.etag),
        last_modified: Some(head.modified),
        version_id: head.version_id,
        parts_count: head.parts_count,
        checksum_crc32: crc32,
        checksum_crc32c: crc32c,
        checksum_crc64nvme: crc64nvme,
        checksum_sha1: sha1,
        checksum_sha256: sha256,
        checksum_type: kind,
        expires: metadata.shown_expires(),
        metadata: metadata.shown_user(),
        content_type: Some(metadata.content_type.unwrap_or_else(default_type)),
        cache_control: metadata.cache_control,
        content_disposition: metadata.content_disposition,
        content_encoding: metadata.content_encoding,
        content_language: metadata.content_language,
        ..Default::default()
    };
    let partial = span.partial;
    let mut response = S3Response::new(output);
    response.status = partial.then_some(http::StatusCode::PARTIAL_CONTENT);
    Ok(response)
}

/// What GET and HEAD say alike.
struct Head {
    etag: dto::ETag,
    modified: dto::Timestamp,
    version_id: Option<String>,
    parts_count: Option<i32>,
    checksum: ShownChecksum,
}

impl Head {
    fn new(live: &Live, span: &Span, shows_checksum: bool) -> S3Result<Self> {
        let content = &live.content;
        // a checksum is about the object or about one part, never about a range
        let recorded = match (shows_checksum, span.part) {
            (false, _) => None,
            (true, Some(index)) if content.multipart => Some(&content.parts[index].checksum),
            (true, _) if span.partial && span.part.is_none() => None,
            (true, _) => Some(&content.checksum),
        };
        let checksum = match recorded {
            Some(bytes) => Checksum::decode(bytes).map_err(|error| errors::undecodable(&error))?,
            None => None,
        };
        let parts = i32::try_from(content.parts.len()).unwrap_or(i32::MAX);
        Ok(Self {
            etag: shown::etag(&content.etag),
            modified: shown::timestamp(live.modified),
            version_id: live.version_id.clone(),
            parts_count: (content.multipart && span.part.is_some()).then_some(parts),
            checksum: ShownChecksum::of(checksum.as_ref()),
        })
    }
}

/// Which bytes of an object are wanted.
struct Span {
    start: u64,
    length: u64,
    size: u64,
    /// Not the whole object was asked for.
    partial: bool,
    /// The part that was asked for, from 0.
    part: Option<usize>,
}

impl Span {
    fn of(content: &ObjectContent, range: Option<dto::Range>, part: Option<i32>) -> S3Result<Self> {
        let size = content.size;
        if let Some(number) = part {
            return Self::of_part(content, part_number(number)?);
        }
        let Some(range) = range else {
            return Ok(Self { start: 0, length: size, size, partial: false, part: None });
        };
        match range.check(size) {
            Ok(bytes) if !bytes.is_empty() => {
                let length = bytes.end - bytes.start;
                Ok(Self { start: bytes.start, length, size, partial: true, part: None })
            }
            _ => Err(invalid_range(size)),
        }
    }

    fn of_part(content: &ObjectContent, number: u16) -> S3Result<Self> {
        let size = content.size;
        let index = content.parts.iter().position(|part| part.number == number);
        let index = index.ok_or_else(|| {
            let mut error =
                errors::s3(S3ErrorCode::InvalidPart, "The requested partnumber is not satisfiable");
            error.set_code(S3ErrorCode::Custom("InvalidPartNumber".into()));
            error.set_status_code(http::StatusCode::RANGE_NOT_SATISFIABLE);
            error
        })?;
        let start = content.parts[..index].iter().map(|part| part.size).sum();
        let length = content.parts[index].size;
        Ok(Self { start, length, size, partial: true, part: Some(index) })
    }

    fn content_range(&self) -> Option<String> {
        let Self { start, length, size, .. } = self;
        (self.partial && *length > 0).then(|| format!("bytes {start}-{}/{size}", start + length - 1))
    }
}

fn check(conditions: &ReadConditions<'_>, live: &Live) -> S3Result<()> {
    match conditions.judge(&live.content.etag, live.modified) {
        Verdict::Go => Ok(()),
        Verdict::NotModified => Err(not_modified(&live.content.etag, live.modified)),
        Verdict::Failed => Err(errors::precondition_failed()),
    }
}

fn part_number(number: i32) -> S3Result<u16> {
    u16::try_from(number)
        .ok()
        .filter(|number| (1..=wire::limits::PART_NUMBER_MAX).contains(number))
        .ok_or_else(|| {
            errors::invalid_argument("Part number must be an integer between 1 and 10000, inclusive")
        })
}

fn invalid_range(size: u64) -> S3Error {
    let mut error = errors::s3(S3ErrorCode::InvalidRange, "The requested range is not satisfiable");
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_str(&format!("bytes */{size}")) {
        headers.insert(http::header::CONTENT_RANGE, value);
    }
    error.set_headers(headers);
    error
}

/// 404 when the newest version is a delete marker, 405 when the marker itself was named.
fn delete_marker(version_id: Option<String>, named: bool, modified: UnixMillis) -> S3Error {
    let mut headers = HeaderMap::new();
    headers.insert("x-amz-delete-marker", HeaderValue::from_static("true"));
    if let Some(Ok(value)) = version_id.map(|id| HeaderValue::from_str(&id)) {
        headers.insert("x-amz-version-id", value);
    }
    let mut error = if named {
        headers.insert(http::header::ALLOW, HeaderValue::from_static("DELETE"));
        let mut date = Vec::new();
        let formatted = shown::timestamp(modified).format(dto::TimestampFormat::HttpDate, &mut date);
        if let (Ok(()), Ok(value)) = (formatted, HeaderValue::from_bytes(&date)) {
            headers.insert(http::header::LAST_MODIFIED, value);
        }
        errors::s3(
            S3ErrorCode::MethodNotAllowed,
            "The specified method is not allowed against this resource.",
        )
    } else {
        errors::no_such_key()
    };
    error.set_headers(headers);
    error
}

fn default_type() -> String {
    "binary/octet-stream".to_owned()
}
