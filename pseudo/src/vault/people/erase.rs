//! Erasing: the buckets of whoever goes are written anew under keys of the next epoch, and the table before is destroyed.
//!
//! A bucket that is written anew is no bucket before the table of the next epoch lies in a place: until then it is called `staged`, and what
//! an erasure that did not come to its table left can be told from people. A bucket that is newer than the table is never removed: it says
//! that the table is old.

use super::{FOLDER, Vault};
use crate::journal::{Event, Journal, SERVICE, Said};
use crate::vault::bucket::{self, Appender};
use crate::{PseudoError, files};
use custody::{BUCKETS, EpochTable, Handle, RootKey, SigningKey};
use std::collections::HashSet;
use std::path::PathBuf;

/// Files of the folder of buckets: three of each while people are erased, and some that are no buckets.
const FILES_MAX: usize = 8 * BUCKETS;
const BUCKET: &str = "bucket";
const STAGED: &str = "staged";

/// What an erasure will do, before it is done.
pub(crate) struct Staged {
    pub(super) next: EpochTable,
    buckets: Vec<u8>,
    /// People whose keys go.
    pub(crate) erased: u64,
    /// People of the same buckets, who stay.
    pub(crate) rewrapped: u64,
}

/// What an erasure did.
pub(crate) struct Erased {
    pub(crate) buckets: usize,
    pub(crate) tables_destroyed: u64,
}

/// A file of a bucket, by its name.
pub(super) struct Found {
    path: PathBuf,
    bucket: u8,
    version: u32,
    is_staged: bool,
}

impl Staged {
    /// The epoch that it leads to.
    pub(crate) fn epoch(&self) -> u64 {
        self.next.epoch()
    }
}

impl Vault {
    /// Writes the buckets of these people anew, without them, under keys of the next epoch. Nothing counts before [`Vault::erase`].
    pub(crate) fn stage(&self, handles: &HashSet<Handle>) -> Result<Staged, PseudoError> {
        self.sound()?;
        self.places.whole()?;
        self.places.clean()?;
        let mut buckets: Vec<u8> = handles.iter().map(|handle| handle.bucket()).collect();
        buckets.sort_unstable();
        buckets.dedup();
        let readable: HashSet<u8> = self.readable().collect();
        buckets.retain(|bucket| readable.contains(bucket));
        let next = self.table.next(&buckets, files::random)?;
        let staged = self.write_staged(handles, buckets, next);
        if staged.is_err() {
            // what stopped it is said; what this leaves besides, whoever opens the vault next removes
            let _ = self.unstage();
        }
        staged
    }

    fn unstage(&self) -> Result<(), PseudoError> {
        self.found()?
            .iter()
            .filter(|found| found.is_staged)
            .try_for_each(|found| files::remove(&found.path))?;
        files::sync_folder(&self.path.join(FOLDER))
    }

    fn write_staged(
        &self,
        handles: &HashSet<Handle>,
        buckets: Vec<u8>,
        next: EpochTable,
    ) -> Result<Staged, PseudoError> {
        let (mut erased, mut rewrapped) = (0, 0);
        for bucket in &buckets {
            let path = self.file(*bucket, next.version(*bucket)).with_extension(STAGED);
            let key = next.bucket(*bucket);
            let header = bucket::header(self.id(), *bucket, key.version());
            let mut appender = Appender::open(&path, 0, &header)?;
            self.read(*bucket, &mut |person, sealed| {
                if handles.contains(&person.handle) {
                    erased += 1;
                    return Ok(());
                }
                rewrapped += 1;
                appender.push(&key, &person, sealed)?;
                appender.write(&path)
            })?;
            appender.sync(&path)?;
        }
        files::sync_folder(&self.path.join(FOLDER))?;
        Ok(Staged { next, buckets, erased, rewrapped })
    }

