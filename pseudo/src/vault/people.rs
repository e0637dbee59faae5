//! The people of a vault: made, looked for, erased.

mod erase;

use super::bucket::{self, Appender};
use super::lengths::Lengths;
use super::places::{Outcome, Places, Settled};
use crate::journal::{Event, Journal, SERVICE, Said};
use crate::keys::{hex, unhex};
use crate::{PseudoError, clock, files};
use custody::{
    BUCKETS, ClassName, EpochTable, Handle, HandleKey, IDENTITY_BYTES_MAX, Identity, Person, PersonKey,
    PersonSalt, RootKey, SigningKey, VaultId,
};
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use transform::{People, TransformError};
use zeroize::Zeroizing;

/// People of a vault that is written to: each is in memory with 16 bytes of handle and 32 of secret, with their places about 400 MiB.
pub(crate) const PEOPLE_MAX: usize = 4 << 20;
/// Bytes of people that wait to be written.
const WAITING_BYTES_MAX: usize = 8 << 20;
const HEAD_FILE: &str = "vault.id";
const LOCK_FILE: &str = "lock";
const FOLDER: &str = "people";
const LENGTHS_FILE: &str = "lengths";

/// A vault, open.
pub(crate) struct Vault {
    path: PathBuf,
    handles: HandleKey,
    table: EpochTable,
    pub(crate) places: Places,
    /// Buckets that were restored from before an erasure: their key is destroyed.
    stale: Vec<u8>,
    /// Buckets that had people when they were last flushed, and are not there.
    missing: Vec<u8>,
    lengths: Mutex<Lengths>,
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

impl Vault {
    /// Makes an empty vault, its places with the first table, and its log. There is a vault once the last of its files is there.
    pub(crate) fn create(
        path: &Path,
        places: &[PathBuf],
        root: &RootKey,
        service: &SigningKey,
    ) -> Result<VaultId, PseudoError> {
        let mut id = VaultId([0; 16]);
        files::random(&mut id.0)?;
        files::make_folder(&path.join(FOLDER))?;
        let _lock = locked(path)?;
        let places = Places::create(id, places)?;
        Lengths::new().write(&path.join(FOLDER).join(LENGTHS_FILE), id)?;
        let table = EpochTable::generate(id, files::random)?;
        places.write(&table, root)?;
        let mut journal = Journal::open(path, id, places.logs(), service.public())?;
        let names = places.here.iter().map(|place| place.id.clone()).collect();
        let said = Said { people: Some(0), epoch: Some(table.epoch()), places: names, ..Said::default() };
        journal.append(service, SERVICE, Event::Made, said)?;
        files::write(&path.join(HEAD_FILE), format!("{}\n", hex(&id.0)).as_bytes())?;
        Ok(id)
    }

