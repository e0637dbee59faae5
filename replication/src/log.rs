//! The segment log: the Raft logs of all groups of a node, on one disk, and at the same time its chunk store.
//!
//! It promises: what was reported durable is found again after a crash or power cut, in order; a torn tail is cut, rot
//! never is: it is reported and its place stays known; bytes read back equal those written or the read fails; after a
//! failed write or sync nothing is acknowledged again. `FORMAT.md` has the layout.
//!
//! It leaves to others: Raft itself, what entries mean, which bodies are still referenced (garbage collection decides
//! and calls [`SegmentLog::move_entry`] and [`SegmentLog::remove_segment`]), and where good copies of rotten ones are.

mod error;
mod group;
mod handle;
mod header;
mod outside;
mod queue;
mod read;
mod record;
mod recover;
mod replay;
mod report;
mod scan;
mod segments;
mod spare;
mod store;
mod tail;
mod types;
mod writer;

#[cfg(test)]
mod tests;

pub use error::{LogError, ReadError};
pub use handle::GroupLog;
pub(crate) use outside::OutsideLog;
pub use read::SegmentScan;
pub use report::{Finding, FindingKind, GroupRecovery, Recovery};
pub use store::{Capacity, DiskHealth, LogStats, Promise, SegmentLog, SegmentSummary};
pub use types::{
    Damage, EntryId, EntryKind, GroupState, LogEntry, LogOptions, Place, Priority, ScannedEntry, SegmentId,
    Vote,
};
