//! Records in, pseudonymised records out: streamed, with bounded memory, and failing closed.
//!
//! ```text
//! bytes ─ unpack ─ cut into records ─ scan against the policy's closed list ─ techniques ─ encode ─ shuffle ─ pack ─ bytes
//!         packed    lines, array, csv      json, tree, slots                   treat       row      shuffle   packed
//! ```
//!
//! What a record may hold is compiled from the policy into a tree ([`Plan`]); a reader visits every member of a record and finds
//! it in the tree or reports it. Nothing is copied from input to output that a rule did not treat: the output is built from the
//! columns of the policy, in their order. What is wrong is counted and said by position, never by value ([`Report`]).
//!
//! No files, no clock, no randomness: readers, writers, the seed of the run and the place for what does not fit into memory are
//! arguments.

mod array;
mod csv;
mod encode;
mod engine;
mod error;
mod fault;
mod feed;
mod function;
mod honey;
mod input;
mod json;
mod lines;
mod number;
mod packed;
mod parquet;
mod parts;
mod plan;
mod preview;
mod row;
mod sample;
mod shuffle;
mod sink;
mod slots;
mod treat;
mod tree;

pub use engine::{Engine, Rare, count_rare};
pub use error::PipelineError;
pub use fault::{Fault, FaultKind, POSITIONS_MAX, Position, Report};
pub use feed::RECORD_BYTES_MAX;
pub use function::{Function, Room, functions};
pub use input::{Input, RandomAccess};
pub use parts::{Observe, Parts};
pub use plan::Plan;
pub use preview::{Preview, PreviewCell};
pub use sample::profile;
pub use shuffle::{SHUFFLE_MEMORY_BYTES, Spill, SpillFile};
