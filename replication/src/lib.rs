//! The keyless replication engine.

pub mod disk;
pub mod log;
