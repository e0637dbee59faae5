//! A file that is being made. It has its name only once it is whole; what is dropped before leaves nothing.
//!
//! As long as it is made it lies beside under its name and a mark, and is locked: so whoever makes the same output next knows what a killed program
//! left, which is destroyed since clear values may be in it, from what another program is making.

use super::{
    OPENED, PARTIAL, beside, ended, folder_of, is_named, own, random, remove, step, sync_folder, write_all,
    zero,
};
use crate::PseudoError;
use crate::keys::hex;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Random bytes in the name of a file that is being made.
const MARK_BYTES: usize = 8;

/// A file being made.
pub(crate) struct Fresh {
    /// Locked until it is dropped, where locks are: nobody takes it for what a kill left.
    file: File,
    partial: PathBuf,
    path: PathBuf,
    stage: Stage,
    /// Whether it is for whoever called the program, so that clear values may be in it.
    is_output: bool,
}

/// Under which names a file lies.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Partial,
    /// Under both.
    Named,
    Kept,
}

/// What lies there of an earlier program.
enum Left {
    /// Nothing, or something that is being made.
    Nothing,
    /// Another user's, or the same file as one with another name: overwriting it would destroy that.
    Foreign,
}

impl Fresh {
    /// Begins a file. One of this name must not be there.
    pub(crate) fn create(path: &Path) -> Result<Self, PseudoError> {
        if own::is_there(path) {
            let exists = io::Error::from(io::ErrorKind::AlreadyExists);
            return Err(PseudoError::file("making", path)(exists));
        }
        // a name that no other program has: a process may have the number of one that was killed, or of one in another container
        let mut mark = [0; MARK_BYTES];
        random(&mut mark)?;
        let partial = beside(path, &format!(".{}{PARTIAL}", hex(&mark)));
        let made =
            step().and_then(|()| OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial));
        let file = made.map_err(PseudoError::file("making", &partial))?;
        // before it was locked another program may have taken it for what a kill left. Where there are no locks nothing is taken for that
        let is_taken = matches!(file.try_lock(), Err(TryLockError::WouldBlock)) || !is_at(&file, &partial);
        if is_taken {
            let problem = format!("{} is being made by another program too", path.display());
            return Err(PseudoError::usage(problem, "wait until it is done, or name another file"));
        }
        Ok(Self { file, partial, path: path.to_owned(), stage: Stage::Partial, is_output: false })
    }

    /// Begins a file for whoever called the program, and destroys what killed programs left of making it: clear values may be in that.
    pub(crate) fn output(path: &Path) -> Result<Self, PseudoError> {
        let Some(name) = path.file_name() else {
            let problem = format!("{} is not the name of a file", path.display());
            return Err(PseudoError::usage(problem, "name the file to write with -o"));
        };
        let folder = folder_of(path);
        for entry in fs::read_dir(folder).map_err(PseudoError::file("listing", folder))? {
            let entry = entry.map_err(PseudoError::file("listing", folder))?;
            if !is_partial_of(name, &entry.file_name()) {
                continue;
            }
            if let Left::Foreign = sweep(&entry.path())? {
                eprintln!(
                    "pseudo: {} was left by another user, or is another file too: it stays; destroy it if clear values may be in it",
                    entry.path().display()
                );
            }
        }
        let mut fresh = Self::create(path)?;
        ended::begin(&fresh.file, &fresh.partial)?;
        fresh.is_output = true;
        Ok(fresh)
    }

    /// The file, to write into.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Writes all of its content, flushes it and gives it its name.
    pub(crate) fn keep_with(self, content: &[u8]) -> Result<(), PseudoError> {
        write_all(&self.file, content).map_err(PseudoError::file("writing", &self.partial))?;
        self.keep()
    }

    /// Flushes the file and gives it its name, unless another file got it meanwhile.
    pub(crate) fn keep(mut self) -> Result<(), PseudoError> {
        step().and_then(|()| self.file.sync_all()).map_err(PseudoError::file("flushing", &self.partial))?;
        // whole: from here on its bytes are not destroyed, under whichever name they lie
        ended::end(&self.partial);
        let named = step().and_then(|()| fs::hard_link(&self.partial, &self.path));
        named.map_err(PseudoError::file("naming", &self.path))?;
        self.stage = Stage::Named;
        remove(&self.partial)?;
        self.stage = Stage::Kept;
        sync_folder(folder_of(&self.path))
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        if self.stage == Stage::Kept {
            return;
        }
        ended::end(&self.partial);
        // there is nobody to tell about another failure
        if self.is_output && self.stage == Stage::Partial {
            let _ = zero(&self.file, &self.partial);
        }
        let _ = step().and_then(|()| fs::remove_file(&self.partial));
    }
}

/// Destroys what a killed program left of an output, and only that: what can be locked is made by nobody, and is looked at once it is.
fn sweep(partial: &Path) -> Result<Left, PseudoError> {
    let failed = || PseudoError::file("destroying", partial);
    let is_file = fs::symlink_metadata(partial).is_ok_and(|here| here.is_file());
    if !is_file {
        return Ok(Left::Nothing);
    }
    let file = match OpenOptions::new().write(true).custom_flags(OPENED.bits().cast_signed()).open(partial) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Left::Nothing),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(Left::Foreign),
        Err(error) => return Err(failed()(error)),
    };
    if file.try_lock().is_err() || !is_at(&file, partial) {
        return Ok(Left::Nothing);
    }
    let opened = file.metadata().map_err(failed())?;
    if opened.uid() != rustix::process::geteuid().as_raw() {
        return Ok(Left::Foreign);
    }
    if is_named(partial).map_err(failed())? {
        // whole, and killed before it lost its other name
    } else if opened.nlink() == 1 {
        zero(&file, partial)?;
    } else {
        return Ok(Left::Foreign);
    }
    remove(partial)?;
    sync_folder(folder_of(partial))?;
    Ok(Left::Nothing)
}

/// Whether an open file is still the one of this name.
fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(opened), Ok(here)) = (file.metadata(), fs::symlink_metadata(path)) else { return false };
    (opened.dev(), opened.ino()) == (here.dev(), here.ino())
}

/// Whether a name is that of a file that is being made, under its name and a mark.
fn is_partial_of(name: &OsStr, partial: &OsStr) -> bool {
    let rest = partial.as_encoded_bytes().strip_prefix(name.as_encoded_bytes());
    let mark =
        rest.and_then(|rest| rest.strip_prefix(b".")).and_then(|rest| rest.strip_suffix(PARTIAL.as_bytes()));
    mark.is_some_and(|mark| mark.len() == 2 * MARK_BYTES && mark.iter().all(u8::is_ascii_hexdigit))
}
