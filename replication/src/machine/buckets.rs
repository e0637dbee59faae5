//! Buckets in a data group: counters, and the freeze that lets a bucket be deleted across all groups.

use super::{
    apply::{Applying, Halt, Judged},
    key,
    row::BucketRow,
    streams::damaged,
};
use crate::index::Index;
use wire::{BucketId, Outcome, Refusal};

/// Uploads and parts after which forgetting a bucket takes another entry, so that none holds up those behind it for long.
/// 10,000: as many parts as one upload may have, which ending it takes away at once too.
pub(super) const FORGOTTEN_ROWS: usize = 10_000;

impl<I: Index> Applying<'_, I> {
    pub(super) fn freeze_bucket(&mut self, bucket: BucketId, frozen: bool) -> Judged {
        let mut row = self.bucket(bucket)?;
        row.frozen = frozen;
        self.put_bucket(bucket, row);
        Ok(if frozen { Outcome::Frozen { empty: row.usage.versions == 0 } } else { Outcome::Done })
    }

    /// Ends the bucket's uploads, or the first of many. The freeze stays.
    pub(super) fn forget_bucket(&mut self, bucket: BucketId) -> Judged {
        let prefix = key::name_prefix(key::table::UPLOAD, bucket, &[]);
        let end = key::after(prefix.clone());
        let uploads =
            self.transaction.scan(&prefix..&end).take(FORGOTTEN_ROWS).collect::<Result<Vec<_>, _>>()?;
        let found = uploads.len();
        let (mut ended, mut rows) = (0, 0);
        for (row_key, _) in uploads {
            if rows >= FORGOTTEN_ROWS {
                break;
            }
            let upload = key::last_id(&row_key).ok_or_else(|| damaged("upload key"))?;
            self.transaction.delete(row_key);
            rows += 1 + self.free_parts(wire::VersionId(upload), |_| false)?;
            ended += 1;
        }
        let mut row = self.bucket(bucket)?;
        let whole = ended == found && found < FORGOTTEN_ROWS;
        row.usage.uploads = if whole { 0 } else { row.usage.uploads.saturating_sub(ended as u64) };
        self.put_bucket(bucket, row);
        Ok(Outcome::Forgotten { whole })
    }

    pub(super) fn bucket(&self, bucket: BucketId) -> Result<BucketRow, Halt> {
        Ok(match self.transaction.get(&key::bucket(bucket))? {
            Some(value) => BucketRow::decode(value)?,
            None => BucketRow::default(),
        })
    }

    pub(super) fn put_bucket(&mut self, bucket: BucketId, row: BucketRow) {
        let row_key = key::bucket(bucket);
        if row == BucketRow::default() {
            self.transaction.delete(&row_key);
        } else {
            self.transaction.put(&row_key, row.encode());
        }
    }

    pub(super) fn refuse_frozen(&self, bucket: BucketId) -> Result<(), Halt> {
        if self.bucket(bucket)?.frozen { Err(Refusal::BucketFrozen.into()) } else { Ok(()) }
    }
}
