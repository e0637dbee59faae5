//! What the `twinkeep` command line asks of a region and what it is answered, as JSON inside admin frames.
//!
//! Every message is an object with a `type`. Readers ignore fields they do not know and fill in fields that an older
//! peer left out, so that both sides can be upgraded apart; a request of an unknown type is answered with
//! [`AdminErrorCode::NotAvailable`]. Who may ask what is the server's decision, by the caller's certificate.

mod compare;
mod refused;
mod report;
mod secret;

pub use compare::*;
pub use refused::*;
pub use report::*;
pub use secret::SecretText;

use crate::descriptor::NodeDescriptor;
use crate::{CompareCursor, Incarnation, NodeId, RequestId};
use serde::{Deserialize, Serialize};

/// The frame kind of every admin call: the request is the head of a `Request` frame of class admin, the answer the head
/// of its `Reply`; bodies are empty.
pub const ADMIN_CALL_KIND: u16 = 0x0100;

/// One admin message, bytes. 4 MiB: the status of 1,024 groups on 100 nodes takes about a tenth of it.
pub const ADMIN_MESSAGE_BYTES_MAX: usize = 4 << 20;

/// What the command line asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum AdminRequest {
    /// Nodes, groups, leaders, capacity: answered with [`AdminResponse::Status`].
    Status,
    /// What only the server knows of its own health: answered with [`AdminResponse::CheckFacts`].
    CheckFacts,
    /// Registers a principal and its first access key: [`AdminResponse::UserAdded`].
    UserAdd {
        /// The principal's name.
        name: String,
        /// Whether it may use and create every bucket.
        #[serde(default)]
        admin: bool,
        /// Whether it may create buckets, which are its own then.
        #[serde(default)]
        create_buckets: bool,
    },
    /// All principals: [`AdminResponse::Users`].
    UserList,
    /// Removes a principal with its keys and grants: [`AdminResponse::Done`].
    UserRemove {
        /// The principal's name.
        name: String,
    },
    /// One more access key for a principal: [`AdminResponse::KeyAdded`].
    KeyAdd {
        /// The principal's name.
        user: String,
    },
    /// Access keys without their secrets: [`AdminResponse::Keys`].
    KeyList {
        /// Only this principal's.
        #[serde(default)]
        user: Option<String>,
    },
    /// Removes an access key: [`AdminResponse::Done`].
    KeyRemove {
        /// The access key's id.
        access_key: String,
    },
    /// Gives rights on a bucket: [`AdminResponse::Done`].
    GrantAdd {
        /// To whom.
        principal: String,
        /// On which bucket.
        bucket: String,
        /// Which rights; they are added to those already given.
        rights: Vec<Right>,
    },
    /// Takes all rights on a bucket away: [`AdminResponse::Done`].
    GrantRemove {
        /// From whom.
        principal: String,
        /// On which bucket.
        bucket: String,
    },
    /// Grants: [`AdminResponse::Grants`].
    GrantList {
        /// Only this principal's.
        #[serde(default)]
        principal: Option<String>,
        /// Only on this bucket.
        #[serde(default)]
        bucket: Option<String>,
    },
    /// Admits a new node, which may then join with its token: [`AdminResponse::NodeProgress`].
    NodeAdd {
        /// The node.
        node: NodeDescriptor,
        /// The token that admits it, once.
        token: RequestId,
    },
    /// Moves all replicas and leaders off a node: [`AdminResponse::NodeProgress`].
    NodeDrain {
        /// The node.
        node: NodeId,
    },
    /// Forgets a drained node; its number is never used again: [`AdminResponse::NodeProgress`].
    NodeRemove {
        /// The node.
        node: NodeId,
        /// Also when it still holds replicas (its disk is lost).
        #[serde(default)]
        lost: bool,
    },
    /// Gives a node an empty disk under its next incarnation: [`AdminResponse::NodeProgress`].
    NodeReplace {
        /// The node.
        node: NodeId,
        /// The incarnation of the new disk, one above the old.
        incarnation: Incarnation,
        /// Its new address, if that changed.
        #[serde(default)]
        peer_address: Option<String>,
        /// The token that admits it, once.
        token: RequestId,
    },
    /// How far a membership change is: [`AdminResponse::NodeProgress`].
    NodeProgress {
        /// The node.
        node: NodeId,
    },
    /// Makes the next version of the tenant key the current one: [`AdminResponse::TenantKey`].
    TenantKeyRotate,
    /// Re-wraps object keys under the current tenant key, or goes on doing so: [`AdminResponse::Rewrap`].
    RewrapStart,
    /// How far the re-wrapping is: [`AdminResponse::Rewrap`].
    RewrapProgress,
    /// Reads and checks everything stored: [`AdminResponse::Scrub`].
    ScrubStart {
        /// Only this node.
        #[serde(default)]
        node: Option<NodeId>,
    },
    /// What scrubbing found so far: [`AdminResponse::Scrub`].
    ScrubReport {
        /// Only this node.
        #[serde(default)]
        node: Option<NodeId>,
    },
    /// How far this region and its pair are: [`AdminResponse::Pair`].
    PairReport,
    /// Changes the part of every group in the pair: [`AdminResponse::Pair`].
    PairStep {
        /// The change.
        step: PairChange,
        /// Under which epoch.
        epoch: u64,
    },
    /// Of a witness, to every storage node by itself: gives a lease and asks for the stamp of the next: [`AdminResponse::Lease`].
    Lease {
        /// The newest epoch that the witness knows of; groups under an older one get no lease.
        epoch: u64,
        /// The stamp of the last answer; none gives no lease.
        #[serde(default)]
        stamp: Option<u64>,
    },
    /// What this region acknowledged and its pair does not have, a page at a time: [`AdminResponse::LossPage`].
    PairLoss {
        /// The group.
        group: u32,
        /// The first entry that the other region does not have.
        since: u64,
        /// Where the page before ended; 0 for the first.
        #[serde(default)]
        after: u64,
    },
    /// What a group holds, as sums that the same in the other region must equal, a page at a time: [`AdminResponse::CompareSums`].
    CompareSums {
        /// The group.
        group: u32,
        /// Where the page before ended; the first begins at the start.
        #[serde(default)]
        after: Option<CompareCursor>,
        /// Only of this bucket.
        #[serde(default)]
        bucket: Option<CompareBucket>,
    },
    /// Entries of what a group holds, one by one: [`AdminResponse::CompareEntries`].
    CompareEntries {
        /// The group.
        group: u32,
        /// Which.
        wanted: CompareWanted,
    },
    /// Lets a group of the standby take over its primary's state once more: [`AdminResponse::Pair`].
    PairResync {
        /// The group.
        group: u32,
        /// Under which epoch it is a standby.
        epoch: u64,
    },
    /// Peers that the answering process turned away, from its record: [`AdminResponse::RefusedPeers`].
    RefusedPeers,
    /// Frees mostly-dead segments now: [`AdminResponse::Gc`].
    Gc {
        /// Only this node.
        #[serde(default)]
        node: Option<NodeId>,
    },
}

