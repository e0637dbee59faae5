//! Tests with real sockets and real certificates.

mod calls;
mod refusals;
mod rig;
mod streams;
