//! The places of a vault's epoch table: folders that no backup may have, on one or more machines, each with an identity of its own.
//!
//! A place is not a path but a marker that lies there; which places a vault has is in its log. So a disk that is not mounted, a copy of a
//! place, a place named twice and a place that was given up are told from each other, and what has to reach every place knows which those are.
//!
//! Which table counts is for the log to say ([`Epochs`]): a table that is older or newer than the log is refused, and nothing is removed or
//! written on its word.

use crate::journal::Epochs;
use crate::keys::{hex, unhex};
use crate::{PseudoError, files, grant};
use custody::{EpochTable, RootKey, VaultId, WRAPPED_TABLE_BYTES};
use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Places of one vault: more are more to lose than to win.
pub(crate) const PLACES_MAX: usize = 16;
/// Files of all vaults in one place, with room.
const FILES_MAX: usize = 10_000;
const PLACE_ID_BYTES: usize = 16;
const MARKER_BYTES_MAX: usize = 256;

/// A place that answers.
pub(crate) struct Place {
    /// Its name, in the log and in its marker: 32 digits.
    pub(crate) id: String,
    pub(crate) path: PathBuf,
    /// Held as long as the vault is open: a copy of the vault's folder has another lock, and the same places.
    lock: File,
}

/// The places of a vault that answer.
pub(crate) struct Places {
    vault: VaultId,
    pub(crate) here: Vec<Place>,
    /// How many the vault has, by its log.
    pub(crate) known: usize,
}

/// Which table counts, found before anything is changed.
pub(super) struct Settled {
    pub(super) table: EpochTable,
    /// An erasure was under way, and this says what became of it.
    pub(super) begun: Option<Outcome>,
}

/// What became of an erasure that was interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Its table lay in a place: it has happened.
    Happened,
    /// It did not come to its table: nobody is erased.
    Dropped,
}

impl Places {
    /// Makes new places for a new vault.
    pub(super) fn create(vault: VaultId, paths: &[PathBuf]) -> Result<Self, PseudoError> {
        let mut here = Vec::new();
        for path in paths {
            files::make_folder(path)?;
            here.push(make(vault, path)?);
        }
        let known = here.len();
        let places = Self { vault, here, known };
        places.distinct()?;
        Ok(places)
    }

    /// Finds the places that answer: folders with a marker of this vault. A folder that is not there, or has none, does not.
    pub(super) fn find(vault: VaultId, paths: &[PathBuf]) -> Result<Self, PseudoError> {
        let mut here = Vec::new();
        for path in paths {
            here.extend(place(vault, path)?);
        }
        if here.is_empty() {
            let advice = "without its table nothing in a vault opens; name every place with --epoch";
            return Err(PseudoError::usage("the vault's epoch table is in none of these places", advice));
        }
        let known = here.len();
        let places = Self { vault, here, known };
        places.distinct()?;
        Ok(places)
    }

    /// Compares them with the places that the log names; one that is to be given up is not missed.
    pub(super) fn known_to(
        &mut self,
        log: &BTreeSet<String>,
        given_up: Option<&str>,
    ) -> Result<(), PseudoError> {
        if let Some(place) = self.here.iter().find(|place| !log.contains(&place.id)) {
            let problem =
                format!("{} is no place of this vault, or one that was given up", place.path.display());
            return Err(PseudoError::usage(
                problem,
                "name the others with --epoch, or add it with `pseudo vault place`",
            ));
        }
        let is_missed =
            |id: &&String| given_up != Some(id.as_str()) || self.here.iter().any(|place| place.id == **id);
        self.known = log.iter().filter(is_missed).count();
        Ok(())
    }

    /// Refuses unless every place of the vault answers.
    pub(crate) fn whole(&self) -> Result<(), PseudoError> {
        if self.here.len() == self.known {
            return Ok(());
        }
        let problem = format!(
            "{} of {} places of the epoch table answer, and this needs every one",
            self.here.len(),
            self.known
        );
        let advice =
            "name them all with --epoch; one that is lost for good is given up with `pseudo vault forget`";
        Err(PseudoError::usage(problem, advice))
    }

