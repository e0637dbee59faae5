//! Snapshots as openraft sees them. A group's state *is* its index, so making one is flushing the index; moving one to a
//! replica that lags is a transfer that the receiver pulls.

use crate::{index::SledIndex, machine::Machine};

/// A state that covers a prefix of the log.
pub enum GroupSnapshot {
    /// This replica's own index, as it goes on.
    Live,
    /// A state pulled from another replica, not in use yet.
    Staged(Box<Machine<SledIndex>>),
}
