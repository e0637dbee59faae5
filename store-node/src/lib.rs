//! The server: storage node, gateway, or both in one process.

pub mod config;
