//! The keyless engine: segment log, Raft groups, index, transport between nodes.
//!
//! Everything here handles sealed bytes only; this crate must never depend on `envelope`.

pub mod index;
pub mod machine;
pub mod region;
pub mod solo;
