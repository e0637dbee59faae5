//! A policy's transforms as functions of [Apache DataFusion](https://datafusion.apache.org): Arrow record batches in, out.
//!
//! For data that outgrow a machine: DataFusion runs the functions on all cores of a process, and `src/bin/executor.rs` is one of
//! several processes that each take a part of a table. Every executor opens the domain's key for itself; what comes out is the
//! same on each, and the same as `pseudo run` makes of the value.
//!
//! - `Transforms::select` makes of a table what a policy's export holds: its columns and nothing else, and an error for a column
//!   that no rule names, unless the policy leaves such out.
//! - `Transforms::function` is `pseudonymise('column', value)` for SQL, and `pseudonymise('column', value, person)` where a
//!   technique asks whose record it is. It is for queries around an export, which then have to see to what leaves them.
//!
//! Rows keep the order of their source, and nothing is measured: the order that is shuffled, the gate and the manifest are
//! `pseudo export`'s. Columns that depend on the whole run are refused, and policies that leave bad records out: a value that its rule
//! cannot treat ends the query (`pipeline::functions`).

#[cfg(feature = "engine")]
mod frame;
#[cfg(feature = "engine")]
mod function;

#[cfg(feature = "engine")]
pub use frame::Transforms;