    /// Finds the table that counts. Nothing is changed.
    pub(super) fn settle(&self, log: Epochs, root: &RootKey) -> Result<Settled, PseudoError> {
        let tables = self.tables()?;
        let newest = tables.iter().map(|(_, epoch)| *epoch).max().unwrap_or_default();
        if newest > log.begun.unwrap_or(log.done) {
            let problem = "the epoch table is newer than the log: this log is an older copy";
            return Err(PseudoError::usage(
                problem,
                "put the newest log there, or name every place with --epoch",
            ));
        }
        if newest < log.done {
            let problem = "the epoch table in these places is older than the log: they were put back from before an erasure";
            return Err(PseudoError::usage(
                problem,
                "name every place with --epoch; one that is current is enough",
            ));
        }
        if log.begun.is_some() {
            // whether it has happened is known when all of them are asked, and not before
            self.whole()?;
        }
        let begun = log.begun.map(|begun| if newest == begun { Outcome::Happened } else { Outcome::Dropped });
        let mut failed = None;
        for (path, _) in tables.iter().filter(|(_, epoch)| *epoch == newest) {
            match self.read(path, newest, root) {
                Ok(table) => return Ok(Settled { table, begun }),
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.unwrap_or_else(|| PseudoError::usage("the epoch table is in none of these places", "")))
    }

    /// Puts a table into every place that answers, in the stead of one that does not open.
    pub(super) fn write(&self, table: &EpochTable, root: &RootKey) -> Result<(), PseudoError> {
        self.attached()?;
        for place in &self.here {
            let path = self.file(place, table.epoch());
            if fs::symlink_metadata(&path).is_ok() {
                if self.read(&path, table.epoch(), root).is_ok() {
                    // it may be there by a program that was killed before its name was on the disk
                    files::sync_folder(&place.path)?;
                    continue;
                }
                files::destroy(&path)?;
            }
            files::write(&path, &root.wrap_table(table))?;
        }
        // one that was taken away meanwhile has it not: it went to the empty folder below
        self.attached()
    }

    /// Destroys every table before this epoch, unread. How many there were.
    pub(super) fn destroy_older(&self, epoch: u64) -> Result<u64, PseudoError> {
        self.attached()?;
        let mut destroyed = 0;
        for (path, _) in self.tables()?.into_iter().filter(|(_, older)| *older < epoch) {
            files::destroy(&path)?;
            destroyed += 1;
        }
        self.attached()?;
        Ok(destroyed)
    }

    /// Refuses unless every place of the vault answers now and has the table of this epoch and no other: what a certificate says.
    pub(crate) fn bare(&self, epoch: u64) -> Result<(), PseudoError> {
        self.whole()?;
        for place in &self.here {
            let mut epochs = Vec::new();
            for name in self.ours(place)? {
                epochs.extend(self.epoch(&name));
            }
            if epochs != [epoch] {
                let problem = format!("{} has not the table of epoch {epoch} alone", place.path.display());
                return Err(PseudoError::usage(problem, "nothing is certified; open the vault again"));
            }
        }
        self.attached()
    }

    /// Refuses a place that was taken away since it answered: its folder may be there still, with nothing in it to destroy.
    fn attached(&self) -> Result<(), PseudoError> {
        for place in &self.here {
            let marker = marker(self.vault, &place.path);
            let then = place.lock.metadata().map_err(PseudoError::file("looking at", &marker))?;
            match fs::symlink_metadata(&marker) {
                Ok(now) if (now.dev(), now.ino()) == (then.dev(), then.ino()) => {}
                Err(error) if !is_absent(&error) => {
                    return Err(PseudoError::file("looking at", &marker)(error));
                }
                _ => {
                    let problem = format!("the place {} does not answer any more", place.path.display());
                    return Err(PseudoError::usage(problem, "nothing is certified; put it back and go on"));
                }
            }
        }
        Ok(())
    }

    /// Destroys what killed programs left of tables and other files of this vault.
    pub(super) fn sweep(&self) -> Result<(), PseudoError> {
        for place in &self.here {
            for name in self.ours(place)?.iter().filter(|name| files::is_left_over(name)) {
                files::sweep(&place.path.join(name))?;
            }
        }
        Ok(())
    }

    /// Refuses a place with a file of this vault's name that nobody here made: it may be a copy of the table. And a table that is a link: it
    /// could not be destroyed.
    pub(crate) fn clean(&self) -> Result<(), PseudoError> {
        for (path, _) in self.tables()? {
            if !fs::symlink_metadata(&path).map_err(PseudoError::file("looking at", &path))?.is_file() {
                let problem = format!("{} is a link, and a table lies in its place itself", path.display());
                return Err(PseudoError::usage(problem, "put the file there in the stead of the link"));
            }
        }
        for place in &self.here {
            let known = [self.name("place"), self.name("log"), self.name("grants")];
            let is_strange = |name: &&String| !known.contains(*name) && self.epoch(name).is_none();
            if let Some(name) = self.ours(place)?.iter().find(is_strange) {
                let problem = format!("{} may be a copy of the table", place.path.join(name).display());
                return Err(PseudoError::usage(
                    problem,
                    "destroy it, or move it away if it is something else",
                ));
            }
        }
        Ok(())
    }

    /// Adds a folder as a place. It is none before the log names it.
    pub(super) fn add(&mut self, path: &Path) -> Result<String, PseudoError> {
        if self.here.len() >= PLACES_MAX {
            return Err(PseudoError::usage(format!("a vault has {PLACES_MAX} places at most"), ""));
        }
        files::make_folder(path)?;
        // a marker that the log does not name is what a kill left of this; a table of other times must not come in beside it
        let (marker, prefix) = (self.name("place"), self.name(""));
        let is_foreign = |name: &&String| name.starts_with(&prefix) && !name.starts_with(&marker);
        if let Some(name) = files::names(path, FILES_MAX)?.iter().find(is_foreign) {
            let problem = format!("{} lies in this folder already", path.join(name).display());
            let advice = "it is a place of this vault, or was one: name it with --epoch, or destroy what is there first";
            return Err(PseudoError::usage(problem, advice));
        }
        let place = match place(self.vault, path)? {
            Some(place) => place,
            None => make(self.vault, path)?,
        };
        let id = place.id.clone();
        self.here.push(place);
        self.known += 1;
        self.distinct()?;
        Ok(id)
    }

    /// Gives a place up that answers: what lies there of the vault is destroyed, its marker last. Where it was. Before that those that stay have to be
    /// there, with the table of this epoch: it may be the last one.
    pub(super) fn forget(
        &mut self,
        id: &str,
        epoch: u64,
        root: &RootKey,
    ) -> Result<Option<PathBuf>, PseudoError> {
        self.attached()?;
        for place in self.here.iter().filter(|place| place.id != id) {
            self.read(&self.file(place, epoch), epoch, root)?;
        }
        let Some(at) = self.here.iter().position(|place| place.id == id) else { return Ok(None) };
        let place = self.here.remove(at);
        self.known -= 1;
        grant::remove_all(&place.path.join(self.name("grants")))?;
        for name in self.ours(&place)?.iter().filter(|name| **name != self.name("place")) {
            files::destroy(&place.path.join(name))?;
        }
        files::remove(&place.path.join(self.name("place")))?;
        Ok(Some(place.path))
    }

    /// Where the copies of the log are.
    pub(crate) fn logs(&self) -> Vec<PathBuf> {
        self.here.iter().map(|place| place.path.join(self.name("log"))).collect()
    }

    /// Where grants lie, which name people and are in no backup therefore.
    pub(crate) fn grants(&self) -> Vec<PathBuf> {
        self.here.iter().map(|place| place.path.join(self.name("grants"))).collect()
    }

    fn read(&self, path: &Path, epoch: u64, root: &RootKey) -> Result<EpochTable, PseudoError> {
        let bytes = files::own::read_secret(path, WRAPPED_TABLE_BYTES)?;
        let table = root.unwrap_table(&bytes).map_err(PseudoError::custody(path.display().to_string()))?;
        if (table.vault(), table.epoch()) == (self.vault, epoch) {
            return Ok(table);
        }
        Err(PseudoError::table(path, "the table inside has another name than its file"))
    }

    fn tables(&self) -> Result<Vec<(PathBuf, u64)>, PseudoError> {
        let mut tables = Vec::new();
        for place in &self.here {
            for name in self.ours(place)? {
                tables.extend(self.epoch(&name).map(|epoch| (place.path.join(&name), epoch)));
            }
        }
        Ok(tables)
    }

    /// Names of this vault's files in a place.
    fn ours(&self, place: &Place) -> Result<Vec<String>, PseudoError> {
        let mut names = files::names(&place.path, FILES_MAX)?;
        let prefix = self.name("");
        names.retain(|name| name.starts_with(&prefix));
        Ok(names)
    }

    fn epoch(&self, name: &str) -> Option<u64> {
        let epoch: u64 = name.strip_prefix(&self.name(""))?.strip_suffix(".table")?.parse().ok()?;
        // one way to write a number, so that no table hides behind another's name
        (name == self.name(&format!("{epoch}.table"))).then_some(epoch)
    }

    fn file(&self, place: &Place, epoch: u64) -> PathBuf {
        place.path.join(self.name(&format!("{epoch}.table")))
    }

    fn name(&self, what: &str) -> String {
        format!("{}.{what}", hex(&self.vault.0))
    }

    fn distinct(&self) -> Result<(), PseudoError> {
        let mut ids = HashSet::new();
        if let Some(place) = self.here.iter().find(|place| !ids.insert(&place.id)) {
            let problem = format!("{} is a copy of another place, or the same place", place.path.display());
            return Err(PseudoError::usage(
                problem,
                "a copy of a place is what no vault may have: destroy it",
            ));
        }
        Ok(())
    }
}

fn marker(vault: VaultId, path: &Path) -> PathBuf {
    path.join(format!("{}.place", hex(&vault.0)))
}

fn make(vault: VaultId, path: &Path) -> Result<Place, PseudoError> {
    let mut id = [0; PLACE_ID_BYTES];
    files::random(&mut id)?;
    files::write(&marker(vault, path), format!("{}\n", hex(&id)).as_bytes())?;
    let made = place(vault, path)?;
    made.ok_or_else(|| PseudoError::table(path, "the marker of this place is gone again"))
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// The place at a path, if there is one; locked.
fn place(vault: VaultId, path: &Path) -> Result<Option<Place>, PseudoError> {
    let marker = marker(vault, path);
    // to be written too: without that a folder of another machine gives no lock
    let lock = match files::own::open(&marker, OpenOptions::new().read(true).write(true)) {
        Ok(lock) => lock,
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(PseudoError::file("opening", &marker)(error)),
    };
    let text = files::own::read_text(&marker, MARKER_BYTES_MAX)?;
    let id = unhex::<PLACE_ID_BYTES>(text.trim()).map(|id| hex(&id));
    let id = id.ok_or_else(|| PseudoError::table(&marker, "not the marker of a place"))?;
    lock.try_lock().map_err(|_| {
        let problem = format!(
            "{} is in use: another program works with this vault, or it is the same place as another",
            path.display()
        );
        PseudoError::usage(problem, "wait until it is done, and name each place once")
    })?;
    Ok(Some(Place { id, path: path.to_owned(), lock }))
}
