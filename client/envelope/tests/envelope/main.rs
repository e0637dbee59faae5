//! What the crate promises, tried from outside: round trips, attacks, hostile bytes, and bytes that never change.
#![allow(clippy::unwrap_used, reason = "tests")]

mod given;
mod round_trip;
