//! Files that hold secrets or must survive a power cut: owner's rights only, whole or not at all.

use crate::ClientError;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use zeroize::Zeroizing;

/// Any file this crate reads, unless it says another limit, bytes; a join token is the longest of them.
pub const FILE_BYTES_MAX: u64 = 256 << 10;

/// Makes a folder (and those above it) that only its owner may enter; one that exists is left as it is.
pub fn make_folder(path: &Path) -> Result<(), ClientError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(ClientError::file("making the folder", path))
}

/// Replaces a file by `content`: written beside it, flushed, renamed, and the folder flushed.
pub fn write(path: &Path, content: &[u8]) -> Result<(), ClientError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.partial", std::process::id()));
    let fresh = path.with_file_name(name);
    let written =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh).and_then(
            |mut file| {
                file.write_all(content)?;
                file.sync_all()
            },
        );
    written.map_err(ClientError::file("writing", &fresh))?;
    fs::rename(&fresh, path).map_err(ClientError::file("renaming", path))?;
    sync_folder(path.parent().unwrap_or(Path::new(".")))
}

/// Flushes a folder, so that names made in it survive a power cut.
pub fn sync_folder(path: &Path) -> Result<(), ClientError> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path).and_then(|folder| folder.sync_all()).map_err(ClientError::file("flushing", path))
}

/// Reads a text file of sensible length; wiped when dropped, since it may be a key.
pub fn read(path: &Path) -> Result<Zeroizing<String>, ClientError> {
    let mut text = Zeroizing::new(String::new());
    let count = File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text))
        .map_err(ClientError::file("reading", path))?;
    if count as u64 > FILE_BYTES_MAX {
        let problem = format!("longer than {FILE_BYTES_MAX} bytes");
        return Err(ClientError::Content { path: path.to_owned(), problem });
    }
    Ok(text)
}

/// Reads a file of bytes of sensible length.
pub fn read_bytes(path: &Path) -> Result<Vec<u8>, ClientError> {
    read_bytes_to(path, FILE_BYTES_MAX)
}

/// Reads a file of at most `bytes_max` bytes.
pub fn read_bytes_to(path: &Path, bytes_max: u64) -> Result<Vec<u8>, ClientError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(bytes_max + 1).read_to_end(&mut bytes))
        .map_err(ClientError::file("reading", path))?;
    if bytes.len() as u64 > bytes_max {
        let problem = format!("longer than {bytes_max} bytes");
        return Err(ClientError::Content { path: path.to_owned(), problem });
    }
    Ok(bytes)
}

/// Random bytes from the operating system.
pub fn random<const N: usize>() -> Result<[u8; N], ClientError> {
    let mut bytes = [0; N];
    fill_random(&mut bytes)?;
    Ok(bytes)
}

/// Fills a buffer with random bytes from the operating system.
pub fn fill_random(buffer: &mut [u8]) -> Result<(), ClientError> {
    getrandom::fill(buffer)
        .map_err(|error| ClientError::Crypto { what: "drawing random bytes", problem: error.to_string() })
}
