//! A disk in memory that fails on demand, for tests and simulation.
//!
//! It keeps what was written apart from what is durable, and every write and sync in order: an image can be taken as the
//! device would hold it after a kill (all that was written) or after a power cut at any point (what was synced, and any
//! part of the rest, block by block).

use super::{BLOCK_BYTES, Disk, DiskFile, Space};
use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

/// What goes wrong next. Counts are of operations on the whole disk, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The write with this number fails without writing anything.
    Write(u64),
    /// The write with this number fails after writing so many bytes.
    TornWrite(u64, usize),
    /// The sync with this number fails, and what it should have synced is lost for good though it still reads back.
    Sync(u64),
}

/// Which unsynced blocks a power cut leaves: asked for each block of each unsynced write, in order.
pub type KeepBlock<'a> = &'a mut dyn FnMut() -> bool;

#[derive(Clone, Default)]
struct Content {
    length: u64,
    blocks: BTreeMap<u64, Box<[u8]>>,
}

impl Content {
    fn read(&self, buffer: &mut [u8], offset: u64) {
        let mut at = offset;
        let mut rest = buffer;
        while !rest.is_empty() {
            let within = (at % BLOCK_BYTES as u64) as usize;
            let length = rest.len().min(BLOCK_BYTES - within);
            let (now, later) = rest.split_at_mut(length);
            match self.blocks.get(&(at / BLOCK_BYTES as u64)) {
                Some(block) => now.copy_from_slice(&block[within..within + length]),
                None => now.fill(0),
            }
            at += length as u64;
            rest = later;
        }
    }

    fn write(&mut self, bytes: &[u8], offset: u64) {
        let mut at = offset;
        let mut rest = bytes;
        while !rest.is_empty() {
            let within = (at % BLOCK_BYTES as u64) as usize;
            let (now, later) = rest.split_at(rest.len().min(BLOCK_BYTES - within));
            let block = self
                .blocks
                .entry(at / BLOCK_BYTES as u64)
                .or_insert_with(|| vec![0; BLOCK_BYTES].into_boxed_slice());
            block[within..within + now.len()].copy_from_slice(now);
            at += now.len() as u64;
            rest = later;
        }
    }
}

#[derive(Default)]
struct FileState {
    written: Content,
    durable: Content,
    unsynced: Vec<(u64, Vec<u8>)>,
}

#[derive(Clone)]
enum Event {
    Create { name: String, bytes: u64 },
    Write { name: String, offset: u64, bytes: Vec<u8> },
    Sync,
    Remove { name: String },
}

struct State {
    files: BTreeMap<String, Arc<Mutex<FileState>>>,
    capacity_bytes: u64,
    faults: Vec<Fault>,
    writes: u64,
    syncs: u64,
    syncs_held: bool,
    syncs_waiting: u64,
    history: Option<Vec<Event>>,
}

struct Inner {
    state: Mutex<State>,
    changed: Condvar,
}

/// A disk in memory; clones are the same disk.
#[derive(Clone)]
pub struct FaultDisk {
    inner: Arc<Inner>,
}

impl FaultDisk {
    /// An empty disk.
    pub fn new(capacity_bytes: u64) -> Self {
        let state = State {
            files: BTreeMap::new(),
            capacity_bytes,
            faults: Vec::new(),
            writes: 0,
            syncs: 0,
            syncs_held: false,
            syncs_waiting: 0,
            history: None,
        };
        Self { inner: Arc::new(Inner { state: Mutex::new(state), changed: Condvar::new() }) }
    }

    /// Keeps all operations from now on, for [`FaultDisk::image_after`].
    pub fn record(&self) {
        self.state().history.get_or_insert_default();
    }

    /// Plans a fault.
    pub fn plan(&self, fault: Fault) {
        self.state().faults.push(fault);
    }

    /// Changes how much fits.
    pub fn set_capacity(&self, capacity_bytes: u64) {
        self.state().capacity_bytes = capacity_bytes;
    }

    /// Writes and syncs so far.
    pub fn counts(&self) -> (u64, u64) {
        let state = self.state();
        (state.writes, state.syncs)
    }

