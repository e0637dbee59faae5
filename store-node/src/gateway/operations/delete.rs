//! DeleteObject and DeleteObjects.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use s3s::dto;
use s3s::{S3Error, S3Request, S3Response, S3Result};
use wire::{
    DeleteObject, DeleteTarget, Deleted, Operation, Outcome, Refusal, VersionId, VersioningMode,
    WhichVersion, WriteCondition,
};

use super::conditions::write_condition;
use super::put::object_key;
use super::shown;
use crate::gateway::context::RequestContext;
use crate::gateway::directory::Bucket;
use crate::gateway::{Core, bucket_of, context, errors};
use crate::random;

/// Names in one DeleteObjects (S3's own limit).
const DELETES_MAX: usize = 1000;

/// Deletes of one request under way at once: enough to share flushes, few enough to leave room for others.
const CONCURRENCY: usize = 32;

pub(super) async fn delete(
    core: &Arc<Core>,
    request: S3Request<dto::DeleteObjectInput>,
) -> S3Result<S3Response<dto::DeleteObjectOutput>> {
    let context = context::of(&request)?.clone();
    let bucket = bucket_of(&request)?;
    let input = request.input;
    if input.if_match_size.is_some() || input.if_match_last_modified_time.is_some() {
        return Err(errors::not_implemented("Deletes on condition of size or time are not implemented."));
    }
    let condition = write_condition(input.if_match.as_ref(), None);
    let version_id = input.version_id.as_deref();
    let deleted = delete_one(core, &context, &bucket, &input.key, version_id, condition).await?;
    Ok(S3Response::new(dto::DeleteObjectOutput {
        delete_marker: deleted.marker.then_some(true),
        version_id: deleted.version_id,
        ..Default::default()
    }))
}

pub(super) async fn delete_many(
    core: &Arc<Core>,
    request: S3Request<dto::DeleteObjectsInput>,
) -> S3Result<S3Response<dto::DeleteObjectsOutput>> {
    let context = context::of(&request)?.clone();
    let bucket = bucket_of(&request)?;
    let dto::Delete { objects, quiet } = request.input.delete;
    if objects.is_empty() || objects.len() > DELETES_MAX {
        return Err(errors::malformed_xml());
    }
    if let Some(strange) = objects.iter().find(|object| !object.key.chars().all(is_xml)) {
        tracing::debug!(bytes = strange.key.len(), "a name that XML cannot hold");
        return Err(errors::malformed_xml());
    }
    let quiet = quiet.unwrap_or(false);
    let (context, bucket) = (&context, &bucket);
    let each = |object: dto::ObjectIdentifier| async move {
        let etag = object.e_tag.clone().map(dto::ETagCondition::ETag);
        let condition = write_condition(etag.as_ref(), None);
        let version_id = object.version_id.as_deref();
        let result = if object.size.is_some() || object.last_modified_time.is_some() {
            Err(errors::not_implemented("Deletes on condition of size or time are not implemented."))
        } else {
            delete_one(core, context, bucket, &object.key, version_id, condition).await
        };
        (object, result)
    };
    let results: Vec<_> = stream::iter(objects.into_iter().map(each)).buffered(CONCURRENCY).collect().await;
    let (mut deleted, mut failed) = (Vec::new(), Vec::new());
    for (object, result) in results {
        match result {
            Ok(_) if quiet => {}
            Ok(done) => deleted.push(dto::DeletedObject {
                key: Some(object.key),
                delete_marker: done.marker.then_some(true),
                delete_marker_version_id: done.version_id.filter(|_| done.marker),
                version_id: object.version_id,
            }),
            Err(error) => failed.push(shown_error(object, &error)),
        }
    }
    Ok(S3Response::new(dto::DeleteObjectsOutput {
        deleted: (!deleted.is_empty()).then_some(deleted),
        errors: (!failed.is_empty()).then_some(failed),
        ..Default::default()
    }))
}

/// Characters of XML 1.0: the answer names what was deleted, so nothing else may be asked for.
fn is_xml(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// What a delete looks like to its client.
struct ShownDelete {
    marker: bool,
    version_id: Option<String>,
}

async fn delete_one(
    core: &Arc<Core>,
    context: &RequestContext,
    bucket: &Bucket,
    key: &str,
    version_id: Option<&str>,
    condition: WriteCondition,
) -> S3Result<ShownDelete> {
    let key = object_key(key)?;
    let target = match shown::which_version(version_id)? {
        WhichVersion::Current => DeleteTarget::Current,
        WhichVersion::Null => DeleteTarget::Null,
        WhichVersion::Exactly(version) => DeleteTarget::Version(version),
    };
    let group = core.group_of(bucket.id, &key);
    let operation = Operation::DeleteObject(DeleteObject {
        bucket: bucket.id,
        key,
        target,
        mode: bucket.versioning,
        marker: VersionId(random::id()),
        condition,
    });
    let outcome = core.propose(group, context, operation, Bytes::new(), context.deadline()).await?;
    match outcome {
        Outcome::Deleted(Deleted { marker, null, .. }) => {
            // a version named by the client is named back, whether or not it was there
            let marked = marker.filter(|_| bucket.versioning != VersioningMode::Off);
            let added = marked.map(|version| shown::listed_version_id(null, version));
            Ok(ShownDelete { marker: marker.is_some(), version_id: version_id.map(str::to_owned).or(added) })
        }
        // deleting what is not there succeeds
        Outcome::Refused(Refusal::NoSuchVersion) => {
            Ok(ShownDelete { marker: false, version_id: version_id.map(str::to_owned) })
        }
        Outcome::Refused(refusal) => Err(errors::refusal(&refusal)),
        _ => Err(errors::unexpected("the outcome of a delete")),
    }
}

fn shown_error(object: dto::ObjectIdentifier, error: &S3Error) -> dto::Error {
    dto::Error {
        code: Some(error.code().as_str().to_owned()),
        key: Some(object.key),
        message: error.message().map(str::to_owned),
        version_id: object.version_id,
    }
}
