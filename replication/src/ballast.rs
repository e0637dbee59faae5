//! Room for what cannot be reserved in place on a disk that others may fill (the index's files of large values, and what
//! it writes to open): a file that takes up space until the disk is nearly full and then gives it back.

use crate::index::IndexError;
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

/// What the file takes up, bytes. 32 MiB: many files of large values, which are some hundreds of kilobytes each.
const BALLAST_BYTES: u64 = 32 << 20;

/// Below this much free space the file goes, bytes.
const RELEASE_BELOW_BYTES: u64 = 16 << 20;

/// Above this much free space it is made again, bytes: well above what it takes, so that it does not come and go.
const TAKE_ABOVE_BYTES: u64 = BALLAST_BYTES + (24 << 20);

/// The file, and whether it is there.
pub(crate) struct Ballast {
    path: PathBuf,
    held: AtomicBool,
}

impl Ballast {
    /// In `folder`, which is on the index's disk; made by the first [`Self::look`].
    pub(crate) fn new(folder: &Path) -> Self {
        let path = folder.join("index.reserve");
        let held = AtomicBool::new(path.exists());
        Self { path, held }
    }

    /// Looks at the free space, and says whether ordinary writes should be taken.
    pub(crate) fn look(&self) -> Result<bool, IndexError> {
        let failed = |source| IndexError::Disk { operation: "keep room in", path: self.path.clone(), source };
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let space = statvfs(folder).map_err(|error| failed(error.into()))?;
        let free_bytes = space.f_bavail.saturating_mul(space.f_frsize);
        let held = self.held.load(Ordering::Relaxed);
        if held && free_bytes < RELEASE_BELOW_BYTES {
            self.release()?;
        } else if !held && free_bytes > TAKE_ABOVE_BYTES {
            self.take().map_err(failed)?;
            self.held.store(true, Ordering::Relaxed);
        }
        Ok(self.held.load(Ordering::Relaxed))
    }

    /// Gives the room back, if it is held.
    pub(crate) fn release(&self) -> Result<(), IndexError> {
        if self.held.swap(false, Ordering::Relaxed) {
            let failed =
                |source| IndexError::Disk { operation: "give back", path: self.path.clone(), source };
            std::fs::remove_file(&self.path).map_err(failed)?;
        }
        Ok(())
    }

    fn take(&self) -> io::Result<()> {
        let file = File::create(&self.path)?;
        fallocate(&file, FallocateFlags::empty(), 0, BALLAST_BYTES).map_err(|error| {
            // half a reserve is none
            let _gone_either_way = std::fs::remove_file(&self.path).is_ok();
            error.into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_with_room_holds_the_reserve_and_takes_writes() {
        let folder = tempfile::tempdir().unwrap();
        let ballast = Ballast::new(folder.path());
        assert!(ballast.look().unwrap());
        assert_eq!(folder.path().join("index.reserve").metadata().unwrap().len(), BALLAST_BYTES);
        assert!(Ballast::new(folder.path()).look().unwrap());
    }
}
