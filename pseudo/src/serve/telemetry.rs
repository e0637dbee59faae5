//! Logging: one subscriber, on standard error, JSON by default.
//!
//! ERROR wakes someone, WARN went on though odd, INFO is a change of state. Names of objects, values, shares and keys are never fields. Only
//! what this program logs itself is written: libraries log addresses with names of objects in them.

use super::config::{LogConfig, LogFormat, LogLevel};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::{fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

/// Starts logging for the whole process.
pub(crate) fn start(config: LogConfig) {
    let level = match config.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    let own = filter_fn(|metadata| metadata.target().split("::").next() == Some("pseudo"));
    let registry = tracing_subscriber::registry().with(level).with(own);
    // somebody who started one before has this program's lines, too
    let _ = match config.format {
        LogFormat::Json => {
            registry.with(fmt::layer().json().flatten_event(true).with_writer(std::io::stderr)).try_init()
        }
        LogFormat::Text => registry.with(fmt::layer().with_writer(std::io::stderr)).try_init(),
    };
}
