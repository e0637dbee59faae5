//! One run's folder: everything a test writes, kept with its path printed when the test fails, removed when it passes.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::tools;
use crate::trouble::{Outcome, Trouble};

static RUNS: AtomicU64 = AtomicU64::new(0);

/// The folder of one run.
#[derive(Debug)]
pub struct Run {
    folder: PathBuf,
}

impl Run {
    /// Makes an empty folder for the named test under `target/chaos`.
    pub fn new(test: &str) -> Outcome<Self> {
        let number = RUNS.fetch_add(1, Ordering::Relaxed);
        let folder =
            tools::target_folder()?.join("chaos").join(format!("{test}-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder)
            .map_err(|error| Trouble::file("make the folder", &folder, &error))?;
        Ok(Run { folder })
    }

    /// Where the run writes.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A path inside the run's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if std::thread::panicking() || std::env::var_os("CHAOS_KEEP").is_some() {
            eprintln!("artefacts kept in {}", self.folder.display());
        } else if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            eprintln!("cannot remove {}: {error}", self.folder.display());
        }
    }
}
