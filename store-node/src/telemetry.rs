//! Logging: one subscriber, on standard error, JSON by default.
//!
//! Levels have a meaning: ERROR wakes someone, WARN went on though odd, INFO is a change of state. Keys, object names and
//! personal data are never fields.

use crate::config::{LogConfig, LogFormat};
use thiserror::Error;
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// Why logging could not start.
#[derive(Debug, Error)]
pub enum TelemetryError {
    /// The level or filter is not understood.
    #[error("log level {level:?} is not understood")]
    Level {
        /// What was configured.
        level: String,
    },
    /// There is a subscriber already.
    #[error("logging was started twice")]
    Twice,
}

/// Starts logging for the whole process.
pub fn start(config: &LogConfig) -> Result<(), TelemetryError> {
    let filter = EnvFilter::try_new(with_quiet_parts(&config.level))
        .map_err(|_| TelemetryError::Level { level: config.level.clone() })?;
    let registry = tracing_subscriber::registry().with(filter);
    let started = match config.format {
        LogFormat::Json => {
            registry.with(fmt::layer().json().flatten_event(true).with_writer(std::io::stderr)).try_init()
        }
        LogFormat::Text => registry.with(fmt::layer().with_writer(std::io::stderr)).try_init(),
    };
    started.map_err(|_| TelemetryError::Twice)
}

/// openraft tells of every step of every election and every retry at INFO and WARN; what operators need of it this program
/// logs itself. A level that names openraft, or asks for everything, is taken as it is.
fn with_quiet_parts(level: &str) -> String {
    let everything = ["debug", "trace"].contains(&level.to_ascii_lowercase().as_str());
    if everything || level.contains("openraft") {
        level.to_owned()
    } else {
        format!("{level},openraft=error")
    }
}
