//! A pair of regions: each group of the standby reads the primary group's log in order and proposes it to its own.
//!
//! The standby asks, the primary answers: where the standby is stands in its own state, so there is no queue of things to
//! send and no list of things that failed. What comes twice or out of order is refused when it is applied. Nothing here
//! is on a write's path in the primary; a standby that is away costs it log entries, up to a limit.

mod adopt;
mod asking;
mod compare;
mod diverged;
mod lease;
mod message;
mod primary;
mod standby;
mod state;
mod system;

pub use compare::{CompareRequest, EntriesPage, SumsPage, compare_entries, compare_sums};
pub(crate) use compare::{WALKS_MAX, serve as serve_compare};
pub(crate) use diverged::serve as serve_diverged;
pub use diverged::{DivergedPage, DivergedWrite, diverged};
pub use lease::{CUT_OFF, Leases, Led};
#[cfg(any(test, feature = "fuzz"))]
pub(crate) use lease::{LeaseAnswer, LeaseRequest};
pub(crate) use lease::{led, serve as serve_lease};
pub use message::decode_lags;
pub(crate) use message::no_lags;
pub use message::{GroupLag, SyncedThen, Unshipped};
pub(crate) use primary::serve;
pub use standby::Standby;
pub(crate) use state::serve as serve_state;
