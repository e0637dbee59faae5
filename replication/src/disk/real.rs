//! A directory of the operating system: direct writes where the file system takes them, buffered reads.
//!
//! Every file is open twice: once for writing (direct, if possible) and once for reading through the page cache, so that
//! what is read often needs no device. The kernel drops cached pages under a direct write.

use super::{BLOCK_BYTES, Disk, DiskFile, Space};
use rustix::{
    fs::{Advice, FallocateFlags, OFlags, StatVfs},
    io::{Errno, ReadWriteFlags},
};
use std::{
    fs::{File, OpenOptions},
    io::{self, IoSliceMut},
    num::NonZeroU64,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Name of the file that is written once at opening to learn what the file system can do.
const PROBE: &str = "probe.tmp";

/// A directory of the operating system.
#[derive(Debug)]
pub struct RealDisk {
    directory: PathBuf,
    handle: File,
    direct: bool,
}

impl RealDisk {
    /// Opens `directory`, making it if it is not there, and learns whether it takes direct I/O.
    pub fn open(directory: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let handle = File::open(directory)?;
        let direct = takes_direct_writes(&directory.join(PROBE));
        Ok(Self { directory: directory.to_owned(), handle, direct })
    }

    /// The same without direct I/O.
    pub fn open_buffered(directory: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(directory)?;
        Ok(Self { directory: directory.to_owned(), handle: File::open(directory)?, direct: false })
    }

    fn file(&self, path: &Path, create: bool) -> io::Result<RealFile> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(create);
        if self.direct {
            options.custom_flags(OFlags::DIRECT.bits() as i32);
        }
        let writer = options.open(path)?;
        Ok(RealFile { writer: Some(writer), reader: File::open(path)? })
    }
}

impl Disk for RealDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.directory)? {
            // a name that is not text is not ours
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.directory.join(name);
        let file = self.file(&path, true)?;
        let made = file
            .writer()
            .and_then(|writer| preallocate(writer, bytes).and_then(|()| writer.sync_all()))
            .and_then(|()| self.handle.sync_all());
        if let Err(error) = made {
            // best effort: the first error is the one to tell
            let _ = std::fs::remove_file(&path);
            return Err(error);
        }
        Ok(Arc::new(file))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(self.file(&self.directory.join(name), false)?))
    }

    fn open_to_read(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(open_to_read(&self.directory.join(name))?))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.directory.join(name))?;
        self.handle.sync_all()
    }

    fn space(&self) -> io::Result<Space> {
        Ok(space_of(&rustix::fs::fstatvfs(&self.handle)?))
    }

    fn direct(&self) -> bool {
        self.direct
    }

    fn path(&self) -> PathBuf {
        self.directory.clone()
    }
}

/// What ordinary processes may use: like `df`, it leaves out blocks that are free but kept back for the superuser.
fn space_of(status: &StatVfs) -> Space {
    let kept_back = status.f_bfree.saturating_sub(status.f_bavail);
    let usable = status.f_blocks.saturating_sub(kept_back);
    Space {
        total_bytes: usable.saturating_mul(status.f_frsize),
        free_bytes: status.f_bavail.saturating_mul(status.f_frsize),
    }
}

/// Opens a file of a directory that another process writes.
pub(crate) fn open_to_read(path: &Path) -> io::Result<impl DiskFile> {
    Ok(RealFile { writer: None, reader: File::open(path)? })
}

struct RealFile {
    writer: Option<File>,
    reader: File,
}

impl RealFile {
    fn writer(&self) -> io::Result<&File> {
        self.writer.as_ref().ok_or_else(|| io::Error::other("opened for reading only"))
    }
}

impl DiskFile for RealFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.reader.metadata()?.len())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.writer()?.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.writer()?.sync_data()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.reader.read_exact_at(buffer, offset)
    }

    fn read_at_once(&self, buffer: &mut [u8], offset: u64) -> io::Result<bool> {
        let wanted = buffer.len();
        let read =
            rustix::io::preadv2(&self.reader, &mut [IoSliceMut::new(buffer)], offset, ReadWriteFlags::NOWAIT);
        match read {
            Ok(length) => Ok(length == wanted),
            // not cached, interrupted, or a file system that cannot say: the waiting read settles it
            Err(Errno::AGAIN | Errno::INTR | Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn forget(&self, offset: u64, bytes: u64) -> io::Result<()> {
        Ok(rustix::fs::fadvise(&self.reader, offset, NonZeroU64::new(bytes), Advice::DontNeed)?)
    }
}

fn preallocate(file: &File, bytes: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes) {
        // a file system without reservation: full shows at the write, which then stops the log
        Err(Errno::OPNOTSUPP) => file.set_len(bytes),
        result => Ok(result?),
    }
}

fn takes_direct_writes(probe: &Path) -> bool {
    let write = || -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).custom_flags(OFlags::DIRECT.bits() as i32);
        let file = options.open(probe)?;
        let mut block = super::AlignedBuffer::with_capacity(BLOCK_BYTES);
        block.extend(&[0]);
        block.pad_to(BLOCK_BYTES);
        file.write_all_at(block.bytes(), 0)
    };
    let taken = write().is_ok();
    let _ = std::fs::remove_file(probe);
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_kept_back_for_the_superuser_are_no_room() {
        let mut status = rustix::fs::statvfs(".").unwrap();
        (status.f_frsize, status.f_blocks, status.f_bfree, status.f_bavail) = (4096, 1000, 900, 300);
        let space = space_of(&status);
        assert_eq!((space.total_bytes, space.free_bytes), (400 * 4096, 300 * 4096));
    }
}
