//! What the crate promises, tried from outside: round trips, attacks, hostile bytes, and bytes that never change.
#![allow(clippy::unwrap_used, reason = "tests")]

mod attack_chunks;
mod attack_header;
mod attack_keys;
mod attack_parts;
mod given;
mod golden;
mod hostile;
mod round_trip;
