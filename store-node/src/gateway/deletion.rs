//! Deleting a bucket that lives in many groups, so that no acknowledged write is lost whatever stops in the middle.
//!
//! 1. Lock: the bucket's record says since when it is being deleted; one gateway at a time.
//! 2. Freeze: every group refuses new versions and says whether it holds any.
//! 3. All empty: remove the record, if the lock is still ours; then every group forgets the bucket. Frozen it stays.
//! 4. Otherwise: thaw every group, unlock.
//!
//! A gateway that stops in between leaves a locked bucket that refuses writes; after [`LOCK_AGE_MAX`] any gateway
//! thaws and unlocks it. Thaws are only sent while the lock cannot have been taken over.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::try_join_all;
use replication::region::RegionError;
use s3s::{S3ErrorCode, S3Result};
use tokio::time::Instant;
use wire::{Command, Operation, Outcome, Revision};

use super::Core;
use super::context::now;
use super::directory::Bucket;
use super::directory::admin::AdminError;
use super::errors;
use super::system::{self, SystemError};

/// Age at which a lock is taken to be left behind. Far above the time that all steps may take together.
const LOCK_AGE_MAX: Duration = Duration::from_secs(120);

/// How long freezing may take, and thawing again.
const STEP_HOLD: Duration = Duration::from_secs(20);

/// Deletes a bucket that is empty.
pub(crate) async fn delete(core: &Core, bucket: &Bucket) -> S3Result<()> {
    if is_locked(bucket) {
        return Err(aborted());
    }
    let lock = core.directory.lock_bucket(bucket).await.map_err(|error| admin_error(core, error))?;
    let frozen = on_all_groups(core, Operation::FreezeBucket { bucket: bucket.id }).await;
    let empty = frozen.as_ref().is_ok_and(|outcomes| {
        outcomes.iter().all(|outcome| matches!(outcome, Outcome::Frozen { empty: true }))
    });
    if !empty {
        release(core, bucket, lock).await?;
        frozen.map_err(|error| core.region_error(error))?;
        return Err(errors::s3(S3ErrorCode::BucketNotEmpty, "The bucket you tried to delete is not empty"));
    }
    core.directory.remove_bucket(bucket, lock).await.map_err(|error| admin_error(core, error))?;
    // the bucket is gone; what a failure leaves behind here takes room but is never seen
    if let Err(error) = forget(core, bucket).await {
        let error = &error as &dyn std::error::Error;
        tracing::warn!(bucket = %bucket.id, error, "a deleted bucket was not forgotten everywhere");
    }
    Ok(())
}

/// Ends the uploads that a bucket had when it was deleted; each round ends so many per group.
async fn forget(core: &Core, bucket: &Bucket) -> Result<(), RegionError> {
    let is_whole = |outcome: &Outcome| !matches!(outcome, Outcome::Forgotten { whole: false });
    loop {
        let outcomes = on_all_groups(core, Operation::ForgetBucket { bucket: bucket.id }).await?;
        if outcomes.iter().all(is_whole) {
            return Ok(());
        }
    }
}

/// Thaws buckets whose deletion was left behind.
pub(crate) async fn recover(core: &Core) {
    let Ok(buckets) = core.directory.list_buckets().await else { return };
    for bucket in buckets.iter().filter(|bucket| bucket.deleting.is_some() && !is_locked(bucket)) {
        tracing::warn!(bucket = %bucket.id, "a bucket's deletion was left behind: thawing it");
        match core.directory.lock_bucket(bucket).await {
            Ok(lock) => {
                if release(core, bucket, lock).await.is_err() {
                    tracing::warn!(bucket = %bucket.id, "a bucket could not be thawed, will retry");
                }
            }
            // another gateway was first
            Err(error) => tracing::debug!(error = &error as &dyn std::error::Error, "bucket not locked"),
        }
    }
}

async fn release(core: &Core, bucket: &Bucket, lock: Revision) -> S3Result<()> {
    on_all_groups(core, Operation::ThawBucket { bucket: bucket.id })
        .await
        .map_err(|error| core.region_error(error))?;
    core.directory.unlock_bucket(bucket, lock).await.map_err(|error| admin_error(core, error))
}

fn is_locked(bucket: &Bucket) -> bool {
    let age_max = LOCK_AGE_MAX.as_millis() as u64;
    bucket.deleting.is_some_and(|since| now().0.saturating_sub(since.0) < age_max)
}

async fn on_all_groups(core: &Core, operation: Operation) -> Result<Vec<Outcome>, RegionError> {
    let deadline = Instant::now() + STEP_HOLD;
    let each = |group| {
        let meta = system::background_meta(&*core.region);
        let command = Command { meta, operation: operation.clone(), body: Bytes::new() };
        core.region.propose(group, command, deadline)
    };
    try_join_all(core.groups().map(each)).await
}

/// What a failed change of a bucket's record looks like to a client.
pub(crate) fn admin_error(core: &Core, error: AdminError) -> s3s::S3Error {
    match error {
        AdminError::System { source: SystemError::Region(source) } => core.region_error(source),
        AdminError::System { source: SystemError::Refused(refusal @ wire::Refusal::PairRole { .. }) } => {
            core.refused_write().unwrap_or_else(|| errors::refusal(&refusal))
        }
        AdminError::System { source: SystemError::Refused(refusal) } => errors::refusal(&refusal),
        AdminError::NoSuchBucket => errors::no_such_bucket(),
        AdminError::BucketChanged => aborted(),
        _ => errors::unexpected("the outcome of a change of buckets"),
    }
}

fn aborted() -> s3s::S3Error {
    errors::refusal(&wire::Refusal::Conflict { change: 0 })
}
