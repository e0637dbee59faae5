//! Small files of a node's data folder, in which it remembers what it must not, or need not, learn anew.
//!
//! They promise that a reader finds the file as it was written before, or as it was written last, and never takes in more than the
//! longest one has.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// What the file says; nothing if there is none. Of one that is longer than `bytes_max`, a byte more than that.
pub(super) fn read(data: &Path, file: &str, bytes_max: u64) -> io::Result<Option<String>> {
    let file = match File::open(data.join(file)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Durably, and either the old one or the new one.
pub(super) fn write(data: &Path, file: &str, text: &str) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(data)?;
    let fresh = data.join(format!("{file}.new"));
    let mut written = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    written.write_all(text.as_bytes())?;
    written.sync_all()?;
    fs::rename(&fresh, data.join(file))?;
    File::open(data)?.sync_all()
}
