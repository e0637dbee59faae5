//! Buckets: create, head, list, delete, location, versioning.

use std::sync::Arc;

use s3s::dto;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};
use wire::VersioningMode;

use super::requested::refuse_extras;
use super::shown;
use crate::gateway::access::stale;
use crate::gateway::deletion::{self, admin_error};
use crate::gateway::directory::Bucket;
use crate::gateway::directory::admin::AdminError;
use crate::gateway::{Core, bucket_of, context, errors};

/// Buckets on one page when the client asks for pages.
const PAGE_MAX: usize = 10_000;

pub(super) async fn list(
    core: &Arc<Core>,
    request: S3Request<dto::ListBucketsInput>,
) -> S3Result<S3Response<dto::ListBucketsOutput>> {
    let context = context::of(&request)?.clone();
    let caller = context.caller.get().ok_or_else(errors::access_denied)?;
    let input = request.input;
    let limit = match input.max_buckets {
        None => PAGE_MAX,
        Some(count) => {
            usize::try_from(count).ok().filter(|count| (1..=PAGE_MAX).contains(count)).ok_or_else(|| {
                errors::invalid_argument("Argument max-buckets must be an integer between 1 and 10000.")
            })?
        }
    };
    let prefix = input.prefix.as_deref().unwrap_or("");
    // the token is the last name shown: names are not secret to whom they were shown
    let after = input.continuation_token.as_deref().unwrap_or("");
    let all = core.directory.buckets_of(caller).await.map_err(stale)?;
    let mut wanted =
        all.into_iter().filter(|bucket| bucket.name.starts_with(prefix) && &*bucket.name > after);
    let page: Vec<Bucket> = wanted.by_ref().take(limit).collect();
    let next = wanted.next().and(page.last()).map(|bucket| bucket.name.to_string());
    let buckets = page
        .into_iter()
        .map(|bucket| dto::Bucket {
            name: Some(bucket.name.to_string()),
            creation_date: Some(shown::timestamp(bucket.created)),
            bucket_region: input.max_buckets.is_some().then(|| core.options.region_name.clone()),
        })
        .collect();
    Ok(S3Response::new(dto::ListBucketsOutput {
        buckets: Some(buckets),
        owner: Some(shown::owner(core, caller.principal)),
        continuation_token: next,
        prefix: input.prefix,
    }))
}

pub(super) async fn create(
    core: &Arc<Core>,
    request: S3Request<dto::CreateBucketInput>,
) -> S3Result<S3Response<dto::CreateBucketOutput>> {
    let context = context::of(&request)?.clone();
    let caller = context.caller.get().ok_or_else(errors::access_denied)?;
    refuse_extras(&request.headers)?;
    let lock = request.headers.get("x-amz-bucket-object-lock-enabled");
    if lock.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true")) {
        return Err(errors::not_implemented("Object lock is not implemented."));
    }
    let name = request.input.bucket;
    // any region is accepted: there is one, whatever the client calls it
    match core.directory.create_bucket(core.meta(&context), &name, caller.principal).await {
        Ok(bucket) => {
            tracing::info!(bucket = %bucket.id, principal = %caller.principal, "bucket created");
            let location = Some(format!("/{name}"));
            Ok(S3Response::new(dto::CreateBucketOutput { location }))
        }
        Err(AdminError::BucketExists) => Err(exists(core, caller.principal, &name).await?),
        Err(error) => Err(admin_error(core, error)),
    }
}

async fn exists(core: &Core, principal: wire::PrincipalId, name: &str) -> S3Result<S3Error> {
    let bucket = core.directory.bucket(name).await.map_err(stale)?;
    Ok(if bucket.is_some_and(|bucket| bucket.owner == principal) {
        errors::s3(
            S3ErrorCode::BucketAlreadyOwnedByYou,
            "Your previous request to create the named bucket succeeded and you already own it.",
        )
    } else {
        errors::s3(
            S3ErrorCode::BucketAlreadyExists,
            "The requested bucket name is not available. Please select a different name and try again.",
        )
    })
}

pub(super) async fn head(
    core: &Arc<Core>,
    request: S3Request<dto::HeadBucketInput>,
) -> S3Result<S3Response<dto::HeadBucketOutput>> {
    bucket_of(&request)?;
    let bucket_region = Some(core.options.region_name.clone());
    Ok(S3Response::new(dto::HeadBucketOutput { bucket_region, ..Default::default() }))
}

pub(super) async fn location(
    core: &Arc<Core>,
    request: S3Request<dto::GetBucketLocationInput>,
) -> S3Result<S3Response<dto::GetBucketLocationOutput>> {
    bucket_of(&request)?;
    let location_constraint = Some(dto::BucketLocationConstraint::from(core.options.region_name.clone()));
    Ok(S3Response::new(dto::GetBucketLocationOutput { location_constraint }))
}

pub(super) async fn versioning(
    _: &Arc<Core>,
    request: S3Request<dto::GetBucketVersioningInput>,
) -> S3Result<S3Response<dto::GetBucketVersioningOutput>> {
    let status = match bucket_of(&request)?.versioning {
        VersioningMode::Off => None,
        VersioningMode::Enabled => Some(dto::BucketVersioningStatus::ENABLED),
        VersioningMode::Suspended => Some(dto::BucketVersioningStatus::SUSPENDED),
    };
    let status = status.map(dto::BucketVersioningStatus::from_static);
    Ok(S3Response::new(dto::GetBucketVersioningOutput { status, ..Default::default() }))
}

pub(super) async fn set_versioning(
    core: &Arc<Core>,
    request: S3Request<dto::PutBucketVersioningInput>,
) -> S3Result<S3Response<dto::PutBucketVersioningOutput>> {
    let bucket = bucket_of(&request)?;
    let dto::VersioningConfiguration { mfa_delete, status, .. } = request.input.versioning_configuration;
    if mfa_delete.is_some_and(|mfa| mfa.as_str() == dto::MFADelete::ENABLED) {
        return Err(errors::not_implemented("MFA delete is not implemented."));
    }
    let mode = match status.as_ref().map(dto::BucketVersioningStatus::as_str) {
        Some(dto::BucketVersioningStatus::ENABLED) => VersioningMode::Enabled,
        Some(dto::BucketVersioningStatus::SUSPENDED) => VersioningMode::Suspended,
        _ => {
            return Err(errors::s3(
                S3ErrorCode::IllegalVersioningConfigurationException,
                "The versioning configuration specified in the request is invalid: Status is Enabled or Suspended.",
            ));
        }
    };
    core.directory.set_versioning(&bucket, mode).await.map_err(|error| admin_error(core, error))?;
    tracing::info!(bucket = %bucket.id, ?mode, "bucket versioning changed");
    Ok(S3Response::new(dto::PutBucketVersioningOutput::default()))
}

pub(super) async fn delete(
    core: &Arc<Core>,
    request: S3Request<dto::DeleteBucketInput>,
) -> S3Result<S3Response<dto::DeleteBucketOutput>> {
    let bucket = bucket_of(&request)?;
    // a client that goes away in the middle must not leave the bucket frozen
    let (core, task_bucket) = (core.clone(), bucket.clone());
    let tracker = core.tracker.clone();
    let work = tracker.spawn(async move { deletion::delete(&core, &task_bucket).await });
    work.await.map_err(|_| errors::unexpected("a panic while deleting a bucket"))??;
    tracing::info!(bucket = %bucket.id, "bucket deleted");
    Ok(S3Response::new(dto::DeleteBucketOutput::default()))
}
