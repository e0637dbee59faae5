//! Moving a group's state to a replica that the log alone cannot bring up: a new one, one that was away too long, or one
//! whose index was lost.
//!
//! The receiver pulls, page by page, so a slow one is not pushed, and a page that is lost is asked for again. The sender
//! goes on applying; its machine keeps the rows as they were when the transfer began. Rows name places on the sender's
//! disk: it sends the records instead, and the receiver writes its own.

pub(crate) mod page;
mod pull;
mod serve;

pub(crate) use pull::{PullError, install_staged, pull};
pub(crate) use serve::{Begun, Transfers};
