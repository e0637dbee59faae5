//! The people of a vault: made, looked for, erased.

use super::bucket::{self, Appender};
use super::epoch::Places;
use crate::keys::{hex, unhex};
use crate::{PseudoError, clock, files};
use custody::{
    BUCKETS, ClassName, EpochTable, Handle, HandleKey, Identity, Person, PersonKey, PersonSalt, RootKey,
    VaultId,
};
use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use transform::{People, TransformError};
use zeroize::Zeroizing;

/// People of a vault that is written to: each is in memory with 16 bytes of handle and 32 of secret, with their places about 400 MiB.
pub(crate) const PEOPLE_MAX: usize = 4 << 20;
/// Bytes of people that wait to be written.
const WAITING_BYTES_MAX: usize = 8 << 20;
const HEAD_FILE: &str = "vault.id";
const LOCK_FILE: &str = "lock";
const FOLDER: &str = "people";
/// Files of the folder of buckets: two versions of each while people are erased, and some that are no buckets.
const FILES_MAX: usize = 4 * BUCKETS;

/// A vault, open.
pub(crate) struct Vault {
    path: PathBuf,
    handles: HandleKey,
    table: EpochTable,
    pub(crate) places: Places,
    /// Buckets that were restored from before an erasure: their key is destroyed.
    stale: Vec<u8>,
    writing: Mutex<Option<Writing>>,
    /// Held as long as the vault is open.
    _lock: File,
}

/// What appending needs.
struct Writing {
    salts: HashMap<Handle, PersonSalt>,
    buckets: Vec<Option<Appender>>,
    whole: Vec<u64>,
    waiting: usize,
    added: u64,
}

/// What an erasure will do, before it is done.
pub(crate) struct Staged {
    next: EpochTable,
    buckets: Vec<u8>,
    /// People whose keys go.
    pub(crate) erased: u64,
    /// People of the same buckets, who stay.
    pub(crate) rewrapped: u64,
}

/// What an erasure did.
pub(crate) struct Erased {
    pub(crate) epoch_before: u64,
    pub(crate) epoch_after: u64,
    pub(crate) buckets: usize,
    pub(crate) tables_destroyed: u64,
}

impl Vault {
    /// Makes an empty vault and its first table.
    pub(crate) fn create(path: &Path, places: &Places, root: &RootKey) -> Result<VaultId, PseudoError> {
        let mut id = VaultId([0; 16]);
        files::random(&mut id.0)?;
        let table = EpochTable::generate(id, files::random)?;
        files::make_folder(&path.join(FOLDER))?;
        // the table first: a vault without one would be damaged, a table without a vault is nothing
        places.write(&table, root)?;
        files::write(&path.join(HEAD_FILE), format!("{}\n", hex(&id.0)).as_bytes())?;
        Ok(id)
    }

    /// Opens a vault for this program alone, and finishes what an interrupted erasure left.
    pub(crate) fn open(path: &Path, places: Places, root: &RootKey) -> Result<Self, PseudoError> {
        let head = path.join(HEAD_FILE);
        let text = files::read_text(&head, 256)?;
        let id = unhex(text.trim())
            .map(VaultId)
            .ok_or_else(|| PseudoError::table(&head, "not the name of a vault"))?;
        let lock_path = path.join(LOCK_FILE);
        let lock = File::create(&lock_path).map_err(PseudoError::file("opening", &lock_path))?;
        lock.try_lock().map_err(|_| {
            PseudoError::usage("another program works with this vault", "wait until it is done")
        })?;
        let table = places.settle(id, root)?;
        let handles = root.handle_key(id);
        let writing = Mutex::new(None);
        let mut vault =
            Self { path: path.to_owned(), handles, table, places, stale: Vec::new(), writing, _lock: lock };
        vault.tidy()?;
        Ok(vault)
    }

    /// Which vault it is.
    pub(crate) fn id(&self) -> VaultId {
        self.table.vault()
    }

    /// Erasures so far, and one.
    pub(crate) fn epoch(&self) -> u64 {
        self.table.epoch()
    }

    /// Buckets that are older than the last erasure in them.
    pub(crate) fn stale(&self) -> usize {
        self.stale.len()
    }

    /// What a person is found by.
    pub(crate) fn handle(&self, class: &ClassName, value: &str) -> Handle {
        self.handles.handle(class, value)
    }

