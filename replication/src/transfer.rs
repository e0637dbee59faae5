//! Moving a group's state to a replica that the log alone cannot bring up: a new one, one that was away too long, or one
//! whose index was lost.
//!
//! The receiver pulls, page by page: slow receivers are not pushed, and a broken connection costs one page. The sender
//! goes on applying meanwhile; it notes which rows change, sends those again, and closes with the few that changed last
//! together with the position they stand at. Rows name places on the sender's disk: it sends the records instead, and the
//! receiver writes its own.

mod page;
mod pull;
mod serve;

pub(crate) use pull::{PullError, copy_into, pull};
pub(crate) use serve::Transfers;
