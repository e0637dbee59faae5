//! Small files, read whole up to a limit; and files that are whole or not there at all, for their owner alone.

use crate::PseudoError;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Makes a folder that only its owner may enter; one that exists is left as it is.
pub(crate) fn make_folder(path: &Path) -> Result<(), PseudoError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(PseudoError::file("making the folder", path))
}

/// Reads a file of so many bytes at most; wiped when dropped, since it may be a key.
pub(crate) fn read(path: &Path, bytes_max: usize) -> Result<Zeroizing<Vec<u8>>, PseudoError> {
    let failed = || PseudoError::file("reading", path);
    let file = File::open(path).map_err(failed())?;
    // room for all of it at once: growing would leave parts behind
    let mut bytes = Zeroizing::new(Vec::with_capacity(bytes_max + 1));
    file.take(bytes_max as u64 + 1).read_to_end(&mut bytes).map_err(failed())?;
    if bytes.len() > bytes_max {
        return Err(PseudoError::table(path, format!("longer than {bytes_max} bytes")));
    }
    Ok(bytes)
}

/// Reads something signed, which is no secret and may be long.
pub(crate) fn read_signed(path: &Path, bytes_max: usize) -> Result<Vec<u8>, PseudoError> {
    let failed = || PseudoError::file("reading", path);
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed())?;
    file.take(bytes_max as u64 + 1).read_to_end(&mut bytes).map_err(failed())?;
    if bytes.len() > bytes_max {
        return Err(PseudoError::table(path, format!("longer than {bytes_max} bytes")));
    }
    Ok(bytes)
}

/// Reads a text file of so many bytes at most.
pub(crate) fn read_text(path: &Path, bytes_max: usize) -> Result<Zeroizing<String>, PseudoError> {
    let bytes = read(path, bytes_max)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| PseudoError::table(path, "not UTF-8"))?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// A file being made. It has its name only once it is whole; what is dropped before leaves nothing.
pub(crate) struct Fresh {
    file: Option<File>,
    partial: PathBuf,
    path: PathBuf,
}

impl Fresh {
    /// Begins a file. One of this name must not be there.
    pub(crate) fn create(path: &Path) -> Result<Self, PseudoError> {
        if fs::symlink_metadata(path).is_ok() {
            let exists = io::Error::from(io::ErrorKind::AlreadyExists);
            return Err(PseudoError::file("making", path)(exists));
        }
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.partial", std::process::id()));
        let partial = path.with_file_name(name);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial);
        let file = file.map_err(PseudoError::file("making", &partial))?;
        Ok(Self { file: Some(file), partial, path: path.to_owned() })
    }

    /// The file, to write into.
    pub(crate) fn file(&self) -> &File {
        self.file.as_ref().expect("it is there until it has its name")
    }

    /// Flushes the file and gives it its name, unless another file got it meanwhile.
    pub(crate) fn keep(mut self) -> Result<(), PseudoError> {
        self.file().sync_all().map_err(PseudoError::file("flushing", &self.partial))?;
        self.file = None;
        fs::hard_link(&self.partial, &self.path).map_err(PseudoError::file("naming", &self.path))?;
        fs::remove_file(&self.partial).map_err(PseudoError::file("removing", &self.partial))?;
        sync_folder(self.path.parent().unwrap_or(Path::new("")))
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        // after `keep` there is none, and there is nobody to tell about another failure
        let _ = fs::remove_file(&self.partial);
    }
}

/// Writes a whole file that was not there.
pub(crate) fn write(path: &Path, content: &[u8]) -> Result<(), PseudoError> {
    let fresh = Fresh::create(path)?;
    fresh.file().write_all(content).map_err(PseudoError::file("writing", path))?;
    fresh.keep()
}

/// Flushes a folder, so that names made or removed in it survive a power cut.
pub(crate) fn sync_folder(path: &Path) -> Result<(), PseudoError> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path).and_then(|folder| folder.sync_all()).map_err(PseudoError::file("flushing", path))
}

/// Fills a buffer with random bytes from the operating system.
pub(crate) fn random(buffer: &mut [u8]) -> Result<(), PseudoError> {
    let failed = |error: getrandom::Error| io::Error::other(error.to_string());
    getrandom::fill(buffer)
        .map_err(failed)
        .map_err(PseudoError::file("drawing random bytes", Path::new("the system")))
}
