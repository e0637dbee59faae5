//! Regions of real nodes in one process: real TLS on loopback, real disks in a temporary folder.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod acknowledged;
mod lease;
mod pair;
mod support;
mod upkeep;
