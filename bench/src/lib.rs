//! Measures an S3 server: operations per second, latency, and above all CPU time per operation.

pub mod bars;
pub mod cell;
pub mod clock;
pub mod compare;
pub mod connection;
pub mod content;
pub mod error;
pub mod floor;
pub mod load;
pub mod machine;
pub mod measure;
pub mod metrics;
pub mod picture;
pub mod prepare;
pub mod process;
pub mod report;
pub mod sign;
pub mod statistics;
pub mod table;
pub mod target;
