//! CreateMultipartUpload, CompleteMultipartUpload, AbortMultipartUpload.
//!
//! The object's key is made when an upload begins and seals every part; completing binds the list of parts.

use std::sync::Arc;

use bytes::Bytes;
use envelope::{ObjectPlace, open_metadata, seal_metadata, seal_parts};
use s3s::dto;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};
use wire::{
    Answer, BodyWanted, CompleteUpload, CreateUpload, GroupId, ObjectContent, ObjectKey, Operation, Outcome,
    PartContent, PartRecord, Query, Refusal, UploadRecord, VersionId, limits,
};

use super::conditions::write_condition;
use super::get::{find, sealed_parts};
use super::put::{committed, object_key, written_version_id};
use super::requested::refuse_extras;
use super::shown::{self, ShownChecksum};
use crate::gateway::checksum::{Algorithm, Announced, Checksum, Kind};
use crate::gateway::context::RequestContext;
use crate::gateway::directory::Bucket;
use crate::gateway::hashing::multipart_etag;
use crate::gateway::metadata::ObjectMetadata;
use crate::gateway::{Core, bucket_of, context, errors};
use crate::random;

/// Every part but the last is at least this long (S3's own limit).
const PART_BYTES_MIN: u64 = 5 << 20;

/// Parts asked for at once.
const PARTS_PAGE: u32 = 1000;

/// An upload that is under way.
pub(super) struct Upload {
    pub(super) group: GroupId,
    pub(super) key: ObjectKey,
    pub(super) record: UploadRecord,
    pub(super) announced: Announced,
    /// Whether the client announced it, or it is what S3 takes otherwise.
    pub(super) client_announced: bool,
}

impl Upload {
    /// Asks the region for an upload.
    pub(super) async fn find(
        core: &Core,
        context: &RequestContext,
        bucket: &Bucket,
        key: &str,
        upload_id: &str,
    ) -> S3Result<Self> {
        let key = object_key(key)?;
        let upload = VersionId::parse(upload_id).ok_or_else(errors::no_such_upload)?;
        let group = core.group_of(bucket.id, &key);
        let query = Query::Upload { bucket: bucket.id, key: key.clone(), upload };
        let Answer::Upload(record) = core.query(group, query, context.deadline()).await?.0 else {
            return Err(errors::unexpected("the answer with an upload"));
        };
        let record = record.ok_or_else(errors::no_such_upload)?;
        let found = Announced::decode(&record.checksum).map_err(|error| errors::undecodable(&error))?;
        let usual = Announced { algorithm: Algorithm::Crc64Nvme, kind: Kind::FullObject };
        let announced = found.unwrap_or(usual);
        Ok(Self { group, key, record, announced, client_announced: found.is_some() })
    }

    /// The place that everything of the upload is bound to.
    pub(super) fn place(&self, core: &Core, bucket: &Bucket) -> ObjectPlace {
        let tenant = core.keyring.options().tenant;
        ObjectPlace::new(tenant, bucket.id, self.key.as_bytes(), self.record.upload)
    }

    async fn parts(
        &self,
        core: &Core,
        context: &RequestContext,
        bucket: &Bucket,
    ) -> S3Result<Vec<PartRecord>> {
        let mut parts: Vec<PartRecord> = Vec::new();
        loop {
            let query = Query::Parts {
                bucket: bucket.id,
                key: self.key.clone(),
                upload: self.record.upload,
                after: parts.last().map_or(0, |last| last.part.number),
                limit: PARTS_PAGE,
            };
            let Answer::Parts(page) = core.query(self.group, query, context.deadline_after_body()).await?.0
            else {
                return Err(errors::unexpected("the answer with parts"));
            };
            let (page, more) = page.ok_or_else(errors::no_such_upload)?;
            let done = page.is_empty() || !more;
            parts.extend(page);
            if done {
                return Ok(parts);
            }
        }
    }
}

