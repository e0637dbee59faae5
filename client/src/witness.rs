//! The witness of a pair: a small process at a third place that vouches for the region that reigns, and lets the other one
//! take over when that one is gone.
//!
//! ```text
//! 1/ 2/            its identity in either region: region.toml, ca.pem, member.pem, member.key
//! memory.json      what it must not forget (see `memory`)
//! status.json      what it is at, for `twinkeep witness status`
//! witness.lock     held while it runs
//! ```
//!
//! It listens on no port. It promises that no lease of its own is left when it asks for a switch, and that it never again
//! vouches for the region that was relieved (`judge`). It leaves to the regions what a lease means to their writes, and to
//! the standby whether it has heard of its primary itself. `docs/witness.md` has the whole argument.

pub mod judge;
mod log;
mod make;
mod memory;
mod notify;
mod run;
mod status;

pub use judge::{Mode, Standing};
pub use make::make;
pub use memory::{Memory, Relief};
pub use run::{WitnessOptions, run};
pub use status::{RegionStatus, WitnessStatus, status};

use crate::deployment::IdentityFolder;
use std::path::{Path, PathBuf};

/// The witness's name in its certificates, unless another is asked for.
pub const NAME_DEFAULT: &str = "third-place";

/// The paths inside a witness's folder.
#[derive(Clone, Debug)]
pub struct WitnessFolder {
    root: PathBuf,
}

impl WitnessFolder {
    /// The folder at `root`; nothing is read.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Its identity in one of the regions, 0 or 1.
    pub fn identity(&self, region: usize) -> PathBuf {
        self.root.join((region + 1).to_string())
    }

    /// What it must not forget.
    pub fn memory(&self) -> PathBuf {
        self.root.join("memory.json")
    }

    /// What it is at.
    pub fn status(&self) -> PathBuf {
        self.root.join("status.json")
    }

    /// Held while it runs.
    pub fn lock(&self) -> PathBuf {
        self.root.join("witness.lock")
    }

    /// Whether one was made here.
    pub fn exists(&self) -> bool {
        (0..2).all(|region| IdentityFolder::new(&self.identity(region)).private_key().exists())
    }
}
