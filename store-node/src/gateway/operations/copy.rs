//! CopyObject: the source is opened and sealed anew under the copy's own key, chunk by chunk.

use std::sync::Arc;

use s3s::dto;
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};
use wire::{BodyWanted, limits};

use super::conditions::{ReadConditions, write_condition};
use super::get::{Live, Opened, find};
use super::put::{NewObject, object_key};
use super::requested::refuse_extras;
use super::shown::{self, ShownChecksum};
use crate::gateway::access::{check_owner, stale};
use crate::gateway::checksum::{Algorithm, Checksum};
use crate::gateway::context::{self, RequestContext};
use crate::gateway::directory::Bucket;
use crate::gateway::download::Download;
use crate::gateway::metadata::ObjectMetadata;
use crate::gateway::records::Rights;
use crate::gateway::{Core, bucket_of, errors};

pub(super) async fn copy(
    core: &Arc<Core>,
    request: S3Request<dto::CopyObjectInput>,
) -> S3Result<S3Response<dto::CopyObjectOutput>> {
    let context = context::of(&request)?.clone();
    let bucket = bucket_of(&request)?;
    refuse_extras(&request.headers)?;
    let headers = request.headers;
    let input = request.input;
    let expected_owner = input.expected_source_bucket_owner.as_deref();
    let source = Source::find(core, &context, &input.copy_source, expected_owner).await?;
    ReadConditions {
        if_match: input.copy_source_if_match.as_ref(),
        if_none_match: input.copy_source_if_none_match.as_ref(),
        if_modified_since: input.copy_source_if_modified_since.as_ref(),
        if_unmodified_since: input.copy_source_if_unmodified_since.as_ref(),
    }
    .require(&source.live.content.etag, source.live.modified)?;
    let replaces = match input.metadata_directive.as_ref().map(dto::MetadataDirective::as_str) {
        None | Some(dto::MetadataDirective::COPY) => false,
        Some(dto::MetadataDirective::REPLACE) => true,
        Some(_) => return Err(errors::invalid_argument("Unknown metadata directive.")),
    };
    let onto_itself = source.bucket.id == bucket.id && source.live.key.as_str() == input.key;
    if onto_itself && !source.names_version && !replaces {
        return Err(errors::s3(
            S3ErrorCode::InvalidRequest,
            "This copy request is illegal because it is trying to copy an object to itself without changing the \
             object's metadata, storage class, website redirect location or encryption attributes.",
        ));
    }
    let size = source.live.content.size;
    if size > limits::PUT_BYTES_MAX {
        return Err(errors::s3(
            S3ErrorCode::InvalidRequest,
            "The specified copy source is larger than the maximum allowable size for a copy source: 5368709120",
        ));
    }
    let algorithm = copy_algorithm(input.checksum_algorithm.as_ref(), &source.live)?;
    let source_version = source.live.version_id.clone();
    let Opened { object, mut metadata, first } = source.live.open(core, &source.bucket).await?;
    metadata.parts_seal = None;
    if replaces {
        metadata = ObjectMetadata {
            content_type: input.content_type,
            cache_control: input.cache_control,
            content_disposition: input.content_disposition,
            content_language: input.content_language,
            ..ObjectMetadata::default()
        };
        metadata.set_content_encoding(input.content_encoding);
        metadata.set_expires(input.expires.as_ref());
        metadata.set_user(input.metadata);
    }
    let body = Download::new(core.clone(), object, 0, size, first);
    let condition = copy_condition(&headers)?;
    let new =
        NewObject { context: &context, bucket: &bucket, key: object_key(&input.key)?, metadata, condition };
    let written =
        new.write(core, body, size, &[algorithm], |stored| Ok(stored.checksums.first().cloned())).await?;
    let ShownChecksum { crc32, crc32c, crc64nvme, sha1, sha256, kind } =
        ShownChecksum::of(written.checksum.as_ref());
    let result = dto::CopyObjectResult {
        e_tag: Some(shown::etag(&written.etag)),
        last_modified: Some(shown::timestamp(context::now())),
        checksum_crc32: crc32,
        checksum_crc32c: crc32c,
        checksum_crc64nvme: crc64nvme,
        checksum_sha1: sha1,
        checksum_sha256: sha256,
        checksum_type: kind,
    };
    Ok(S3Response::new(dto::CopyObjectOutput {
        copy_object_result: Some(result),
        copy_source_version_id: source_version,
        version_id: written.version_id,
        server_side_encryption: input.server_side_encryption,
        ..Default::default()
    }))
}

/// A copy's source, which the caller may read.
pub(super) struct Source {
    pub(super) bucket: Bucket,
    pub(super) live: Live,
    pub(super) names_version: bool,
}

impl Source {
    pub(super) async fn find(
        core: &Arc<Core>,
        context: &RequestContext,
        source: &dto::CopySource,
        expected_owner: Option<&str>,
    ) -> S3Result<Self> {
        let dto::CopySource::Bucket { bucket, key, version_id } = source else {
            return Err(errors::not_implemented("Access points are not implemented."));
        };
        let caller = context.caller.get().ok_or_else(errors::access_denied)?;
        let bucket =
            core.directory.bucket(bucket).await.map_err(stale)?.ok_or_else(errors::no_such_bucket)?;
        if !core.directory.rights(caller, &bucket).includes(Rights::READ) {
            return Err(errors::access_denied());
        }
        check_owner(expected_owner.map(str::as_bytes), bucket.owner)?;
        let version_id = version_id.as_deref();
        let found = find(core, context, &bucket, key, version_id, BodyWanted::At(0)).await?;
        let marker_named = found.record.is_delete_marker() && version_id.is_some();
        if marker_named {
            return Err(errors::s3(
                S3ErrorCode::InvalidRequest,
                "The source of a copy request may not specifically refer to a delete marker by version id.",
            ));
        }
        Ok(Self { live: found.live()?, bucket, names_version: version_id.is_some() })
    }
}

/// The checksum of the copy: what was asked for, else what the source has.
fn copy_algorithm(asked: Option<&dto::ChecksumAlgorithm>, source: &Live) -> S3Result<Algorithm> {
    if let Some(asked) = asked {
        return Algorithm::parse(asked.as_str()).ok_or_else(|| {
            errors::s3(S3ErrorCode::InvalidRequest, "Checksum algorithm provided is unsupported.")
        });
    }
    let recorded = Checksum::decode(&source.content.checksum).map_err(|error| errors::undecodable(&error))?;
    Ok(recorded.map_or(Algorithm::Crc64Nvme, |checksum| checksum.algorithm))
}

/// The protocol layer's input has no `If-Match` of the copy itself, its headers do.
fn copy_condition(headers: &http::HeaderMap) -> S3Result<wire::WriteCondition> {
    let read = |name: http::HeaderName| match headers.get(name) {
        None => Ok(None),
        Some(value) => dto::ETagCondition::parse_http_header(value.as_bytes())
            .map(Some)
            .map_err(|_| errors::invalid_argument("An entity tag that makes no sense.")),
    };
    let (if_match, if_none_match) = (read(http::header::IF_MATCH)?, read(http::header::IF_NONE_MATCH)?);
    Ok(write_condition(if_match.as_ref(), if_none_match.as_ref()))
}
