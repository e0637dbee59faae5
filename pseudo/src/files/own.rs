//! Files that this program makes itself, in a vault and in its places. They are opened as what they are: a link would lead to a file that is
//! somebody else's, and a pipe would never answer. What people name on a command line may be either, and is read by the module above.

use super::OPENED;
use crate::PseudoError;
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use zeroize::Zeroizing;

/// Opens a file, and nothing that is none; one that is made is its owner's alone.
pub(crate) fn open(path: &Path, how: &mut OpenOptions) -> io::Result<File> {
    let opened = how.custom_flags(OPENED.bits().cast_signed()).mode(0o600).open(path);
    let is_link = |error: &io::Error| error.raw_os_error() == Some(Errno::LOOP.raw_os_error());
    let file = match opened {
        Err(error) if is_link(&error) => {
            return Err(io::Error::other("it is a link, and has to be the file itself"));
        }
        opened => opened?,
    };
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is no file")) }
}

/// Whether anything has this name, also a link that leads nowhere.
pub(crate) fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// As [`super::secret::read`].
pub(crate) fn read_secret(path: &Path, bytes_max: usize) -> Result<Zeroizing<Vec<u8>>, PseudoError> {
    let file = to_read(path)?;
    super::secret::check(&file, path)?;
    super::read_from(file, path, bytes_max)
}

/// As [`super::read_signed`].
pub(crate) fn read_signed(path: &Path, bytes_max: usize) -> Result<Vec<u8>, PseudoError> {
    super::read_signed_from(to_read(path)?, path, bytes_max)
}

/// As [`super::read_text`].
pub(crate) fn read_text(path: &Path, bytes_max: usize) -> Result<Zeroizing<String>, PseudoError> {
    super::text(&super::read_from(to_read(path)?, path, bytes_max)?, path)
}

fn to_read(path: &Path) -> Result<File, PseudoError> {
    open(path, OpenOptions::new().read(true)).map_err(PseudoError::file("reading", path))
}
