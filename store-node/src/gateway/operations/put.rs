//! PutObject.

use std::sync::Arc;

use bytes::Bytes;
use envelope::{ObjectPlace, seal_metadata};
use futures_util::stream::{Stream, StreamExt};
use s3s::dto;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, StdError};
use wire::{
    CommitVersion, ObjectContent, ObjectKey, Operation, Outcome, VersionId, VersionRef, VersioningMode,
    WriteCondition, limits,
};

use super::conditions::write_condition;
use super::requested::{Requested, refuse_extras};
use super::shown::{self, ShownChecksum};
use crate::gateway::checksum::{Algorithm, Checksum};
use crate::gateway::context::RequestContext;
use crate::gateway::directory::Bucket;
use crate::gateway::metadata::ObjectMetadata;
use crate::gateway::upload::{StoredStream, Target, store};
use crate::gateway::{Core, bucket_of, context, errors};
use crate::random;

pub(super) async fn put(
    core: &Arc<Core>,
    mut request: S3Request<dto::PutObjectInput>,
) -> S3Result<S3Response<dto::PutObjectOutput>> {
    let context = context::of(&request)?.clone();
    let bucket = bucket_of(&request)?;
    refuse_extras(&request.headers)?;
    let requested = Requested::of(&request)?;
    let algorithm = requested.algorithm.unwrap_or(Algorithm::Crc64Nvme);
    let bytes = body_bytes(&request.headers, request.input.content_length)?;
    let body = body_stream(request.input.body.take());
    let input = request.input;
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
    let condition = write_condition(input.if_match.as_ref(), input.if_none_match.as_ref());
    let new =
        NewObject { context: &context, bucket: &bucket, key: object_key(&input.key)?, metadata, condition };
    let verify = |stored: &StoredStream| match requested.verify(stored)? {
        Some(checksum) => Ok(Some(checksum)),
        None => Ok(stored.checksums.first().cloned()),
    };
    let written = new.write(core, body, bytes, &[algorithm], verify).await?;
    let ShownChecksum { crc32, crc32c, crc64nvme, sha1, sha256, kind } =
        ShownChecksum::of(written.checksum.as_ref());
    Ok(S3Response::new(dto::PutObjectOutput {
        e_tag: Some(shown::etag(&written.etag)),
        version_id: written.version_id,
        checksum_crc32: crc32,
        checksum_crc32c: crc32c,
        checksum_crc64nvme: crc64nvme,
        checksum_sha1: sha1,
        checksum_sha256: sha256,
        checksum_type: kind,
        server_side_encryption: input.server_side_encryption,
        ..Default::default()
    }))
}

/// A version about to be written from one body.
pub(super) struct NewObject<'a> {
    pub(super) context: &'a RequestContext,
    pub(super) bucket: &'a Bucket,
    pub(super) key: ObjectKey,
    pub(super) metadata: ObjectMetadata,
    pub(super) condition: WriteCondition,
}

/// A version that is written.
pub(super) struct Written {
    pub(super) etag: String,
    pub(super) version_id: Option<String>,
    pub(super) checksum: Option<Checksum>,
}

impl NewObject<'_> {
    /// Seals and stores the body, asks `verify` about it, commits.
    pub(super) async fn write<S>(
        self,
        core: &Arc<Core>,
        body: S,
        bytes: u64,
        algorithms: &[Algorithm],
        verify: impl FnOnce(&StoredStream) -> S3Result<Option<Checksum>>,
    ) -> S3Result<Written>
    where
        S: Stream<Item = S3Result<Bytes>> + Unpin + Send,
    {
        self.metadata.check()?;
        let version = VersionId(random::id());
        let tenant = core.keyring.options().tenant;
        let place = ObjectPlace::new(tenant, self.bucket.id, self.key.as_bytes(), version);
        let (key, header) = core.keyring.new_object(&place).map_err(|e| errors::sealed(&e))?;
        let group = core.group_of(self.bucket.id, &self.key);
        let target = Target { group, place: &place, key: &key, part: 0 };
        let mut stored = store(core, self.context, target, body, bytes, algorithms).await?;
        let checksum = verify(&stored)?;
        let metadata = seal_metadata(&key, &place, &self.metadata.encode(), random::nonce())
            .map_err(|e| errors::sealed(&e))?;
        let part = stored.part(1, None);
        let etag = part.etag.clone();
        let content = ObjectContent {
            size: stored.size(),
            etag: etag.clone(),
            checksum: checksum.as_ref().map(Checksum::encode).unwrap_or_default(),
            header,
            metadata,
            multipart: false,
            parts: vec![part],
        };
        let commit = CommitVersion {
            bucket: self.bucket.id,
            key: self.key,
            version,
            mode: self.bucket.versioning,
            condition: self.condition,
            content,
        };
        let body = stored.inline.take().unwrap_or_default();
        let operation = Operation::CommitVersion(commit);
        let deadline = self.context.deadline_after_body();
        let outcome = core.propose(group, self.context, operation, body, deadline).await?;
        let committed = committed(outcome)?;
        stored.adopted();
        Ok(Written { etag, version_id: written_version_id(self.bucket.versioning, committed), checksum })
    }
}

