//! A development region as a child of a test or benchmark: started, read, and ended with its owner.

use super::{DevReady, ProcessRecord};
use rustix::process::Signal;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use thiserror::Error;

/// The line that says it is ready, bytes: paths and addresses of the most nodes.
const READY_LINE_BYTES_MAX: u64 = 64 << 10;

/// A little over what the supervisor gives its children.
const END_TIMEOUT: Duration = Duration::from_secs(15);

/// A running `twinkeep dev`; ends it when dropped.
#[derive(Debug)]
pub struct DevProcess {
    child: Child,
    ready: DevReady,
}

/// Why a development region did not start.
#[derive(Debug, Error)]
pub enum DevProcessError {
    /// The program could not be run.
    #[error("twinkeep dev could not be run")]
    Spawn {
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It ended, or said something else, before it was ready; its reasons are on standard error.
    #[error("twinkeep dev did not become ready: {said:?}")]
    NotReady {
        /// What it said on standard output.
        said: String,
    },
}

impl DevProcess {
    /// Runs `twinkeep dev --json --data DATA --port-base PORT_BASE` with `arguments` after it, and waits until it serves.
    pub fn start(
        twinkeep: &Path,
        data: &Path,
        port_base: u16,
        arguments: &[&str],
    ) -> Result<Self, DevProcessError> {
        let mut child = Command::new(twinkeep)
            .args(["dev", "--json", "--data"])
            .arg(data)
            .args(["--port-base", &port_base.to_string()])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|source| DevProcessError::Spawn { source })?;
        let mut said = String::new();
        if let Some(output) = child.stdout.take() {
            let _ = BufReader::new(output.take(READY_LINE_BYTES_MAX)).read_line(&mut said);
        }
        match serde_json::from_str(&said) {
            Ok(ready) => Ok(Self { child, ready }),
            Err(_) => {
                end(&mut child);
                Err(DevProcessError::NotReady { said })
            }
        }
    }

    /// What it said when it became ready; pids are those of that moment.
    pub fn ready(&self) -> &DevReady {
        &self.ready
    }

    /// The supervisor's pid.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it and waits; whether it ended with exit code 0.
    pub fn stop(mut self) -> bool {
        end(&mut self.child)
    }
}

impl Drop for DevProcess {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn end(child: &mut Child) -> bool {
    if let Ok(Some(status)) = child.try_wait() {
        return status.success();
    }
    if let Some(record) = ProcessRecord::of(child.id()) {
        let _ = record.signal(Signal::TERM);
        if !record.wait_for(super::ProcessState::Ended, END_TIMEOUT) {
            let _ = child.kill();
        }
    }
    child.wait().is_ok_and(|status| status.success())
}
