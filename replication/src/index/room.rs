//! Room for the store's file on a disk that others may fill: blocks that are reserved behind its end, so that a write finds
//! them there whatever else is on the disk.
//!
//! sled takes a write that fails for want of room for the end of everything, in memory as well: it must never see one.
//! So the store asks here before each write, and refuses what might not fit ([`IndexError::NoRoom`]) before anything
//! was changed. What sled keeps in files of their own (rows that are large together) cannot be reserved: while there
//! are any, the file system must have room too. A file system that copies on write (btrfs, ZFS) keeps no such promise.

use super::{IndexError, RowBytes};
use rustix::{
    fs::{FallocateFlags, fallocate, fstat, fstatvfs},
    io::Errno,
};
use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

/// What is reserved behind the end, bytes. 32 MiB: some ten thousand deletes, and several times what one write takes.
const RESERVE_BYTES: u64 = 32 << 20;

/// The reserve is made whole again once so much of it is used, bytes: often enough, and not at each write.
const RENEW_BYTES: u64 = 4 << 20;

/// Left of the reserve: ordinary commands are taken, bytes. Three quarters: it was not touched for long.
const ORDINARY_BYTES: u64 = 24 << 20;

/// Left of the reserve: commands that free room are taken, bytes. Half: what was taken before must still be applied.
const RECLAIM_BYTES: u64 = 16 << 20;

/// Left of the reserve: rows are written, bytes, beside [`WRITE_FACTOR`]. 8 MiB: what sled has taken and not yet written
/// is a few of its segments of half a MiB.
const WRITE_BYTES: u64 = 8 << 20;

/// Left of the reserve: what was written is flushed, bytes. 2 MiB: at most the segment that is being filled is written.
const FLUSH_BYTES: u64 = 2 << 20;

/// What a byte of rows may cost in the file: a page of sixteen rows is written anew for one of them.
const WRITE_FACTOR: u64 = 16;

/// A value of more bytes may end up in a file of its own: sixteen of half that size fill the largest page that does not.
pub(super) const SMALL_VALUE_BYTES: usize = 4 << 10;

/// Left on the file system: rows are written that may end up in files of their own, bytes.
const FILES_BYTES: u64 = 8 << 20;

/// Which commands the index has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexRoom {
    /// All.
    pub writable: bool,
    /// Those that free room.
    pub reclaimable: bool,
}

/// The reserve of one store.
pub(super) struct Reserve {
    file: File,
    path: PathBuf,
}

/// What a write brings.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Demand {
    /// Keys and values, bytes.
    pub(super) bytes: u64,
    /// The largest value, bytes.
    pub(super) value_bytes_max: usize,
}

impl Demand {
    pub(super) fn of<'a>(changes: impl Iterator<Item = (&'a RowBytes, &'a Option<RowBytes>)>) -> Self {
        let mut demand = Self::default();
        for (key, value) in changes {
            let value_bytes = value.as_ref().map_or(0, |value| value.len());
            demand.bytes += (key.len() + value_bytes) as u64;
            demand.value_bytes_max = demand.value_bytes_max.max(value_bytes);
        }
        demand
    }
}

