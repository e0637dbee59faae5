//! What this region acknowledged and its pair does not have, in words that an operator understands.

use super::{Admin, Answer, invalid};
use crate::gateway::{
    records::{AccessKeyRecord, decode_grant, parse_grant_key},
    system,
};
use bytes::Bytes;
use replication::{
    machine::Verdict,
    pair::{DivergedWrite, diverged},
    region::Region,
};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;
use tracing::warn;
use wire::{
    BucketId, Command, CommandMeta, DeleteTarget, GroupId, ObjectContent, Operation, PrincipalId, Sequence,
    SystemChange, SystemTable, VersionId, VersionRef, VersioningMode,
    admin::{AdminError, AdminErrorCode, AdminResponse, LossPage, LostChange, LostWrite},
};

/// How long a page may take: a group that has no leader gets one meanwhile.
const PAGE_WAIT: Duration = Duration::from_secs(10);

/// The id under which S3 clients know an object's only version.
const NULL_VERSION: &str = "null";

/// Names of what commands have numbers for.
struct Names {
    buckets: BTreeMap<u64, String>,
    principals: BTreeMap<u64, String>,
}

impl Names {
    /// A bucket's name, or its number if it has none any more.
    fn of_bucket(&self, bucket: BucketId) -> String {
        self.buckets.get(&bucket.0).cloned().unwrap_or_else(|| bucket.0.to_string())
    }

    /// A principal's name, or its number if it has none any more.
    fn of_principal(&self, principal: PrincipalId) -> String {
        self.principals.get(&principal.0).cloned().unwrap_or_else(|| principal.0.to_string())
    }
}

impl Admin {
    /// One page of one group.
    pub(super) async fn pair_loss(&self, group: u32, since: u64, after: u64) -> Answer {
        if group > self.router.groups() {
            return Err(invalid("there is no such group", "`twinkeep lag --json` names them"));
        }
        let (group, deadline) = (GroupId(group), Instant::now() + PAGE_WAIT);
        let page =
            diverged(&self.router, group, Sequence(since), after, deadline).await.map_err(|error| {
                warn!(%group, error = &error as &dyn std::error::Error, "lost writes cannot be listed");
                unavailable(&format!("{group} does not answer"))
            })?;
        let names = self.names(deadline).await?;
        let entries = page.writes.iter().map(|write| lost(group, write, &names)).collect::<Option<Vec<_>>>();
        let entries = entries.ok_or_else(|| unavailable("a command in the log cannot be read"))?;
        let entries = entries.into_iter().flatten().collect();
        Ok(AdminResponse::LossPage(LossPage { complete: page.complete, entries, next: page.next }))
    }

    async fn names(&self, deadline: Instant) -> Result<Names, AdminError> {
        let table = async |table| {
            let records = system::scan(&*self.router, table, Bytes::new(), deadline).await;
            let records = records.map_err(|_| unavailable("the system group does not answer"))?;
            let name = |key: &Bytes| String::from_utf8_lossy(key).into_owned();
            Ok(records.iter().map(|record| (record.created.0, name(&record.key))).collect())
        };
        Ok(Names {
            buckets: table(SystemTable::Bucket).await?,
            principals: table(SystemTable::Principal).await?,
        })
    }
}

fn unavailable(message: &str) -> AdminError {
    AdminError {
        code: AdminErrorCode::Unavailable,
        message: message.to_owned(),
        advice: "`twinkeep status` shows which groups have no leader; ask again".to_owned(),
    }
}

