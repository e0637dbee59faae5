//! The bodies of admin answers: states and reports, made to be printed.

use super::SecretText;
use crate::{DeploymentId, GroupId, Incarnation, NodeId, PairRole, UnixMillis};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A region at one instant, as the answering process sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegionStatus {
    /// The deployment.
    pub deployment: DeploymentId,
    /// The environment.
    pub environment: String,
    /// The region.
    pub region: String,
    /// Who answers, `node/<id>` or `gateway/<id>`.
    pub answered_by: String,
    /// The answering process's clock.
    pub now: UnixMillis,
    /// Every node that is not removed.
    pub nodes: Vec<NodeStatus>,
    /// Every group, the system group first.
    pub groups: Vec<GroupStatus>,
    /// Groups with fewer than three good copies.
    pub under_replicated_groups: u32,
    /// Groups that nobody leads.
    pub leaderless_groups: u32,
    /// Whether every group accepts writes.
    pub writable: bool,
    /// Whether it is not to accept writes: the other region of its pair does.
    #[serde(default)]
    pub follows: bool,
    /// What is not in order with its pair, as far as it knows.
    #[serde(default)]
    pub pair_trouble: Option<String>,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its number.
    pub id: NodeId,
    /// Its zone.
    pub zone: String,
    /// Its peer address.
    pub peer_address: String,
    /// The incarnation of its disk.
    pub incarnation: Incarnation,
    /// Whether it answers and takes part.
    pub state: NodeState,
    /// Its release; empty while it does not answer.
    #[serde(default)]
    pub version: String,
    /// Time since its process began.
    #[serde(default)]
    pub uptime_ms: u64,
    /// Size of its disk.
    #[serde(default)]
    pub capacity_bytes: u64,
    /// Bytes its segments and index take.
    #[serde(default)]
    pub used_bytes: u64,
    /// Bytes free on its disk.
    #[serde(default)]
    pub free_bytes: u64,
    /// How its disk is.
    #[serde(default)]
    pub disk: DiskHealth,
    /// Replicas it holds.
    #[serde(default)]
    pub replicas: u32,
    /// Groups it leads.
    #[serde(default)]
    pub leaders: u32,
    /// Handshakes it refused since it began: other deployments, expired certificates, unknown incarnations.
    #[serde(default)]
    pub refused_handshakes: u64,
}

/// Whether a node takes part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// Admitted, not yet a full member.
    Joining,
    /// Answers and takes part.
    Up,
    /// Does not answer.
    Down,
    /// Being emptied.
    Draining,
    /// Empty, may be removed.
    Drained,
    /// A state of a newer release.
    #[default]
    #[serde(other)]
    Unknown,
}

/// How a disk is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskHealth {
    /// Takes reads and writes.
    Healthy,
    /// Full: reads and deletes only.
    ReadOnly,
    /// A write or fsync failed; it is out of service for good.
    Failed,
    /// Not known.
    #[default]
    #[serde(other)]
    Unknown,
}

/// One Raft group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupStatus {
    /// Its number; 0 is the system group.
    pub id: GroupId,
    /// Who leads it.
    pub leader: Option<NodeId>,
    /// Its replicas.
    pub replicas: Vec<GroupReplica>,
    /// The leader's term.
    #[serde(default)]
    pub term: u64,
}

/// One copy of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupReplica {
    /// Where it is.
    pub node: NodeId,
    /// Whether it has all that is committed, or is close behind.
    pub good: bool,
    /// Whether it votes; a learner is still catching up.
    pub voter: bool,
}

/// What only the server knows of its own health. The judgement is the command line's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckFacts {
    /// Who answers, `node/<id>` or `gateway/<id>`.
    pub answered_by: String,
    /// Its release.
    pub version: String,
    /// Its clock.
    pub now: UnixMillis,
    /// Certificates it uses.
    #[serde(default)]
    pub certificates: Vec<CertificateFact>,
    /// Whether it opened the root key; absent on a storage-only node, which has none.
    #[serde(default)]
    pub root_key_open: Option<bool>,
    /// The other nodes as it sees them.
    #[serde(default)]
    pub peers: Vec<PeerFact>,
    /// Most files it may hold open.
    #[serde(default)]
    pub open_files_max: u64,
    /// Records that scrubbing found corrupt and could not repair.
    #[serde(default)]
    pub unrepaired_records: u64,
}

/// One certificate in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateFact {
    /// What for: `peer`, `s3`, `authority`.
    pub purpose: String,
    /// When it expires.
    pub not_after: UnixMillis,
}

/// Another node as the answering process sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerFact {
    /// The node.
    pub node: NodeId,
    /// Whether it answers.
    pub reachable: bool,
    /// Its clock minus the answering process's clock, where known.
    #[serde(default)]
    pub clock_offset_ms: Option<i64>,
    /// Its release, where known.
    #[serde(default)]
    pub version: Option<String>,
}