pub(super) async fn create(
    core: &Arc<Core>,
    request: S3Request<dto::CreateMultipartUploadInput>,
) -> S3Result<S3Response<dto::CreateMultipartUploadOutput>> {
    let context = context::of(&request)?.clone();
    let bucket = bucket_of(&request)?;
    refuse_extras(&request.headers)?;
    let input = request.input;
    let announced = announced(input.checksum_algorithm.as_ref(), input.checksum_type.as_ref())?;
    let mut metadata = ObjectMetadata {
        content_type: input.content_type,
        cache_control: input.cache_control,
        content_disposition: input.content_disposition,
        content_language: input.content_language,
        ..ObjectMetadata::default()
    };
    metadata.set_content_encoding(input.content_encoding);
    metadata.set_expires(input.expires.as_ref());
    metadata.set_user(input.metadata);
    metadata.check()?;
    let key = object_key(&input.key)?;
    let upload = VersionId(random::id());
    let place = ObjectPlace::new(core.keyring.options().tenant, bucket.id, key.as_bytes(), upload);
    let sealed = |error: envelope::EnvelopeError| errors::sealed(&error);
    let (object_key, header) = core.keyring.new_object(&place).map_err(sealed)?;
    let metadata = seal_metadata(&object_key, &place, &metadata.encode(), random::nonce()).map_err(sealed)?;
    let group = core.group_of(bucket.id, &key);
    let checksum = announced.map(Announced::encode).unwrap_or_default();
    let operation =
        Operation::CreateUpload(CreateUpload { bucket: bucket.id, key, upload, header, metadata, checksum });
    done(core.propose(group, &context, operation, Bytes::new(), context.deadline()).await?)?;
    Ok(S3Response::new(dto::CreateMultipartUploadOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(upload.to_string()),
        checksum_algorithm: announced.map(|announced| shown::algorithm(announced.algorithm)),
        checksum_type: announced.map(|announced| announced.kind.shown()),
        server_side_encryption: input.server_side_encryption,
        ..Default::default()
    }))
}

pub(super) async fn abort(
    core: &Arc<Core>,
    request: S3Request<dto::AbortMultipartUploadInput>,
) -> S3Result<S3Response<dto::AbortMultipartUploadOutput>> {
    let context = context::of(&request)?.clone();
    let bucket = bucket_of(&request)?;
    let key = object_key(&request.input.key)?;
    let upload = VersionId::parse(&request.input.upload_id).ok_or_else(errors::no_such_upload)?;
    let group = core.group_of(bucket.id, &key);
    let operation = Operation::AbortUpload { bucket: bucket.id, key, upload };
    done(core.propose(group, &context, operation, Bytes::new(), context.deadline()).await?)?;
    Ok(S3Response::new(dto::AbortMultipartUploadOutput::default()))
}