    /// Reads everybody. How many there are.
    pub(crate) fn each(
        &self,
        visit: &mut dyn FnMut(&Person, &Identity) -> Result<(), PseudoError>,
    ) -> Result<u64, PseudoError> {
        let mut people = 0;
        for bucket in self.readable() {
            let path = self.file(bucket, self.table.version(bucket));
            self.read(&self.table, bucket, &path, &mut |person, sealed| {
                people += 1;
                let place = format!("bucket {bucket}");
                let identity = person.open(self.id(), sealed).map_err(PseudoError::custody(place))?;
                visit(&person, &identity)
            })?;
        }
        Ok(people)
    }

    /// Gets ready for new people. How many there are.
    pub(crate) fn begin(&self) -> Result<u64, PseudoError> {
        if !self.stale.is_empty() {
            let problem = format!("{} buckets of this vault are from before an erasure", self.stale.len());
            let advice =
                "put newer copies of them there, or give up who is in them with `pseudo vault repair`";
            return Err(PseudoError::usage(problem, advice));
        }
        let mut salts = HashMap::new();
        let mut whole = vec![0; BUCKETS];
        for bucket in self.readable() {
            let path = self.file(bucket, self.table.version(bucket));
            let end = self.read(&self.table, bucket, &path, &mut |person, _| {
                if salts.len() >= PEOPLE_MAX {
                    return Err(too_many());
                }
                salts.insert(person.handle, person.key.salt());
                Ok(())
            })?;
            whole[usize::from(bucket)] = end;
        }
        let people = salts.len() as u64;
        let buckets = (0..BUCKETS).map(|_| None).collect();
        *self.lock() = Some(Writing { salts, buckets, whole, waiting: 0, added: 0 });
        Ok(people)
    }

    /// Puts everybody new on the disk. How many there are that are new since [`Vault::begin`].
    pub(crate) fn sync(&self) -> Result<u64, PseudoError> {
        let mut writing = self.lock();
        let Some(writing) = writing.as_mut() else { return Ok(0) };
        for (bucket, appender) in (0..=u8::MAX).zip(&mut writing.buckets) {
            if let Some(appender) = appender {
                appender.sync(&self.file(bucket, self.table.version(bucket)))?;
            }
        }
        writing.waiting = 0;
        files::sync_folder(&self.path.join(FOLDER))?;
        Ok(writing.added)
    }

