//! What this region holds, told so that the other region of the pair can be held against it; and letting one group of a
//! standby take over its primary's state once more.

use super::{Admin, Answer, invalid};
use crate::gateway::system;
use bytes::Bytes;
use replication::{
    pair::{CompareRequest, compare_entries, compare_sums},
    region::{Region, RegionError},
};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;
use tracing::warn;
use wire::{
    COMPARED_ROWS_MAX, CompareCursor, CompareTree, Epoch, GroupId, PairRole, PairStep, SystemTable,
    admin::{
        AdminError, AdminErrorCode, AdminResponse, CompareBucket, CompareEntriesPage, CompareSums,
        CompareSumsPage, CompareWanted,
    },
};

/// How long a page may take: an election, and then some seconds of reading at the rate of a walk.
const PAGE_WAIT: Duration = Duration::from_secs(20);

impl Admin {
    /// One page of what a group holds, as sums.
    pub(super) async fn compare_sums(
        &self,
        group: u32,
        after: Option<CompareCursor>,
        bucket: Option<CompareBucket>,
    ) -> Answer {
        let (group, deadline) = (self.group(group)?, Instant::now() + PAGE_WAIT);
        let names = self.bucket_names(deadline).await?;
        let bucket = match bucket {
            None => None,
            Some(CompareBucket::Number { number }) => Some(number),
            Some(CompareBucket::Name { name }) => {
                let found = names.iter().find(|(_, known)| **known == name);
                Some(*found.ok_or_else(|| no_such_bucket(&name))?.0)
            }
        };
        let request = CompareRequest::Sums { after, bucket };
        let page = compare_sums(&self.router, group, &request, deadline).await;
        let page = page.map_err(|error| unavailable(group, &error))?;
        let trees = page.trees.into_iter().map(|(tree, leaves)| {
            let name = match tree {
                CompareTree::Bucket { bucket } => names.get(&bucket).cloned(),
                _ => None,
            };
            CompareSums { tree, name, leaves }
        });
        let (position, trees, next) = (page.position, trees.collect(), page.next);
        Ok(AdminResponse::CompareSums(CompareSumsPage { position, bucket, trees, next }))
    }

    /// Entries of a group.
    pub(super) async fn compare_entries(&self, group: u32, wanted: CompareWanted) -> Answer {
        let (group, deadline) = (self.group(group)?, Instant::now() + PAGE_WAIT);
        let request = match wanted {
            CompareWanted::Leaves { tree, leaves, after } => CompareRequest::Leaves { tree, leaves, after },
            CompareWanted::Rows { rows } if rows.len() > COMPARED_ROWS_MAX => {
                return Err(invalid("too many rows at once", "ask for fewer"));
            }
            CompareWanted::Rows { rows } => CompareRequest::Rows { rows },
        };
        let page = compare_entries(&self.router, group, &request, deadline).await;
        let page = page.map_err(|error| unavailable(group, &error))?;
        let (position, entries, next) = (page.position, page.entries, page.next);
        Ok(AdminResponse::CompareEntries(CompareEntriesPage { position, entries, next }))
    }

    /// Lets a group that is a standby under `epoch` take over its primary's state. A primary is never changed.
    pub(super) async fn pair_resync(&self, group: u32, epoch: u64) -> Answer {
        let group = self.group(group)?;
        let silent = || unavailable(group, &RegionError::Unavailable { group });
        let (_, state) = self.pair_state(group).await.ok_or_else(silent)?;
        if !matches!(state.role, PairRole::Standby | PairRole::Bootstrap) || state.epoch != Epoch(epoch) {
            return Err(invalid(
                "this group is no standby under that epoch",
                "only a standby takes over the other region's state; `twinkeep lag` shows which region is one",
            ));
        }
        // judged once more when it is applied: a group that was promoted meanwhile refuses
        let step = PairStep::Rejoin { epoch: state.epoch };
        let changed = self.change_part(group, step).await.ok_or_else(silent)?;
        self.answer_with([changed].into()).await
    }

    fn group(&self, group: u32) -> Result<GroupId, AdminError> {
        if group > self.router.groups() {
            return Err(invalid("there is no such group", "`twinkeep lag --json` names them"));
        }
        Ok(GroupId(group))
    }

    async fn bucket_names(&self, deadline: Instant) -> Result<BTreeMap<u64, String>, AdminError> {
        let records = system::scan(&*self.router, SystemTable::Bucket, Bytes::new(), deadline).await;
        let group = GroupId::SYSTEM;
        let records = records.map_err(|_| unavailable(group, &RegionError::Unavailable { group }))?;
        let name = |key: &Bytes| String::from_utf8_lossy(key).into_owned();
        Ok(records.iter().map(|record| (record.created.0, name(&record.key))).collect())
    }
}

fn no_such_bucket(name: &str) -> AdminError {
    AdminError {
        code: AdminErrorCode::NotFound,
        message: format!("there is no bucket {name}"),
        advice: "leave --bucket out to compare all of them".to_owned(),
    }
}

fn unavailable(group: GroupId, error: &RegionError) -> AdminError {
    warn!(%group, error = error as &dyn std::error::Error, "a group cannot be compared");
    let (code, why, advice) = match error {
        RegionError::Overloaded => {
            (AdminErrorCode::Busy, "is being compared or brought up already", "ask again in a moment")
        }
        RegionError::Unreadable { .. } => {
            (AdminErrorCode::Internal, "cannot be read on its leader", "the log of that node says why")
        }
        _ => (
            AdminErrorCode::Unavailable,
            "does not answer",
            "`twinkeep status` shows which groups have no leader",
        ),
    };
    AdminError { code, message: format!("group {group} {why}"), advice: advice.to_owned() }
}