pub(super) async fn complete(
    core: &Arc<Core>,
    request: S3Request<dto::CompleteMultipartUploadInput>,
) -> S3Result<S3Response<dto::CompleteMultipartUploadOutput>> {
    let context = context::of(&request)?.clone();
    let bucket = bucket_of(&request)?;
    let input = request.input;
    let named = input.multipart_upload.as_ref().and_then(|list| list.parts.as_deref()).unwrap_or_default();
    check_order(named)?;
    let upload = match Upload::find(core, &context, &bucket, &input.key, &input.upload_id).await {
        Err(error) if *error.code() == S3ErrorCode::NoSuchUpload => {
            let before = completed_before(core, &context, &bucket, &input, named).await?;
            let (content, version_id) = before.ok_or(error)?;
            confirm(core, &context, &bucket, &input).await?;
            return completed(input, &content, version_id);
        }
        found => found?,
    };
    let stored = upload.parts(core, &context, &bucket).await?;
    let parts = choose(named, &stored)?;
    let size: u64 = parts.iter().map(|part| part.part.size).sum();
    check_sizes(&parts, size, input.mpu_object_size)?;
    let checksum = joined_checksum(&upload, &parts)?;
    check_object_checksum(&input, upload.announced, checksum.as_ref())?;
    let etag = multipart_etag(parts.iter().map(|part| part.part.etag.as_str()));
    let mut content = ObjectContent {
        size,
        etag,
        checksum: checksum.as_ref().map(Checksum::encode).unwrap_or_default(),
        header: upload.record.header.clone(),
        metadata: Bytes::new(),
        multipart: true,
        parts: parts.iter().map(|part| part.part.clone()).collect(),
    };
    content.metadata = sealed_metadata(core, &bucket, &upload, &content).await?;
    let made = content.clone();
    let operation = Operation::CompleteUpload(CompleteUpload {
        bucket: bucket.id,
        key: upload.key.clone(),
        upload: upload.record.upload,
        mode: bucket.versioning,
        condition: write_condition(input.if_match.as_ref(), input.if_none_match.as_ref()),
        content,
    });
    let deadline = context.deadline_after_body();
    let outcome = core.propose(upload.group, &context, operation, Bytes::new(), deadline).await?;
    completed(input, &made, written_version_id(bucket.versioning, committed(outcome)?))
}

/// What was found by reading is acknowledged like a write, by a region that may acknowledge writes: it is asked to give up the
/// upload, which is none any more.
async fn confirm(
    core: &Arc<Core>,
    context: &RequestContext,
    bucket: &Bucket,
    input: &dto::CompleteMultipartUploadInput,
) -> S3Result<()> {
    let key = object_key(&input.key)?;
    let upload = VersionId::parse(&input.upload_id).ok_or_else(errors::no_such_upload)?;
    let operation = Operation::AbortUpload { bucket: bucket.id, key: key.clone(), upload };
    let group = core.group_of(bucket.id, &key);
    match core.propose(group, context, operation, Bytes::new(), context.deadline()).await? {
        Outcome::Done | Outcome::Refused(Refusal::NoSuchUpload) => Ok(()),
        Outcome::Refused(refusal) => Err(errors::refusal(&refusal)),
        _ => Err(errors::internal()),
    }
}

/// A client whose answer was lost asks again: the object that its upload became, if it is the current one and has these
/// parts.
async fn completed_before(
    core: &Arc<Core>,
    context: &RequestContext,
    bucket: &Bucket,
    input: &dto::CompleteMultipartUploadInput,
    named: &[dto::CompletedPart],
) -> S3Result<Option<(ObjectContent, Option<String>)>> {
    let found = match find(core, context, bucket, &input.key, None, BodyWanted::Nothing).await {
        Err(error) if *error.code() == S3ErrorCode::NoSuchKey => return Ok(None),
        found => found?.live(),
    };
    let Ok(live) = found else { return Ok(None) };
    let is_part = |(named, part): (&dto::CompletedPart, &PartContent)| {
        let etag = named.e_tag.as_ref().map(|etag| etag.value().trim_matches('"'));
        named.part_number == Some(part.number.into()) && etag.is_none_or(|etag| etag == part.etag)
    };
    let parts = &live.content.parts;
    let same = VersionId::parse(&input.upload_id) == Some(live.version.version)
        && named.len() == parts.len()
        && named.iter().zip(parts).all(is_part);
    Ok(same.then_some((live.content, live.version_id)))
}

fn completed(
    input: dto::CompleteMultipartUploadInput,
    content: &ObjectContent,
    version_id: Option<String>,
) -> S3Result<S3Response<dto::CompleteMultipartUploadOutput>> {
    let checksum = Checksum::decode(&content.checksum).map_err(|error| errors::undecodable(&error))?;
    let ShownChecksum { crc32, crc32c, crc64nvme, sha1, sha256, kind } = ShownChecksum::of(checksum.as_ref());
    Ok(S3Response::new(dto::CompleteMultipartUploadOutput {
        location: Some(format!("/{}/{}", input.bucket, input.key)),
        bucket: Some(input.bucket),
        key: Some(input.key),
        e_tag: Some(shown::etag(&content.etag)),
        version_id,
        checksum_crc32: crc32,
        checksum_crc32c: crc32c,
        checksum_crc64nvme: crc64nvme,
        checksum_sha1: sha1,
        checksum_sha256: sha256,
        checksum_type: kind,
        ..Default::default()
    }))
}

