//! Tests of the whole log, on a disk in memory unless they are about the operating system.

mod basic;
mod collect;
mod crash;
mod faults;
mod model;
mod rot;
mod support;