    /// Lets syncs wait until [`FaultDisk::release_syncs`].
    pub fn hold_syncs(&self) {
        self.state().syncs_held = true;
    }

    /// Lets syncs go on.
    pub fn release_syncs(&self) {
        self.state().syncs_held = false;
        self.inner.changed.notify_all();
    }

    /// Waits until a sync waits.
    pub fn wait_for_held_sync(&self) {
        let mut state = self.state();
        while state.syncs_waiting == 0 {
            state = self.inner.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Turns one bit, on the device and in what reads back. False when there is no such file or byte.
    pub fn flip_bit(&self, name: &str, offset: u64, bit: u8) -> bool {
        let Some(file) = self.state().files.get(name).cloned() else { return false };
        let mut file = lock(&file);
        let FileState { written, durable, .. } = &mut *file;
        if offset >= written.length {
            return false;
        }
        for content in [written, durable] {
            let mut byte = [0];
            content.read(&mut byte, offset);
            content.write(&[byte[0] ^ (1 << (bit % 8))], offset);
        }
        true
    }

    /// What reads back of a file.
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let file = self.state().files.get(name).cloned()?;
        let file = lock(&file);
        let mut bytes = vec![0; file.written.length as usize];
        file.written.read(&mut bytes, 0);
        Some(bytes)
    }

    /// The disk after the process was killed: everything written is there.
    pub fn after_kill(&self) -> Self {
        self.image(|file| file.written.clone())
    }

    /// The disk after the power went: what was synced, and of the rest the blocks that `keep` says.
    pub fn after_power_cut(&self, keep: KeepBlock<'_>) -> Self {
        self.image(|file| {
            let mut content = file.durable.clone();
            for (offset, bytes) in &file.unsynced {
                for (number, block) in bytes.chunks(BLOCK_BYTES).enumerate() {
                    if keep() {
                        content.write(block, offset + (number * BLOCK_BYTES) as u64);
                    }
                }
            }
            content
        })
    }

    /// How many operations were recorded.
    pub fn operations(&self) -> usize {
        self.state().history.as_ref().map_or(0, Vec::len)
    }

    /// The disk as it was after the first `operations` recorded ones and, if the next one is a write, its first
    /// `torn_bytes`.
    pub fn image_after(&self, operations: usize, torn_bytes: usize) -> Self {
        let state = self.state();
        let image = Self::new(state.capacity_bytes);
        let history = state.history.as_deref().unwrap_or_default();
        for event in history.iter().take(operations) {
            image.replay(event, usize::MAX);
        }
        if let Some(event @ Event::Write { .. }) = history.get(operations) {
            image.replay(event, torn_bytes);
        }
        image
    }

    /// Length of the recorded operation if it is a write.
    pub fn write_bytes(&self, operation: usize) -> Option<usize> {
        match self.state().history.as_ref()?.get(operation)? {
            Event::Write { bytes, .. } => Some(bytes.len()),
            _ => None,
        }
    }

    fn replay(&self, event: &Event, bytes_max: usize) {
        let mut state = self.state();
        match event {
            Event::Create { name, bytes } => {
                let content = Content { length: *bytes, ..Content::default() };
                let file = FileState { written: content.clone(), durable: content, unsynced: Vec::new() };
                state.files.insert(name.clone(), Arc::new(Mutex::new(file)));
            }
            Event::Write { name, offset, bytes } => {
                let bytes = &bytes[..bytes.len().min(bytes_max)];
                if let Some(file) = state.files.get(name) {
                    let mut file = lock(file);
                    file.written.write(bytes, *offset);
                    file.durable.write(bytes, *offset);
                }
            }
            Event::Sync => {}
            Event::Remove { name } => {
                state.files.remove(name);
            }
        }
    }

    fn image(&self, mut content_of: impl FnMut(&FileState) -> Content) -> Self {
        let state = self.state();
        let image = Self::new(state.capacity_bytes);
        for (name, file) in &state.files {
            let content = content_of(&lock(file));
            let file = FileState { written: content.clone(), durable: content, unsynced: Vec::new() };
            image.state().files.insert(name.clone(), Arc::new(Mutex::new(file)));
        }
        image
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.inner.state)
    }

