//! The places of a vault's epoch table: folders that no backup may have, on one or more machines.
//!
//! The newest table counts wherever it lies; it is copied to the other places, and older ones are destroyed. So a place that was restored
//! from somewhere is corrected by any other.

use crate::keys::hex;
use crate::{PseudoError, files};
use custody::{EpochTable, RootKey, VaultId, WRAPPED_TABLE_BYTES};
use std::fs;
use std::path::{Path, PathBuf};

const SUFFIX: &str = "table";
/// Files looked at in a place.
const FILES_MAX: usize = 1000;

/// The folders that hold a vault's table.
pub(crate) struct Places(pub(crate) Vec<PathBuf>);

impl Places {
    /// The newest table that lies anywhere, once it is everywhere and alone.
    pub(super) fn settle(&self, vault: VaultId, root: &RootKey) -> Result<EpochTable, PseudoError> {
        let mut newest: Option<EpochTable> = None;
        for (path, _) in self.tables(vault)? {
            let bytes = files::read(&path, WRAPPED_TABLE_BYTES)?;
            let table =
                root.unwrap_table(&bytes).map_err(PseudoError::custody(path.display().to_string()))?;
            let is_newer = newest.as_ref().is_none_or(|newest| table.epoch() > newest.epoch());
            if table.vault() == vault && is_newer {
                newest = Some(table);
            }
        }
        let newest = newest.ok_or_else(|| {
            let advice =
                "without its table nothing in a vault opens; name every place where it may lie with --epoch";
            PseudoError::usage("the vault's epoch table is in none of these places", advice)
        })?;
        self.write(&newest, root)?;
        self.destroy_older(&newest)?;
        Ok(newest)
    }

    /// Puts a table into every place.
    pub(super) fn write(&self, table: &EpochTable, root: &RootKey) -> Result<(), PseudoError> {
        for place in &self.0 {
            let path = file(place, table.vault(), table.epoch());
            if !path.exists() {
                files::make_folder(place)?;
                files::write(&path, &root.wrap_table(table))?;
            }
        }
        Ok(())
    }

    /// Destroys the tables before this one. How many there were.
    pub(super) fn destroy_older(&self, table: &EpochTable) -> Result<u64, PseudoError> {
        let mut destroyed = 0;
        for (path, epoch) in self.tables(table.vault())? {
            if epoch < table.epoch() {
                files::destroy(&path)?;
                destroyed += 1;
            }
        }
        Ok(destroyed)
    }

    fn tables(&self, vault: VaultId) -> Result<Vec<(PathBuf, u64)>, PseudoError> {
        let (mut tables, prefix) = (Vec::new(), format!("{}.", hex(&vault.0)));
        for place in self.0.iter().filter(|place| place.exists()) {
            for entry in fs::read_dir(place).map_err(PseudoError::file("listing", place))?.take(FILES_MAX) {
                let path = entry.map_err(PseudoError::file("listing", place))?.path();
                let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                let epoch = name.strip_prefix(&prefix).and_then(|rest| rest.strip_suffix(".table"));
                if let Some(epoch) = epoch.and_then(|epoch| epoch.parse().ok()) {
                    tables.push((path, epoch));
                }
            }
        }
        Ok(tables)
    }
}

fn file(place: &Path, vault: VaultId, epoch: u64) -> PathBuf {
    place.join(format!("{}.{epoch}.{SUFFIX}", hex(&vault.0)))
}
