//! The pseudonymisation service: for now its command line `pseudo`, which keeps keys, checks policies, pseudonymises files, and measures
//! how far a table is from its people.
//!
//! It depends on nothing of the store but leaves: not on `replication`, not on `store-node`; and nothing of the store
//! depends on it. What it reads is hostile and what it reads is secret: every error names columns, lines and rows, none
//! names a value.

pub mod cli;
mod dictionary;
mod error;
mod files;
mod hierarchies;
mod keys;
mod limits;
mod measure;
mod report;
mod search;
mod table;
mod tally;

pub use error::PseudoError;
