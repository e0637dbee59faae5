//! How much may be in flight: bytes of bodies, and requests. Beyond it callers wait briefly, then are told to slow down.

use std::sync::Arc;
use std::time::Duration;

use s3s::S3Result;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::errors::slow_down;

/// How long a request waits for room before it is refused. SDKs retry a refusal at once, so a short wait is kinder.
const ADMISSION_WAIT: Duration = Duration::from_secs(2);

/// How long an upload under way waits for its next buffer: others that hold room are making progress.
const NEXT_BUFFER_WAIT: Duration = Duration::from_secs(20);

/// Room for requests and their bodies.
#[derive(Debug)]
pub(crate) struct Budget {
    bytes: Arc<Semaphore>,
    requests: Arc<Semaphore>,
}

/// Room taken; given back on drop.
#[derive(Debug)]
pub(crate) struct Room {
    _permit: OwnedSemaphorePermit,
}

impl Budget {
    pub(crate) fn new(bytes: usize, requests: usize) -> Self {
        Self {
            bytes: Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS))),
            requests: Arc::new(Semaphore::new(requests.min(Semaphore::MAX_PERMITS))),
        }
    }

    /// Room for one request.
    pub(crate) async fn request(&self) -> S3Result<Room> {
        take(&self.requests, 1, ADMISSION_WAIT).await
    }

    /// Room for the first bytes of a body.
    pub(crate) async fn first_bytes(&self, bytes: usize) -> S3Result<Room> {
        take(&self.bytes, bytes, ADMISSION_WAIT).await
    }

    /// Room for the next bytes of a body under way.
    pub(crate) async fn next_bytes(&self, bytes: usize) -> S3Result<Room> {
        take(&self.bytes, bytes, NEXT_BUFFER_WAIT).await
    }

    /// Room for bytes that would be nice to have early.
    pub(crate) fn spare_bytes(&self, bytes: usize) -> Option<Room> {
        let bytes = u32::try_from(bytes).ok()?;
        self.bytes.clone().try_acquire_many_owned(bytes).ok().map(|permit| Room { _permit: permit })
    }
}

async fn take(from: &Arc<Semaphore>, amount: usize, wait: Duration) -> S3Result<Room> {
    let refused = || slow_down("Too much is in flight. Please reduce your request rate.");
    let amount = u32::try_from(amount).map_err(|_| refused())?;
    if let Ok(permit) = from.clone().try_acquire_many_owned(amount) {
        return Ok(Room { _permit: permit });
    }
    match tokio::time::timeout(wait, from.clone().acquire_many_owned(amount)).await {
        Ok(Ok(permit)) => Ok(Room { _permit: permit }),
        _ => Err(refused()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn beyond_the_budget_a_caller_waits_and_is_then_told_to_slow_down() {
        let budget = Budget::new(10, 1);
        let held = budget.first_bytes(8).await.unwrap();
        let refused = take(&budget.bytes, 8, Duration::ZERO).await.unwrap_err();
        assert_eq!(refused.code(), &s3s::S3ErrorCode::SlowDown);
        assert!(refused.headers().unwrap().contains_key("retry-after"));
        assert!(budget.spare_bytes(8).is_none());
        drop(held);
        assert!(budget.first_bytes(8).await.is_ok());
    }
}
