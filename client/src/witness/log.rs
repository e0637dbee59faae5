//! What a witness says while it runs: one JSON object per line on standard error, as a node does.

use crate::clock::{system_now, utc};
use serde_json::{Map, Value};
use std::io::Write;

/// How much it matters.
#[derive(Clone, Copy)]
pub(super) enum Level {
    /// Wake someone.
    Error,
    /// It goes on, though something is odd.
    Warn,
    /// Something changed.
    Info,
}

/// Says something; whoever reads it may be gone.
pub(super) fn say(level: Level, message: &str, fields: &[(&str, Value)]) {
    let level = match level {
        Level::Error => "ERROR",
        Level::Warn => "WARN",
        Level::Info => "INFO",
    };
    let mut line = Map::new();
    line.insert("timestamp".to_owned(), utc(system_now()).into());
    line.insert("level".to_owned(), level.into());
    line.insert("message".to_owned(), message.into());
    line.extend(fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    let _ = writeln!(std::io::stderr().lock(), "{}", Value::Object(line));
}