/// The outcome of a command that only succeeds or not.
pub(super) fn done(outcome: Outcome) -> S3Result<()> {
    match outcome {
        Outcome::Done => Ok(()),
        Outcome::Refused(refusal) => Err(errors::refusal(&refusal)),
        _ => Err(errors::unexpected("the outcome of an upload's step")),
    }
}

fn announced(
    algorithm: Option<&dto::ChecksumAlgorithm>,
    kind: Option<&dto::ChecksumType>,
) -> S3Result<Option<Announced>> {
    let invalid = |message| errors::s3(S3ErrorCode::InvalidRequest, message);
    let Some(algorithm) = algorithm else {
        return match kind {
            None => Ok(None),
            Some(_) => Err(invalid("The x-amz-checksum-type header needs x-amz-checksum-algorithm.")),
        };
    };
    let algorithm = Algorithm::parse(algorithm.as_str())
        .ok_or_else(|| invalid("Checksum algorithm provided is unsupported."))?;
    let kind = match kind {
        None => algorithm.default_kind(),
        Some(kind) => Kind::parse(kind.as_str()).ok_or_else(|| invalid("Unknown checksum type."))?,
    };
    if !algorithm.allows(kind) {
        return Err(invalid("The checksum type cannot be used with this checksum algorithm."));
    }
    Ok(Some(Announced { algorithm, kind }))
}

fn check_order(named: &[dto::CompletedPart]) -> S3Result<()> {
    if named.is_empty() || named.len() > usize::from(limits::PART_NUMBER_MAX) {
        return Err(errors::malformed_xml());
    }
    let numbers: Vec<i32> = named.iter().map(|part| part.part_number.unwrap_or(0)).collect();
    if numbers.windows(2).any(|pair| pair[0] >= pair[1]) {
        return Err(errors::s3(
            S3ErrorCode::InvalidPartOrder,
            "The list of parts was not in ascending order. Parts must be ordered by part number.",
        ));
    }
    Ok(())
}

/// The stored parts that the client named, compared with what it says about them.
fn choose<'a>(named: &[dto::CompletedPart], stored: &'a [PartRecord]) -> S3Result<Vec<&'a PartRecord>> {
    named
        .iter()
        .map(|wanted| {
            let number = wanted.part_number.and_then(|number| u16::try_from(number).ok()).unwrap_or(0);
            let at = stored.binary_search_by_key(&number, |part| part.part.number);
            let found = at.ok().map(|at| &stored[at]).ok_or_else(|| invalid_part(number))?;
            let etag = wanted.e_tag.as_ref().map(|etag| etag.value().trim_matches('"'));
            if etag.is_some_and(|etag| etag != found.part.etag) {
                return Err(invalid_part(number));
            }
            check_part_checksum(wanted, found)?;
            Ok(found)
        })
        .collect()
}

fn check_part_checksum(wanted: &dto::CompletedPart, found: &PartRecord) -> S3Result<()> {
    let recorded = Checksum::decode(&found.part.checksum).map_err(|error| errors::undecodable(&error))?;
    let Some(recorded) = recorded else { return Ok(()) };
    let named = match recorded.algorithm {
        Algorithm::Crc32 => &wanted.checksum_crc32,
        Algorithm::Crc32c => &wanted.checksum_crc32c,
        Algorithm::Crc64Nvme => &wanted.checksum_crc64nvme,
        Algorithm::Sha1 => &wanted.checksum_sha1,
        Algorithm::Sha256 => &wanted.checksum_sha256,
    };
    match named {
        Some(named) if *named != recorded.shown() => Err(invalid_part(found.part.number)),
        _ => Ok(()),
    }
}