impl Reserve {
    /// Behind `path`, the store's file.
    pub(super) fn open(path: &Path) -> Result<Self, IndexError> {
        let failed = |source| IndexError::Disk { operation: "open", path: path.to_owned(), source };
        let file = File::options().read(true).write(true).open(path).map_err(failed)?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// Which commands there is room for. `files`: whether the store has files of large values.
    pub(super) fn look(&self, files: bool) -> Result<IndexRoom, IndexError> {
        let left = self.left()?;
        let files_fit = !files || self.free()? >= FILES_BYTES;
        Ok(IndexRoom {
            writable: left >= ORDINARY_BYTES && files_fit,
            reclaimable: left >= RECLAIM_BYTES && files_fit,
        })
    }

    /// Refuses a write that might not fit.
    pub(super) fn check_write(&self, demand: Demand, files: bool) -> Result<(), IndexError> {
        self.check(WRITE_BYTES + WRITE_FACTOR * demand.bytes)?;
        let large = files || demand.value_bytes_max > SMALL_VALUE_BYTES;
        if large && self.free()? < FILES_BYTES + demand.bytes {
            return Err(IndexError::NoRoom { path: self.path.clone() });
        }
        Ok(())
    }

    /// Refuses a flush that might not fit.
    pub(super) fn check_flush(&self) -> Result<(), IndexError> {
        self.check(FLUSH_BYTES)
    }

    fn check(&self, needed_bytes: u64) -> Result<(), IndexError> {
        // more than the reserve holds is asked of the file system alone
        if self.left()? >= needed_bytes || self.free()? >= needed_bytes + RESERVE_BYTES {
            Ok(())
        } else {
            Err(IndexError::NoRoom { path: self.path.clone() })
        }
    }

    /// What is reserved behind the end, after making it whole again if that can be done; bytes.
    fn left(&self) -> Result<u64, IndexError> {
        let left = self.reserved().map_err(|source| self.failed(source))?;
        if left + RENEW_BYTES > RESERVE_BYTES {
            return Ok(left);
        }
        match self.renew() {
            Ok(()) | Err(Errno::NOSPC | Errno::DQUOT) => {
                self.reserved().map_err(|source| self.failed(source))
            }
            // a file system that cannot reserve: what it has free must do
            Err(Errno::OPNOTSUPP) => self.free(),
            Err(error) => Err(self.failed(error.into())),
        }
    }

    fn reserved(&self) -> io::Result<u64> {
        let status = fstat(&self.file)?;
        let (blocks, size) = (u64::try_from(status.st_blocks), u64::try_from(status.st_size));
        // of 512 bytes, whatever the file system's are
        Ok((blocks.unwrap_or(0) * 512).saturating_sub(size.unwrap_or(0)))
    }

    /// From the file's beginning, so that blocks behind the end always are the reserve and never make up for a hole.
    fn renew(&self) -> Result<(), Errno> {
        let size = u64::try_from(fstat(&self.file)?.st_size).unwrap_or(0);
        fallocate(&self.file, FallocateFlags::KEEP_SIZE, 0, size + RESERVE_BYTES)
    }

    fn free(&self) -> Result<u64, IndexError> {
        let space = fstatvfs(&self.file).map_err(|error| self.failed(error.into()))?;
        Ok(space.f_bavail.saturating_mul(space.f_frsize))
    }

    fn failed(&self, source: io::Error) -> IndexError {
        IndexError::Disk { operation: "reserve room behind", path: self.path.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{FileExt, MetadataExt};

    fn reserve() -> (tempfile::TempDir, Reserve) {
        let folder = tempfile::tempdir_in(".").unwrap();
        let path = folder.path().join("db");
        File::create(&path).unwrap();
        let reserve = Reserve::open(&path).unwrap();
        (folder, reserve)
    }

    #[test]
    fn the_reserve_lies_behind_the_end_and_does_not_move_it() {
        let (_folder, reserve) = reserve();
        assert_eq!(reserve.look(false).unwrap(), IndexRoom { writable: true, reclaimable: true });
        let metadata = reserve.file.metadata().unwrap();
        assert_eq!(metadata.len(), 0);
        assert!(metadata.blocks() * 512 >= RESERVE_BYTES, "{metadata:?}");
    }

    #[test]
    fn it_is_made_whole_again_after_growth_and_after_truncation() {
        let (_folder, reserve) = reserve();
        for (write_at, length) in [(Some(6 << 20), 7 << 20), (None, 1 << 20), (None, 0)] {
            if let Some(offset) = write_at {
                reserve.file.write_all_at(&[1; 1 << 20], offset).unwrap();
            }
            reserve.file.set_len(length).unwrap();
            assert!(reserve.left().unwrap() + RENEW_BYTES > RESERVE_BYTES, "at {length}");
            assert_eq!(reserve.file.metadata().unwrap().len(), length);
        }
    }
}
