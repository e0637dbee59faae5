//! Reading and changing records of the system group.

use bytes::Bytes;
use replication::region::{Consistency, Region, RegionError};
use thiserror::Error;
use tokio::time::Instant;
use wire::{
    Answer, Command, CommandMeta, GroupId, Operation, Outcome, PrincipalId, Query, Refusal, RequestId,
    Revision, SystemChange, SystemExpect, SystemRecord, SystemTable,
};

use super::context;
use crate::random;

/// Records asked for at once; a region's whole directory takes few pages.
const SCAN_ROWS: u32 = 1000;

/// Why the system group did not do it.
#[derive(Debug, Error)]
pub enum SystemError {
    /// It did not answer.
    #[error("the system group did not answer")]
    Region(#[source] RegionError),
    /// A record is not as expected.
    #[error("record {change} of the change is not as expected")]
    Conflict {
        /// Which change, from 0.
        change: u32,
    },
    /// It refused.
    #[error("the system group refused the change")]
    Refused(Refusal),
    /// It answered something else.
    #[error("the system group's answer makes no sense")]
    Protocol,
}

/// What a command carries that no client asked for.
pub(crate) fn background_meta(region: &dyn Region) -> CommandMeta {
    CommandMeta {
        epoch: region.epoch(),
        time: context::now(),
        principal: PrincipalId(0),
        request: RequestId(random::id()),
    }
}

/// A change that writes a record.
pub(crate) fn put(table: SystemTable, key: Bytes, expect: SystemExpect, value: Bytes) -> SystemChange {
    SystemChange { table, key, expect, value: Some(value) }
}

/// A change that removes a record.
pub(crate) fn remove(table: SystemTable, key: Bytes, expect: SystemExpect) -> SystemChange {
    SystemChange { table, key, expect, value: None }
}

/// Changes records: all of them or none.
pub(crate) async fn change(
    region: &dyn Region,
    meta: CommandMeta,
    changes: Vec<SystemChange>,
    deadline: Instant,
) -> Result<Revision, SystemError> {
    let command = Command { meta, operation: Operation::System(changes), body: Bytes::new() };
    match region.propose(GroupId::SYSTEM, command, deadline).await.map_err(SystemError::Region)? {
        Outcome::Changed(revision) => Ok(revision),
        Outcome::Refused(Refusal::Conflict { change }) => Err(SystemError::Conflict { change }),
        Outcome::Refused(refusal) => Err(SystemError::Refused(refusal)),
        _ => Err(SystemError::Protocol),
    }
}

/// One record.
pub(crate) async fn get(
    region: &dyn Region,
    table: SystemTable,
    key: Bytes,
    deadline: Instant,
) -> Result<Option<SystemRecord>, SystemError> {
    match ask(region, Query::SystemGet { table, key }, deadline).await? {
        Answer::SystemGet(record) => Ok(record),
        _ => Err(SystemError::Protocol),
    }
}

/// All records of a table whose keys begin with `prefix`.
pub(crate) async fn scan(
    region: &dyn Region,
    table: SystemTable,
    prefix: Bytes,
    deadline: Instant,
) -> Result<Vec<SystemRecord>, SystemError> {
    let mut records: Vec<SystemRecord> = Vec::new();
    loop {
        let after = records.last().map(|record| record.key.clone());
        let query = Query::SystemScan { table, prefix: prefix.clone(), after, limit: SCAN_ROWS };
        let Answer::SystemScan(page, more) = ask(region, query, deadline).await? else {
            return Err(SystemError::Protocol);
        };
        let empty = page.is_empty();
        records.extend(page);
        if !more || empty {
            return Ok(records);
        }
    }
}

/// The revision of the last change.
pub(crate) async fn revision(region: &dyn Region, deadline: Instant) -> Result<Revision, SystemError> {
    match ask(region, Query::SystemRevision, deadline).await? {
        Answer::SystemRevision(revision) => Ok(revision),
        _ => Err(SystemError::Protocol),
    }
}

async fn ask(region: &dyn Region, query: Query, deadline: Instant) -> Result<Answer, SystemError> {
    region
        .query(GroupId::SYSTEM, query, Consistency::Linearizable, deadline)
        .await
        .map(|(answer, _)| answer)
        .map_err(SystemError::Region)
}