/// Reads the outcome of a commit.
pub(super) fn committed(outcome: Outcome) -> S3Result<VersionRef> {
    match outcome {
        Outcome::Committed(version) => Ok(version),
        Outcome::Refused(refusal) => Err(errors::refusal(&refusal)),
        _ => Err(errors::unexpected("the outcome of a commit")),
    }
}

/// The id under which clients know a version just written.
pub(super) fn written_version_id(mode: VersioningMode, version: VersionRef) -> Option<String> {
    shown::version_id(mode, mode != VersioningMode::Enabled, version)
}

/// An object's name, if S3 allows it.
pub(super) fn object_key(name: &str) -> S3Result<ObjectKey> {
    ObjectKey::new(Bytes::copy_from_slice(name.as_bytes()))
        .ok_or_else(|| errors::s3(S3ErrorCode::KeyTooLongError, "Your key is too long"))
}

/// How long the body is without its framing.
pub(super) fn body_bytes(headers: &http::HeaderMap, content_length: Option<i64>) -> S3Result<u64> {
    let decoded = headers.get("x-amz-decoded-content-length").and_then(|value| value.to_str().ok());
    let streaming =
        headers.get("x-amz-content-sha256").is_some_and(|value| value.as_bytes().starts_with(b"STREAMING-"));
    let bytes = match decoded {
        Some(text) if streaming => text.parse().ok(),
        _ => content_length.and_then(|length| u64::try_from(length).ok()),
    };
    let bytes: u64 = bytes.ok_or_else(|| {
        errors::s3(
            S3ErrorCode::MissingContentLength,
            "You must provide the Content-Length HTTP header, or x-amz-decoded-content-length with chunks.",
        )
    })?;
    if bytes > limits::PUT_BYTES_MAX {
        return Err(errors::s3(
            S3ErrorCode::EntityTooLarge,
            "Your proposed upload exceeds the maximum allowed size",
        ));
    }
    Ok(bytes)
}

/// A request's body with the errors that AWS gives.
pub(super) fn body_stream(
    body: Option<dto::StreamingBlob>,
) -> impl Stream<Item = S3Result<Bytes>> + Unpin + Send {
    let pieces = futures_util::stream::iter(body).flatten();
    pieces.map(|piece| piece.map_err(|error| body_error(&error)))
}

/// The protocol layer names what is wrong with a body only in the text of its error.
fn body_error(error: &StdError) -> S3Error {
    let text = error.to_string();
    if text.contains("Sha256Mismatch") {
        let mut error = errors::s3(
            S3ErrorCode::Custom("XAmzContentSHA256Mismatch".into()),
            "The provided 'x-amz-content-sha256' header does not match what was computed.",
        );
        error.set_status_code(http::StatusCode::BAD_REQUEST);
        return error;
    }
    if text.contains("SignatureMismatch") {
        return errors::s3(
            S3ErrorCode::SignatureDoesNotMatch,
            "The signature of a chunk does not match. Check your secret access key and signing method.",
        );
    }
    if text.contains("FormatError") || text.contains("TooLarge") || text.contains("TooMany") {
        return errors::s3(S3ErrorCode::InvalidRequest, "The body's chunks are not framed as announced.");
    }
    errors::s3(
        S3ErrorCode::IncompleteBody,
        "You did not provide the number of bytes specified by the Content-Length HTTP header",
    )
}
