//! Settings that clients probe and that this release cannot set: what AWS answers for a bucket without them.

use std::sync::Arc;

use s3s::dto;
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

use super::get::find;
use crate::gateway::errors::s3;
use crate::gateway::{Core, bucket_of, context};

type Answer<T> = S3Result<S3Response<T>>;

fn unset<T>(code: S3ErrorCode, message: &'static str) -> Answer<T> {
    let mut error = s3(code, message);
    error.set_status_code(http::StatusCode::NOT_FOUND);
    Err(error)
}

pub(super) async fn policy(
    _: &Arc<Core>,
    _: S3Request<dto::GetBucketPolicyInput>,
) -> Answer<dto::GetBucketPolicyOutput> {
    unset(S3ErrorCode::NoSuchBucketPolicy, "The bucket policy does not exist")
}

pub(super) async fn cors(
    _: &Arc<Core>,
    _: S3Request<dto::GetBucketCorsInput>,
) -> Answer<dto::GetBucketCorsOutput> {
    unset(S3ErrorCode::NoSuchCORSConfiguration, "The CORS configuration does not exist")
}

pub(super) async fn bucket_tagging(
    _: &Arc<Core>,
    _: S3Request<dto::GetBucketTaggingInput>,
) -> Answer<dto::GetBucketTaggingOutput> {
    unset(S3ErrorCode::NoSuchTagSet, "The TagSet does not exist")
}

pub(super) async fn lifecycle(
    _: &Arc<Core>,
    _: S3Request<dto::GetBucketLifecycleConfigurationInput>,
) -> Answer<dto::GetBucketLifecycleConfigurationOutput> {
    unset(S3ErrorCode::NoSuchLifecycleConfiguration, "The lifecycle configuration does not exist")
}

pub(super) async fn encryption(
    _: &Arc<Core>,
    _: S3Request<dto::GetBucketEncryptionInput>,
) -> Answer<dto::GetBucketEncryptionOutput> {
    unset(
        S3ErrorCode::ServerSideEncryptionConfigurationNotFoundError,
        "The server side encryption configuration was not found",
    )
}

pub(super) async fn object_lock(
    _: &Arc<Core>,
    _: S3Request<dto::GetObjectLockConfigurationInput>,
) -> Answer<dto::GetObjectLockConfigurationOutput> {
    unset(
        S3ErrorCode::ObjectLockConfigurationNotFoundError,
        "Object Lock configuration does not exist for this bucket",
    )
}

/// Removes a setting that no bucket has. Whether the caller owns the bucket was looked at before.
pub(super) async fn nothing<I, O: Default>(_: &Arc<Core>, _: S3Request<I>) -> Answer<O> {
    Ok(S3Response::new(O::default()))
}

pub(super) async fn object_tagging(
    core: &Arc<Core>,
    request: S3Request<dto::GetObjectTaggingInput>,
) -> Answer<dto::GetObjectTaggingOutput> {
    let context = context::of(&request)?.clone();
    let bucket = bucket_of(&request)?;
    let version = request.input.version_id.as_deref();
    find(core, &context, &bucket, &request.input.key, version, wire::BodyWanted::Nothing).await?.live()?;
    let output = dto::GetObjectTaggingOutput { tag_set: Vec::new(), version_id: request.input.version_id };
    Ok(S3Response::new(output))
}