    /// Destroys the keys: the next table is put everywhere, the ones before destroyed everywhere, and then the old buckets removed. The log says
    /// before that an erasure to this epoch begins, and in between that an older table counts no more: whatever is put back after that is refused.
    pub(crate) fn erase(
        &mut self,
        staged: Staged,
        root: &RootKey,
        journal: &mut Journal,
        service: &SigningKey,
    ) -> Result<Erased, PseudoError> {
        self.places.whole()?;
        self.places.write(&staged.next, root)?;
        let said = Said { epoch: Some(staged.next.epoch()), ..Said::default() };
        journal.append(service, SERVICE, Event::Settled, said)?;
        let tables_destroyed = self.places.destroy_older(staged.next.epoch())?;
        self.table = staged.next;
        let found = self.found()?;
        self.tidy(found)?;
        Ok(Erased { buckets: staged.buckets.len(), tables_destroyed })
    }

    /// Gives up buckets whose key is destroyed, and ones that are not there. How many.
    pub(crate) fn repair(&mut self) -> Result<usize, PseudoError> {
        let (stale, missing) = (std::mem::take(&mut self.stale), std::mem::take(&mut self.missing));
        let mut lengths = self.lengths().clone();
        stale.iter().chain(&missing).for_each(|bucket| lengths.set(*bucket, self.table.version(*bucket), 0));
        for found in self.found()?.into_iter().filter(|found| stale.contains(&found.bucket)) {
            files::remove(&found.path)?;
        }
        self.flushed(lengths)?;
        let found = self.found()?;
        self.tidy(found)?;
        Ok(stale.len() + missing.len())
    }

    /// All files of buckets. One that is newer than the table says that the table is old.
    pub(super) fn found(&self) -> Result<Vec<Found>, PseudoError> {
        let folder = self.path.join(FOLDER);
        let mut all = Vec::new();
        for name in files::names(&folder, FILES_MAX)? {
            let Some((bucket, version, is_staged)) = parsed(&name) else { continue };
            if !is_staged && version > self.table.version(bucket) {
                let problem =
                    format!("{name} is newer than the epoch table: this table is older than the vault");
                return Err(PseudoError::usage(problem, "name every place of the table with --epoch"));
            }
            all.push(Found { path: folder.join(name), bucket, version, is_staged });
        }
        Ok(all)
    }

    /// Removes what an interrupted erasure left, or goes on with it, and finds buckets whose key is destroyed.
    pub(super) fn tidy(&mut self, found: Vec<Found>) -> Result<(), PseudoError> {
        let is_now = |found: &&Found| found.version == self.table.version(found.bucket);
        let whole = found.iter().filter(|found| !found.is_staged).filter(is_now);
        let mut current: HashSet<u8> = whole.map(|found| found.bucket).collect();
        for staged in found.iter().filter(|found| found.is_staged) {
            if is_now(&staged) && current.insert(staged.bucket) {
                files::rename(&staged.path, &staged.path.with_extension(BUCKET))?;
            } else {
                files::remove(&staged.path)?;
            }
        }
        let mut stale = Vec::new();
        for older in found.iter().filter(|found| !found.is_staged && !is_now(found)) {
            if current.contains(&older.bucket) {
                files::remove(&older.path)?;
            } else {
                stale.push(older.bucket);
            }
        }
        stale.sort_unstable();
        stale.dedup();
        let (mut lengths, mut missing) = (self.lengths().clone(), Vec::new());
        for bucket in 0..=u8::MAX {
            let version = self.table.version(bucket);
            match (current.contains(&bucket), lengths.get(bucket, version)) {
                // written by an erasure, whole and flushed before its table was
                (true, None) => {
                    let path = self.file(bucket, version);
                    let length = path.metadata().map_err(PseudoError::file("reading", &path))?.len();
                    lengths.set(bucket, version, length);
                }
                (false, Some(1..)) => missing.push(bucket),
                (false, None) if !stale.contains(&bucket) => missing.push(bucket),
                _ => {}
            }
        }
        self.flushed(lengths)?;
        (self.stale, self.missing) = (stale, missing);
        Ok(())
    }
}

/// Bucket, version, and whether it is staged.
fn parsed(name: &str) -> Option<(u8, u32, bool)> {
    let (bucket, rest) = name.split_once('.')?;
    let (version, kind) = rest.split_once('.')?;
    let (bucket, version) = (u8::from_str_radix(bucket, 16).ok()?, version.parse().ok()?);
    let is_known = matches!(kind, BUCKET | STAGED) && name == format!("{bucket:02x}.{version}.{kind}");
    is_known.then_some((bucket, version, kind == STAGED))
}
