//! The identity vault: who is behind which token, as long as they are not erased.
//!
//! A folder of 256 buckets beside the folder of keys. A person is in the bucket that their handle begins with: their key wrapped under the
//! bucket's key, their identity sealed under their own. No token is kept: whose a token is, is found by making every person's token
//! again, bucket by bucket. The buckets' keys are in the epoch table, which lies elsewhere ([`Places`]).
//!
//! Appending is for one program at a time, and durable once [`Vault::sync`] returns; until then no output may leave that needs it.

mod bucket;
mod epoch;
mod people;

pub(crate) use epoch::Places;
pub(crate) use people::{Erased, Vault};

use crate::PseudoError;
use clap::Args;
use std::path::PathBuf;

/// Where a vault lies.
#[derive(Debug, Clone, Args)]
pub(crate) struct VaultAt {
    /// The folder of the identity vault, for policies with `prf+vault`
    #[arg(long, value_name = "DIR", env = "PSEUDO_VAULT")]
    pub(crate) vault: Option<PathBuf>,
    /// A folder of the vault's epoch table, which no backup may have; as often as there are places
    #[arg(long, value_name = "DIR", env = "PSEUDO_EPOCH", value_delimiter = ',')]
    pub(crate) epoch: Vec<PathBuf>,
}

impl VaultAt {
    /// Both, if they are apart.
    pub(crate) fn places(&self) -> Result<(PathBuf, Places), PseudoError> {
        let (Some(vault), false) = (&self.vault, self.epoch.is_empty()) else {
            let advice = "name the vault with --vault and the places of its epoch table with --epoch";
            return Err(PseudoError::usage("this needs the identity vault", advice));
        };
        if self.epoch.iter().any(|place| place.starts_with(vault) || vault.starts_with(place)) {
            let advice = "a backup of the vault would have the table too, and bring erased people back";
            return Err(PseudoError::usage("the epoch table would lie in the vault's own folder", advice));
        }
        Ok((vault.clone(), Places(self.epoch.clone())))
    }
}
