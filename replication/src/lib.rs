//! The keyless engine of a region: log, Raft groups, index, and the transport between peers.

pub mod peer;
