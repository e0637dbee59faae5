//! The techniques from outside: published vectors, golden bytes, a second implementation, properties.
#![allow(clippy::unwrap_used, reason = "tests")]

mod given;
mod golden;
mod honey;
mod oracle;
mod properties;
mod vectors;
