//! A folder that is held open. Names in it are looked up in that folder and nowhere else, so that a link that is put in its stead, or in the
//! stead of a folder within it, leads nobody to overwrite or remove what lies elsewhere.

use super::{OPENED, step, zero};
use crate::PseudoError;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, statat, unlinkat};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A folder, itself and no link to one.
pub(crate) struct Folder {
    held: File,
    path: PathBuf,
}

impl Folder {
    /// Opens a folder; nothing if none is there. What is there and is no folder, also a link to one, is refused.
    pub(crate) fn open(path: &Path) -> Result<Option<Self>, PseudoError> {
        let flags = (OFlags::DIRECTORY | OFlags::NOFOLLOW).bits().cast_signed();
        let held = OpenOptions::new().read(true).custom_flags(flags).open(path);
        Self::opened(held, path.to_owned())
    }

    /// Opens a folder in this one, as [`Folder::open`] does.
    pub(crate) fn below(&self, name: &OsStr) -> Result<Option<Self>, PseudoError> {
        let held = openat(&self.held, name, FOLDER, Mode::empty());
        Self::opened(held.map(File::from).map_err(io::Error::from), self.path.join(name))
    }

    fn opened(held: io::Result<File>, path: PathBuf) -> Result<Option<Self>, PseudoError> {
        match held {
            Ok(held) => Ok(Some(Self { held, path })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) if is_other(&error) => Err(PseudoError::table(&path, "a link or no folder")),
            Err(error) => Err(PseudoError::file("opening", &path)(error)),
        }
    }

    /// Names in the folder, sorted; more than so many are an error, since none may be missed.
    pub(crate) fn names(&self, most: usize) -> Result<Vec<OsString>, PseudoError> {
        let failed = |error: Errno| PseudoError::file("listing", &self.path)(error.into());
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.held).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name().to_bytes().to_owned();
            if name == b"." || name == b".." {
                continue;
            }
            if names.len() == most {
                let problem = format!("more than {most} files are in this folder");
                return Err(PseudoError::table(&self.path, problem));
            }
            names.push(OsString::from_vec(name));
        }
        names.sort_unstable();
        Ok(names)
    }

    /// What a name stands for; a link for itself.
    pub(crate) fn kind(&self, name: &OsStr) -> Result<FileType, PseudoError> {
        let found = statat(&self.held, name, AtFlags::SYMLINK_NOFOLLOW);
        let found =
            found.map_err(|error| PseudoError::file("looking at", &self.path.join(name))(error.into()));
        Ok(FileType::from_raw_mode(found?.st_mode))
    }

    /// Overwrites a file and removes it.
    pub(crate) fn wipe(&self, name: &OsStr) -> Result<(), PseudoError> {
        let path = self.path.join(name);
        let failed = || PseudoError::file("destroying", &path);
        step().map_err(failed())?;
        let file = openat(&self.held, name, OFlags::WRONLY | OFlags::CLOEXEC | OPENED, Mode::empty());
        let file = File::from(file.map_err(|error| failed()(error.into()))?);
        let (here, opened) = (self.stat(name).map_err(failed())?, file.metadata().map_err(failed())?);
        if !opened.is_file() || here != (opened.dev(), opened.ino()) {
            return Err(PseudoError::table(&path, "a link, no file, or another one since it was looked at"));
        }
        zero(&file, &path)?;
        self.unname(name)
    }

    /// Removes a name: of a link the link alone.
    pub(crate) fn unname(&self, name: &OsStr) -> Result<(), PseudoError> {
        self.unlink(name, AtFlags::empty())?;
        self.held.sync_all().map_err(PseudoError::file("flushing", &self.path))
    }

    /// Removes an empty folder in this one.
    pub(crate) fn remove(&self, name: &OsStr) -> Result<(), PseudoError> {
        self.unlink(name, AtFlags::REMOVEDIR)
    }

    /// Where it lies.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn stat(&self, name: &OsStr) -> io::Result<(u64, u64)> {
        let found = statat(&self.held, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok((found.st_dev, found.st_ino))
    }

    fn unlink(&self, name: &OsStr, flags: AtFlags) -> Result<(), PseudoError> {
        let done = step().and_then(|()| Ok(unlinkat(&self.held, name, flags)?));
        done.map_err(PseudoError::file("removing", &self.path.join(name)))
    }
}

/// Whether opening failed since something else than a folder is there.
fn is_other(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotADirectory || error.raw_os_error() == Some(Errno::LOOP.raw_os_error())
}
