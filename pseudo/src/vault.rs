//! The identity vault: who is behind which token, as long as they are not erased.
//!
//! A folder of 256 buckets beside the folder of keys. A person is in the bucket that their handle begins with: their key wrapped under the
//! bucket's key, their identity sealed under their own. No token is kept: whose a token is, is found by making every person's token
//! again, bucket by bucket. The buckets' keys are in the epoch table, which lies elsewhere ([`Places`]).
//!
//! Appending is for one program at a time, and durable once [`Vault::sync`] returns; until then no output may leave that needs it.

mod bucket;
mod lengths;
mod people;
mod places;

pub(crate) use people::Vault;
use places::PLACES_MAX;
pub(crate) use places::Place;

use crate::journal::{Event, Journal, SERVICE, Said};
use crate::{PseudoError, clock, grant};
use clap::Args;
use custody::{RootKey, SigningKey, VaultId};
use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

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

/// What became of a place that was given up.
pub(crate) struct GivenUp {
    /// Whether it answered, so that what lay there of the vault is destroyed.
    pub(crate) is_destroyed: bool,
    /// Places that are left.
    pub(crate) left: usize,
}

impl VaultAt {
    /// Makes a vault, for the keys in this folder.
    pub(crate) fn create(
        &self,
        keys: &Path,
        root: &RootKey,
        service: &SigningKey,
    ) -> Result<VaultId, PseudoError> {
        let (vault, places) = self.named()?;
        let is_free = |path: &Path| match fs::read_dir(path) {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) => error.kind() == ErrorKind::NotFound,
        };
        if !is_free(vault) {
            let problem = "something is in this folder";
            return Err(PseudoError::usage(
                problem,
                "name a folder for the vault that is empty, or not there",
            ));
        }
        let places = apart(vault, keys, places)?;
        Vault::create(vault, &places, root, service)
    }

    /// Opens a vault and its log.
    pub(crate) fn open(
        &self,
        keys: &Path,
        root: &RootKey,
        service: &SigningKey,
    ) -> Result<(Vault, Journal), PseudoError> {
        self.open_without(None, keys, root, service)
    }

    fn open_without(
        &self,
        given_up: Option<&str>,
        keys: &Path,
        root: &RootKey,
        service: &SigningKey,
    ) -> Result<(Vault, Journal), PseudoError> {
        let (vault, places) = self.named()?;
        let places = apart(vault, keys, places)?;
        let (vault, journal) = Vault::open(vault, &places, given_up, root, service)?;
        grant::sweep(&vault.places.grants(), &journal.entries, clock::now())?;
        Ok((vault, journal))
    }

    /// Adds a place, which has the table when this returns. Its name.
    pub(crate) fn add(
        &self,
        place: &Path,
        keys: &Path,
        root: &RootKey,
        service: &SigningKey,
    ) -> Result<String, PseudoError> {
        let (vault, _) = self.named()?;
        let mut at = self.clone();
        at.epoch.push(place.to_owned());
        apart(vault, keys, at.named()?.1)?;
        let (mut open, mut journal) = self.open(keys, root, service)?;
        open.places.whole()?;
        let id = open.places.add(place)?;
        if journal.places().contains(&id) {
            return Err(PseudoError::usage("this is a place of the vault already", "name it with --epoch"));
        }
        // first the log: a place with a table that the log does not name would not be erased in
        journal.append(
            service,
            SERVICE,
            Event::Placed,
            Said { places: vec![id.clone()], ..Said::default() },
        )?;
        drop((open, journal));
        at.open(keys, root, service)?;
        Ok(id)
    }

    /// Gives a place up, which need not answer; all others have to.
    pub(crate) fn forget(
        &self,
        id: &str,
        keys: &Path,
        root: &RootKey,
        service: &SigningKey,
    ) -> Result<GivenUp, PseudoError> {
        let (mut vault, mut journal) = self.open_without(Some(id), keys, root, service)?;
        if !journal.places().contains(id) {
            let advice = "`pseudo vault check` lists them";
            return Err(PseudoError::usage("this is no place of the vault", advice));
        }
        vault.places.whole()?;
        if vault.places.here.iter().all(|place| place.id == id) {
            let advice = "add another place first: without its table nothing in the vault opens";
            return Err(PseudoError::usage("this is the last place of the epoch table", advice));
        }
        // first what lies there: a place that the log does not name any more is not asked again
        let destroyed = vault.places.forget(id, vault.epoch(), root)?;
        destroyed.iter().for_each(|path| journal.leave(path));
        // what did not answer may turn up again, and certificates name it
        let event = if destroyed.is_some() { Event::Forgotten } else { Event::Detached };
        let said = Said { places: vec![id.to_owned()], ..Said::default() };
        journal.append(service, SERVICE, event, said)?;
        Ok(GivenUp { is_destroyed: destroyed.is_some(), left: vault.places.here.len() })
    }

    fn named(&self) -> Result<(&Path, &[PathBuf]), PseudoError> {
        let (Some(vault), false) = (&self.vault, self.epoch.is_empty()) else {
            let advice = "name the vault with --vault and the places of its epoch table with --epoch";
            return Err(PseudoError::usage("this needs the identity vault", advice));
        };
        if self.epoch.len() > PLACES_MAX {
            return Err(PseudoError::usage(format!("a vault has {PLACES_MAX} places at most"), ""));
        }
        Ok((vault, &self.epoch))
    }
}

/// The places as they are without links, if they are apart from the vault, from the keys and from each other.
fn apart(vault: &Path, keys: &Path, places: &[PathBuf]) -> Result<Vec<PathBuf>, PseudoError> {
    let (vault, keys) = (real(vault)?, real(keys)?);
    let mut known = HashSet::new();
    let mut real_places = Vec::new();
    for place in places {
        let place = real(place)?;
        let is_with = |other: &Path| place.starts_with(other) || other.starts_with(&place);
        if is_with(&vault) {
            let advice = "a backup of the vault would have the table too, and bring erased people back";
            return Err(PseudoError::usage("the epoch table would lie in the vault's own folder", advice));
        }
        if is_with(&keys) {
            let advice = "a backup of the keys would have the table too, and bring erased people back: name a folder on another disk";
            return Err(PseudoError::usage("the epoch table would lie in one folder with the keys", advice));
        }
        if !known.insert(place.clone()) {
            let problem = format!("the place {} is named twice", place.display());
            return Err(PseudoError::usage(problem, "name each place of the epoch table once"));
        }
        real_places.push(place);
    }
    Ok(real_places)
}

/// A path without links, also of something that is not there yet.
fn real(path: &Path) -> Result<PathBuf, PseudoError> {
    let path = std::path::absolute(path).map_err(PseudoError::file("looking at", path))?;
    for above in path.ancestors() {
        match fs::canonicalize(above) {
            Ok(real) => return below(real, path.strip_prefix(above).unwrap_or(Path::new(""))),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(PseudoError::file("looking at", above)(error)),
        }
    }
    Ok(path)
}

/// A path below a folder that is there, of which nothing is there: where a step up would lead is not known yet.
fn below(real: PathBuf, rest: &Path) -> Result<PathBuf, PseudoError> {
    if rest.components().all(|part| matches!(part, Component::Normal(_))) {
        // joining nothing would add a separator at the end
        return Ok(rest.iter().fold(real, |path, part| path.join(part)));
    }
    let problem = format!("{} goes up from a folder that is not there", real.join(rest).display());
    Err(PseudoError::usage(problem, "name it without `..`"))
}
