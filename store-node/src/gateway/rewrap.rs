//! Moves objects to the newest version of the tenant's key: headers are wrapped anew, chunks stay as they are.
//!
//! Walks all versions and uploads of all buckets, group by group, and keeps its place in the system group, so that
//! it goes on where it was after a restart or on another gateway. Counts what it saw and what is left.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use envelope::{EnvelopeError, KeyVersion, ObjectPlace};
use replication::region::{Consistency, RegionError};
use thiserror::Error;
use tokio::time::Instant;
use wire::{
    Answer, BucketId, Command, DecodeError, Decoder, Encoder, GroupId, ListAfter, ListQuery, ListRow,
    ObjectKey, Operation, Outcome, Query, Refusal, Revision, Sequence, SystemExpect, SystemTable, VersionId,
    VersionRef, limits,
};

use super::Gateway;
use super::directory::admin::AdminError;
use super::system::{self, SystemError, put};

/// Key of the job's record.
const JOB: &[u8] = b"rewrap";

/// Format byte of the job's record.
const FORMAT: u8 = 1;

/// Rows asked for at once. Their headers and parts come along, so fewer than a listing's page.
const PAGE_ROWS: u32 = 200;

/// How long one step may wait for its group.
const STEP_HOLD: Duration = Duration::from_secs(60);

/// What a walk over all objects did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RewrapReport {
    /// The version everything is moved to.
    pub to: KeyVersion,
    /// Versions and uploads seen.
    pub counted: u64,
    /// Of these, moved.
    pub rewrapped: u64,
    /// Of these, under the newest version already, or gone meanwhile.
    pub skipped: u64,
    /// Of these, not moved: their header does not open. The log says which.
    pub remaining: u64,
    /// Whether the walk reached its end.
    pub complete: bool,
}

/// Why a walk stopped; it can go on later.
#[derive(Debug, Error)]
pub enum RewrapError {
    /// The system group did not answer.
    #[error("the walk's place could not be read or kept")]
    System {
        /// Why.
        #[from]
        source: SystemError,
    },
    /// The buckets could not be listed.
    #[error("the buckets could not be listed")]
    Buckets {
        /// Why.
        #[from]
        source: AdminError,
    },
    /// A group did not answer.
    #[error("a group did not answer")]
    Region {
        /// Why.
        #[from]
        source: RegionError,
    },
    /// The kept place cannot be read.
    #[error("the walk's place cannot be read")]
    Place {
        /// Why.
        #[from]
        source: DecodeError,
    },
    /// Another walk took over, here or in another gateway.
    #[error("another walk goes on in its place")]
    TakenOver,
    /// An answer of the wrong kind.
    #[error("a group's answer makes no sense")]
    Protocol,
}

/// Where a walk is: what was done, and the bucket and group that come next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    report: RewrapReport,
    bucket: BucketId,
    group: GroupId,
}

/// What became of one header.
enum Step {
    Rewrapped,
    Skipped,
    Remaining,
}

impl Gateway {
    /// Moves all objects to the newest version of the tenant's key, from where an earlier walk stopped. One walk at a time:
    /// a later one of another gateway takes over, of this gateway it ends at once.
    pub async fn rewrap(&self) -> Result<RewrapReport, RewrapError> {
        let Ok(_walk) = self.core.rewrap.try_lock() else { return Err(RewrapError::TakenOver) };
        let to = self.core.keyring.current_version();
        let (mut progress, mut kept) = match self.rewrap_progress().await? {
            // a walk to an older version, or one that is done, begins anew
            Some((found, revision)) if found.report.to == to && !found.report.complete => {
                (found, SystemExpect::At(revision))
            }
            found => (
                Progress {
                    report: RewrapReport { to, ..RewrapReport::default() },
                    bucket: BucketId(0),
                    group: GroupId(1),
                },
                found.map_or(SystemExpect::Absent, |(_, revision)| SystemExpect::At(revision)),
            ),
        };
        self.keep(&progress, &mut kept).await?;
        let mut buckets = self.core.directory.list_buckets().await?;
        buckets.sort_by_key(|bucket| bucket.id);
        for bucket in buckets {
            if bucket.id < progress.bucket {
                continue;
            }
            if bucket.id > progress.bucket {
                (progress.bucket, progress.group) = (bucket.id, GroupId(1));
            }
            while progress.group.0 <= self.core.region.groups() {
                self.rewrap_versions(bucket.id, &mut progress).await?;
                self.rewrap_uploads(bucket.id, &mut progress).await?;
                progress.group = GroupId(progress.group.0 + 1);
                self.keep(&progress, &mut kept).await?;
            }
        }
        progress.report.complete = true;
        self.keep(&progress, &mut kept).await?;
        let RewrapReport { counted, rewrapped, skipped, remaining, .. } = progress.report;
        tracing::info!(%to, counted, rewrapped, skipped, remaining, "objects moved to a key version");
        Ok(progress.report)
    }