    /// Writes the buckets of these people anew, without them, under keys of the next epoch. Nothing counts before [`Vault::erase`].
    pub(crate) fn stage(&self, handles: &HashSet<Handle>) -> Result<Staged, PseudoError> {
        let mut buckets: Vec<u8> = handles.iter().map(|handle| handle.bucket()).collect();
        buckets.sort_unstable();
        buckets.dedup();
        let readable: HashSet<u8> = self.readable().collect();
        buckets.retain(|bucket| readable.contains(bucket));
        let next = self.table.next(&buckets, files::random)?;
        let (mut erased, mut rewrapped) = (0, 0);
        for bucket in &buckets {
            let path = self.file(*bucket, next.version(*bucket));
            let key = next.bucket(*bucket);
            let header = bucket::header(self.id(), *bucket, key.version());
            let mut appender = Appender::open(&path, 0, &header)?;
            let old = self.file(*bucket, self.table.version(*bucket));
            self.read(&self.table, *bucket, &old, &mut |person, sealed| {
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

    /// Destroys the keys: the next table is put everywhere, the one before destroyed everywhere, and then the old buckets removed.
    pub(crate) fn erase(&mut self, staged: Staged, root: &RootKey) -> Result<Erased, PseudoError> {
        self.places.write(&staged.next, root)?;
        let tables_destroyed = self.places.destroy_older(&staged.next)?;
        let before = std::mem::replace(&mut self.table, staged.next);
        for bucket in &staged.buckets {
            let old = self.file(*bucket, before.version(*bucket));
            if old.exists() {
                files::destroy(&old)?;
            }
        }
        Ok(Erased {
            epoch_before: before.epoch(),
            epoch_after: self.table.epoch(),
            buckets: staged.buckets.len(),
            tables_destroyed,
        })
    }

    /// Gives up buckets whose key is destroyed. How many.
    pub(crate) fn repair(&mut self) -> Result<usize, PseudoError> {
        let stale = std::mem::take(&mut self.stale);
        for (path, bucket, _) in self.files()? {
            if stale.contains(&bucket) {
                fs::remove_file(&path).map_err(PseudoError::file("removing", &path))?;
            }
        }
        self.tidy()?;
        Ok(stale.len())
    }

    /// Removes what an interrupted erasure left, and finds buckets whose key is destroyed.
    fn tidy(&mut self) -> Result<(), PseudoError> {
        let files = self.files()?;
        let current: HashSet<u8> = files
            .iter()
            .filter(|(_, bucket, version)| *version == self.table.version(*bucket))
            .map(|(_, bucket, _)| *bucket)
            .collect();
        for (path, bucket, version) in files {
            let now = self.table.version(bucket);
            if version > now || (version < now && current.contains(&bucket)) {
                fs::remove_file(&path).map_err(PseudoError::file("removing", &path))?;
            } else if version < now && !self.stale.contains(&bucket) {
                self.stale.push(bucket);
            }
        }
        Ok(())
    }

    fn files(&self) -> Result<Vec<(PathBuf, u8, u32)>, PseudoError> {
        let folder = self.path.join(FOLDER);
        let mut files = Vec::new();
        for entry in fs::read_dir(&folder).map_err(PseudoError::file("listing", &folder))?.take(FILES_MAX) {
            let path = entry.map_err(PseudoError::file("listing", &folder))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let parts = name.strip_suffix(".bucket").and_then(|name| name.split_once('.'));
            let Some((bucket, version)) = parts else { continue };
            if let (Ok(bucket), Ok(version)) = (u8::from_str_radix(bucket, 16), version.parse()) {
                files.push((path, bucket, version));
            }
        }
        Ok(files)
    }

    fn readable(&self) -> impl Iterator<Item = u8> + '_ {
        (0..=u8::MAX).filter(|bucket| self.file(*bucket, self.table.version(*bucket)).exists())
    }

    fn read(
        &self,
        table: &EpochTable,
        bucket: u8,
        path: &Path,
        visit: &mut bucket::Visit<'_>,
    ) -> Result<u64, PseudoError> {
        let header = bucket::header(self.id(), bucket, table.version(bucket));
        bucket::read(path, &table.bucket(bucket), &header, visit)
    }

    fn file(&self, bucket: u8, version: u32) -> PathBuf {
        self.path.join(FOLDER).join(format!("{bucket:02x}.{version}.bucket"))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Writing>> {
        self.writing.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn add(
        &self,
        writing: &mut Writing,
        handle: Handle,
        class: &ClassName,
        value: &str,
    ) -> Result<(), PseudoError> {
        if writing.salts.len() >= PEOPLE_MAX {
            return Err(too_many());
        }
        let person = Person {
            handle,
            key: PersonKey::generate(files::random)?,
            created: u64::try_from(clock::now()).unwrap_or_default(),
        };
        let identity = Identity { class: class.clone(), value: Zeroizing::new(value.to_owned()) };
        let sealed = person.seal(self.id(), &identity);
        let place = handle.bucket();
        let key = self.table.bucket(place);
        let appender = &mut writing.buckets[usize::from(place)];
        let appender = match appender {
            Some(appender) => appender,
            None => {
                let header = bucket::header(self.id(), place, key.version());
                let path = self.file(place, key.version());
                appender.insert(Appender::open(&path, writing.whole[usize::from(place)], &header)?)
            }
        };
        writing.waiting += appender.push(&key, &person, &sealed)?;
        writing.salts.insert(handle, person.key.salt());
        writing.added += 1;
        if writing.waiting > WAITING_BYTES_MAX {
            for (bucket, appender) in (0..=u8::MAX).zip(&mut writing.buckets) {
                if let Some(appender) = appender {
                    appender.write(&self.file(bucket, self.table.version(bucket)))?;
                }
            }
            writing.waiting = 0;
        }
        Ok(())
    }
}

impl People for Vault {
    fn with_salt(
        &self,
        class: &ClassName,
        value: &str,
        take: &mut dyn FnMut(&PersonSalt),
    ) -> Result<(), TransformError> {
        let handle = self.handle(class, value);
        let mut writing = self.lock();
        let failed = |error: PseudoError| TransformError::Vault { problem: error.to_string() };
        let writing = writing.as_mut().expect("a run begins with the vault before it treats values");
        if !writing.salts.contains_key(&handle) {
            self.add(writing, handle, class, value).map_err(failed)?;
        }
        take(&writing.salts[&handle]);
        Ok(())
    }
}

fn too_many() -> PseudoError {
    PseudoError::Memory {
        problem: format!("the vault has more than {PEOPLE_MAX} people, which this release does not hold"),
    }
}

#[cfg(test)]
mod tests;
