//! The seam between the segment log and a disk: one directory of preallocated files.
//!
//! It promises nothing about durability beyond what each method says; the order of writes and syncs that makes a log
//! survive a power cut is the log's business. [`RealDisk`] is the operating system; [`fault`] is a disk in memory that
//! fails, tears and loses power on demand, for tests and simulation of this and other crates.

use std::{io, path::PathBuf, sync::Arc};

mod buffer;
pub mod fault;
mod real;

pub(crate) use buffer::AlignedBuffer;
pub use real::RealDisk;
pub(crate) use real::open_to_read;

/// Unit of direct I/O, bytes: offsets, lengths and memory of log writes are multiples of it. 4 KiB fits every common
/// logical block size.
pub const BLOCK_BYTES: usize = 4096;

/// What the file system says about its room, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Size of the file system.
    pub total_bytes: u64,
    /// What an unprivileged process may still allocate.
    pub free_bytes: u64,
}

/// A directory on a disk that holds the files of one log. Methods block.
pub trait Disk: Send + Sync + 'static {
    /// Names of all files, in no order.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes a new file of `bytes` zeros whose blocks are reserved, and makes its name durable. Leaves nothing behind
    /// when it fails. No room is [`io::ErrorKind::StorageFull`].
    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens an existing file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens an existing file for reading.
    fn open_to_read(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Takes the file's name away, durably; whoever holds the file open can still read it.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Room on the file system.
    fn space(&self) -> io::Result<Space>;

    /// Whether writes bypass the page cache.
    fn direct(&self) -> bool;

    /// Where this is, for messages.
    fn path(&self) -> PathBuf;
}

/// One file of a [`Disk`]. Methods block unless they say otherwise.
pub trait DiskFile: Send + Sync + 'static {
    /// Size in bytes.
    fn length(&self) -> io::Result<u64>;

    /// Writes all of `bytes`; offset and length are multiples of [`BLOCK_BYTES`] and the memory is aligned to it.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Returns once everything written before is on stable storage. After an error nothing is known about it.
    fn sync_data(&self) -> io::Result<()>;

    /// Fills `buffer` from `offset`; the end of the file before that is [`io::ErrorKind::UnexpectedEof`].
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Like [`DiskFile::read_at`] if it can be done without waiting for the device: false says that it cannot.
    fn read_at_once(&self, buffer: &mut [u8], offset: u64) -> io::Result<bool>;

    /// Lets the cache forget a range, so that the next read comes from the device.
    fn forget(&self, offset: u64, bytes: u64) -> io::Result<()>;
}
