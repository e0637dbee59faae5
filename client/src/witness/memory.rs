//! What a witness must not forget: written before anything rests on it.

use crate::{ClientError, files};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// The only format that there is.
const FORMAT: u32 = 1;

/// What a witness knows across restarts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Version of this file.
    pub format: u32,
    /// Whether both regions were heard as a whole, ever: before that an old primary cannot be told from the present one.
    pub is_informed: bool,
    /// The newest epoch that is known of, or that a region was asked to begin. Under an older one nobody gets a lease.
    pub epoch: u64,
    /// A switch that was begun and is not known to be over.
    pub relief: Option<Relief>,
    /// By region and node: whether the node said, when it was heard last, that it needs leases.
    pub needed: BTreeMap<String, BTreeMap<u16, bool>>,
}

/// A region that takes over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relief {
    /// Which.
    pub to: String,
    /// Under which epoch.
    pub epoch: u64,
}

impl Default for Memory {
    fn default() -> Self {
        Self { format: FORMAT, is_informed: false, epoch: 0, relief: None, needed: BTreeMap::new() }
    }
}

impl Memory {
    /// Reads it; that of a witness that never ran is empty.
    pub fn read(path: &Path) -> Result<Self, ClientError> {
        if !path.exists() {
            return Ok(Self::default());
        }
        let advice = "end it for good, and make another with `twinkeep witness make` in a new folder";
        let damaged =
            |problem: String| ClientError::state(format!("{} is damaged: {problem}", path.display()), advice);
        let memory: Self =
            serde_json::from_str(&files::read(path)?).map_err(|error| damaged(error.to_string()))?;
        if memory.format != FORMAT {
            return Err(damaged(format!("format {} is not known here", memory.format)));
        }
        Ok(memory)
    }

    /// Writes it, flushed before this returns.
    pub fn write(&self, path: &Path) -> Result<(), ClientError> {
        let text = serde_json::to_string(self).expect("numbers and names always have a JSON form");
        files::write(path, text.as_bytes())
    }
}
