//! Other object stores, started on this machine the way their documentation says: three nodes, three copies.

mod garage;
mod seaweed;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::BenchError;
use crate::scratch::{Scratch, build_folder};
use crate::server::Server;

/// A peer and its setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Peer {
    /// Garage with its defaults: acknowledges before anything is durable.
    Garage,
    /// Garage with `metadata_fsync` and `data_fsync`.
    GarageFsync,
    /// SeaweedFS with its defaults: acknowledges before anything is durable.
    Seaweed,
}

impl Peer {
    /// The name in reports and bars.
    pub fn name(self) -> &'static str {
        match self {
            Self::Garage => "garage",
            Self::GarageFsync => "garage-fsync",
            Self::Seaweed => "seaweed",
        }
    }

    /// Its program below the folder of peers.
    fn program(self, peers: &Path) -> PathBuf {
        match self {
            Self::Garage | Self::GarageFsync => peers.join("garage/bin/garage"),
            Self::Seaweed => peers.join("seaweed/bin/weed"),
        }
    }

    /// Installs it below the folder of peers, unless it is there.
    pub fn install(self, peers: &Path) -> Result<(), BenchError> {
        if self.program(peers).exists() {
            return Ok(());
        }
        std::fs::create_dir_all(peers).map_err(BenchError::file("create", peers))?;
        match self {
            Self::Garage | Self::GarageFsync => garage::install(&peers.join("garage")),
            Self::Seaweed => seaweed::install(&peers.join("seaweed")),
        }
    }

    /// Starts it; it is ready to serve when this returns.
    pub async fn start(self, peers: &Path, scratch: Scratch) -> Result<Server, BenchError> {
        let program = self.program(peers);
        if !program.exists() {
            let detail = format!("not installed; `bench peer {} --install` does it", self.name());
            return Err(BenchError::Process { program: self.name().to_owned(), detail });
        }
        match self {
            Self::Garage => garage::start(self.name(), &program, scratch, false).await,
            Self::GarageFsync => garage::start(self.name(), &program, scratch, true).await,
            Self::Seaweed => seaweed::start(self.name(), &program, scratch).await,
        }
    }
}

/// The folder of peers: the given one, else `peers` in the build folder, which nothing commits.
pub fn peers_folder(given: Option<&Path>) -> Result<PathBuf, BenchError> {
    let folder = match given {
        Some(folder) => folder.to_owned(),
        None => build_folder()?.join("peers"),
    };
    std::path::absolute(&folder).map_err(BenchError::file("find", folder))
}

/// Runs a tool to its end; returns what it printed.
pub(crate) fn run(program: &Path, arguments: &[&str]) -> Result<String, BenchError> {
    let failed = |detail: String| BenchError::Process {
        program: format!("{} {}", program.display(), arguments.join(" ")),
        detail,
    };
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(failed(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim())))
}

/// Runs a tool to its end with its output on the terminal, for what takes minutes.
pub(crate) fn run_in_sight(program: &Path, arguments: &[&str]) -> Result<(), BenchError> {
    let failed = |detail: String| BenchError::Process {
        program: format!("{} {}", program.display(), arguments.join(" ")),
        detail,
    };
    let status = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .status()
        .map_err(|error| failed(error.to_string()))?;
    if status.success() { Ok(()) } else { Err(failed(status.to_string())) }
}
