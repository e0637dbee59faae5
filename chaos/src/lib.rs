//! Breaks the real binaries and checks what is left: real processes, real clients, real faults.
//!
//! The library is the harness; the tests under `chaos/tests` are the proof. It promises that a failed run prints its
//! seed and keeps its folder, that only processes it started itself are ever killed, and that each checker has a canary: a
//! planted fault that it must catch. What the system should do is written in the tests, not here.
//!
//! | module | idea |
//! |---|---|
//! | [`tools`] | what a fresh machine lacks: binaries, Python clients, Debian packages |
//! | [`run`], [`ports`], [`random`] | one run's folder, ports and seed |
//! | [`dev`], [`hosts`] | a region of real processes: on loopback, or as on real hosts in network namespaces |
//! | [`network`] | network namespaces, and links that lose packets |
//! | [`pair`] | how far two regions are apart, and waiting for it |
//! | [`clients`] | running the scripts of real clients |
//! | [`fault`] | flipped bits, full disks, lost folders |
//! | [`s3`], [`http`], [`sign`] | a blocking S3 client small enough to know what each failure means |
//! | [`ledger`] | what was acknowledged, and what must therefore be there after a crash |
//! | [`workload`] | clients that write while things break |
//! | [`history`], [`linear`] | histories of concurrent clients, and whether one order explains them |
//! | [`house`] | rules of the source tree that no other tool checks |
//! | [`secrets`] | a search for planted plaintext and keys through files, logs and captured traffic |

pub mod clients;
pub mod dev;
pub mod fault;
pub mod history;
pub mod hosts;
pub mod house;
pub mod http;
pub mod ledger;
pub mod linear;
pub mod network;
pub mod pair;
pub mod ports;
pub mod random;
pub mod run;
pub mod s3;
pub mod secrets;
pub mod sign;
pub mod tools;
pub mod trouble;
pub mod workload;
