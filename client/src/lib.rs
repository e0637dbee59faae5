//! The operator's side of Twinkeep: makes regions, finds them again, asks them, judges them, runs one for development.
//!
//! Blocking throughout; the `twinkeep` command line is a thin layer over it, and `bench` and `chaos` use it as it is.
//! It promises that nothing secret is written with more than owner's rights, that files appear whole or not at all,
//! and that every error says what to do. It leaves to the server everything about data.

pub mod admin;
pub mod check;
pub mod cli;
pub mod clock;
pub mod compare;
pub mod deployment;
pub mod dev;
pub mod drill;
mod error;
pub mod evidence;
pub mod failover;
pub mod files;
mod markdown;
pub mod membership;
mod programs;
pub mod reconcile;
pub mod region;
mod s3;
mod signals;
pub mod target;
#[cfg(test)]
mod testing;
pub mod witness;

pub use error::{ClientError, EXIT_UNREACHABLE};