/// One principal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserSummary {
    /// Its name.
    pub name: String,
    /// Whether it may use and create every bucket.
    pub admin: bool,
    /// When it was registered.
    pub created: UnixMillis,
    /// How many access keys it has.
    #[serde(default)]
    pub keys: u32,
}

/// An access key at the one moment its secret is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewAccessKey {
    /// Whose it is.
    pub user: String,
    /// Its id.
    pub access_key: String,
    /// Its secret.
    pub secret_key: SecretText,
}

/// An access key without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessKeySummary {
    /// Whose it is.
    pub user: String,
    /// Its id.
    pub access_key: String,
    /// When it was made.
    pub created: UnixMillis,
}

/// What a grant allows on a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Right {
    /// Read objects and their metadata.
    Read,
    /// Create and overwrite objects.
    Write,
    /// Delete objects and versions.
    Delete,
    /// List the bucket.
    List,
    /// Change the bucket itself: versioning, deletion.
    Manage,
}

impl Right {
    /// Every right, in order.
    pub const ALL: [Self; 5] = [Self::Read, Self::Write, Self::Delete, Self::List, Self::Manage];

    /// Its name on the command line and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Delete => "delete",
            Self::List => "list",
            Self::Manage => "manage",
        }
    }
}

/// One grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantSummary {
    /// To whom.
    pub principal: String,
    /// On which bucket.
    pub bucket: String,
    /// Which rights.
    pub rights: Vec<Right>,
}

/// How far a membership change is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeProgress {
    /// The node.
    pub node: NodeId,
    /// Its state now.
    pub state: NodeState,
    /// Whether nothing is left to do.
    pub done: bool,
    /// Replicas to move in all.
    #[serde(default)]
    pub replicas_total: u32,
    /// Replicas moved.
    #[serde(default)]
    pub replicas_moved: u32,
    /// What it waits for, when it does not move; may be empty.
    #[serde(default)]
    pub waiting_for: String,
}

/// How far re-wrapping under the current tenant key is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RewrapReport {
    /// The key version that objects are wrapped under now.
    pub version: u32,
    /// Whether no object is left under an older version.
    pub done: bool,
    /// Objects looked at.
    pub objects_seen: u64,
    /// Objects re-wrapped.
    pub objects_rewrapped: u64,
    /// Objects that could not be re-wrapped.
    #[serde(default)]
    pub objects_failed: u64,
    /// Groups finished.
    #[serde(default)]
    pub groups_done: u32,
    /// Groups in all.
    #[serde(default)]
    pub groups_total: u32,
}

/// What scrubbing found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubReport {
    /// Per node.
    pub nodes: Vec<NodeScrub>,
}

/// What scrubbing found on one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeScrub {
    /// The node.
    pub node: NodeId,
    /// Whether a pass is under way.
    pub running: bool,
    /// When the last full pass ended.
    #[serde(default)]
    pub finished: Option<UnixMillis>,
    /// Bytes checked in this pass.
    #[serde(default)]
    pub bytes_checked: u64,
    /// Bytes to check in this pass.
    #[serde(default)]
    pub bytes_total: u64,
    /// Corrupt records found.
    #[serde(default)]
    pub corrupt: u64,
    /// Of these, repaired from a good replica.
    #[serde(default)]
    pub repaired: u64,
}

/// What a collection freed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GcReport {
    /// Per node.
    pub nodes: Vec<NodeGc>,
}

/// What a collection freed on one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeGc {
    /// The node.
    pub node: NodeId,
    /// Segments freed.
    pub segments_freed: u64,
    /// Bytes freed.
    pub bytes_freed: u64,
    /// Live bytes that had to move.
    pub bytes_moved: u64,
}

/// For how long a gateway that passes writes on to the other region goes by what it knows of its own one's part.
pub const PAIR_ROLE_FRESH: Duration = Duration::from_millis(200);

/// A standby that has not heard of its primary for so long counts as left alone, and is no place to switch to as planned, ms.
pub const PAIR_HEARD_MAX_MS: u64 = 10_000;

/// A change of every group's part in the pair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum PairChange {
    /// The primary takes no more writes.
    Seal,
    /// The sealed primary goes on.
    Unseal,
    /// The standby becomes the primary.
    Promote,
    /// The same, on the word of a witness: groups that have heard of their primary lately refuse.
    Relieve,
    /// The sealed primary becomes the standby of the new one.
    Follow {
        /// Groups, and under which entry the new primary's reign began in each.
        since: Vec<(u32, u64)>,
    },
    /// The fenced primary gives up its state for that of the new one, and becomes its standby.
    Rejoin,
}

