//! Places for a run: a data folder that is removed afterwards, and ports that are free.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use crate::error::BenchError;

/// Ports tried for servers: above the registered ones in common use and, with the 10,000 that some peers add, below
/// those that Linux hands out to connections.
const PORTS: std::ops::Range<u16> = 20_000..22_700;
/// Ports looked at together.
const PORT_STEP: u16 = 100;
/// Free bytes below which no run is begun: the largest cell and its copies need that much.
const FREE_BYTES_MIN: u64 = 8 << 30;

/// A folder that is removed with all it holds when this value is dropped.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes an empty folder below `parent`, or below the build folder when none is given: that is on a real disk,
    /// where a temporary folder may be in memory.
    pub fn new(parent: Option<&Path>, name: &str) -> Result<Self, BenchError> {
        let parent = match parent {
            Some(parent) => parent.to_owned(),
            None => build_folder()?.join("bench-data"),
        };
        let path = parent.join(format!("{name}-{}", std::process::id()));
        if path.exists() {
            std::fs::remove_dir_all(&path).map_err(BenchError::file("remove", &path))?;
        }
        std::fs::create_dir_all(&path).map_err(BenchError::file("create", &path))?;
        let path = path.canonicalize().map_err(BenchError::file("find", &path))?;
        Ok(Self { path })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A new folder inside.
    pub fn folder(&self, name: &str) -> Result<PathBuf, BenchError> {
        let path = self.path.join(name);
        std::fs::create_dir_all(&path).map_err(BenchError::file("create", &path))?;
        Ok(path)
    }

    /// A new file inside.
    pub fn file(&self, name: &str, content: &str) -> Result<PathBuf, BenchError> {
        let path = self.path.join(name);
        std::fs::write(&path, content).map_err(BenchError::file("write", &path))?;
        Ok(path)
    }

    /// Fails when the disk is too full for another cell.
    pub fn check_space(&self) -> Result<(), BenchError> {
        let space = rustix::fs::statvfs(&self.path)
            .map_err(|error| BenchError::file("look at", &self.path)(error.into()))?;
        let free_bytes = space.f_bavail * space.f_frsize;
        if free_bytes >= FREE_BYTES_MIN {
            return Ok(());
        }
        let detail = format!(
            "{} has {} MiB free; a run needs {} MiB. Name another folder with --scratch",
            self.path.display(),
            free_bytes >> 20,
            FREE_BYTES_MIN >> 20,
        );
        Err(BenchError::Argument { what: "--scratch", detail })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            eprintln!("{} could not be removed: {error}", self.path.display());
        }
    }
}

/// The folder of this program.
pub fn program_folder() -> Result<PathBuf, BenchError> {
    let program = std::env::current_exe().map_err(BenchError::file("find", "this program"))?;
    Ok(program.parent().unwrap_or(Path::new(".")).to_owned())
}

/// The build folder, above that of this program.
pub fn build_folder() -> Result<PathBuf, BenchError> {
    let folder = program_folder()?;
    Ok(folder.parent().unwrap_or(&folder).to_owned())
}

/// The first of `count` free ports in a row on loopback.
pub fn free_ports(count: u16) -> Result<u16, BenchError> {
    assert!(count <= PORT_STEP, "a server asks for more ports than are looked at together");
    // Runs side by side begin at different places.
    let steps = (PORTS.end - PORTS.start) / PORT_STEP;
    let first = (std::process::id() % u32::from(steps)) as u16;
    for step in 0..steps {
        let base = PORTS.start + (first + step) % steps * PORT_STEP;
        let is_free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        if (base..base + count).all(is_free) {
            return Ok(base);
        }
    }
    Err(BenchError::Argument { what: "ports", detail: format!("none of {PORTS:?} are free on 127.0.0.1") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scratch_folder_is_there_until_it_is_dropped() {
        let parent = tempfile::tempdir().unwrap();
        let scratch = Scratch::new(Some(parent.path()), "x").unwrap();
        let path = scratch.path().to_owned();
        scratch.file("a", "b").unwrap();
        assert!(scratch.folder("c").unwrap().is_dir());
        drop(scratch);
        assert!(!path.exists());
    }

    #[test]
    fn a_taken_port_is_passed_over() {
        let base = free_ports(3).unwrap();
        let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, base + 1)).unwrap();
        assert_ne!(free_ports(3).unwrap(), base);
    }
}
