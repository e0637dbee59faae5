//! Tests of the whole log, on a disk in memory unless they are about the operating system.

mod basic;
mod support;
