//! Runs from outside: against a model, over every format, and with input that nobody should send.
#![allow(clippy::unwrap_used, reason = "tests")]

mod arrays;
mod closed;
mod formats;
mod given;
mod honey;
mod model;
mod order;
mod parquet;
