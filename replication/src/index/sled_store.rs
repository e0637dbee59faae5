//! The index on disk: one sled database per node, one tree per group.
//!
//! sled's own flush stops at `sync_file_range`, which neither empties the disk's cache nor makes the file's length
//! durable, and never syncs the files of large values. `flush` here syncs them itself. sled gives up by panicking in
//! places: a panic becomes [`IndexError::Damaged`], and the caller rebuilds.

use super::{
    Batch, Index, IndexError, Row, RowBytes, Rows,
    generation::{GenerationFile, disk},
    room::{Demand, IndexRoom, Reserve, SMALL_VALUE_BYTES},
};
use std::{
    collections::HashSet,
    ffi::OsString,
    fs::File,
    io::ErrorKind,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};
use wire::GroupId;

/// How a node's index is kept.
#[derive(Clone, Copy, Debug)]
pub struct SledOptions {
    /// Pages kept in memory, bytes, for all groups of the node.
    pub cache_bytes_max: u64,
}

impl Default for SledOptions {
    /// 64 MiB: inner pages of some ten million rows, so that a lookup costs one page from disk.
    fn default() -> Self {
        Self { cache_bytes_max: 64 << 20 }
    }
}

/// A node's database. Clones share it.
#[derive(Clone)]
pub struct SledStore {
    shared: Arc<Shared>,
}

/// One group's tree. Clones share it.
#[derive(Clone)]
pub struct SledIndex {
    store: SledStore,
    tree: sled::Tree,
}

struct Shared {
    database: sled::Db,
    directory: PathBuf,
    /// Files of large values that were synced before: sled never changes one once it is written.
    synced_blobs: Mutex<HashSet<OsString>>,
    flushed: Mutex<Flushed>,
    /// Counts writes to all trees, each after it is done.
    writes: AtomicU64,
    reserve: Reserve,
    /// Whether there are files of large values, or may be since the last flush.
    has_blobs: AtomicBool,
    /// Set when sled failed in a change: it is not asked again, it may never answer.
    broken: AtomicBool,
}

/// How often the store was flushed, by its own account and by the file's.
struct Flushed {
    file: GenerationFile,
    count: u64,
    /// All writes counted up to here are in it.
    writes: Option<u64>,
}

/// The store's own account of it, in the tree that belongs to no group.
const FLUSHED: &[u8] = b"generation";

/// How sled says that another has its file locked; it has no error of its own for it.
const NOT_LOCKED: &str = "could not acquire lock";