fn check_sizes(parts: &[&PartRecord], size: u64, announced: Option<i64>) -> S3Result<()> {
    let all_but_last = &parts[..parts.len() - 1];
    if all_but_last.iter().any(|part| part.part.size < PART_BYTES_MIN) {
        return Err(errors::s3(
            S3ErrorCode::EntityTooSmall,
            "Your proposed upload is smaller than the minimum allowed size",
        ));
    }
    if size > limits::OBJECT_BYTES_MAX {
        return Err(errors::s3(
            S3ErrorCode::EntityTooLarge,
            "Your proposed upload exceeds the maximum allowed size",
        ));
    }
    if announced.is_some_and(|bytes| u64::try_from(bytes) != Ok(size)) {
        return Err(errors::s3(
            S3ErrorCode::InvalidRequest,
            "The provided x-amz-mp-object-size does not match the size of the parts.",
        ));
    }
    Ok(())
}

fn joined_checksum(upload: &Upload, parts: &[&PartRecord]) -> S3Result<Option<Checksum>> {
    let mut sums = Vec::with_capacity(parts.len());
    for part in parts {
        let sum = Checksum::decode(&part.part.checksum).map_err(|error| errors::undecodable(&error))?;
        sums.push((sum, part.part.size));
    }
    Ok(Checksum::join(upload.announced, &sums))
}

/// A checksum of the whole object that the client sent along.
fn check_object_checksum(
    input: &dto::CompleteMultipartUploadInput,
    announced: Announced,
    joined: Option<&Checksum>,
) -> S3Result<()> {
    let kind = input.checksum_type.as_ref().map(dto::ChecksumType::as_str);
    if kind.is_some_and(|kind| Kind::parse(kind) != Some(announced.kind)) {
        return Err(errors::s3(
            S3ErrorCode::InvalidRequest,
            "The upload was created using another checksum type than the complete request names.",
        ));
    }
    let sent = [
        (Algorithm::Crc32, &input.checksum_crc32),
        (Algorithm::Crc32c, &input.checksum_crc32c),
        (Algorithm::Crc64Nvme, &input.checksum_crc64nvme),
        (Algorithm::Sha1, &input.checksum_sha1),
        (Algorithm::Sha256, &input.checksum_sha256),
    ];
    for (algorithm, value) in sent {
        let Some(value) = value else { continue };
        if algorithm != announced.algorithm {
            return Err(errors::s3(
                S3ErrorCode::InvalidRequest,
                "The upload was created using another checksum algorithm than the complete request names.",
            ));
        }
        if joined.is_none_or(|joined| joined.shown() != *value) {
            return Err(errors::bad_digest());
        }
    }
    Ok(())
}

/// The upload's metadata with the seal over the list of parts.
async fn sealed_metadata(
    core: &Core,
    bucket: &Bucket,
    upload: &Upload,
    content: &ObjectContent,
) -> S3Result<Bytes> {
    let sealed = |error: envelope::EnvelopeError| errors::sealed(&error);
    let place = upload.place(core, bucket);
    let key = core.keyring.open_object(&place, &upload.record.header).await.map_err(sealed)?;
    let plain = open_metadata(&key, &place, upload.record.metadata.clone()).map_err(sealed)?;
    let mut metadata = ObjectMetadata::decode(plain).map_err(|error| errors::undecodable(&error))?;
    metadata.parts_seal = Some(seal_parts(&key, &place, &sealed_parts(content)));
    seal_metadata(&key, &place, &metadata.encode(), random::nonce()).map_err(sealed)
}

fn invalid_part(number: u16) -> S3Error {
    errors::refusal(&Refusal::InvalidPart { number })
}