    /// What the last walk did, if there was one.
    pub async fn rewrap_report(&self) -> Result<Option<RewrapReport>, RewrapError> {
        Ok(self.rewrap_progress().await?.map(|(progress, _)| progress.report))
    }

    async fn rewrap_progress(&self) -> Result<Option<(Progress, Revision)>, RewrapError> {
        let deadline = Instant::now() + STEP_HOLD;
        let key = Bytes::from_static(JOB);
        let record = system::get(&*self.core.region, SystemTable::Job, key, deadline).await?;
        let Some(record) = record else { return Ok(None) };
        Ok(Some((Progress::decode(record.value)?, record.changed)))
    }

    /// Keeps the place, unless another walk did meanwhile.
    async fn keep(&self, progress: &Progress, kept: &mut SystemExpect) -> Result<(), RewrapError> {
        let region = &*self.core.region;
        let key = Bytes::from_static(JOB);
        let change = put(SystemTable::Job, key, *kept, progress.encode());
        let meta = system::background_meta(region);
        match system::change(region, meta, vec![change], Instant::now() + STEP_HOLD).await {
            Ok(revision) => *kept = SystemExpect::At(revision),
            Err(SystemError::Conflict { .. }) => return Err(RewrapError::TakenOver),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    async fn rewrap_versions(&self, bucket: BucketId, progress: &mut Progress) -> Result<(), RewrapError> {
        let mut after = Some(ListAfter::Start);
        while let Some(from) = after.take() {
            let query = Query::List(ListQuery {
                bucket,
                prefix: Bytes::new(),
                delimiter: None,
                after: from,
                limit: PAGE_ROWS,
                versions: true,
                content: true,
            });
            let Answer::List { rows, resume } = self.ask(progress.group, query).await? else {
                return Err(RewrapError::Protocol);
            };
            for row in rows {
                let ListRow::Version(row) = row else { return Err(RewrapError::Protocol) };
                let Some(content) = row.content else { continue };
                self.rewrap_one(bucket, row.key, row.version, content.header, progress).await?;
            }
            after = resume;
        }
        Ok(())
    }

    async fn rewrap_uploads(&self, bucket: BucketId, progress: &mut Progress) -> Result<(), RewrapError> {
        let mut after: Option<(Bytes, VersionId)> = None;
        loop {
            let prefix = Bytes::new();
            let query = Query::Uploads { bucket, prefix, after: after.clone(), limit: PAGE_ROWS };
            let Answer::Uploads(rows, more) = self.ask(progress.group, query).await? else {
                return Err(RewrapError::Protocol);
            };
            after = rows.last().map(|(key, record)| (key.clone(), record.upload));
            for (key, record) in rows {
                let version = VersionRef { sequence: Sequence(0), version: record.upload };
                self.rewrap_one(bucket, key, version, record.header, progress).await?;
            }
            if !more || after.is_none() {
                return Ok(());
            }
        }
    }

    async fn rewrap_one(
        &self,
        bucket: BucketId,
        key: Bytes,
        version: VersionRef,
        header: Bytes,
        progress: &mut Progress,
    ) -> Result<(), RewrapError> {
        let group = progress.group;
        let report = &mut progress.report;
        report.counted += 1;
        match self.rewrap_header(bucket, key, version, header, group).await? {
            Step::Rewrapped => report.rewrapped += 1,
            Step::Skipped => report.skipped += 1,
            Step::Remaining => report.remaining += 1,
        }
        Ok(())
    }

    async fn rewrap_header(
        &self,
        bucket: BucketId,
        key: Bytes,
        version: VersionRef,
        expected: Bytes,
        group: GroupId,
    ) -> Result<Step, RewrapError> {
        let tenant = self.core.keyring.options().tenant;
        let place = ObjectPlace::new(tenant, bucket, &key, version.version);
        let header = match self.core.keyring.rewrapped(&place, &expected) {
            Ok(Some(header)) => header,
            Ok(None) => return Ok(Step::Skipped),
            Err(error) => {
                log_unopened(version, &error);
                return Ok(Step::Remaining);
            }
        };
        let Some(key) = ObjectKey::new(key) else { return Err(RewrapError::Protocol) };
        let operation = Operation::Rewrap { bucket, key, version, expected, header };
        let region = &*self.core.region;
        let command = Command { meta: system::background_meta(region), operation, body: Bytes::new() };
        match region.propose(group, command, Instant::now() + STEP_HOLD).await? {
            Outcome::Done => Ok(Step::Rewrapped),
            // deleted or completed meanwhile: nothing is left, or it is met again as a version
            Outcome::Refused(
                Refusal::NoSuchVersion | Refusal::NoSuchUpload | Refusal::PreconditionFailed,
            ) => Ok(Step::Skipped),
            _ => Err(RewrapError::Protocol),
        }
    }

    async fn ask(&self, group: GroupId, query: Query) -> Result<Answer, RewrapError> {
        let deadline = Instant::now() + STEP_HOLD;
        let asked = self.core.region.query(group, query, Consistency::Linearizable, deadline).await;
        Ok(asked?.0)
    }
}

fn log_unopened(version: VersionRef, error: &EnvelopeError) {
    static LOGGED: AtomicU64 = AtomicU64::new(0);
    // one damaged key can leave many objects behind: the first hundred say enough
    if LOGGED.fetch_add(1, Ordering::Relaxed) < 100 {
        tracing::error!(version = %version.version, error = error as &dyn std::error::Error, "a header does not open");
    }
}

impl Progress {
    pub(crate) fn encode(&self) -> Bytes {
        let mut e = Encoder::with_capacity(64);
        e.u8(FORMAT);
        e.u32(self.report.to.0);
        for count in [self.report.counted, self.report.rewrapped, self.report.skipped, self.report.remaining]
        {
            e.u64(count);
        }
        e.flag(self.report.complete);
        e.u64(self.bucket.0);
        e.u32(self.group.0);
        e.finish()
    }

    pub(crate) fn decode(value: Bytes) -> Result<Self, DecodeError> {
        let mut d = Decoder::new("rewrap job", value);
        match d.u8()? {
            FORMAT => {}
            found => return Err(d.unknown(u64::from(found))),
        }
        let report = RewrapReport {
            to: KeyVersion(d.u32()?),
            counted: d.u64()?,
            rewrapped: d.u64()?,
            skipped: d.u64()?,
            remaining: d.u64()?,
            complete: d.flag()?,
        };
        let progress = Self { report, bucket: BucketId(d.u64()?), group: GroupId(d.u32()?) };
        d.finish()?;
        Ok(progress)
    }
}

// a page of rows with their content fits an answer's frame
const _: () = assert!(PAGE_ROWS as usize <= limits::LIST_ROWS_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walks_place_survives_a_restart() {
        let report = RewrapReport {
            to: KeyVersion(2),
            counted: 3,
            rewrapped: 1,
            skipped: 1,
            remaining: 1,
            complete: false,
        };
        let progress = Progress { report, bucket: BucketId(7), group: GroupId(4) };
        assert_eq!(Progress::decode(progress.encode()), Ok(progress));
    }
}