/// What one process says to the witness that asks it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseReport {
    /// Its region.
    pub region: String,
    /// The stamp that a lease has to name, given out once.
    pub stamp: u64,
    /// Whether it stops acknowledging writes when neither its witness nor its standby vouches for it.
    pub is_needed: bool,
    /// How many groups there are.
    pub groups_total: u32,
    /// Groups led here that take writes.
    pub primaries: u32,
    /// Groups led here that are standbys with a whole state.
    pub standbys: u32,
    /// Groups led here that are neither.
    pub others: u32,
    /// The newest epoch of a group led here.
    pub epoch: u64,
    /// Of the standbys led here: for how long the one that heard of its primary last has not, ms.
    pub unheard_ms: Option<u64>,
}

/// Where a region stands in its pair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairReport {
    /// The region.
    pub region: String,
    /// Its clock.
    pub now: UnixMillis,
    /// Every group that answered, by number.
    pub groups: Vec<PairGroup>,
    /// How many groups there are.
    pub groups_total: u32,
}

/// Where one group stands in its pair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairGroup {
    /// Its number; 0 is the system group.
    pub group: u32,
    /// Its part.
    pub role: PairRole,
    /// The reign it knows.
    pub epoch: u64,
    /// The last entry of the pair applied here.
    pub sequence: u64,
    /// Under which entry the present reign began.
    pub since: u64,
    /// The last entry of the other region that was applied here, also once this one reigns.
    #[serde(default)]
    pub followed: Option<u64>,
    /// The last entry that the other region's group had, when it was heard of last.
    #[serde(default)]
    pub other_sequence: Option<u64>,
    /// The reign that it knew then.
    #[serde(default)]
    pub other_epoch: Option<u64>,
    /// Of a standby: everything acknowledged in the other region by this time, by the clock there, is here.
    #[serde(default)]
    pub synced: Option<UnixMillis>,
    /// How long ago the other region was heard of, ms.
    #[serde(default)]
    pub heard_ms: Option<u64>,
    /// The other region's log no longer reaches back to where this group is.
    #[serde(default)]
    pub gone: bool,
    /// Of a primary: the last entry that the standby had when it asked last.
    #[serde(default)]
    pub shipped: Option<u64>,
    /// Of a primary: commands that it did not have then.
    #[serde(default)]
    pub unshipped_operations: Option<u64>,
    /// Their size, bytes.
    #[serde(default)]
    pub unshipped_bytes: Option<u64>,
    /// Of a standby: why the entry after `sequence` does not come in now. Of a primary: why it acknowledges no writes.
    #[serde(default)]
    pub blocked: Option<String>,
}

/// A page of what a region acknowledged and its pair does not have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LossPage {
    /// Whether the region still knows all of it.
    pub complete: bool,
    /// In the order in which it happened.
    pub entries: Vec<LostWrite>,
    /// Where the next page begins, if there is one.
    #[serde(default)]
    pub next: Option<u64>,
}

/// A write that one region acknowledged and the other does not have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostWrite {
    /// What it did.
    pub change: LostChange,
    /// The bucket's name, or its number if it has none any more.
    pub bucket: Option<String>,
    /// The object's name; bytes that are no UTF-8 are replaced.
    pub key: Option<String>,
    /// Of `access`: what was given, changed or taken away, and whose it is.
    #[serde(default)]
    pub subject: Option<String>,
    /// The version's id as S3 clients know it.
    pub version: Option<String>,
    /// Of an object or part: its size, bytes.
    pub size: Option<u64>,
    /// Of an object or part: its ETag.
    pub etag: Option<String>,
    /// Who did it: a name, or a number if it has none any more.
    pub principal: Option<String>,
    /// The gateway's clock when it was proposed, before it was acknowledged.
    pub acknowledged_at: UnixMillis,
    /// Of a `put`: whether the region that acknowledged it still has it.
    pub kept: bool,
    /// Whether it is known that it was acknowledged.
    pub certain: bool,
    /// Its group.
    pub group: u32,
    /// Its number there.
    pub sequence: u64,
    /// Which of the writes of that number: one may change several records. With it, group and number name a write; all other words are for people.
    #[serde(default)]
    pub part: u32,
}

impl LostWrite {
    /// What it was about, beside its bucket.
    pub fn about(&self) -> Option<&str> {
        self.key.as_deref().or(self.subject.as_deref())
    }
}

/// What a lost write did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LostChange {
    /// An object was written.
    Put,
    /// An object or version was deleted.
    Delete,
    /// A multipart upload was begun.
    BeginUpload,
    /// A part was uploaded.
    PutPart,
    /// A multipart upload was given up.
    AbortUpload,
    /// A bucket was made, changed or removed.
    Bucket,
    /// A principal, an access key or a grant was made, changed or removed.
    Access,
    /// Something else of the region's own was changed: wrapped keys, settings.
    Region,
}