    /// Opens a vault and its log for this program alone, and finishes what an interrupted erasure left. What is changed is changed only after
    /// the log, the places, the table and the buckets have been found to belong together. A place that is given up need not answer.
    pub(crate) fn open(
        path: &Path,
        places: &[PathBuf],
        given_up: Option<&str>,
        root: &RootKey,
        service: &SigningKey,
    ) -> Result<(Self, Journal), PseudoError> {
        let head = path.join(HEAD_FILE);
        let text = files::own::read_text(&head, 256)?;
        let id = unhex(text.trim())
            .map(VaultId)
            .ok_or_else(|| PseudoError::table(&head, "not the name of a vault"))?;
        let lock = locked(path)?;
        let mut places = Places::find(id, places)?;
        let mut journal = Journal::open(path, id, places.logs(), service.public())?;
        places.known_to(&journal.places(), given_up)?;
        let Settled { table, begun } = places.settle(journal.epochs(), root)?;
        let lengths = Lengths::read(&path.join(FOLDER).join(LENGTHS_FILE), id)?;
        let mut vault = Self {
            path: path.to_owned(),
            handles: root.handle_key(id),
            table,
            places,
            stale: Vec::new(),
            missing: Vec::new(),
            lengths: Mutex::new(lengths),
            writing: Mutex::new(None),
            _lock: lock,
        };
        let found = vault.found()?;
        let lacking = journal.catch_up()?;
        if lacking > 0 {
            let said = Said { rows: Some(lacking), ..Said::default() };
            journal.append(service, SERVICE, Event::Restored, said)?;
        }
        vault.places.sweep()?;
        vault.places.write(&vault.table, root)?;
        if let Some(outcome) = begun {
            let event = if outcome == Outcome::Happened { Event::Settled } else { Event::Dropped };
            let epoch = journal.epochs().begun;
            journal.append(service, SERVICE, event, Said { epoch, ..Said::default() })?;
        }
        vault.places.destroy_older(vault.table.epoch())?;
        vault.tidy(found)?;
        Ok((vault, journal))
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

    /// Buckets that had people and are not there.
    pub(crate) fn missing(&self) -> usize {
        self.missing.len()
    }

    /// Refuses a vault of which a part cannot be read.
    pub(crate) fn sound(&self) -> Result<(), PseudoError> {
        let (stale, missing) = (self.stale.len(), self.missing.len());
        if stale + missing == 0 {
            return Ok(());
        }
        let problem =
            format!("{stale} buckets of this vault are from before an erasure, {missing} are not there");
        let advice = "put newer copies of them there, or give up who is in them with `pseudo vault repair`";
        Err(PseudoError::usage(problem, advice))
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
            self.read(bucket, &mut |person, sealed| {
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
        self.sound()?;
        let mut salts = HashMap::new();
        let mut whole = vec![0; BUCKETS];
        for bucket in self.readable() {
            let end = self.read(bucket, &mut |person, _| {
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
        let mut lengths = self.lengths().clone();
        for (bucket, appender) in (0..=u8::MAX).zip(&mut writing.buckets) {
            if let Some(appender) = appender {
                let version = self.table.version(bucket);
                lengths.set(bucket, version, appender.sync(&self.file(bucket, version))?);
            }
        }
        writing.waiting = 0;
        files::sync_folder(&self.path.join(FOLDER))?;
        self.flushed(lengths)?;
        Ok(writing.added)
    }

    fn readable(&self) -> impl Iterator<Item = u8> + '_ {
        (0..=u8::MAX).filter(|bucket| self.file(*bucket, self.table.version(*bucket)).exists())
    }

    fn read(&self, bucket: u8, visit: &mut bucket::Visit<'_>) -> Result<u64, PseudoError> {
        let version = self.table.version(bucket);
        let header = bucket::header(self.id(), bucket, version);
        let flushed = self.lengths().get(bucket, version).unwrap_or_default();
        bucket::read(&self.file(bucket, version), &self.table.bucket(bucket), &header, flushed, visit)
    }

    fn file(&self, bucket: u8, version: u32) -> PathBuf {
        self.path.join(FOLDER).join(format!("{bucket:02x}.{version}.bucket"))
    }

    fn lengths(&self) -> MutexGuard<'_, Lengths> {
        self.lengths.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down how far buckets are on the disk, if that is news.
    fn flushed(&self, lengths: Lengths) -> Result<(), PseudoError> {
        let mut known = self.lengths();
        if *known != lengths {
            lengths.write(&self.path.join(FOLDER).join(LENGTHS_FILE), self.id())?;
            *known = lengths;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Writing>> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
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
        let sealed = person.seal(self.id(), &identity).map_err(PseudoError::custody("a person"))?;
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
        if value.len() > IDENTITY_BYTES_MAX {
            // a field allows no more, and a normaliser may have made it longer
            return Err(TransformError::TooLong { technique: "prf+vault", most: IDENTITY_BYTES_MAX });
        }
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

/// The vault's lock: one program at a time.
fn locked(path: &Path) -> Result<File, PseudoError> {
    let path = path.join(LOCK_FILE);
    let lock = files::own::open(&path, OpenOptions::new().write(true).create(true).truncate(false));
    let lock = lock.map_err(PseudoError::file("opening", &path))?;
    lock.try_lock()
        .map_err(|_| PseudoError::usage("another program works with this vault", "wait until it is done"))?;
    Ok(lock)
}

fn too_many() -> PseudoError {
    PseudoError::Memory {
        problem: format!("the vault has more than {PEOPLE_MAX} people, which this release does not hold"),
    }
}

#[cfg(test)]
mod tests;
