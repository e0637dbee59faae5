//! The index on disk: one sled database per node, one tree per group, with a buffer of changes over each.
//!
//! A thread moves layers from the buffers to the trees; `flush` moves all of them first. A change that was only in a
//! buffer when the process ended is made again from the log, like one that sled had not flushed. While the disk has no
//! room, layers wait in their buffers, and once those are full, writes do.
//!
//! sled's own flush stops at `sync_file_range`, which neither empties the disk's cache nor makes the file's length
//! durable, and never syncs the files of large values. `flush` here syncs them itself. sled gives up by panicking in
//! places: a panic becomes [`IndexError::Damaged`], and the caller rebuilds.

use super::{
    Batch, Index, IndexError, Row, RowBytes, Rows,
    buffer::{Buffer, LAYER_BYTES, Layer},
    generation::{GenerationFile, disk},
    room::{Demand, IndexRoom, Reserve, SMALL_VALUE_BYTES},
};
use std::{
    collections::{BTreeMap, HashSet},
    ffi::OsString,
    fs::File,
    io::ErrorKind,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use wire::GroupId;

/// How a node's index is kept.
#[derive(Clone, Copy, Debug)]
pub struct SledOptions {
    /// Pages kept in memory, bytes, for all groups of the node.
    pub cache_bytes_max: u64,
    /// How long [`SledStore::open`] waits for another that has the database open.
    pub in_use_wait: Duration,
}

impl Default for SledOptions {
    /// 64 MiB: inner pages of some ten million rows, so that a lookup costs one page from disk. 20 s: a process that was
    /// killed under heavy load can take seconds to let go of what it had open, and sled's threads keep their file for a
    /// moment after the last handle is gone.
    fn default() -> Self {
        Self { cache_bytes_max: 64 << 20, in_use_wait: Duration::from_secs(20) }
    }
}

/// Closed layers that may wait for the thread; beyond it who writes moves them. 8: a few MiB for a group, more than one turn
/// of the thread over all groups leaves behind.
const LAYERS_WAITING_MAX: usize = 8;

/// Pause between two tries to open a database that another has open.
const IN_USE_PAUSE: Duration = Duration::from_millis(10);

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

struct Shared {
    core: Arc<Core>,
    directory: PathBuf,
    /// The groups that are open: all handles to a group share one buffer.
    groups: Mutex<BTreeMap<GroupId, Weak<GroupRows>>>,
    mover: Option<Mover>,
    /// Files of large values that were synced before: sled never changes one once it is written.
    synced_blobs: Mutex<HashSet<OsString>>,
    flushed: Mutex<Flushed>,
    /// Counts writes to all groups, each after it is done.
    writes: AtomicU64,
}

/// The database, and what must be asked before it is changed.
struct Core {
    database: sled::Db,
    reserve: Reserve,
    /// Whether there are files of large values, or may be since the last flush.
    has_blobs: AtomicBool,
    /// Set when sled failed in a change: it is not asked again, it may never answer.
    broken: AtomicBool,
}

struct GroupRows {
    core: Arc<Core>,
    tree: sled::Tree,
    buffer: RwLock<Buffer>,
    /// Held by whoever moves layers to the tree.
    moving: Mutex<()>,
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
    /// Opens the database in `directory`, or makes one. Blocks for as long as another has it open.
    pub fn open(directory: &Path, options: SledOptions) -> Result<Self, IndexError> {
        let deadline = Instant::now() + options.in_use_wait;
        let database = loop {
            match open_database(directory, options) {
                Err(IndexError::InUse { .. }) if Instant::now() < deadline => {
                    thread::sleep(IN_USE_PAUSE);
                }
                opened => break opened?,
            }
        };
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
        let core = Arc::new(Core {
            database,
            reserve,
            has_blobs: AtomicBool::new(has_blobs),
            broken: AtomicBool::new(false),
        });
        let shared = Shared {
            core,
            directory: directory.to_owned(),
            groups: Mutex::default(),
            mover: Some(Mover::start().map_err(|e| disk("start the thread of", directory, e))?),
            synced_blobs: Mutex::default(),
            flushed: Mutex::new(Flushed { file, count, writes: None }),
            writes: AtomicU64::new(0),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Which commands there is room for on the disk.
    pub fn room(&self) -> Result<IndexRoom, IndexError> {
        let core = &self.shared.core;
        core.reserve.look(core.has_blobs.load(Ordering::Relaxed))
    }

    /// Whether a change of a few rows would be taken now.
    pub fn has_room(&self) -> bool {
        self.shared.core.check_write(Demand::default()).is_ok()
    }

    /// The index of `group`, empty if the store has not seen it before.
    pub fn group(&self, group: GroupId) -> Result<SledIndex, IndexError> {
        let mut groups = self.shared.groups();
        if let Some(group) = groups.get(&group).and_then(Weak::upgrade) {
            return Ok(SledIndex { store: self.clone(), group });
        }
        let core = Arc::clone(&self.shared.core);
        let tree = core
            .change("open a group", Demand::default(), || core.database.open_tree(group.0.to_be_bytes()))?;
        let (buffer, moving) = (RwLock::default(), Mutex::default());
        let rows = Arc::new(GroupRows { core, tree, buffer, moving });
        groups.insert(group, Arc::downgrade(&rows));
        Ok(SledIndex { store: self.clone(), group: rows })
    }

    /// Removes a group's index with all rows. Other handles to it must be gone.
    pub fn remove_group(&self, group: GroupId) -> Result<(), IndexError> {
        let core = &self.shared.core;
        let mut groups = self.shared.groups();
        // the thread may still hold it: nothing may reach a tree that is gone
        let rows = groups.get(&group).and_then(Weak::upgrade);
        let _moving = rows.as_ref().map(|rows| rows.moving.lock().unwrap_or_else(PoisonError::into_inner));
        core.change("remove a group", Demand::default(), || core.database.drop_tree(group.0.to_be_bytes()))?;
        if let Some(rows) = &rows {
            *rows.buffer_mut() = Buffer::default();
        }
        groups.remove(&group);
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
        let core = &self.shared.core;
        core.reserve.check_flush()?;
        core.guarded_change("count a flush", || core.database.insert(FLUSHED, &count.to_le_bytes()))?;
        core.guarded_change("flush", || core.database.flush())?;
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
        self.shared.core.has_blobs.store(!present.is_empty(), Ordering::Relaxed);
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

impl Core {
    /// Lets sled make a change, if it fits.
    fn change<T>(
        &self,
        operation: &'static str,
        demand: Demand,
        run: impl FnOnce() -> sled::Result<T>,
    ) -> Result<T, IndexError> {
        self.check_write(demand)?;
        if demand.value_bytes_max > SMALL_VALUE_BYTES {
            self.has_blobs.store(true, Ordering::Relaxed);
        }
        self.guarded_change(operation, run)
    }

    fn check_write(&self, demand: Demand) -> Result<(), IndexError> {
        self.reserve.check_write(demand, self.has_blobs.load(Ordering::Relaxed))
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
                match group.upgrade().map_or(Ok(()), |group| group.move_layers()) {
                    // layers that find no room wait; who writes is told once too many do
                    Ok(()) | Err(IndexError::NoRoom { .. }) => {}
                    Err(error) => {
                        let error = &error as &dyn std::error::Error;
                        tracing::error!(error, "index rows cannot be moved");
                    }
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
        let _moving = self.moving.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let Some(layer) = self.buffer().oldest() else { return Ok(()) };
            let demand = Demand::of(layer.iter());
            self.core.change("write", demand, || self.tree.apply_batch(batch_of(&layer)))?;
            self.buffer_mut().forget_oldest();
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
        // begun while the buffer is held: a layer that leaves meanwhile is seen in one of them
        let tree = SledRows { rows: self.group.tree.range(range.clone()), forward, ended: false };
        buffer.scan(Box::new(tree), range, forward)
    }

    fn write(&self, batch: Batch) -> Result<(), IndexError> {
        let demand = Demand::of(batch.changes.iter().map(|(key, value)| (key, value)));
        if demand.bytes > LAYER_BYTES as u64 {
            // as a layer it might never fit: refused now, so that the caller can cut it
            self.group.core.check_write(demand)?;
        }
        if self.group.buffer().closed() >= LAYERS_WAITING_MAX {
            self.group.move_layers()?;
        }
        let closed = self.group.buffer_mut().write(batch);
        self.store.shared.writes.fetch_add(1, Ordering::Release);
        if closed
            && let Some(mover) = &self.store.shared.mover
            && mover.wanted.send(Arc::downgrade(&self.group)).is_err()
        {
            tracing::error!("the thread that moves index rows is gone");
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), IndexError> {
        self.store.flush()
    }

    fn clear(&self) -> Result<(), IndexError> {
        // nothing may leave the buffer between emptying it and emptying the tree
        let _moving = self.group.moving.lock().unwrap_or_else(PoisonError::into_inner);
        self.group.core.change("clear", Demand::default(), || self.group.tree.clear())?;
        *self.group.buffer_mut() = Buffer::default();
        self.store.shared.writes.fetch_add(1, Ordering::Release);
        Ok(())
    }
}

fn open_database(directory: &Path, options: SledOptions) -> Result<sled::Db, IndexError> {
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
    database.map_err(|error| match error {
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
    })
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
