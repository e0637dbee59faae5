//! How far the standby is behind bucket by bucket: the writes of the primary's log that it lacks, added up.

use super::{LagReport, Side};
use crate::ClientError;
use serde::Serialize;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use wire::admin::{LossPage, LostChange, LostWrite, PairGroup, PairReport};
use wire::{PairRole, UnixMillis};

/// Writes that are looked at: more than the log of twenty groups keeps for a standby that is away.
const WRITES_MAX: u64 = 2_000_000;

/// The buckets of which the standby lacks something.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BucketLags {
    /// Whether the standby has all of every bucket that is not named.
    pub complete: bool,
    /// In the order of their names.
    pub behind: Vec<BucketLag>,
}

/// What the standby lacks of one bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BucketLag {
    /// Its name; its number when it has none any more.
    pub bucket: String,
    /// Writes that the standby lacks: puts, deletes, steps of multipart uploads, changes of the bucket.
    pub operations: u64,
    /// Sizes of the objects among them, bytes.
    pub bytes: u64,
    /// Everything in this bucket that was acknowledged before this time is in the standby.
    pub last_sync_time: UnixMillis,
    /// The primary's clock less that, ms.
    pub lag_ms: u64,
}

/// Reads from the primary's log what the standby lacks.
pub fn bucket_lags(sides: &[Side], report: &LagReport) -> Result<BucketLags, ClientError> {
    let named = |name: &Option<String>| {
        let region = name.as_ref()?;
        report.regions.iter().find(|report| report.region == *region)
    };
    let side = |report: &PairReport| sides.iter().find(|side| side.region == report.region);
    let Some((primary, side)) = named(&report.primary).and_then(|primary| Some((primary, side(primary)?)))
    else {
        return Err(ClientError::state(
            "no primary answers, and only its log says what the standby lacks",
            "`twinkeep lag` without --buckets shows what is known of the standby",
        ));
    };
    let mut sum = Sum::new(primary.now);
    sum.complete = primary.groups.len() == primary.groups_total as usize;
    for group in &primary.groups {
        match has_upto(group, named(&report.standby)) {
            Some(sequence) => sum.add_group(side, group.group, sequence + 1)?,
            None => sum.complete = false,
        }
    }
    Ok(sum.finish())
}

/// The last entry of a primary's group that the standby has: as it says, else as it had it when it asked last.
fn has_upto(group: &PairGroup, standby: Option<&PairReport>) -> Option<u64> {
    if group.role != PairRole::Primary {
        return None;
    }
    let there = standby.and_then(|standby| standby.groups.iter().find(|there| there.group == group.group));
    match there {
        Some(there) if there.role == PairRole::Standby && there.epoch == group.epoch => Some(there.sequence),
        // it takes over the state, or follows somebody else: what it has is in no number
        Some(_) => None,
        None => group.shipped,
    }
}

/// What was added up so far.
struct Sum {
    now: UnixMillis,
    complete: bool,
    writes: u64,
    buckets: BTreeMap<String, BucketLag>,
}

impl Sum {
    fn new(now: UnixMillis) -> Self {
        Self { now, complete: true, writes: 0, buckets: BTreeMap::new() }
    }

    fn add_group(&mut self, side: &Side, group: u32, since: u64) -> Result<(), ClientError> {
        let every_page = side.loss_pages(group, since, |page| {
            self.add(&page);
            if self.writes < WRITES_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        self.complete &= every_page.is_continue();
        Ok(())
    }

    fn add(&mut self, page: &LossPage) {
        self.complete &= page.complete;
        self.writes += page.entries.len() as u64;
        for LostWrite { change, bucket, size, acknowledged_at, .. } in &page.entries {
            // who may read a bucket is not in it
            let Some(name) = bucket.as_ref().filter(|_| *change != LostChange::Access) else { continue };
            let lag = self.buckets.entry(name.clone()).or_insert_with(|| BucketLag {
                bucket: name.clone(),
                operations: 0,
                bytes: 0,
                last_sync_time: *acknowledged_at,
                lag_ms: 0,
            });
            lag.operations += 1;
            lag.bytes += size.filter(|_| *change == LostChange::Put).unwrap_or(0);
            lag.last_sync_time = lag.last_sync_time.min(*acknowledged_at);
        }
    }

    fn finish(self) -> BucketLags {
        let now = self.now.0;
        let lag = |lag: BucketLag| BucketLag { lag_ms: now.saturating_sub(lag.last_sync_time.0), ..lag };
        BucketLags { complete: self.complete, behind: self.buckets.into_values().map(lag).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(change: LostChange, bucket: Option<&str>, size: u64, at: u64) -> LostWrite {
        LostWrite {
            change,
            bucket: bucket.map(str::to_owned),
            key: None,
            subject: None,
            version: None,
            size: Some(size),
            etag: None,
            principal: None,
            acknowledged_at: UnixMillis(at),
            kept: true,
            certain: true,
            group: 1,
            sequence: 1,
            part: 0,
        }
    }

    #[test]
    fn writes_are_added_up_by_bucket_and_parts_are_not_counted_twice() {
        let mut sum = Sum::new(UnixMillis(1_000));
        sum.add(&LossPage {
            complete: true,
            entries: vec![
                write(LostChange::PutPart, Some("b"), 50, 700),
                write(LostChange::Put, Some("b"), 50, 900),
                write(LostChange::Put, Some("a"), 7, 1_002),
                write(LostChange::Access, None, 0, 1),
                write(LostChange::Access, Some("a"), 0, 1),
            ],
            next: None,
        });
        let lag = |bucket: &str, operations, bytes, at, lag_ms| BucketLag {
            bucket: bucket.to_owned(),
            operations,
            bytes,
            last_sync_time: UnixMillis(at),
            lag_ms,
        };
        let behind = vec![lag("a", 1, 7, 1_002, 0), lag("b", 2, 50, 700, 300)];
        assert_eq!(sum.finish(), BucketLags { complete: true, behind });
    }

    #[test]
    fn a_log_that_does_not_reach_back_leaves_the_sum_incomplete() {
        let mut sum = Sum::new(UnixMillis(1));
        sum.add(&LossPage { complete: false, entries: Vec::new(), next: None });
        assert!(!sum.finish().complete);
    }
}
