//! The server: storage node, gateway, or both in one process.
//!
//! `server` wires a process together from its configuration; `gateway` speaks S3 and holds keys; `admin` answers the
//! command line; `health` and `metrics` answer load balancers and Prometheus. The storage engine itself is `replication`.

mod admin;
pub mod config;
mod frontend;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
pub mod gateway;
mod handler;
pub mod health;
mod metrics;
mod pair;
pub mod probe;
mod random;
mod refusals;
pub mod root_key;
pub mod server;
mod state;
pub mod telemetry;
#[cfg(test)]
mod testing;
