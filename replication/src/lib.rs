//! The keyless engine: segment log, Raft groups, index, transport between nodes.
//!
//! Everything here handles sealed bytes only; this crate must never depend on `envelope`.

pub mod admission;
mod ballast;
pub mod controller;
pub mod disk;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
pub mod gc;
pub mod handler;
mod holdings;
pub mod index;
mod leaderboard;
pub mod log;
pub mod machine;
mod maintenance;
mod membership;
pub mod message;
pub mod nearby;
pub mod node;
pub mod options;
mod pace;
pub mod pair;
pub mod peer;
mod pulse;
mod raft;
pub mod region;
mod repair;
mod replica;
pub mod roster;
pub mod router;
pub mod scrub;
pub mod service;
pub mod solo;
pub mod status;
#[cfg(test)]
mod testing;
mod transfer;
