//! Tests with real sockets and real certificates.

mod calls;
mod pairs;
mod refusals;
mod rig;
mod streams;