/// The writes of one command; nothing when it cannot be read.
fn lost(group: GroupId, write: &DivergedWrite, names: &Names) -> Option<Vec<LostWrite>> {
    let command = Command::decode(write.head.clone(), Bytes::new()).ok()?;
    let base = LostWrite {
        change: LostChange::Region,
        bucket: None,
        key: None,
        subject: None,
        version: None,
        size: None,
        etag: None,
        principal: principal(&command.meta, names),
        acknowledged_at: command.meta.time,
        kept: write.verdict == Verdict::Kept,
        certain: write.verdict != Verdict::Uncertain,
        group: group.0,
        sequence: write.sequence.0,
        part: 0,
    };
    let named = |change, bucket: BucketId, key: &wire::ObjectKey| LostWrite {
        change,
        bucket: Some(names.of_bucket(bucket)),
        key: Some(String::from_utf8_lossy(key.as_bytes()).into_owned()),
        ..base.clone()
    };
    let put = |bucket, key, mode, version, content: &ObjectContent| LostWrite {
        version: Some(written_version(mode, write.sequence, version)),
        size: Some(content.size),
        etag: Some(content.etag.clone()),
        ..named(LostChange::Put, bucket, key)
    };
    Some(match &command.operation {
        Operation::CommitVersion(commit) => {
            vec![put(commit.bucket, &commit.key, commit.mode, commit.version, &commit.content)]
        }
        Operation::CompleteUpload(complete) => {
            vec![put(complete.bucket, &complete.key, complete.mode, complete.upload, &complete.content)]
        }
        Operation::DeleteObject(delete) => {
            let version = match delete.target {
                DeleteTarget::Version(version) => Some(version.to_string()),
                DeleteTarget::Null => Some(NULL_VERSION.to_owned()),
                DeleteTarget::Current => None,
            };
            vec![LostWrite { version, ..named(LostChange::Delete, delete.bucket, &delete.key) }]
        }
        Operation::CreateUpload(create) => vec![named(LostChange::BeginUpload, create.bucket, &create.key)],
        Operation::PutPart(put) => vec![LostWrite {
            size: Some(put.part.size),
            etag: Some(put.part.etag.clone()),
            ..named(LostChange::PutPart, put.bucket, &put.key)
        }],
        Operation::AbortUpload { bucket, key, .. } => vec![named(LostChange::AbortUpload, *bucket, key)],
        Operation::System(changes) => {
            let parts = (0..).zip(changes);
            parts.map(|(part, change)| LostWrite { part, ..record(change, &base, names) }).collect()
        }
        _ => Vec::new(),
    })
}

fn written_version(mode: VersioningMode, sequence: Sequence, version: VersionId) -> String {
    match mode {
        VersioningMode::Enabled => VersionRef { sequence, version }.to_string(),
        VersioningMode::Off | VersioningMode::Suspended => NULL_VERSION.to_owned(),
    }
}

fn record(change: &SystemChange, base: &LostWrite, names: &Names) -> LostWrite {
    let name = || String::from_utf8_lossy(&change.key).into_owned();
    let (kind, bucket, subject) = match change.table {
        SystemTable::Bucket => (LostChange::Bucket, Some(name()), None),
        SystemTable::Principal => (LostChange::Access, None, Some(format!("user {}", name()))),
        SystemTable::AccessKey => {
            let record = change.value.clone().and_then(|value| AccessKeyRecord::decode(value).ok());
            let whose = record.map(|record| format!(" of {}", names.of_principal(record.principal)));
            (LostChange::Access, None, Some(format!("access key {}{}", name(), whose.unwrap_or_default())))
        }
        SystemTable::Grant => {
            let (bucket, subject) = grant(change, names).unzip();
            (LostChange::Access, bucket, subject)
        }
        _ => (LostChange::Region, None, None),
    };
    let subject = match &change.value {
        Some(_) => subject,
        None => subject.map(|subject| format!("{subject}, taken away")),
    };
    LostWrite { change: kind, bucket, subject, ..base.clone() }
}

/// The bucket that a right is about, and what and whose it is; nothing when the record cannot be read.
fn grant(change: &SystemChange, names: &Names) -> Option<(String, String)> {
    let (principal, bucket) = parse_grant_key(&change.key)?;
    let rights = change.value.clone().and_then(|value| decode_grant(value).ok());
    let rights = rights.map_or_else(String::new, |rights| format!(" {}", rights.names().join(",")));
    let subject = format!("right{rights} of {}", names.of_principal(principal));
    Some((names.of_bucket(bucket), subject))
}

/// The region's own work is on nobody's behalf.
fn principal(meta: &CommandMeta, names: &Names) -> Option<String> {
    (meta.principal.0 != 0).then(|| names.of_principal(meta.principal))
}