    fn file(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.state().files.get(name).cloned().ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(FaultFile { name: name.to_owned(), disk: self.clone(), file }))
    }
}

impl Disk for FaultDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.state().files.keys().cloned().collect())
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
        let event = Event::Create { name: name.to_owned(), bytes };
        {
            let mut state = self.state();
            if state.files.contains_key(name) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            if state.used_bytes() + bytes > state.capacity_bytes {
                return Err(io::ErrorKind::StorageFull.into());
            }
            state.note(|| event.clone());
        }
        self.replay(&event, 0);
        self.file(name)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.file(name)
    }

    fn open_to_read(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.file(name)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.files.remove(name).ok_or(io::ErrorKind::NotFound)?;
        state.note(|| Event::Remove { name: name.to_owned() });
        Ok(())
    }

    fn space(&self) -> io::Result<Space> {
        let state = self.state();
        let free_bytes = state.capacity_bytes.saturating_sub(state.used_bytes());
        Ok(Space { total_bytes: state.capacity_bytes, free_bytes })
    }

    fn direct(&self) -> bool {
        true
    }

    fn path(&self) -> PathBuf {
        PathBuf::from("memory")
    }
}

impl State {
    fn used_bytes(&self) -> u64 {
        self.files.values().map(|file| lock(file).written.length).sum()
    }

    fn note(&mut self, event: impl FnOnce() -> Event) {
        if let Some(history) = &mut self.history {
            history.push(event());
        }
    }
}

struct FaultFile {
    name: String,
    disk: FaultDisk,
    file: Arc<Mutex<FileState>>,
}

impl DiskFile for FaultFile {
    fn length(&self) -> io::Result<u64> {
        Ok(lock(&self.file).written.length)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let unit = BLOCK_BYTES as u64;
        assert!(offset.is_multiple_of(unit) && (bytes.len() as u64).is_multiple_of(unit), "not whole blocks");
        assert_eq!(bytes.as_ptr().align_offset(BLOCK_BYTES), 0, "memory is not aligned");
        let mut state = self.disk.state();
        state.writes += 1;
        let number = state.writes;
        let fault = state.faults.iter().find_map(|fault| match fault {
            Fault::Write(at) if *at == number => Some(0),
            Fault::TornWrite(at, length) if *at == number => Some(*length),
            _ => None,
        });
        let written = &bytes[..fault.unwrap_or(bytes.len()).min(bytes.len())];
        let mut file = lock(&self.file);
        assert!(offset + bytes.len() as u64 <= file.written.length, "a log never grows its files");
        file.written.write(written, offset);
        file.unsynced.push((offset, written.to_vec()));
        state.note(|| Event::Write { name: self.name.clone(), offset, bytes: written.to_vec() });
        if fault.is_some() { Err(io::Error::other("planned write fault")) } else { Ok(()) }
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        while state.syncs_held {
            state.syncs_waiting += 1;
            self.disk.inner.changed.notify_all();
            state = self.disk.inner.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.syncs_waiting -= 1;
        }
        state.syncs += 1;
        let number = state.syncs;
        let mut file = lock(&self.file);
        let unsynced = std::mem::take(&mut file.unsynced);
        if state.faults.contains(&Fault::Sync(number)) {
            return Err(io::Error::other("planned sync fault"));
        }
        for (offset, bytes) in unsynced {
            file.durable.write(&bytes, offset);
        }
        state.note(|| Event::Sync);
        Ok(())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let file = lock(&self.file);
        if offset + buffer.len() as u64 > file.written.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        file.written.read(buffer, offset);
        Ok(())
    }

    fn read_at_once(&self, buffer: &mut [u8], offset: u64) -> io::Result<bool> {
        Ok(self.read_at(buffer, offset).is_ok())
    }

    fn forget(&self, _offset: u64, _bytes: u64) -> io::Result<()> {
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
