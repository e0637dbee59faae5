//! The pseudonymisation service: a process that makes exports by schedule (`serve`), and the command line `pseudo`, which keeps keys, checks policies,
//! pseudonymises files and stored objects, and measures how far a table is from its people.
//!
//! It depends on nothing of the store but leaves: not on `replication`, not on `store-node`; and nothing of the store
//! depends on it. What it reads is hostile and what it reads is secret: every error names columns, lines and rows, none
//! names a value.

mod agreement;
pub mod cli;
mod clock;
mod custody_log;
mod describe;
mod desk;
mod dictionary;
mod erase;
mod error;
mod export;
mod figures;
mod files;
mod grant;
mod hierarchies;
mod honey;
mod identify;
mod journal;
mod keys;
mod limits;
mod manifest;
mod measure;
mod operators;
mod plain;
mod policies;
mod record;
mod register;
mod rekey;
mod release;
mod report;
mod retention;
mod revoked;
mod s3;
mod search;
mod serve;
mod signed;
mod subject;
mod table;
mod tally;
mod token;
mod vault;
mod verify;

pub use error::PseudoError;
