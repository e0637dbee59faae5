//! The region as a gateway sees it: groups that take commands and answer queries, wherever their leaders are.
//!
//! Implementations find the leader, hold requests while a group has none, and repeat them safely (a command keeps its
//! request id). What they return is final for the caller's deadline.

use async_trait::async_trait;
use bytes::Bytes;
use thiserror::Error;
use tokio::time::Instant;
use wire::{Answer, Command, Epoch, GroupId, Outcome, Query};

/// How fresh a query's answer must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// Reflects every write acknowledged before the query was asked.
    Linearizable,
    /// Whatever the replica asked has applied: for chunks, whose content never changes.
    Local,
}

/// Why a region did not do what it was asked.
#[derive(Debug, Error)]
pub enum RegionError {
    /// Too much is in flight; nothing was done.
    #[error("the region is busy")]
    Overloaded,
    /// The group had no leader, or none that answered, until the deadline. A command may or may not have been done.
    #[error("group {group} was not available in time")]
    Unavailable {
        /// The group.
        group: GroupId,
    },
    /// The group's disks are (nearly) full: only commands that free space are taken.
    #[error("group {group} is read-only: its disks are full")]
    Full {
        /// The group.
        group: GroupId,
    },
    /// A chunk has no good copy that could be reached.
    #[error("a stored chunk of group {group} cannot be read")]
    Unreadable {
        /// The group.
        group: GroupId,
    },
    /// Nobody vouches for the region: its witness and its pair, of which one is needed, do not reach it. A command may
    /// have been done, and is not acknowledged.
    #[error(
        "group {group} acknowledges nothing: neither the witness nor the other region vouches for this one"
    )]
    CutOff {
        /// The group.
        group: GroupId,
    },
    /// The region does not take writes: the other region of its pair does.
    #[error("group {group} takes no writes here: the other region does")]
    NotPrimary {
        /// The group.
        group: GroupId,
    },
    /// A defect or a damaged answer.
    #[error("group {group} answered in a way that makes no sense")]
    Protocol {
        /// The group.
        group: GroupId,
    },
}

/// Groups that take commands and answer queries.
#[async_trait]
pub trait Region: Send + Sync + 'static {
    /// How many data groups there are (a power of two); they are numbered from 1.
    fn groups(&self) -> u32;

    /// The epoch under which commands are proposed.
    fn epoch(&self) -> Epoch;

    /// Proposes a command; an outcome means that it is durable on a majority and applied.
    async fn propose(
        &self,
        group: GroupId,
        command: Command,
        deadline: Instant,
    ) -> Result<Outcome, RegionError>;

    /// Asks a group; bulk bytes come beside the answer.
    async fn query(
        &self,
        group: GroupId,
        query: Query,
        consistency: Consistency,
        deadline: Instant,
    ) -> Result<(Answer, Bytes), RegionError>;
}
