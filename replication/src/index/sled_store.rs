//! The index on disk: one sled database per node, one tree per group, with a buffer of changes over each.
//!
//! A thread moves layers from the buffers to the trees; `flush` moves all of them first. A change that was only in a
//! buffer when the process ended is made again from the log, like one that sled had not flushed.
//!
//! sled's own flush stops at `sync_file_range`, which neither empties the disk's cache nor makes the file's length
//! durable, and never syncs the files of large values. `flush` here syncs them itself. sled gives up by panicking in
//! places: a panic becomes [`IndexError::Damaged`], and the caller rebuilds.

use super::{
    Batch, Index, IndexError, Row, RowBytes, Rows,
    buffer::{Buffer, Layer},
    generation::{GenerationFile, disk},
};
use std::{
    collections::{BTreeMap, HashSet},
    ffi::OsString,
    fs::File,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
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

/// Closed layers that may wait for the thread; beyond it who writes moves them. 8: some ten MiB for a group, more than one
/// turn of the thread over all groups leaves behind.
const LAYERS_WAITING_MAX: usize = 8;

/// A node's database. Clones share it.
#[derive(Clone)]
pub struct SledStore {
    shared: Arc<Shared>,
}

/// One group's rows. Clones share them.
#[derive(Clone)]
pub struct SledIndex {
    store: SledStore,
    group: Arc<GroupRows>,
}

struct GroupRows {
    tree: sled::Tree,
    buffer: RwLock<Buffer>,
    /// Held by whoever moves layers to the tree; what went wrong doing so, after which nothing is moved any more.
    moving: Mutex<Option<sled::Error>>,
}

struct Shared {
    database: sled::Db,
    /// The groups that are open: all handles to a group share one buffer.
    groups: Mutex<BTreeMap<GroupId, Weak<GroupRows>>>,
    mover: Option<Mover>,
    directory: PathBuf,
    /// Files of large values that were synced before: sled never changes one once it is written.
    synced_blobs: Mutex<HashSet<OsString>>,
    flushed: Mutex<Flushed>,
    /// Counts writes to all trees, each after it is done.
    writes: AtomicU64,
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
        let flushed = Mutex::new(Flushed { file, count, writes: None });
        let (directory, synced_blobs) = (directory.to_owned(), Mutex::default());
        let mover = Some(Mover::start().map_err(|e| disk("start the thread of", &directory, e))?);
        let (groups, writes) = (Mutex::default(), AtomicU64::new(0));
        let shared = Shared { database, groups, mover, directory, synced_blobs, flushed, writes };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The index of `group`, empty if the store has not seen it before.
    pub fn group(&self, group: GroupId) -> Result<SledIndex, IndexError> {
        let mut groups = self.shared.groups();
        if let Some(group) = groups.get(&group).and_then(Weak::upgrade) {
            return Ok(SledIndex { store: self.clone(), group });
        }
        let tree = guarded("open a group", || self.shared.database.open_tree(group.0.to_be_bytes()))?;
        let rows = Arc::new(GroupRows { tree, buffer: RwLock::default(), moving: Mutex::default() });
        groups.insert(group, Arc::downgrade(&rows));
        Ok(SledIndex { store: self.clone(), group: rows })
    }

    /// Removes a group's index with all rows. Other handles to it must be gone.
    pub fn remove_group(&self, group: GroupId) -> Result<(), IndexError> {
        self.shared.groups().remove(&group);
        guarded("remove a group", || self.shared.database.drop_tree(group.0.to_be_bytes()))?;
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
        let groups: Vec<_> = self.shared.groups().values().filter_map(Weak::upgrade).collect();
        for group in groups {
            group.buffer_mut().close();
            group.move_layers()?;
        }
        let count = flushed.count + 1;
        guarded("count a flush", || self.shared.database.insert(FLUSHED, &count.to_le_bytes()))?;
        guarded("flush", || self.shared.database.flush())?;
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
                    Err(IndexError::Disk { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
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
        *synced = present;
        Ok(())
    }
}

impl Shared {
    fn groups(&self) -> MutexGuard<'_, BTreeMap<GroupId, Weak<GroupRows>>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // its thread may hold a tree, and with it the database's lock file
        if let Some(Mover { wanted, thread }) = self.mover.take() {
            drop(wanted);
            if thread.join().is_err() {
                tracing::error!("the thread that moves index rows panicked");
            }
        }
    }
}

/// The thread that moves closed layers to the trees.
struct Mover {
    wanted: mpsc::Sender<Weak<GroupRows>>,
    thread: JoinHandle<()>,
}

impl Mover {
    fn start() -> std::io::Result<Self> {
        let (wanted, groups) = mpsc::channel::<Weak<GroupRows>>();
        let run = move || {
            for group in groups {
                if let Some(group) = group.upgrade()
                    && let Err(error) = group.move_layers()
                {
                    // who writes moves them once too many wait, and is told
                    tracing::error!(error = &error as &dyn std::error::Error, "index rows cannot be moved");
                }
            }
        };
        Ok(Self { wanted, thread: thread::Builder::new().name("index-rows".to_owned()).spawn(run)? })
    }
}

impl GroupRows {
    fn buffer(&self) -> RwLockReadGuard<'_, Buffer> {
        self.buffer.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn buffer_mut(&self) -> RwLockWriteGuard<'_, Buffer> {
        self.buffer.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves every closed layer to the tree.
    fn move_layers(&self) -> Result<(), IndexError> {
        let mut failed = self.moving.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(error) = &*failed {
                return Err(IndexError::Damaged { operation: "write", source: Some(error.clone()) });
            }
            let Some(layer) = self.buffer().oldest() else { return Ok(()) };
            match guarded("write", || self.tree.apply_batch(batch_of(&layer))) {
                Ok(()) => self.buffer_mut().forget_oldest(),
                Err(IndexError::Damaged { source, .. }) => {
                    let gave_up = || sled::Error::ReportableBug("gave up while writing".to_owned());
                    *failed = Some(source.unwrap_or_else(gave_up));
                }
                Err(other) => return Err(other),
            }
        }
    }
}

fn batch_of(layer: &Layer) -> sled::Batch {
    let mut changes = sled::Batch::default();
    for (key, value) in layer {
        match value {
            Some(value) => changes.insert(key, value),
            None => changes.remove(key),
        }
    }
    changes
}

impl Index for SledIndex {
    fn get(&self, key: &[u8]) -> Result<Option<RowBytes>, IndexError> {
        // what is not in the buffer now is in the tree, or nowhere
        if let Some(buffered) = self.group.buffer().get(key) {
            return Ok(buffered);
        }
        guarded("get", || self.group.tree.get(key))
    }

    fn scan(&self, range: Range<&[u8]>, forward: bool) -> Rows<'_> {
        if range.start >= range.end {
            return Box::new(std::iter::empty());
        }
        let buffer = self.group.buffer();
        // begun after the buffer is held: a layer that leaves meanwhile is seen in one of them
        let tree = SledRows { rows: self.group.tree.range(range.clone()), forward, ended: false };
        buffer.scan(Box::new(tree), range, forward)
    }

    fn write(&self, batch: Batch) -> Result<(), IndexError> {
        let (closed, waiting) = {
            let mut buffer = self.group.buffer_mut();
            (buffer.write(batch), buffer.closed())
        };
        self.store.shared.writes.fetch_add(1, Ordering::Release);
        if waiting > LAYERS_WAITING_MAX {
            self.group.move_layers()?;
        } else if closed
            && let Some(mover) = &self.store.shared.mover
            && mover.wanted.send(Arc::downgrade(&self.group)).is_err()
        {
            // the thread ended: only a panic does that
            self.group.move_layers()?;
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), IndexError> {
        self.store.flush()
    }

    fn clear(&self) -> Result<(), IndexError> {
        // nothing may leave the buffer between emptying it and emptying the tree
        let _moving = self.group.moving.lock().unwrap_or_else(PoisonError::into_inner);
        *self.group.buffer_mut() = Buffer::default();
        guarded("clear", || self.group.tree.clear())?;
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