/// What the region answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum AdminResponse {
    /// To [`AdminRequest::Status`].
    Status(RegionStatus),
    /// To [`AdminRequest::CheckFacts`].
    CheckFacts(CheckFacts),
    /// To [`AdminRequest::UserAdd`].
    UserAdded {
        /// The principal.
        user: UserSummary,
        /// Its first access key; the secret is shown this once.
        key: NewAccessKey,
    },
    /// To [`AdminRequest::UserList`].
    Users {
        /// All principals, by name.
        users: Vec<UserSummary>,
    },
    /// To [`AdminRequest::KeyAdd`].
    KeyAdded {
        /// The new access key; the secret is shown this once.
        key: NewAccessKey,
    },
    /// To [`AdminRequest::KeyList`].
    Keys {
        /// Access keys, by id.
        keys: Vec<AccessKeySummary>,
    },
    /// To [`AdminRequest::GrantList`].
    Grants {
        /// Grants, by principal and bucket.
        grants: Vec<GrantSummary>,
    },
    /// To every membership request.
    NodeProgress(NodeProgress),
    /// To [`AdminRequest::TenantKeyRotate`].
    TenantKey {
        /// The version that new objects are wrapped under from now on.
        version: u32,
    },
    /// To [`AdminRequest::RewrapStart`] and [`AdminRequest::RewrapProgress`].
    Rewrap(RewrapReport),
    /// To [`AdminRequest::ScrubStart`] and [`AdminRequest::ScrubReport`].
    Scrub(ScrubReport),
    /// To [`AdminRequest::Gc`].
    Gc(GcReport),
    /// To [`AdminRequest::PairReport`], [`AdminRequest::PairStep`] and [`AdminRequest::PairResync`].
    Pair(PairReport),
    /// To [`AdminRequest::Lease`].
    Lease(LeaseReport),
    /// To [`AdminRequest::PairLoss`].
    LossPage(LossPage),
    /// To [`AdminRequest::RefusedPeers`].
    RefusedPeers(RefusedPeersReport),
    /// To [`AdminRequest::CompareSums`].
    CompareSums(CompareSumsPage),
    /// To [`AdminRequest::CompareEntries`].
    CompareEntries(CompareEntriesPage),
    /// To requests that have nothing to tell.
    Done,
    /// To any request that failed.
    Error(AdminError),
}

/// Why a request failed and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdminError {
    /// What kind of failure.
    pub code: AdminErrorCode,
    /// What happened, in one sentence.
    pub message: String,
    /// What the operator can do, in one sentence; may be empty.
    #[serde(default)]
    pub advice: String,
}

/// Kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdminErrorCode {
    /// This server does not offer it (yet, or in this role).
    NotAvailable,
    /// What was named does not exist.
    NotFound,
    /// What was to be made exists.
    AlreadyExists,
    /// The request contradicts itself or the state it meets.
    Invalid,
    /// The caller's certificate does not allow it.
    Denied,
    /// No quorum or no leader just now; asking again may help.
    Unavailable,
    /// Another change is under way; asking again later will help.
    Busy,
    /// The server failed.
    Internal,
    /// A code of a newer release.
    #[serde(other)]
    Unknown,
}

impl AdminError {
    /// The answer to a request that this server does not offer.
    pub fn not_available(what: &str, advice: &str) -> Self {
        Self {
            code: AdminErrorCode::NotAvailable,
            message: format!("{what} is not available on this server"),
            advice: advice.to_owned(),
        }
    }
}

#[cfg(test)]
#[path = "admin/tests.rs"]
mod tests;
