//! The signals that ask a command to end, as a flag that it looks at.

use crate::ClientError;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Set from now on by SIGTERM, SIGINT and SIGHUP, which end nothing of `what` by themselves any more.
pub(crate) fn catch(what: &str) -> Result<Arc<AtomicBool>, ClientError> {
    let ending = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&ending))
            .map_err(ClientError::file("catching signals of", Path::new(what)))?;
    }
    Ok(ending)
}