impl SledStore {
    /// Opens the database in `directory`, or makes one.
    pub fn open(directory: &Path, options: SledOptions) -> Result<Self, IndexError> {
        let database = guarded("open", || {
            sled::Config::new()
                .path(directory)
                .cache_capacity(options.cache_bytes_max)
                // the log below decides what is durable, so checkpoints are ours to time
                .flush_every_ms(None)
                // small space beats speed: the index is written in batches, behind the acknowledgement
                .mode(sled::Mode::LowSpace)
                .open()
        });
        let database = database.map_err(|error| match error {
            // it writes a little to come up: that it cannot now says nothing about what it holds
            IndexError::Damaged { source: Some(sled::Error::Io(source)), .. }
                if matches!(source.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) =>
            {
                IndexError::NoRoom { path: directory.to_owned() }
            }
            IndexError::Damaged { source: Some(sled::Error::Io(source)), .. }
                if source.to_string().starts_with(NOT_LOCKED) =>
            {
                IndexError::InUse { path: directory.to_owned() }
            }
            other => other,
        })?;
        let (file, flushed) = GenerationFile::open(directory)?;
        let count = match guarded("get", || database.get(FLUSHED))? {
            Some(value) => {
                let count = value.as_ref().try_into().map(u64::from_le_bytes);
                count.map_err(|_| IndexError::Damaged { operation: "read the generation", source: None })?
            }
            None => 0,
        };
        if count < flushed {
            return Err(IndexError::WentBack { flushed, found: count });
        }
        let reserve = Reserve::open(&directory.join("db"))?;
        let blobs = directory.join("blobs");
        let has_blobs = std::fs::read_dir(&blobs).map_err(|e| disk("list", &blobs, e))?.next().is_some();
        let shared = Shared {
            database,
            directory: directory.to_owned(),
            synced_blobs: Mutex::default(),
            flushed: Mutex::new(Flushed { file, count, writes: None }),
            writes: AtomicU64::new(0),
            reserve,
            has_blobs: AtomicBool::new(has_blobs),
            broken: AtomicBool::new(false),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Which commands there is room for on the disk.
    pub fn room(&self) -> Result<IndexRoom, IndexError> {
        self.shared.reserve.look(self.shared.has_blobs.load(Ordering::Relaxed))
    }

    /// Whether a change of a few rows would be taken now.
    pub fn has_room(&self) -> bool {
        self.shared.check_write(&Batch::default()).is_ok()
    }

    /// The index of `group`, empty if the store has not seen it before.
    pub fn group(&self, group: GroupId) -> Result<SledIndex, IndexError> {
        let tree = self.shared.change("open a group", &Batch::default(), || {
            self.shared.database.open_tree(group.0.to_be_bytes())
        })?;
        Ok(SledIndex { store: self.clone(), tree })
    }

    /// Removes a group's index with all rows. Other handles to it must be gone.
    pub fn remove_group(&self, group: GroupId) -> Result<(), IndexError> {
        self.shared.change("remove a group", &Batch::default(), || {
            self.shared.database.drop_tree(group.0.to_be_bytes())
        })?;
        self.shared.writes.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// When it returns, everything written before to any group survives a power cut. One flush serves all who asked
    /// for it while the one before was under way.
    pub fn flush(&self) -> Result<(), IndexError> {
        let wanted = self.shared.writes.load(Ordering::Acquire);
        let mut flushed = self.shared.flushed.lock().unwrap_or_else(PoisonError::into_inner);
        if flushed.writes.is_some_and(|writes| writes >= wanted) {
            return Ok(());
        }
        let writes = self.shared.writes.load(Ordering::Acquire);
        let count = flushed.count + 1;
        self.shared.reserve.check_flush()?;
        let database = &self.shared.database;
        self.shared.guarded_change("count a flush", || database.insert(FLUSHED, &count.to_le_bytes()))?;
        self.shared.guarded_change("flush", || database.flush())?;
        self.sync_blobs()?;
        sync(&self.shared.directory.join("db"))?;
        sync(&self.shared.directory)?;
        flushed.file.write(count)?;
        flushed.count = count;
        flushed.writes = Some(writes);
        Ok(())
    }

    fn sync_blobs(&self) -> Result<(), IndexError> {
        let directory = self.shared.directory.join("blobs");
        let mut synced = self.shared.synced_blobs.lock().unwrap_or_else(PoisonError::into_inner);
        let mut present = HashSet::new();
        for entry in std::fs::read_dir(&directory).map_err(|e| disk("list", &directory, e))? {
            let name = entry.map_err(|e| disk("list", &directory, e))?.file_name();
            if !synced.contains(&name) {
                match sync(&directory.join(&name)) {
                    // sled removes what it no longer needs at any time
                    Err(IndexError::Disk { source, .. }) if source.kind() == ErrorKind::NotFound => {
                        continue;
                    }
                    other => other?,
                }
            }
            present.insert(name);
        }
        if !present.is_subset(&synced) {
            sync(&directory)?;
        }
        self.shared.has_blobs.store(!present.is_empty(), Ordering::Relaxed);
        *synced = present;
        Ok(())
    }
}

impl Shared {
    /// Lets sled make a change, if it fits.
    fn change<T>(
        &self,
        operation: &'static str,
        batch: &Batch,
        run: impl FnOnce() -> sled::Result<T>,
    ) -> Result<T, IndexError> {
        self.check_write(batch)?;
        self.guarded_change(operation, run)
    }

    fn check_write(&self, batch: &Batch) -> Result<(), IndexError> {
        let (bytes, value_bytes_max) = batch.lengths();
        self.reserve.check_write(Demand { bytes, value_bytes_max }, self.has_blobs.load(Ordering::Relaxed))
    }

    fn guarded_change<T>(
        &self,
        operation: &'static str,
        run: impl FnOnce() -> sled::Result<T>,
    ) -> Result<T, IndexError> {
        if self.broken.load(Ordering::Acquire) {
            return Err(IndexError::Damaged { operation, source: None });
        }
        guarded(operation, run).inspect_err(|_| {
            if !self.broken.swap(true, Ordering::AcqRel) {
                // kept for good: closing it would wait for writes that never come
                std::mem::forget(self.database.clone());
            }
        })
    }
}

impl Index for SledIndex {
    fn get(&self, key: &[u8]) -> Result<Option<RowBytes>, IndexError> {
        guarded("get", || self.tree.get(key))
    }

    fn scan(&self, range: Range<&[u8]>, forward: bool) -> Rows<'_> {
        if range.start >= range.end {
            return Box::new(std::iter::empty());
        }
        Box::new(SledRows { rows: self.tree.range(range), forward, ended: false })
    }

    fn write(&self, batch: Batch) -> Result<(), IndexError> {
        let shared = &self.store.shared;
        shared.check_write(&batch)?;
        if batch.lengths().1 > SMALL_VALUE_BYTES {
            shared.has_blobs.store(true, Ordering::Relaxed);
        }
        let mut changes = sled::Batch::default();
        for (key, value) in batch.into_changes() {
            match value {
                Some(value) => changes.insert(key, value),
                None => changes.remove(key),
            }
        }
        shared.guarded_change("write", || self.tree.apply_batch(changes))?;
        shared.writes.fetch_add(1, Ordering::Release);
        Ok(())
    }

    fn flush(&self) -> Result<(), IndexError> {
        self.store.flush()
    }

    fn clear(&self) -> Result<(), IndexError> {
        self.store.shared.change("clear", &Batch::default(), || self.tree.clear())?;
        self.store.shared.writes.fetch_add(1, Ordering::Release);
        Ok(())
    }
}

struct SledRows {
    rows: sled::Iter,
    forward: bool,
    ended: bool,
}

impl Iterator for SledRows {
    type Item = Result<Row, IndexError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let row = guarded("scan", || {
            if self.forward { self.rows.next() } else { self.rows.next_back() }.transpose()
        });
        // nothing after an error can be trusted to be the next row
        self.ended = !matches!(row, Ok(Some(_)));
        row.transpose()
    }
}

/// Runs sled's code; its errors and its panics both say that the store cannot be relied on.
fn guarded<T>(operation: &'static str, run: impl FnOnce() -> sled::Result<T>) -> Result<T, IndexError> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => Err(IndexError::Damaged { operation, source: Some(source) }),
        Err(_) => Err(IndexError::Damaged { operation, source: None }),
    }
}

fn sync(path: &Path) -> Result<(), IndexError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(|e| disk("sync", path, e))
}
