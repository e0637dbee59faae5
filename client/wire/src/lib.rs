//! Everything that crosses a process or disk border: ids, units, records, commands, queries, frames.
//!
//! A leaf: no I/O, no clock, no randomness, no async. Layouts are explicit and little-endian
//! (`FORMAT.md` has the byte tables); every decoder is total: it returns [`DecodeError`], never panics,
//! and never allocates more than the input it was given justifies.
//!
//! It leaves to others: what the bytes mean for state (`replication`), how they are sealed (`envelope`).

pub mod admin;
mod adopt;
mod answer;
mod codec;
mod command;
mod compare;
pub mod descriptor;
mod frame;
mod id;
pub mod lease;
pub mod limits;
mod membership;
mod outcome;
mod pair;
mod query;
mod record;
mod serde_id;
mod system;
mod units;

pub use adopt::*;
pub use answer::*;
pub use codec::{DecodeError, Decoder, Encoder};
pub use command::*;
pub use compare::*;
pub use frame::*;
pub use id::*;
pub use membership::*;
pub use outcome::*;
pub use pair::*;
pub use query::*;
pub use record::*;
pub use system::*;
pub use units::*;
